"""Label smoothing: equation 4, GluonCV's form, equation 5's optimum found by descent."""
import math

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.label_smoothing import smooth_labels, theoretical_gap


def test_equation_4_as_a_mixture():
    # One-hot p, uniform u: equation 4 is p moved by epsilon K / (K - 1) towards u.
    label, classes, epsilon = np.array([0, 4, 2]), 5, 0.3
    step = epsilon * classes / (classes - 1)
    expected = (1 - step) * np.eye(classes)[label] + step / classes
    target = smooth_labels(mx.nd.array(label), classes, epsilon)
    assert target.dtype == np.float32
    np.testing.assert_allclose(target.asnumpy(), expected, rtol=1e-6)


def test_values_at_a_thousand_classes():
    for mode, on, off in (('paper', 0.9, 0.1 / 999), ('gluoncv', 0.9001, 0.0001)):
        row = smooth_labels(mx.nd.array([7]), 1000, mode=mode).asnumpy()[0]
        assert row[7] == pytest.approx(on, rel=1e-6)
        assert np.delete(row, 7) == pytest.approx(off, rel=1e-6)
        assert row.sum() == pytest.approx(1, rel=1e-5)


def test_gluoncv_is_the_papers_at_a_smaller_epsilon():
    label = mx.nd.array([0, 3, 9])
    np.testing.assert_allclose(smooth_labels(label, 10, 0.1, 'gluoncv').asnumpy(),
                               smooth_labels(label, 10, 0.1 * 9 / 10, 'paper').asnumpy(), rtol=1e-6)


@pytest.mark.parametrize('mode', ['paper', 'gluoncv'])
@pytest.mark.parametrize('dtype', ['float32', 'float16', 'int32'])
def test_epsilon_zero_is_one_hot(mode, dtype):
    target = smooth_labels(mx.nd.array([2, 0], dtype=dtype), 3, 0, mode)
    assert target.dtype == np.float32
    np.testing.assert_array_equal(target.asnumpy(), [[0, 0, 1], [1, 0, 0]])


def test_batch_of_one_and_one_class():
    assert smooth_labels(mx.nd.array([0]), 1, 0).asnumpy().tolist() == [[1.0]]


def test_target_lives_where_the_label_does():
    assert smooth_labels(mx.nd.array([0], ctx=mx.cpu(1)), 3).context == mx.cpu(1)


def test_gap_of_the_paper():
    assert theoretical_gap(1000, 0.1) == pytest.approx(9.1040, abs=5e-5)
    assert theoretical_gap(1000, 0) == math.inf
    assert theoretical_gap(1000, 999 / 1000) == pytest.approx(0, abs=1e-12)
    gaps = [theoretical_gap(1000, epsilon / 100) for epsilon in range(1, 100)]
    assert all(a > b for a, b in zip(gaps, gaps[1:]))
    assert math.log(0.9001 / 0.0001) == pytest.approx(9.1051, abs=5e-5)  # GluonCV's form: no measurable difference


def test_gap_is_the_optimum_of_the_loss():
    target = smooth_labels(mx.nd.array([1]), 4, 0.2).asnumpy()[0].astype('float64')
    z = np.zeros(4)
    for _ in range(2000):
        z -= np.exp(z) / np.exp(z).sum() - target
    assert z[1] - z[0] == pytest.approx(theoretical_gap(4, 0.2), abs=1e-6)


@pytest.mark.parametrize('classes, epsilon', [(10, 1), (10, -0.1), (10, math.nan), (1, 0.1)])
def test_refuses(classes, epsilon):
    with pytest.raises(UsageError, match='epsilon' if classes == 10 else 'classes'):
        smooth_labels(mx.nd.array([0]), classes, epsilon)
    with pytest.raises(UsageError):
        theoretical_gap(classes, epsilon)


def test_refuses_an_unknown_mode():
    with pytest.raises(UsageError, match='mode'):
        smooth_labels(mx.nd.array([0]), 10, 0.1, 'uniform')
