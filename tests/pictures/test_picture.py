import itertools
import subprocess
import sys
import xml.etree.ElementTree

import cv2
import matplotlib
import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.picture import (
    COLOURS,
    MOST_LINES,
    Canvas,
    Picture,
    apart,
    check_number,
    files,
    ink,
    look,
    names_of,
    shown,
    style,
)
from support import ROOT
from support.pictures import assert_readable

# How a colour looks to who lacks a kind of cones (Machado et al. 2009, severity 1.0; linear RGB).
BLIND = {'none': np.eye(3),
         'protan': np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                             [-0.003882, -0.048116, 1.051998]]),
         'deutan': np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                             [-0.011820, 0.042940, 0.968881]]),
         'tritan': np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                             [0.004733, 0.691367, 0.303900]])}


def linear(colour):
    value = np.array([int(colour[at:at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    rgb = np.clip(rgb, 0, 1)
    srgb = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(srgb.astype('float32').reshape(1, 1, 3), cv2.COLOR_RGB2Lab)[0, 0]


def drawn(names=('a', 'b'), **options):
    with style():
        canvas = Canvas([30.0], names, **options)
        for number in range(len(names)):
            canvas.axes[0].plot([0, 1], [0, number + 1], **look(number))
        if canvas.at_ends:
            canvas.name_lines(canvas.axes[0], [(name, number + 1, look(number)['color'])
                                               for number, name in enumerate(canvas.names)])
        canvas.share_x('x')
        return canvas.done('a title', 'what is seen')


@pytest.mark.parametrize('kind', list(BLIND))
def test_colours_are_told_apart_by_all(kind):
    for one, other in itertools.combinations(COLOURS[:5], 2):
        assert np.linalg.norm(lab(BLIND[kind] @ linear(one)) - lab(BLIND[kind] @ linear(other))) > 15, (one, other)
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(lab(BLIND[kind] @ linear(one)) - lab(BLIND[kind] @ linear(other))) > 10, (one, other)


def test_words_are_dark_enough_to_be_read():
    """The contrast to white that WCAG 2 asks for is 4.5."""
    for colour in COLOURS[:5]:
        assert 1.05 / (linear(ink(colour)) @ [0.2126, 0.7152, 0.0722] + 0.05) > 4.5


def test_no_two_lines_look_alike():
    assert len({tuple(look(number).values()) for number in range(MOST_LINES)}) == MOST_LINES
    check_number(MOST_LINES, 'runs')
    with pytest.raises(UsageError, match=f'{MOST_LINES + 1} runs are more than'):
        check_number(MOST_LINES + 1, 'runs')


def test_names_are_moved_as_little_as_isotonic_regression_says():
    """To keep a distance is to keep an order, once each place is lowered by what is below it."""
    rng = np.random.RandomState(0)
    for number in (1, 2, 7, 20):
        wanted = np.sort(rng.normal(scale=30, size=number))
        steps = 10.0 * np.arange(number)
        expected = isotonic_regression(wanted - steps) + steps
        assert apart(wanted.tolist(), 10.0, -1e9, 1e9) == pytest.approx(expected.tolist())
        inside = apart(wanted.tolist(), 10.0, -120.0, 120.0)
        assert min(np.diff(inside), default=10) >= 10 - 1e-9 and -120 - 1e-9 <= inside[0] and inside[-1] <= 120 + 1e-9
    assert apart([], 10.0, 0.0, 1.0) == []


@pytest.mark.parametrize('names', [['a'], ['a', 'b'], ['run' * 30, 'other' * 20, 'c', 'd', 'e'],
                                   ['a long name of a run %d' % number for number in range(7)],
                                   ['name' * 30 + str(number) for number in range(MOST_LINES)]], ids=len)
def test_it_is_readable(names):
    assert_readable(drawn(names))


@pytest.mark.parametrize('name', ['a$b_$^c', '$', 'two\nlines', 'half \udcff', '\u6570\u5b57', 'x' * 500, '', '_hidden', '<&-->'])
def test_any_name_can_be_drawn(name, recwarn):
    for names in ([name, 'other'], [name] * 7):
        picture = drawn(names)
        assert picture.content('png') and xml.etree.ElementTree.fromstring(picture.content('svg')) is not None
    assert not [each for each in recwarn if 'Glyph' in str(each.message)]
    with style():
        picture = Canvas([20.0]).done(name, name)
    assert picture.content('png') and xml.etree.ElementTree.fromstring(picture.content('svg')) is not None


def test_what_cannot_be_read_is_seen():
    with style():
        canvas = Canvas([30.0])
        canvas.axes[0].set_title('words ' * 30)
        with pytest.raises(AssertionError, match='cut off'):
            assert_readable(canvas.done('a', 'b'))
        canvas = Canvas([30.0])
        canvas.axes[0].text(0.5, 0.5, 'one')
        canvas.axes[0].text(0.5, 0.5, 'other')
        with pytest.raises(AssertionError, match='upon'):
            assert_readable(canvas.done('a', 'b'))


def test_files(tmp_path):
    picture = drawn()
    paths = picture.save(str(tmp_path / 'new' / 'a.b'))
    assert paths == [str(tmp_path / 'new' / f'a.b.{kind}') for kind in ('svg', 'png')]
    root = xml.etree.ElementTree.parse(paths[0]).getroot()
    assert root.attrib['width'].endswith('pt') and float(root.attrib['width'][:-2]) == pytest.approx(80 / 25.4 * 72)
    assert root.find('{http://www.w3.org/2000/svg}title').text == 'a title'
    assert cv2.imread(paths[1]).shape[1] == int(80 / 25.4 * 300)
    assert picture.save(str(tmp_path / 'one.PNG')) == [str(tmp_path / 'one.png')]
    assert picture.save(str(tmp_path / 'one.svg')) == [str(tmp_path / 'one.svg')]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['new', 'one.png', 'one.svg']
    assert picture._repr_svg_().encode() == picture.content('svg') == drawn().content('svg')  # no date, no chance


@pytest.mark.parametrize('name, reason', [('file/a', 'file'), ('', 'is a directory'), ('folder', 'is a directory'),
                                          ('folder/', 'is a directory')])
def test_a_place_that_cannot_be_is_one_sentence(name, reason, tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(UsageError, match=reason):
        files(f'{tmp_path}/{name}')


def test_a_user_s_own_style_is_neither_used_nor_changed():
    plain = drawn().content('svg')
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({'font.size': 30, 'lines.linewidth': 9, 'svg.fonttype': 'none'}):
        theirs = dict(matplotlib.rcParams)
        assert drawn().content('svg') == plain and dict(matplotlib.rcParams) == theirs
    assert dict(matplotlib.rcParams) == before


def test_nothing_is_left_behind_and_nothing_is_imported_before_it_is_needed():
    code = ('import sys\n'
            'from gluon_tricks.pictures import curves, picture\n'
            'assert "matplotlib" not in sys.modules\n'
            'with picture.style():\n'
            '    picture.Canvas([30.0], ["a", "b"]).done("a", "b").content("png")\n'
            'assert "matplotlib.pyplot" not in sys.modules\n')
    subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), check=True)


def test_names():
    assert names_of(['runs/a', 'runs/b/', './runs/c']) == ['a', 'b', 'c']
    assert names_of(['one/run', 'other/run']) == ['one/run', 'other/run']
    assert names_of(['x', 'x']) == ['x', 'x'] and names_of([]) == []
    assert shown('a' * 24) == 'a' * 24 and len(shown('ab' * 30)) == 24 and '…' in shown('ab' * 30)


def test_a_picture_keeps_matplotlib_s_figure():
    picture = drawn()
    assert isinstance(picture, Picture) and picture.figure.axes[0].get_xlabel() == 'x'
