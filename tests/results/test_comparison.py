import json

import numpy as np
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.results.comparison import compare, draw_comparison
from gluon_tricks.training.history import History, epochs, updates
from support.pictures import assert_readable


def a_history(name, values, figure='top1', first=0):
    """Of one figure after each epoch from `first` on; None where there was no validation."""
    return History(name, epochs([{'event': 'epoch', 'epoch': first + number, 'validation': {} if value is None else {figure: value}}
                                 for number, value in enumerate(values)]), updates([]))


def test_the_table():
    found = compare([a_history('one', [10.0, 30.0, 20.0]), a_history('other', [12.5, None, 25.0, 28.0])])
    assert found.lines() == [
        'A  one', 'B  other', 'top-1 (%) on the validation data after each epoch, counted from 0', '',
        'epoch        A        B    B - A',
        '    0    10.00    12.50    +2.50',
        '    1    30.00        -        -',
        '    2    20.00    25.00    +5.00',
        '    3        -    28.00        -',
        ' last    20.00    28.00    +8.00',
        ' best    30.00    28.00    -2.00']
    assert [line.split()[0] for line in found.lines(every=2)[5:]] == ['0', '2', '3', 'last', 'best']
    assert json.loads(json.dumps(found.to_dict()))['histories'][1] == {
        'name': 'other', 'last': 28.0, 'best': 28.0, 'values': [
            {'epoch': 0, 'value': 12.5}, {'epoch': 2, 'value': 25.0}, {'epoch': 3, 'value': 28.0}]}


@pytest.mark.parametrize('number', [1, 2, 4, 5, 8, 21])
def test_it_fits_80_columns_and_shows_every_value(number):
    rng = np.random.RandomState(number)
    values = rng.uniform(0, 100, size=(number, 12)).round(2)
    found = compare([a_history(f'run {place} ' + 'x' * 90, row.tolist()) for place, row in enumerate(values)])
    lines = found.lines()
    assert max(map(len, lines)) <= 80
    text = '\n'.join(lines)
    for row in values:
        assert all(f' {value:.2f}' in text for value in row)
        assert all(f' {value:+.2f}' in text for value in (row - values[0]) if value)
    picture = draw_comparison(found)
    assert_readable(picture)
    first = picture.figure.axes[0]
    for line, row in zip(first.lines, values):
        assert line.get_ydata().tolist() == row.tolist() and line.get_xdata().tolist() == list(range(1, 13))
    if number > 1:
        second = picture.figure.axes[1]
        assert second.lines[1].get_ydata() == pytest.approx(values[1] - values[0])


def test_epochs_are_matched_by_number():
    found = compare([a_history('one', [1.0, 2.0, 3.0]), a_history('resumed', [5.0], first=2)])
    assert '    2     3.00     5.00    +2.00' in found.lines()


def test_mean_iou_is_in_percent():
    found = compare([a_history('fcn', [0.25, 0.5], 'miou')])
    assert found.figure == 'mean IoU' and found.values.tolist() == [[25.0, 50.0]]


def test_more_than_a_picture_holds_is_one_sentence():
    with pytest.raises(UsageError, match='22 runs and logs are more than'):
        compare([a_history('x', [1.0])] * 22)
