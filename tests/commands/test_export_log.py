import csv

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.results.export_log import TOOLS
from support.runs import history, train


def test_a_run_s_log_as_csv(tmp_path, capsys):
    train(tmp_path)
    assert main(['export-log', str(tmp_path), '--to', 'csv']) == 0
    folder = tmp_path / 'exported' / 'csv'
    with open(folder / 'epoch.csv', newline='') as stream:
        rows = list(csv.DictReader(stream))
    events = [event for (kind, _), event in history(tmp_path).items() if kind == 'epoch']
    assert [float(row['validation/nearness']) for row in rows] == [event['validation']['nearness'] for event in events]
    assert capsys.readouterr().out.endswith(f' figures of {tmp_path.name}: {folder}\n')
    assert main(['export-log', str(tmp_path), '--to', 'csv']) == 2
    assert 'is not empty' in capsys.readouterr().err


@pytest.mark.parametrize('words, match', [([], 'required'), (['x', '--to', 'excel'], 'invalid choice'),
                                          (['no/such/run', '--to', 'csv'], 'no/such/run/log.jsonl cannot be read')])
def test_wrong_usage_is_one_sentence(words, match, capsys):
    assert main(['export-log', *words]) == 2
    assert match in capsys.readouterr().err


def test_the_tools_are_the_choices():
    from gluon_tricks.commands.export_log import parser
    to = next(action for action in parser()._actions if action.dest == 'to')
    assert to.choices == tuple(TOOLS)
