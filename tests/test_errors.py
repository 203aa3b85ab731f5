import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands import train, train_detection, train_segmentation
from gluon_tricks.errors import Parser, UsageError, exit_code
from gluon_tricks.tasks.classification import assembly as classification
from gluon_tricks.tasks.detection import assembly as detection
from gluon_tricks.tasks.segmentation import assembly as segmentation
from gluon_tricks.training.divergence import Diverged
from gluon_tricks.training.signals import Stopped


def failing(error):
    def program(*arguments):
        raise error
    return program


@pytest.mark.parametrize('program, code, err', [
    (lambda *words: None, 0, ''), (lambda *words: len(words), 2, ''), (failing(UsageError('a rule')), 2, 'error: a rule\n'),
    (failing(KeyboardInterrupt()), 130, 'interrupted\n'), (failing(Diverged('told in the log')), 3, ''),
    (failing(Stopped(15)), 143, '')])
def test_exit_codes(program, code, err, capsys):
    assert exit_code(program, 'a', 'b') == code and capsys.readouterr().err == err


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(failing(ZeroDivisionError()))


@pytest.mark.parametrize('command, assembly', [(train, classification), (train_detection, detection),
                                               (train_segmentation, segmentation)])
def test_ctrl_c_before_the_training_is_no_traceback(command, assembly, monkeypatch, capsys):
    monkeypatch.setattr(assembly, 'resolve', failing(KeyboardInterrupt()))
    assert command.main([]) == 130 and capsys.readouterr().err == 'interrupted\n'


def test_a_wrong_flag_is_a_usage_error():
    with pytest.raises(UsageError, match='lists all flags'):
        Parser(prog='x').parse_args(['--bogus'])
    assert main(['complexity', '--bogus']) == 2
