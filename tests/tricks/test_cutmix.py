"""CutMix: pixel by pixel, the exact share of the area, the box's law of Yun et al."""
import math

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.cutmix import cutmix, sample_box


class Fixed:
    """A generator that draws the given centre (row, column)."""

    def __init__(self, *centre):
        self.draws = list(centre)

    def randint(self, high):
        draw = self.draws.pop(0)
        assert 0 <= draw < high
        return draw


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_pixel_by_pixel(dtype):
    x = np.random.RandomState(0).randn(3, 2, 5, 7).astype(dtype)
    partner, box = np.array([2, 0, 1]), (1, 4, 2, 7, None)
    given = mx.nd.array(x, dtype=dtype)
    mixed = cutmix(given, partner, box)
    assert mixed.dtype == np.dtype(dtype)
    for i, row, column in np.ndindex(3, 5, 7):
        source = partner[i] if 1 <= row < 4 and 2 <= column < 7 else i
        np.testing.assert_array_equal(mixed[i, :, row, column].asnumpy(), x[source, :, row, column])
    np.testing.assert_array_equal(given.asnumpy(), x)  # the input is not written to


def test_exact_lam_is_the_share_left():
    rng = np.random.RandomState(0)
    x = mx.nd.array(np.stack([np.zeros((1, 11, 8)), np.ones((1, 11, 8))]))
    for _ in range(50):
        lam = rng.rand()
        box = sample_box(11, 8, lam, rng)
        y0, y1, x0, x1, exact_lam = box
        assert 0 <= y0 <= y1 <= 11 and 0 <= x0 <= x1 <= 8
        assert exact_lam >= lam - 1e-9  # rounding and clipping only make the box smaller
        assert 1 - cutmix(x, [1, 0], box)[0].mean().asscalar() == pytest.approx(exact_lam, abs=1e-6)


def test_box_of_yun_et_al():
    # lam 0.75 at 32 x 48: half of each side, around the centre; even sides, where their code and ours agree.
    assert sample_box(32, 48, 0.75, Fixed(16, 20)) == (8, 24, 8, 32, 0.75)
    assert sample_box(32, 48, 0.75, Fixed(0, 47)) == (0, 8, 35, 48, 1 - 8 * 13 / (32 * 48))
    assert sample_box(10, 10, 1 - 0.35 ** 2, Fixed(5, 5))[:4] == (4, 7, 4, 7)  # an odd side is kept


def test_lam_is_reached_where_nothing_is_clipped():
    y0, y1, x0, x1, exact_lam = sample_box(224, 224, 0.6, Fixed(112, 112))
    assert y1 - y0 == x1 - x0 == int(224 * math.sqrt(0.4))
    assert exact_lam == pytest.approx(0.6, abs=0.01)


def test_ends_of_lam():
    rng = np.random.RandomState(0)
    x = mx.nd.ones((2, 1, 4, 4))
    box = sample_box(4, 4, 1.0, rng)
    assert box[4] == 1 and cutmix(x, [1, 0], box) is x
    assert sample_box(4, 4, 0.0, Fixed(2, 2)) == (0, 4, 0, 4, 0)
    whole = cutmix(mx.nd.array(np.arange(2).reshape((2, 1, 1, 1))) * x, [1, 0], (0, 4, 0, 4, 0))
    assert whole[:, 0, 0, 0].asnumpy().tolist() == [1, 0]
    for lam in (-0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match='lam'):
            sample_box(4, 4, lam, rng)


def test_batch_of_one_stays():
    x = mx.nd.random.normal(shape=(1, 3, 6, 6))
    np.testing.assert_array_equal(cutmix(x, [0], (1, 3, 1, 3, 0.9)).asnumpy(), x.asnumpy())


def test_repeats_from_the_seed():
    boxes = [sample_box(32, 32, 0.5, np.random.RandomState(7)) for _ in range(2)]
    assert boxes[0] == boxes[1]
    assert len({sample_box(32, 32, 0.5, np.random.RandomState(seed)) for seed in range(20)}) > 10


def test_does_not_wait_for_the_device(monkeypatch):
    x = mx.nd.ones((4, 3, 8, 8), ctx=mx.cpu(1))
    for name in ('asnumpy', 'asscalar', 'wait_to_read'):
        monkeypatch.setattr(mx.nd.NDArray, name, lambda *_: pytest.fail('waited'))
    assert cutmix(x, [3, 2, 1, 0], (1, 5, 2, 6, 0.75)).context == mx.cpu(1)
