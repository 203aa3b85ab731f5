import subprocess
import sys
from importlib.util import find_spec

import pytest

from gluon_tricks.__main__ import COMMANDS, main
from support import ROOT
from support.finished import finished


def test_help_lists_all_commands_in_one_screen(capsys):
    assert main(['--help']) == 0
    out = capsys.readouterr().out
    assert all(f'  {name} ' in out for name in COMMANDS)
    assert len(out.splitlines()) <= 24 and max(map(len, out.splitlines())) <= 80


def test_no_command_and_a_wrong_one(capsys):
    assert main([]) == 2
    assert main(['trian']) == 2
    assert "error: 'trian' is not a command" in capsys.readouterr().err


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_command_has_help_and_refuses_a_typo(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('usage: ') and lines[1] == ''  # one line of usage
    assert main([name, '--no-such-flag']) == 2
    assert capsys.readouterr().err.startswith('error: ')


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, '-m', 'gluon_tricks', '--help'], cwd=str(ROOT), stdout=subprocess.PIPE)
    assert done.returncode == 0 and b'recipes' in done.stdout


def test_who_trains_nothing_and_computes_nothing_does_without_mxnet(tmp_path):
    """All help, and the commands that only read what runs left; MXNet takes more than a second to import."""
    run = finished(tmp_path / 'run', 'table6/resnet50_v1d/efficient', {'top1': 77.0, 'top5': 93.0, 'loss': 1.0})
    lines = [[name, '--help'] for name in COMMANDS] + [
        ['recipes'], ['published'], ['table', '6', run], ['inspect', run], ['compare', run, run, '-o', 'compared'],
        ['figure', 'curves', run, '-o', 'drawn']]
    lines += [['report', '6', run, '-o', 'page.html']] if find_spec('jinja2') else []
    code = (f'import sys; sys.path.insert(0, {str(ROOT)!r}); from gluon_tricks.__main__ import main\n'
            f'for line in {lines!r}:\n'
            '    try:\n        main(line)\n    except SystemExit:\n        pass\n'
            '    assert "mxnet" not in sys.modules, line')
    done = subprocess.run([sys.executable, '-c', code], cwd=str(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'drawn.svg').exists() and 'error' not in done.stderr
