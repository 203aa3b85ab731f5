"""Cutout: against a loop over the images in NumPy, the border, sizes odd and even."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.cutout import cutout, sample_centres


def reference(x, centres, size):
    x = x.copy()
    for image, (row, column) in zip(x, centres):
        y0, x0 = row - size // 2, column - size // 2
        image[:, max(y0, 0):max(y0 + size, 0), max(x0, 0):max(x0 + size, 0)] = 0
    return x


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('size', [1, 2, 3, 6, 7])
def test_a_square_of_zeros_in_each_image(size, dtype):
    rng = np.random.RandomState(size)
    x = rng.randn(16, 3, 7, 9).astype(dtype)
    centres = sample_centres(16, 7, 9, rng)
    given = mx.nd.array(x, dtype=dtype)
    cut = cutout(given, centres, size)
    assert cut.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(cut.asnumpy(), reference(x, centres, size))
    np.testing.assert_array_equal(given.asnumpy(), x)


@pytest.mark.parametrize('centre, zeros', [((16, 16), 64), ((0, 0), 16), ((31, 31), 25), ((0, 16), 32)])
def test_clipped_at_the_border(centre, zeros):
    cut = cutout(mx.nd.ones((1, 1, 32, 32)), [centre], 8)
    assert (cut.asnumpy() == 0).sum() == zeros


def test_centres_are_uniform_over_the_pixels():
    centres = sample_centres(20000, 4, 6, np.random.RandomState(0))
    assert centres.shape == (20000, 2)
    counts = np.zeros((4, 6))
    np.add.at(counts, tuple(centres.T), 1)
    assert counts.min() > 700 and counts.max() < 970  # 833 expected at each pixel
    np.testing.assert_array_equal(sample_centres(20000, 4, 6, np.random.RandomState(0)), centres)


def test_size_zero_returns_the_images_themselves():
    x = mx.nd.ones((1, 3, 4, 4))
    assert cutout(x, [(0, 0)], 0) is x


def test_large_images_keep_exact_borders():
    cut = cutout(mx.nd.ones((1, 1, 600, 600)), [(555, 301)], 101).asnumpy()[0, 0] == 0
    assert cut.any(axis=1).nonzero()[0][[0, -1]].tolist() == [505, 599]
    assert cut.any(axis=0).nonzero()[0][[0, -1]].tolist() == [251, 351]


@pytest.mark.parametrize('size', [-1, 5])
def test_refuses_a_size_beyond_the_image(size):
    with pytest.raises(UsageError, match='size'):
        cutout(mx.nd.ones((1, 3, 4, 6)), [(0, 0)], size)


def test_does_not_wait_for_the_device(monkeypatch):
    x = mx.nd.ones((4, 3, 8, 8), ctx=mx.cpu(1))
    centres = sample_centres(4, 8, 8, np.random.RandomState(0))
    for name in ('asnumpy', 'asscalar', 'wait_to_read'):
        monkeypatch.setattr(mx.nd.NDArray, name, lambda *_: pytest.fail('waited'))
    assert cutout(x, centres, 4).context == mx.cpu(1)
