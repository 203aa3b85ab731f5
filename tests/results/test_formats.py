"""One table in six forms: the same figures in each, and what must be escaped."""
import csv
import html.parser
import json
import os
import re
import shutil
import subprocess

import pytest

import gluon_tricks as gt
from gluon_tricks.results import formats, printed
from support.tables import imagenet_table, runs_of

MIXUP, SMOOTHING = (f'table6/resnet50_v1d/{name}' for name in ('mixup', 'label_smoothing'))
TIMM = 'model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation'  # results-imagenet.csv
STRANGE = 'no_where/50% & $x #{a}~^\\b<i>|"c"*\u00e9'


@pytest.fixture(scope='module')
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    return imagenet_table(6, runs_of(folder, SMOOTHING, [78.3, 78.25, 78.4]) + runs_of(folder, MIXUP, [79.1, 79.0])
                          + [str(folder / STRANGE)])


@pytest.fixture(scope='module')
def wide(tmp_path_factory):
    """Table 1, which has every column, with runs of its last row."""
    folder = tmp_path_factory.mktemp('wide')
    return imagenet_table(1, runs_of(folder, 'table1/resnet50_v1d', [79.1, 79.3, 79.25]))


def shown(form, table):
    return formats.FORMATS[form](table)


@pytest.mark.parametrize('number', list(printed.TABLES))
@pytest.mark.parametrize('form', ['text', 'markdown', 'latex', 'html'])
def test_every_printed_figure_is_shown(number, form):
    table = gt.table(number)
    text = shown(form, table)
    for row in table.rows:
        for cell in row.cells.values():
            for value in (cell.paper, cell.standard, cell.zoo, cell.log_last, cell.log_best, cell.timm):
                assert value is None or f'{value:.2f}' in text
        assert all(f'{value:g}' in text for value in row.also.values())
        assert row.label in text.replace('&amp;', '&')


@pytest.mark.parametrize('form', ['text', 'markdown', 'latex', 'html', 'csv', 'json'])
def test_ours_the_verdict_and_what_was_left_out(table, form):
    text = shown(form, table)
    cell = next(row for row in table.rows if row.name == SMOOTHING).cells['top1']
    assert 'agrees' in text or 'undecided' in text
    if form not in ('csv', 'json'):
        assert f'{cell.mean:.2f}' in text and f'{cell.sd:.2f}' in text and f'{cell.best:.2f}' in text
    if form != 'csv':
        assert 'no such directory' in text.replace('\n  ', ' ') and 'prediction' in text or form == 'json'


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_text_has_80_columns(number, table, wide):
    for each in (gt.table(number, ['/no/where']), table, wide):
        assert max(len(line) for line in formats.text(each).splitlines() if 'left out' not in line
                   and STRANGE not in line) <= 80
    assert not re.search(r'[ \t]$', formats.text(gt.table(number)), re.M)


def test_text_names_the_command_of_a_row_that_is_not_run():
    assert 'python train_imagenet.py --recipe table6/resnet50_v1d/efficient' in ' '.join(str(gt.table(6)).split())
    assert 'not run' in str(gt.table(6)) and 'never published' in str(gt.table(1))


def test_steps_say_what_is_inside_the_noise(tmp_path):
    paths = runs_of(tmp_path, SMOOTHING, [78.3, 78.2]) + runs_of(tmp_path, MIXUP, [78.31, 78.19])
    text = ' '.join(str(imagenet_table(6, paths)).replace('\n  ', ' ').split())
    assert '+ mixup w/o distill less + label smoothing (ResNet-50-D): +0.00' in text and 'inside the noise' in text
    assert 'P(above) 0.50' in text and '2 seeds in common' in text


@pytest.mark.parametrize('form', ['text', 'markdown', 'latex', 'html'])
def test_one_seed_says_nothing_of_the_noise(form, tmp_path):
    paths = runs_of(tmp_path, SMOOTHING, [78.3]) + runs_of(tmp_path, MIXUP, [78.31])
    forms = dict(formats.FORMATS, html=formats.html)
    demo, certified = (' '.join(forms[form](found).replace('\n  ', ' ').split()) for found in (
        gt.table(6, paths), imagenet_table(6, paths)))
    assert 'of one seed in common: one seed does not tell a step from the noise; run more' in demo
    for words in ('inside the noise', 'outside the noise', 'P(above)', 'Student', '+0.01 +-'):
        assert words not in demo
    assert 'One seed a row' in demo and 'One seed a row' in certified
    assert 'which tells nothing of the noise: inside the noise of 0.10 that others published' in certified
    assert 'Student' not in certified and 'P(above)' not in certified
    assert gt.table(6, paths).to_dict()['steps'][0]['noise'] is None


# ---------------------------------------------------------------------------------------------------------------------
# Each form as its readers read it

