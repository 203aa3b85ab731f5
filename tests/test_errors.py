import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.errors import Parser, UsageError, exit_code
from transfer import train_faster_rcnn, train_fcn


def failing(error):
    def program(*arguments):
        raise error
    return program


@pytest.mark.parametrize('program, code, err', [
    (lambda *words: None, 0, ''), (lambda *words: len(words), 2, ''), (failing(UsageError('a rule')), 2, 'error: a rule\n'),
    (failing(KeyboardInterrupt()), 130, 'interrupted\n')])
def test_exit_codes(program, code, err, capsys):
    assert exit_code(program, 'a', 'b') == code and capsys.readouterr().err == err


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(failing(ZeroDivisionError()))


@pytest.mark.parametrize('program', [train_imagenet, train_fcn, train_faster_rcnn])
def test_ctrl_c_before_the_training_is_no_traceback(program, monkeypatch, capsys):
    monkeypatch.setattr(program, 'resolve', failing(KeyboardInterrupt()))
    assert program.main([]) == 130 and capsys.readouterr().err == 'interrupted\n'


def test_a_wrong_flag_is_a_usage_error():
    with pytest.raises(UsageError, match='lists all flags'):
        Parser(prog='x').parse_args(['--bogus'])
    assert main(['complexity', '--bogus']) == 2
