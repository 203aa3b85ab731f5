"""The command's forms, its files, and what it says of paths that are no runs."""
import csv
import json

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.results import formats, printed
from gluon_tricks.results.table import table
from support.checkout import fenced, page_text
from support.tables import runs_of

BEST = 'table5/resnet50_v1d'


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_every_table(number, capsys):
    assert main(['table', number]) == 0
    assert capsys.readouterr().out.rstrip('\n') == formats.text(table(number))


def test_the_page_shows_what_the_command_prints(capsys):
    block, = (text for _, language, text in fenced(page_text('docs/tables.md')) if language == 'text')
    assert main(['table', '6']) == 0
    assert block.strip() in capsys.readouterr().out


@pytest.mark.parametrize('form', ['text', 'markdown', 'latex', 'csv', 'json'])
def test_every_form_with_runs(form, tmp_path, capsys):
    paths = runs_of(tmp_path, BEST, [79.0, 79.1]) + [str(tmp_path / 'nowhere')]
    assert main(['table', '5', *paths, '--format', form]) == 0
    streams = capsys.readouterr()
    assert streams.out.rstrip('\n') == formats.FORMATS[form](table(5, paths))
    assert 'no such directory' in streams.out + streams.err
    if form == 'csv':
        assert len(list(csv.DictReader(streams.out.splitlines()))) == 4
    if form == 'json':
        assert json.loads(streams.out)['rows'][3]['cells']['top1']['verdict']['word'] == 'not comparable'


def test_checklist(tmp_path, capsys):
    paths = runs_of(tmp_path, BEST, [79.0, 79.1])
    for words in (['5', '--checklist', *paths], ['--checklist', '5', *paths], ['5', *paths, '--checklist']):
        assert main(['table', *words]) == 0
        assert 'NeurIPS paper checklist, of 2 runs of table 5' in capsys.readouterr().out


def test_eval_results(tmp_path, capsys):
    paths = runs_of(tmp_path / 'runs', BEST, [79.0])
    assert main(['table', '5', *paths, '--eval-results', str(tmp_path / 'out')]) == 0
    assert str(tmp_path / 'out' / BEST / '.eval_results' / 'classification.yaml') in capsys.readouterr().err
    assert main(['table', '6', '--eval-results', str(tmp_path / 'out')]) == 2
    assert 'needs runs' in capsys.readouterr().err


@pytest.mark.parametrize('words, part', [
    (['10'], '10'), ([], 'N'), (['6', '--format', 'xml'], 'xml'), (['6', '--forma', 'csv'], 'forma')])
def test_wrong_words(words, part, capsys):
    assert main(['table'] + words) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1 and part in error
