import subprocess
import sys

import pytest

from gluon_tricks.__main__ import COMMANDS, main
from support import ROOT


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