def test_csv_begins_with_timms_columns(table):
    lines = formats.as_csv(table).split('\n')
    assert lines[0].startswith(TIMM + ',row,')
    rows = list(csv.DictReader(lines))
    assert len(rows) == len(table.rows) and all(None not in row and None not in row.values() for row in rows)
    row = next(row for row in rows if row['row'] == SMOOTHING)
    assert row['model'] == 'resnet50_v1d' and float(row['top1']) == pytest.approx(78.3167, abs=1e-3)
    assert float(row['top1']) + float(row['top1_err']) == pytest.approx(100, abs=1e-3)
    assert (row['img_size'], row['crop_pct'], row['interpolation'], row['param_count']) == (
        '224', '0.875', 'bilinear', '25.58')  # timm's own count of resnet50d
    assert (row['top1_paper'], row['top1_n'], row['top1_verdict']) == ('78.31', '3', table.rows[2].cells['top1'].verdict.word)
    assert next(row for row in rows if 'inception' in row['row'])['img_size'] == '299'


def test_csv_of_other_tasks_has_the_columns_too():
    for number, model in (('8', 'resnet50_v1b'), ('9', 'resnet50_v1b')):
        rows = list(csv.DictReader(formats.as_csv(gt.table(number)).split('\n')))
        assert rows[0]['model'] == model and rows[0]['top1'] == '' and rows[0]['base_top1'] == '76.14'


def test_json_is_the_whole_table(table):
    found = json.loads(formats.as_json(table))
    assert found == table.to_dict() == json.loads(json.dumps(table.to_dict()))
    assert len(found['rows']) == 18 and found['left_out'][0]['path'].endswith(STRANGE)
    cell = found['rows'][2]['cells']['top1']
    assert cell['paper'] == 78.31 and [value['seed'] for value in cell['values']] == [0, 1, 2]
    assert found['steps'][0]['row'] == MIXUP and found['steps'][0]['seeds'] == [0, 1]


class Html(html.parser.HTMLParser):
    """Checks that tags are balanced, and counts the cells of each row."""

    def __init__(self):
        super().__init__()
        self.open, self.widths, self.tags, self.text = [], [], set(), ''

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.add(tag)
        if tag == 'tr':
            self.widths.append(0)
        if tag in ('td', 'th'):
            self.widths[-1] += int(dict(attributes).get('colspan', 1))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_html_is_balanced_and_rectangular(number, table):
    for each in (table, gt.table(number)):
        page = Html()
        page.feed(formats.html(each))
        assert not page.open and len(set(page.widths)) == 1 and 'i' not in page.tags
    page = Html()
    page.feed(formats.html(table))
    assert STRANGE in page.text


def test_markdown_tables_are_rectangular(table):
    blocks = [block for block in formats.markdown(table).split('\n\n') if block.startswith('|')]
    assert len(blocks) == 6
    for block in blocks:
        widths = {len(re.split(r'(?<!\\)\|', line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert '<i>' not in formats.markdown(table)


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_latex_is_balanced(number, table):
    for each in (gt.table(number), table):
        text = formats.latex(each)
        assert text.isascii() and text.count('{') - text.count(r'\{') == text.count('}') - text.count(r'\}')
        body = text[text.index(r'\toprule'):text.index(r'\bottomrule')]
        columns = {len(re.split(r'(?<!\\)&', line)) for line in body.splitlines() if '&' in line and 'multicolumn' not in line}
        assert len(columns) == 1 and not re.search(r'(?<!\\)[#%$]', body.replace(r'$\pm$', ''))


@pytest.mark.skipif(not shutil.which('pdflatex'), reason='needs pdflatex (Debian: texlive-latex-recommended)')
@pytest.mark.parametrize('number', list(printed.TABLES))
def test_latex_compiles(number, table, wide, tmp_path):
    each = {'1': wide, '6': table}.get(number) or gt.table(number, [STRANGE])
    (tmp_path / 't.tex').write_text('\\documentclass{article}\\usepackage[a4paper,margin=15mm]{geometry}\\usepackage{booktabs}\n'
                                    '\\begin{document}\n%s\n\\end{document}\n' % formats.latex(each))
    made = subprocess.run(['pdflatex', '-interaction=nonstopmode', '-halt-on-error', 't.tex'], cwd=str(tmp_path),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert made.returncode == 0 and os.path.getsize(str(tmp_path / 't.pdf')) > 10000, made.stdout.decode()[-2000:]
    assert '--' not in (tmp_path / 't.tex').read_text()  # a dash, where a flag is meant
    beyond = [float(points) for points in re.findall(r'Overfull \\hbox \(([\d.]+)pt', made.stdout.decode())]
    assert max(beyond, default=0) < 5
