import numpy as np
import pytest
from scipy import stats

import gluon_tricks as gt
from gluon_tricks.results.rows_picture import draw_rows
from support.finished import finished
from support.pictures import assert_readable
from support.tables import runs_of

COSINE, MIXUP, INCEPTION = 'table6/resnet50_v1d/cosine', 'table6/resnet50_v1d/mixup', 'table6/inceptionv3/mixup'


def test_each_run_is_a_dot_and_the_interval_is_the_mean_s(tmp_path):
    values = [77.9, 77.7, 78.0]
    picture = draw_rows(gt.table(6, runs_of(tmp_path, COSINE, values) + runs_of(tmp_path, MIXUP, [79.1])))
    assert_readable(picture)
    (axes,) = picture.figure.axes
    lines = [line.get_xdata() for line in axes.lines]
    assert list(lines[0]) == values and list(lines[1]) == [pytest.approx(np.mean(values))]
    assert tuple(lines[2]) == pytest.approx(stats.t.interval(0.95, 2, np.mean(values), stats.sem(values)))
    assert list(lines[3]) == [79.1] and len(lines) == 5  # one run has no interval
    assert [text.get_text() for text in axes.get_yticklabels()] == ['+ cosine decay', '+ mixup w/o distill']
    assert picture.text == '+ cosine decay: 77.87 ± 0.38, n = 3; + mixup w/o distill: 79.10, one seed: its noise is not known'


def test_groups_are_named_and_other_data_are_left_out(tmp_path):
    paths = runs_of(tmp_path, COSINE, [77.9]) + runs_of(tmp_path, INCEPTION, [78.7])
    other = finished(tmp_path / 'other', MIXUP, {'top1': 50.0, 'top5': 80.0}, data='cd' * 32)
    picture = draw_rows(gt.table(6, [*paths, other]))
    assert_readable(picture)
    names = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert names[0] == 'ResNet-50-D, + cosine decay' and names[1].startswith('Inception-V3') and len(names) == 2
    assert '50.00' not in picture.text


def test_one_seed_a_row_is_said(tmp_path):
    picture = draw_rows(gt.table(6, runs_of(tmp_path, COSINE, [77.9]) + runs_of(tmp_path, MIXUP, [79.1])))
    assert_readable(picture)
    (axes,) = picture.figure.axes
    assert axes.get_title(loc='left') == 'dots: one seed a row, which tells nothing of the noise'
    assert len(axes.lines) == 4 and picture.text.count('one seed: its noise is not known') == 2 and '±' not in picture.text


def test_one_row_is_no_picture(tmp_path):
    assert draw_rows(gt.table(6)) is None and draw_rows(gt.table(6, runs_of(tmp_path, COSINE, [77.9, 77.8]))) is None


def test_eighteen_rows(tmp_path):
    names = [row.name for row in gt.table(6).rows]
    picture = draw_rows(gt.table(6, [runs_of(tmp_path / str(place), name, [70 + place])[0] for place, name in enumerate(names)]))
    assert_readable(picture)
    assert len(picture.figure.axes[0].get_yticklabels()) == 18
