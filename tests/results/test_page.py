"""The page: sound HTML, for eyes, ears and keyboards, without a network, whatever a run is called."""
import base64
import dataclasses
import json
import re
import sys
import urllib.parse
from xml.etree import ElementTree

import numpy as np
import pytest

import gluon_tricks as gt
from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.curves import draw_curves
from gluon_tricks.results import formats, printed
from gluon_tricks.results import page as pages
from gluon_tricks.results.classes import Figures, Pair
from gluon_tricks.results.examples import Classes, Shown
from gluon_tricks.results.report import Report, report
from gluon_tricks.training.history import read_history
from support.finished import finished
from support.html_page import Page, check
from support.tables import runs_of

pytest.importorskip('jinja2', reason="pip install '.[report]'")

COSINE, MIXUP = 'table6/resnet50_v1d/cosine', 'table6/resnet50_v1d/mixup'
HOSTILE = '<script>alert(1)<\\script>"\'&{{ 7 * 7 }}{% raw %}\u202eevil\x1b[31m\udcff--><img src=x onerror=alert(1)>'


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """(Report with every part, its page)."""
    folder = tmp_path_factory.mktemp('page')
    paths = runs_of(folder, COSINE, [77.9, 77.7]) + runs_of(folder, MIXUP, [79.1])
    found = report(paths + [finished(folder / 'half', COSINE, {'top1': 1.0, 'top5': 2.0}, status='running'),
                            finished(folder / 'd', 'table8/mixup', {'map_voc07': 81.0}),
                            finished(folder / 's', 'table9/mixup', {'pix_acc': 0.78, 'miou': 0.38})])
    return found, read(found)


def read(found, words=()):
    return Page(pages.page(found, words).decode())


def with_examples(found):
    """The Report with what a network and a detector would add to its first group."""
    group = found.groups[0]
    picture = draw_curves([read_history(group.records[0].path, 'x')])
    pair = Pair('3', '9', 2, 37)
    figures = Figures('accuracy', ('3', '9'), np.array([94.6, 100.0]), ('top-1', 98.0), 364, (pair,), 364)
    classes = Classes('run0', figures, picture, [(pair, [b'\xff\xd8one', b'\xff\xd8two'])])
    group = dataclasses.replace(group, classes=classes, shown=(Shown('a.png', b'\xff\xd8', 64, 48),))
    return Report(found.tables, (group,) + found.groups[1:], found.notes, found.left_out)


def test_the_page_is_sound(whole):
    check(whole[1])
    check(read(report([], ['6'])))


@pytest.mark.parametrize('number', list(printed.TABLES))
def test_every_table_is_a_page(number):
    page = read(report([], [number]))
    check(page)
    table = gt.table(number)
    assert table.title in page.headings[1][1] and all(row.label in page.text for row in table.rows)


def test_all_that_was_run_is_on_it(whole):
    found, page = whole
    words = ' '.join(page.text.split())
    for group in found.groups:
        assert (3, group.title) in page.headings and all(part in words for _, part in group.facts)
        assert all(command in words for command in group.commands)
        for record in group.records:
            assert all(f'{value:.2f}' in words for name, value in record.last.items() if name != 'epoch')
    assert '77.80 ± 0.14' in words and 'half: the run is not finished' in words
    assert len(page.of('img')) == 1 + len(found.groups) and [text for level, text in page.headings if level == 2] == [
        'Left out', *(formats.title(table) for table in found.tables), 'Runs', 'This page again']


def test_pictures_are_drawings_that_say_what_they_show(whole):
    for image in whole[1].of('img'):
        kind, content = image['src'].split(',', 1)
        assert kind == 'data:image/svg+xml' and not re.search('[#"\\s&]', content.replace(' ', ''))
        drawing = ElementTree.fromstring(urllib.parse.unquote(content))
        assert drawing.tag == '{http://www.w3.org/2000/svg}svg'
        ratio = float(drawing.get('height')[:-2]) / float(drawing.get('width')[:-2])
        assert int(image['height']) / int(image['width']) == pytest.approx(ratio, abs=0.01)
        assert 'Curves of' in image['alt'] and 'epochs' in image['alt'] or '+ cosine decay: 77.80' in image['alt']


def test_the_drawing_is_the_picture_s(whole):
    """Two decimals of its paths are kept: nothing moves by a hundredth of a point."""
    history = read_history(whole[0].groups[0].records[0].path, 'x')
    picture = draw_curves([history])
    kept = urllib.parse.unquote(pages._picture(picture).split(',', 1)[1])
    numbers = [[float(number) for path in re.findall(r' d="([^"]*)"', text) for number in re.findall(r'-?[\d.]+', path)]
               for text in (re.sub(r'\s+', ' ', picture.content('svg').decode()), kept)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.01) and len(numbers[0]) > 500


def test_thumbnails_and_photographs(whole):
    page = read(with_examples(whole[0]))
    check(page)
    jpegs = [image for image in page.of('img') if image['src'].startswith('data:image/jpeg;base64,')]
    assert [base64.b64decode(image['src'].split(',')[1])[2:] for image in jpegs] == [b'one', b'two', b'']
    assert [image['alt'] for image in jpegs[:2]] == ['a 3 taken for 9'] * 2 and 'a.png' in jpegs[2]['alt']


@pytest.mark.parametrize('place', ['run', 'left out', 'environment', 'class'])
def test_hostile_names_are_text(place, tmp_path):
    name = HOSTILE.replace('/', '|')
    folder = tmp_path / (name if place == 'run' else 'run')
    path = finished(folder, COSINE, {'top1': 77.9, 'top5': 93.8})
    if place == 'environment':
        text = (folder / 'run.json').read_text().replace('"1.9.1"', json.dumps(HOSTILE))
        (folder / 'run.json').write_text(text)
    found = report([path] + [str(tmp_path / name / 'x')] * (place == 'left out'))
    if place == 'class':
        found = with_examples(found)
        pair = found.groups[0].classes.pairs[0][0]
        object.__setattr__(pair, 'label', HOSTILE)
    page = read(found, [path, name])
    check(page)
    assert '<script>alert(1)' in page.text and '{{ 7 * 7 }}' in page.text and '49' not in page.headings[0][1]
    assert not [letter for letter in page.text if letter != '\n' and not letter.isprintable()]


def test_what_makes_the_page_again_is_on_it(tmp_path):
    path = finished(tmp_path / 'a b', COSINE, {'top1': 77.9, 'top5': 93.8})
    page = read(report([path]), ['report', path, '-o', 'x.html'])
    assert f"python -m gluon_tricks report '{path}' -o x.html" in page.text
    assert f"python -m gluon_tricks evaluate '{path}'" in page.text


def test_the_same_runs_make_the_same_bytes(tmp_path):
    path = finished(tmp_path / 'run', COSINE, {'top1': 77.9, 'top5': 93.8})
    assert pages.page(report([path]), ['x']) == pages.page(report([path]), ['x'])


def test_without_jinja2_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    with pytest.raises(UsageError, match=r"pip install '\.\[report\]'"):
        pages.engine()
