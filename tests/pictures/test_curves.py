import numpy as np
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.curves import accuracy, draw_curves, headline, rates
from gluon_tricks.training.history import History, epochs, updates
from support.pictures import assert_readable


def a_history(name='a run', number=3, **figures):
    rows = [dict({'event': 'epoch', 'epoch': epoch, 'lr': 0.1, 'speed': 400.0 + epoch, 'wait': 0.02,
                  'train': {'loss': 2.0 - epoch / number, 'accuracy': epoch / number},
                  'validation': {'top1': 90.0 * epoch / number, 'loss': 2.5 - epoch / number}}, **figures)
            for epoch in range(number)]
    inside = [{'event': 'batch', 'epoch': epoch, 'batch': batch, 'update': 4 * epoch + batch, 'lr': 1 / (epoch + batch)}
              for epoch in range(number) for batch in (2, 4)]
    return History(name, epochs(rows), updates(inside))


def lines(axes):
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines]


def test_each_panel_shows_what_the_history_says():
    picture = draw_curves([a_history()])
    panels = {axes.get_title(loc='left').split(' (')[0]: lines(axes) for axes in picture.figure.axes}
    assert list(panels) == ['loss', 'top-1', 'learning rate', 'images per second', 'waiting for data']
    done = [1.0, 2.0, 3.0]
    assert panels['top-1'] == [(done, pytest.approx([0, 30, 60])), (done, pytest.approx([0, 100 / 3, 200 / 3]))]
    assert panels['loss'] == [(done, pytest.approx([2.5, 2.5 - 1 / 3, 2.5 - 2 / 3])),
                              (done, pytest.approx([2, 2 - 1 / 3, 2 - 2 / 3]))]
    assert panels['learning rate'] == [([0.5, 1, 1.5, 2, 2.5, 3], pytest.approx([1 / 2, 1 / 4, 1 / 3, 1 / 5, 1 / 4, 1 / 6]))]
    assert panels['images per second'] == [(done, [400, 401, 402])]
    assert panels['waiting for data'] == [(done, pytest.approx([2, 2, 2]))]
    assert [axes.get_xlabel() for axes in picture.figure.axes] == [''] * 4 + ['epochs done']


@pytest.mark.parametrize('validation, name, percent', [
    ({'top1': 50.0, 'top5': 70.0}, 'top-1', 50), ({'map_voc07': 70.0}, 'mAP', 70), ({'miou': 0.4, 'pix_acc': 0.8}, 'mean IoU', 40)])
def test_the_figure_of_each_task(validation, name, percent):
    history = a_history(validation=validation)
    assert accuracy(history)[1].tolist() == pytest.approx([percent] * 3)
    titles = [axes.get_title(loc='left') for axes in draw_curves([history]).figure.axes]
    assert any(title.startswith(f'{name} (%)') for title in titles)


def test_what_no_history_has_is_left_out():
    history = a_history(validation={}, train={}, wait=None)
    assert headline(history) is None and accuracy(history)[1].shape == (0,)
    titles = [axes.get_title(loc='left') for axes in draw_curves([history]).figure.axes]
    assert titles == ['learning rate', 'images per second']


def test_without_lines_inside_the_epochs_the_rate_is_that_of_their_ends():
    history = a_history()
    bare = History('bare', history.epochs, updates([]))
    assert [column.tolist() for column in rates(bare)] == [[1, 2, 3], [0.1, 0.1, 0.1]]


def test_an_epoch_without_validation_is_no_gap_and_one_alone_is_a_dot():
    history = a_history()
    history.epochs['val_top1'][1] = np.nan
    assert [column.tolist() for column in accuracy(history)] == [[1, 3], [0, 60]]
    (axes,) = [axes for axes in draw_curves([a_history(number=1)]).figure.axes if axes.get_title(loc='left')[:5] == 'top-1']
    assert axes.lines[0].get_marker() == 'o'


@pytest.mark.parametrize('number', [1, 2, 5, 7])
def test_it_is_readable(number):
    picture = draw_curves([a_history(f'a-long-name-of-a-run-seed{place}', 3 + place) for place in range(number)])
    assert_readable(picture)
    for axes in picture.figure.axes:
        colours = [line.get_color() for line in axes.lines if line.get_linewidth() > 1]
        assert len(set(colours)) == len(colours) == number


@pytest.mark.parametrize('size', [1e-6, 2.5e-4, 1e-2, 1e4, 1e7, 1e300])
def test_numbers_of_any_size_are_readable(size):
    history = a_history(lr=0.7 * size)
    history.epochs['train_loss'] *= size
    history.epochs['val_loss'][1] = np.inf
    history.updates['lr'] *= size
    assert_readable(draw_curves([history]))


def test_nothing_to_draw_is_one_sentence():
    with pytest.raises(UsageError, match='no finished epoch'):
        draw_curves([History('x', epochs([]), updates([]))])
    with pytest.raises(UsageError, match='22 histories are more than'):
        draw_curves([a_history()] * 22)
