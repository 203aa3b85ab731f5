"""The command's forms, its files, and what it says of paths that are no runs."""
import csv
import json
import math
import re

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.results import formats, printed
from gluon_tricks.results.table import table
from support.checkout import fenced, page_text
from support.finished import finished
from support.tables import runs_of

BEST = 'table5/resnet50_v1d'


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_every_table(number, capsys):
    assert main(['table', number]) == 0
    assert capsys.readouterr().out.rstrip('\n') == formats.text(table(number))


def test_the_page_shows_what_the_command_prints(capsys):
    block = _texts()[0]
    assert main(['table', '6']) == 0
    assert block.strip() in capsys.readouterr().out


def test_the_page_shows_a_table_with_runs(tmp_path, capsys):
    """Of runs with the means, deviations and paired interval that the page has, the command prints the page's lines."""
    block, paths = _texts()[1], []
    rows = [[float(cell) for cell in line.split()[-3:]] for line in block.splitlines() if ' - 5 ' in line]
    half = float(re.search(r': \+[\d.]+ \+- ([\d.]+) \(5 seeds', block).group(1))
    spread = half * math.sqrt(5) / 2.776  # of the differences: 2.776 is t(0.975; 4)
    (_, first, _), (_, second, _) = rows
    shared = (first ** 2 + second ** 2 - spread ** 2) / (2 * first * second)  # correlation of equal seeds
    own, others = np.array([-2, -1, 0, 1, 2]) / math.sqrt(2.5), np.array([2, -1, -2, -1, 2]) / math.sqrt(3.5)
    for name, (mean, deviation, best), shape in zip(
            ('efficient', 'cosine'), rows, (own, shared * own + math.sqrt(1 - shared ** 2) * others)):
        config = RECIPES[f'table6/resnet50_v1d/{name}'].config.replace(lr=0.4)
        for seed, value in enumerate(mean + deviation * shape):
            figures = [{'top1': figure, 'top5': 100.0} for figure in (value, value + best - mean)]
            paths.append(finished(tmp_path / f'{name}-seed{seed}', config.replace(seed=seed), *figures))
    assert main(['table', '6', *paths]) == 0
    printed_lines = capsys.readouterr().out.splitlines()
    assert [line for line in block.splitlines() if line not in printed_lines] == []


def _texts():
    """The tables that docs/tables.md shows as text."""
    return [text for _, language, text in fenced(page_text('docs/tables.md')) if language == 'text']


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
