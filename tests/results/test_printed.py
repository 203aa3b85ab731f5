"""Every figure of every table against the paper's text, and the sentences on what contradicts what."""
import re

import pytest

from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.errors import UsageError
from gluon_tricks.results import printed
from gluon_tricks.results.table import table
from support import ROOT

SHARED = ROOT.parent / 'shared'
NUMBERS = [number for number in printed.TABLES if number != 'slides']
# The figures of a printed line, from left to right; of tables 3, 4 and 6 for each group in turn.
FIGURES = {'1': ('gmacs', 'top1', 'top5'), '2': ('top1', 'top5', 'reference_top1', 'reference_top5'),
           '3': ('minutes_per_epoch', 'top1', 'top5'), '4': ('top1', 'top5'),
           '5': ('params_millions', 'gmacs', 'top1', 'top5'), '6': ('top1', 'top5'),
           '7': ('top1', 'top5', 'test_top1', 'test_top5'), '8': ('base_top1', 'map_voc07'),
           '9': ('base_top1', 'pix_acc', 'miou'), 'slides': ('top1',)}


def figure(row, name):
    cell = row.cells.get(name)
    return row.also.get(name) if cell is None else cell.standard if cell.paper is None else cell.paper


def ours(number):
    """{heading of a printed line: its figures} of a table."""
    lines = {}
    for row in table(number).rows:
        heading = row.group if number == '3' else row.label
        figures = [figure(row, name) for name in FIGURES[number]]
        # Table 3 prints the efficient setting first
        lines[heading] = figures + lines.get(heading, []) if number == '3' else lines.get(heading, []) + figures
    return {heading: [value for value in figures if value is not None] for heading, figures in lines.items()}


def numbers(cells):
    return [float(found) for cell in cells for found in re.findall(r'\d+(?:\.\d+)?', re.sub(r'\[\d+\]', '', cell))]


def papers(number, text):
    """{heading: figures} of the lines above a table's caption in the paper's text."""
    if number == 'slides':
        head = next(line for line in text.splitlines() if line.strip().endswith('CutMix') and 'ResNet-50' in line)
        names = [re.sub(r'\s*\[\d+\]', '', cell) for cell in head.strip().split('\t')]
        figures = next(line for line in text.splitlines() if line.startswith('ImageNet\t7'))
        return dict(zip(names, ([value] for value in numbers(figures.split('\t')))))
    above = text[:text.index(f'\nTable {number}: ')].rstrip().split('\n\n')[-1]
    lines = {}
    for line in above.splitlines():
        heading, *cells = line.split('\t')
        if re.search(r'\d\.\d', ' '.join(cells)):  # else it is a heading
            lines[re.sub(r'\s*\[\d+\]', '', heading).replace('γ', 'gamma')] = numbers(cells)
    return lines


@pytest.fixture(scope='module')
def texts():
    if not (SHARED / 'paper.txt').exists():
        pytest.skip(f'{SHARED}/paper.txt is not here')
    found = {number: (SHARED / 'paper.txt').read_text(encoding='utf-8') for number in NUMBERS}
    return dict(found, slides=(SHARED / 'slides.txt').read_text(encoding='utf-8'))


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_every_figure_is_the_papers(number, texts):
    assert ours(number) == papers(number, texts[number]) and ours(number)


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_a_typo_in_any_figure_is_found(number, texts, monkeypatch):
    paper, planted = papers(number, texts[number]), 0
    for rows in printed.groups(printed.get(number)).values():
        for row in rows:
            for name, value in row.paper.items():
                if value is not None:
                    with monkeypatch.context() as patch:
                        patch.setitem(row.paper, name, round(value + (0.1 if value < 60 else 0.01), 2))
                        assert ours(number) != paper, (row.name, name)
                    planted += 1
    assert planted == sum(map(len, paper.values()))


def test_headings_are_the_papers(texts):
    """So that the lines above were compared in the printed order, too."""
    for number in NUMBERS:
        assert list(ours(number)) == list(papers(number, texts[number])), number


@pytest.mark.parametrize('number, words', [
    ('1', 'ResNet-50: FLOPs 3.9 in Table 1, 3.8 in Table 5.'), ('5', 'ResNet-50: FLOPs 3.8 in Table 5, 3.9 in Table 1.'),
    ('3', 'MobileNet, Efficient: top-5 90.47 in Table 3, 90.53 in Table 6.'),
    ('6', 'MobileNet, Efficient: top-5 90.53 in Table 6, 90.47 in Table 3.'),
    ('8', '+ smooth: its base network\'s top-1 is 78.34 here, 78.31 in Table 6.'),
    ('9', '+ mixup w/o distill: its base network\'s top-1 is 79.16 here, 79.15 in Table 6.'),
    ('8', 'B-standard: its base network, top-1 76.14, is in no earlier table.'),
    ('8', 'by 4 %; the table says 3.79.'), ('4', 'loses 0.9 %; the table says 0.70.'),
    ('2', '150 epochs, ends at 75.61'), ('7', 'All rows: '), ('slides', 'localisation')])
def test_footnotes_tell_what_contradicts(number, words):
    found = printed.footnotes(printed.get(number))
    assert any(words in sentence for sentence in found), found
    assert len(set(found)) == len(found)


def test_what_the_text_says_is_in_the_text(texts):
    text = ' '.join(texts['4'].split())
    assert 'leads to a 0.9% decrease of the top-1' in text and 'outperforms the standard model by 4%' in text
    log = SHARED / 'published' / 'faster_rcnn_resnet50_v1b_voc_train.log'
    if log.exists():
        best = max(float(value) for value in re.findall(r'^mAP=([\d.]+)', log.read_text(), re.M))
        assert f'{100 * best:.2f}' in ' '.join(printed.footnotes(printed.get('8')))


def test_no_two_rows_of_the_same_run_differ_without_a_footnote():
    """In the six tables of ImageNet; found here by another way than by the recipes' configurations."""
    rows = [row for row in recipes.RECIPES.values() if re.match('table[1-6]/', row.name)]
    differ = {(row.name, other.name) for row in rows for other in rows
              if row.config.save_dir == other.config.save_dir and
              any(None not in (row.paper[key], other.paper[key]) and row.paper[key] != other.paper[key]
                  for key in ('top1', 'top5'))}
    assert differ == {('table3/efficient/mobilenet1.0', 'table6/mobilenet1.0/efficient'),
                      ('table6/mobilenet1.0/efficient', 'table3/efficient/mobilenet1.0')}


def test_every_recipe_of_a_table_is_in_it():
    shown = {row.name for number in printed.TABLES for row in table(number).rows}
    assert shown == {name for name in [*recipes.RECIPES, *recipes_transfer.RECIPES] if re.match(r'table\d|slides', name)}


@pytest.mark.parametrize('number', ['0', '10', '', 'six', None, -1, 6.5])
def test_no_such_table(number):
    with pytest.raises(UsageError, match='must be one of 1, 2, .* slides'):
        printed.get(number)


def test_numbers_and_texts_name_a_table():
    assert printed.get(6) is printed.get('6')
