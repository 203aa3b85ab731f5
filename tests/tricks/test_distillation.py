"""Distillation: equation 6 by its gradients and by KL, GluonCV's loss, float16, no gradient to the teacher."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.distillation import distillation_loss


def softmax(z):
    e = np.exp(np.float64(z) - np.max(z, axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def batch(rows=4, classes=10, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randn(rows, classes) * 3, rng.dirichlet(np.ones(classes), size=rows), rng.randn(rows, classes) * 4


def loss_and_gradient(z, p, r, dtype='float32', **options):
    output, target, teacher = mx.nd.array(z, dtype=dtype), mx.nd.array(p), mx.nd.array(r, dtype=dtype)
    output.attach_grad()
    with mx.autograd.record():
        loss = distillation_loss(output, target, teacher, **options)
    loss.backward()
    assert loss.shape == (len(z),) and loss.dtype == np.float32
    return loss.asnumpy(), output.grad.asnumpy()


@pytest.mark.parametrize('temperature', [1.0, 4.0, 20.0])
def test_equation_6(temperature):
    z, p, r = batch()
    loss, gradient = loss_and_gradient(z, p, r, temperature=temperature)
    # Cross entropy as entropy plus divergence; the gradients in closed form.
    teacher, student = softmax(r / temperature), softmax(z / temperature)
    hard = (p * np.log(p / softmax(z)) - p * np.log(p)).sum(axis=1)
    soft = (teacher * np.log(teacher / student) - teacher * np.log(teacher)).sum(axis=1)
    np.testing.assert_allclose(loss, hard + temperature ** 2 * soft, rtol=1e-5)
    expected = softmax(z) - p + temperature * (student - teacher)
    np.testing.assert_allclose(gradient, expected, atol=2e-5)


@pytest.mark.parametrize('hard_weight', [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize('temperature', [1.0, 20.0])
def test_gluoncv(hard_weight, temperature):
    from gluoncv.loss import DistillationSoftmaxCrossEntropyLoss
    z, p, r = batch()
    theirs = DistillationSoftmaxCrossEntropyLoss(temperature=temperature, hard_weight=hard_weight, sparse_label=False)
    output = mx.nd.array(z)
    output.attach_grad()
    with mx.autograd.record():
        expected = theirs(output, mx.nd.array(p), mx.nd.softmax(mx.nd.array(r) / temperature))
    expected.backward()
    loss, gradient = loss_and_gradient(z, p, r, temperature=temperature, form='gluoncv', hard_weight=hard_weight)
    np.testing.assert_allclose(loss, expected.asnumpy(), rtol=1e-6)
    np.testing.assert_allclose(gradient, output.grad.asnumpy(), atol=1e-5)


def test_paper_is_twice_gluoncv():
    paper, gluoncv = (loss_and_gradient(*batch(), form=form) for form in ('paper', 'gluoncv'))
    np.testing.assert_allclose(paper[0], 2 * gluoncv[0], rtol=1e-6)
    np.testing.assert_allclose(paper[1], 2 * gluoncv[1], rtol=1e-5, atol=1e-6)


def test_default_temperature_is_the_papers():
    np.testing.assert_array_equal(loss_and_gradient(*batch())[0], loss_and_gradient(*batch(), temperature=20)[0])


def test_a_perfect_student_has_no_soft_gradient():
    z, _, _ = batch(rows=1)
    _, gradient = loss_and_gradient(z, softmax(z), z)
    assert abs(gradient).max() < 1e-5


def test_float16_scores_are_softened_in_float32():
    z, p, r = (np.float16(values) for values in batch(8, 1000))
    loss, gradient = loss_and_gradient(z, np.float32(p), r, dtype='float16')
    assert gradient.dtype == np.float16
    teacher, student = softmax(np.float64(r) / 20), softmax(np.float64(z) / 20)
    hard = -(p * np.log(softmax(z))).sum(axis=1)
    np.testing.assert_allclose(loss, hard - 400 * (teacher * np.log(student)).sum(axis=1), rtol=1e-5)


def test_no_gradient_reaches_the_teacher():
    z, p, r = (mx.nd.array(values) for values in batch())
    weight = mx.nd.ones((1, 10))
    weight.attach_grad()
    z.attach_grad()
    with mx.autograd.record():
        loss = distillation_loss(z, p, r * weight)
    loss.backward()
    assert weight.grad.asnumpy().tolist() == [[0] * 10] and abs(z.grad.asnumpy()).max() > 0


def test_does_not_wait_for_the_device(monkeypatch):
    z, p, r = (mx.nd.array(values) for values in batch())
    for name in ('asnumpy', 'asscalar', 'wait_to_read'):
        monkeypatch.setattr(mx.nd.NDArray, name, lambda *_: pytest.fail('waited'))
    distillation_loss(z, p, r)


@pytest.mark.parametrize('options, word', [({'temperature': 0}, 'temperature'), ({'temperature': -1}, 'temperature'),
                                           ({'hard_weight': 1.5}, 'hard_weight'), ({'form': 'hinton'}, 'form')])
def test_refuses(options, word):
    with pytest.raises(UsageError, match=word):
        distillation_loss(*(mx.nd.array(values) for values in batch()), **options)
