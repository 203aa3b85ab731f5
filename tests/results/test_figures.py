"""The paper's Figures 3 and 4: the lines that are drawn, against formulas of other algebra, logs and scipy."""
import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import gaussian_kde

from gluon_tricks.config.recipes import get
from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.curves import accuracy
from gluon_tricks.pictures.picture import COLOURS
from gluon_tricks.results.figures import figure_3a, figure_3b, figure_4a, figure_4b, gap_line, schedules, smoothed_gap
from gluon_tricks.results.histories import read_classifiers
from gluon_tricks.results.published_log import read_log
from support import ROOT
from support.finished import finished
from support.pictures import assert_readable, texts

PUBLISHED = ROOT.parent / 'shared' / 'published'


def line(picture, number=0):
    (axes,) = picture.figure.axes
    return np.array(axes.lines[number].get_xdata(), 'float64'), np.array(axes.lines[number].get_ydata(), 'float64')


def published(name):
    path = PUBLISHED / f'{name}.log'
    if not path.exists():
        pytest.skip(f'the published log {path.name} is not here')
    return read_log(str(path))


# ---------------------------------------------------------------------------------------------------------------------
# 3a

def test_3a_is_the_paper_s_formula():
    """Warmup of 5 epochs to 0.4, then a tenth at epochs 30, 60 and 90, or half a cosine over the other 115."""
    picture = figure_3a()
    assert_readable(picture)
    x, step = line(picture)
    drops = np.searchsorted([30, 60, 90], np.round(x * 1251 - 1) / 1251, side='right')  # by the updates before
    expected = np.where(x <= 5, 0.4 * x / 5, 0.4 / 10.0 ** drops)
    assert step == pytest.approx(expected)
    x, cosine = line(picture, 1)
    done = x * 1251 - 1  # updates before
    expected = np.where(done < 5 * 1251, 0.4 * x / 5, 0.4 * np.cos(np.pi / 2 * (done - 6255) / (115 * 1251)) ** 2)
    assert cosine == pytest.approx(expected, abs=1e-12)
    assert x[0] == 1 / 1251 and x[-1] == 120 and max(np.diff(x)) < 0.11


@pytest.mark.parametrize('name', ['resnet50_v1', 'resnet50_v1b', 'resnet50_v1c', 'resnet50_v1d'])
def test_the_published_rates_lie_on_our_curve(name):
    log = published(name)
    schedule = schedules('gluoncv-2018')['cosine']
    updates = log.updates['epoch'] * 1251 + log.updates['batch']
    assert len(updates) == 3000
    assert [f'{schedule(int(update)):f}' for update in updates] == [f'{rate:f}' for rate in log.updates['lr']]
    picture = figure_3a('gluoncv-2018', [log])
    assert_readable(picture)
    dots = line(picture, 2)
    assert np.interp(dots[0], *line(picture, 1)) == pytest.approx(dots[1], abs=1e-5)
    paper = figure_3a('paper', [log])
    difference = np.interp(dots[0], *line(paper, 1)) - dots[1]
    assert 0.4 / 6255 * 0.9 < max(difference) < 0.4 / 6255 * 1.1  # one update's step, in the warmup


def test_3a_says_its_form_and_refuses_others():
    assert any('gluoncv-2018' in words for words, _, _ in texts(figure_3a('gluoncv-2018')))
    assert (line(figure_3a('gluoncv'))[1] != line(figure_3a())[1]).any()
    with pytest.raises(UsageError, match='form'):
        figure_3a('gluoncv2018')


# ---------------------------------------------------------------------------------------------------------------------
# 3b

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    rows = {'step': 'table6/resnet50_v1d/efficient', 'cosine': 'table6/resnet50_v1d/cosine'}
    paths = []
    for mode, row in rows.items():
        for seed in (0, 1):
            config = get(row).config.replace(lr=get(row).lr, seed=seed, num_gpus=8, input_size=224, num_epochs=8)
            paths.append(finished(folder / f'{mode}{seed}', config, {'top1': 77.0 + seed, 'top5': 93.5}))
    found, left_out = read_classifiers(paths)
    assert not left_out
    return found


def test_3b_one_colour_a_schedule(runs):
    picture = figure_3b(runs)
    assert_readable(picture)
    (axes,) = picture.figure.axes
    assert [drawn.get_color() for drawn in axes.lines] == [COLOURS[0]] * 2 + [COLOURS[1]] * 2
    for number, (_, history) in enumerate(runs):
        assert line(picture, number)[1].tolist() == accuracy(history)[1].tolist()
    written = [words for words, _, _ in texts(picture)]
    assert 'step decay, n = 2' in written and 'cosine decay, n = 2' in written
    assert 'step0: last 77.00 % (step)' in picture.text and 'cosine1: last 78.00 % (cosine)' in picture.text


