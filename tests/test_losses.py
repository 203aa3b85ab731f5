"""Cross entropy with soft targets against NumPy and GluonCV's choice of loss."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.losses import cross_entropy


def reference(scores, target):
    """log(sum exp z) - sum p z in float64: equation 3 written out for a p that sums to one."""
    z, p = np.float64(scores), np.float64(target)
    top = z.max(axis=1)
    return top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - (p * z).sum(axis=1)


def batch(rows, classes, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randn(rows, classes) * 3, rng.dirichlet(np.ones(classes), size=rows)


@pytest.mark.parametrize('rows, classes', [(1, 2), (8, 1000)])
def test_equation_3(rows, classes):
    scores, target = batch(rows, classes)
    loss = cross_entropy(mx.nd.array(scores), mx.nd.array(target))
    assert loss.shape == (rows,) and loss.dtype == np.float32
    np.testing.assert_allclose(loss.asnumpy(), reference(scores, target), rtol=2e-6)


def test_as_gluons_loss_in_float32():
    scores, target = (mx.nd.array(values) for values in batch(8, 10))
    theirs = mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=False)(scores, target)
    np.testing.assert_allclose(cross_entropy(scores, target).asnumpy(), theirs.asnumpy(), rtol=1e-6)


def test_gradient_is_softmax_less_target():
    scores, target = batch(4, 10)
    output = mx.nd.array(scores)
    output.attach_grad()
    with mx.autograd.record():
        loss = cross_entropy(output, mx.nd.array(target))
    loss.backward()
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(output.grad.asnumpy(), softmax - target, atol=5e-6)


def test_float16_output_is_computed_in_float32():
    scores, target = batch(8, 1000)
    output = mx.nd.array(scores, dtype='float16')
    output.attach_grad()
    with mx.autograd.record():
        loss = cross_entropy(output, mx.nd.array(target))
    loss.backward()
    assert loss.dtype == np.float32 and output.grad.dtype == np.float16
    np.testing.assert_allclose(loss.asnumpy(), reference(output.asnumpy(), target), rtol=2e-6)
    assert abs(output.grad.asnumpy().astype('float64').sum(axis=1)).max() < 2e-3


def test_large_scores_stay_finite():
    loss = cross_entropy(mx.nd.array([[6e4, -6e4]], dtype='float16'), mx.nd.array([[0.0, 1.0]]))
    assert loss.asscalar() == pytest.approx(1.2e5, rel=1e-3)


def test_does_not_wait_for_the_device(monkeypatch):
    scores, target = (mx.nd.array(values) for values in batch(4, 10))
    for name in ('asnumpy', 'asscalar', 'wait_to_read'):
        monkeypatch.setattr(mx.nd.NDArray, name, lambda *_: pytest.fail('waited'))
    cross_entropy(scores, target)
