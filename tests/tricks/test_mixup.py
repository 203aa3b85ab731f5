"""Mixup: equations 7 and 8 image by image, GluonCV's reversed batch, Beta's moments, the ends."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.label_smoothing import smooth_labels
from gluon_tricks.tricks.mixup import mix, sample_lam, sample_partner


def test_equations_7_and_8():
    rng = np.random.RandomState(0)
    images, targets = rng.randn(5, 3, 4, 6).astype('float32'), rng.dirichlet(np.ones(7), size=5).astype('float32')
    partner = sample_partner(5, rng)
    for a in (images, targets):
        mixed = mix(mx.nd.array(a), 0.3, partner)
        assert mixed.dtype == np.float32 and mixed.shape == a.shape
        for i, j in enumerate(partner):
            np.testing.assert_allclose(mixed[i].asnumpy(), a[j] + 0.3 * (a[i] - a[j]), atol=1e-6)


def test_gluoncvs_reversed_batch():
    x = mx.nd.random.normal(shape=(5, 3, 4, 4))
    partner = sample_partner(5, np.random.RandomState(0), 'reverse')
    np.testing.assert_array_equal(mix(x, 0.7, partner).asnumpy(), (0.7 * x + (1 - 0.7) * x[::-1]).asnumpy())
    np.testing.assert_array_equal(mix(x, 0.7, partner)[2].asnumpy(), (0.7 * x[2] + (1 - 0.7) * x[2]).asnumpy())


def test_smoothing_commutes_with_mixing():
    label, partner = mx.nd.array([1, 0, 3]), np.array([2, 0, 1])
    smoothed = mix(smooth_labels(label, 4, 0.1), 0.2, partner).asnumpy()
    hard = mix(smooth_labels(label, 4, 0), 0.2, partner).asnumpy()
    np.testing.assert_allclose(smoothed, hard * (0.9 - 0.1 / 3) + 0.1 / 3, atol=1e-6)


def test_lam_is_beta():
    rng = np.random.RandomState(0)
    for alpha in (0.2, 1.0):
        lam = np.array([sample_lam(alpha, rng) for _ in range(20000)])
        assert lam.min() >= 0 and lam.max() <= 1
        assert lam.mean() == pytest.approx(0.5, abs=0.01)
        assert lam.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.005)


def test_lam_at_the_ends_of_alpha():
    rng = np.random.RandomState(0)
    state = rng.get_state()[2]
    assert sample_lam(0, rng) == sample_lam(-1, rng) == 1.0
    assert rng.get_state()[2] == state
    tiny = [sample_lam(1e-6, rng) for _ in range(50)]  # alpha to 0: one of the two images
    assert all(lam < 1e-6 or lam > 1 - 1e-6 for lam in tiny)
    assert isinstance(sample_lam(0.2, rng), float)
    with pytest.raises(UsageError, match='alpha'):
        sample_lam(float('nan'), rng)


def test_partners_are_a_permutation_from_the_callers_generator():
    rng = np.random.RandomState(3)
    partners = [sample_partner(8, rng) for _ in range(400)]
    assert all(sorted(partner) == list(range(8)) for partner in partners)
    counts = np.sum([np.eye(8)[partner] for partner in partners], axis=0)
    assert counts.min() > 20 and counts.max() < 85  # 50 expected for each pair
    np.testing.assert_array_equal(sample_partner(8, np.random.RandomState(3)), partners[0])
    with pytest.raises(UsageError, match='pairs'):
        sample_partner(8, rng, 'reversed')


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'uint8'])
def test_lam_one_returns_the_array_itself(dtype):
    a = mx.nd.ones((2, 3), dtype=dtype)
    assert mix(a, 1.0, [1, 0]) is a


def test_lam_zero_is_the_partner_and_a_batch_of_one_itself():
    a = mx.nd.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(mix(a, 0.0, [1, 0]).asnumpy(), [[3, 4], [1, 2]])
    one = mx.nd.array([[0.5, -2.0]])
    np.testing.assert_allclose(mix(one, 0.3, sample_partner(1, np.random.RandomState(0))).asnumpy(), one.asnumpy())


@pytest.mark.parametrize('dtype', ['float16', 'uint8'])
def test_mixes_in_float32(dtype):
    a = mx.nd.array([[1.0], [2.0]], dtype=dtype)
    mixed = mix(a, 0.3, [1, 0])
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed.asnumpy(), [[1.7], [1.3]], rtol=1e-6)


def test_does_not_wait_for_the_device(monkeypatch):
    a = mx.nd.ones((4, 3, 8, 8), ctx=mx.cpu(1))
    for name in ('asnumpy', 'asscalar', 'wait_to_read'):
        monkeypatch.setattr(mx.nd.NDArray, name, lambda *_: pytest.fail('waited'))
    assert mix(a, 0.5, [3, 2, 1, 0]).context == mx.cpu(1)