def test_3b_a_published_log_is_dashed(runs, tmp_path):
    text = "Namespace(lr_mode='cosine')\n" + ''.join(
        f'[Epoch {epoch}] validation: err-top1=0.{9 - epoch}00000 err-top5=0.100000\n' for epoch in range(8))
    (tmp_path / 'log').write_text(text)
    picture = figure_3b(runs[2:], [read_log(str(tmp_path / 'log'))])
    assert_readable(picture)
    (axes,) = picture.figure.axes
    assert [drawn.get_linestyle() for drawn in axes.lines] == ['-', '-', '--']
    assert len({drawn.get_color() for drawn in axes.lines}) == 1
    assert 'cosine (GluonCV)' in [words for words, _, _ in texts(picture)]
    assert_readable(figure_3b([], [read_log(str(tmp_path / 'log'))]))


# ---------------------------------------------------------------------------------------------------------------------
# 4a

@pytest.mark.parametrize('classes', [3, 10, 1000])
def test_4a_scores_with_that_gap_give_the_smoothed_target(classes):
    epsilons, gaps = gap_line(classes)
    for epsilon, gap in zip(epsilons[::37], gaps[::37]):
        scores = np.zeros(classes)
        scores[0] = gap
        assert softmax(scores) == pytest.approx([1 - epsilon] + [epsilon / (classes - 1)] * (classes - 1))
    assert epsilons[-1] == (classes - 1) / classes and gaps[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(gaps) < 0).all() and (np.diff(epsilons) > 0).all()


def test_4a_marks_the_paper_s_figures():
    picture = figure_4a()
    assert_readable(picture)
    marks = line(picture, 1)
    assert marks[0].tolist() == [0.1, 0.999] and marks[1] == pytest.approx([9.104, 0], abs=5e-4)
    assert np.interp(0.1, *line(picture)) == pytest.approx(9.104, abs=1e-3)
    written = [words for words, _, _ in texts(picture)]
    assert '9.104 at ε = 0.1' in written and '0 at ε = (K − 1) / K = 0.999' in written
    assert_readable(figure_4a(10))
    assert_readable(figure_4a(3))
    assert_readable(figure_4a(999999))


@pytest.mark.parametrize('classes', [2, 0, -5, 10 ** 6])
def test_4a_needs_classes(classes):
    with pytest.raises(UsageError, match='--classes .* must be 3 to 999999'):
        figure_4a(classes)


# ---------------------------------------------------------------------------------------------------------------------
# 4b

def test_4b_is_the_distribution_and_marks_the_theory():
    rng = np.random.RandomState(0)
    config = get('table6/resnet50_v1d/cosine').config
    smoothed = get('table6/resnet50_v1d/label_smoothing').config
    gaps = rng.normal(12, 3, 5000).astype('float32'), rng.normal(9.1, 1, 5000).astype('float32')
    picture = figure_4b([('plain', config, gaps[0]), ('smooth', smoothed, gaps[1])])
    assert_readable(picture)
    (axes,) = picture.figure.axes
    outlines = [patch.get_data() for patch in axes.patches if not patch.get_fill()]
    assert len(outlines) == 2
    for (values, edges, _), drawn in zip(outlines, gaps):
        assert (values * np.diff(edges)).sum() == pytest.approx(1)
        middle = (edges[1:] + edges[:-1]) / 2
        assert values == pytest.approx(gaussian_kde(drawn)(middle), abs=0.06)
    assert [drawn.get_xdata()[0] for drawn in axes.lines] == pytest.approx([math.log(999 * 0.9 / 0.1)], abs=1e-5)
    assert picture.text == '; '.join(
        f'{name}: {drawn.mean():.3f} +- {drawn.std():.3f} over 5000 images'
        for name, drawn in zip(('plain, no smoothing', 'smooth, ε = 0.1'), gaps))


def test_4b_with_an_extreme_value_has_no_more_bins_than_can_be_drawn():
    config = get('table6/resnet50_v1d/cosine').config
    picture = figure_4b([('plain', config, np.append(np.random.RandomState(0).normal(9, 1, 5000), 1e6))])
    (outline,) = [patch.get_data() for patch in picture.figure.axes[0].patches if not patch.get_fill()]
    assert len(outline.values) <= 200 and (outline.values * np.diff(outline.edges)).sum() == pytest.approx(1)


def test_the_gap_of_gluoncv_s_smoothing():
    config = get('table6/resnet50_v1d/label_smoothing').config
    assert smoothed_gap(config.replace(smoothing='gluoncv')) == pytest.approx(math.log(0.9001 / 0.0001))
    assert smoothed_gap(config) == pytest.approx(9.104, abs=5e-4)
    assert math.isnan(smoothed_gap(get('table6/resnet50_v1d/cosine').config))
