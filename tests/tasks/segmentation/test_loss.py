import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.tasks.segmentation.loss import fcn_loss, loss_weights, mean_of, pixel_loss

from gluoncv.loss import MixSoftmaxCrossEntropyLoss

BATCH, CLASSES, HEIGHT, WIDTH = 4, 5, 6, 7


def arrays(seed=0, ignored=0.3):
    """(head's scores, second head's scores, label) as NumPy arrays; some labels are -1."""
    rng = np.random.RandomState(seed)
    shape = BATCH, CLASSES, HEIGHT, WIDTH
    label = rng.randint(CLASSES, size=(BATCH, HEIGHT, WIDTH)).astype('float32')
    label[rng.uniform(size=label.shape) < ignored] = -1
    return rng.normal(size=shape).astype('float32'), rng.normal(size=shape).astype('float32'), label


def by_numpy(scores, label):
    """(B,) summed cross entropies, float64, and the gradient of their sum: pixel by pixel."""
    loss, gradient = np.zeros(len(label)), np.zeros(scores.shape)
    for b, y, x in zip(*np.nonzero(label >= 0)):
        z, k = scores[b, :, y, x].astype('float64'), int(label[b, y, x])
        q = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        loss[b] -= np.log(q[k])
        gradient[b, :, y, x] = q - np.eye(len(z))[k]
    return loss, gradient


def gradients(kind, devices, aux_weight=0.5, scale=1.0, data=None):
    """(sum of the losses, [gradients of both heads' scores / total batch size]), as the loop takes them."""
    *heads, label = data or arrays()
    share = BATCH // devices
    pieces = [slice(share * number, share * (number + 1)) for number in range(devices)]
    weights, aux = loss_weights(kind, [(label[piece] >= 0).sum() for piece in pieces], BATCH, aux_weight)
    total, found = 0, []
    for piece, weight in zip(pieces, weights):
        outputs = [mx.nd.array(head[piece]) for head in heads]
        for output in outputs:
            output.attach_grad()
        with mx.autograd.record():
            loss = fcn_loss(outputs, mx.nd.array(label[piece]), weight, aux)
        loss.backward(mx.nd.full(loss.shape, scale))
        total += float(loss.sum().asscalar())
        found.append([output.grad.asnumpy() / BATCH for output in outputs])
    return total, [np.concatenate(parts) for parts in zip(*found)]


def test_pixel_loss_is_numpys():
    scores, _, label = arrays()
    found = pixel_loss(mx.nd.array(scores), mx.nd.array(label))
    assert found.dtype == np.float32 and found.shape == (BATCH,)
    np.testing.assert_allclose(found.asnumpy(), by_numpy(scores, label)[0], rtol=1e-5)


@pytest.mark.parametrize('devices', [1, 2, 4])
@pytest.mark.parametrize('aux_weight', [0.5, 0.0, 2.0])
def test_ours_is_the_mean_over_all_pixels_on_any_number_of_devices(aux_weight, devices):
    head, second, label = arrays()
    number = (label >= 0).sum()
    total, found = gradients('ours', devices, aux_weight)
    (loss, gradient), (loss2, gradient2) = by_numpy(head, label), by_numpy(second, label)
    assert mean_of('ours', total, BATCH, devices) == pytest.approx(
        (loss.sum() + aux_weight * loss2.sum()) / number, rel=1e-5)
    np.testing.assert_allclose(found[0], gradient / number, atol=1e-7)
    np.testing.assert_allclose(found[1], aux_weight * gradient2 / number, atol=1e-7)


def test_ours_by_finite_differences():
    head, second, label = arrays(ignored=0.1)
    step, rng = 1e-2, np.random.RandomState(1)

    def mean(head):
        return gradients('ours', 1, data=(head, second, label))[0] / BATCH
    _, (found, _) = gradients('ours', 1, data=(head, second, label))
    for _ in range(20):
        direction = rng.normal(size=head.shape).astype('float32')
        slope = (mean(head + step * direction) - mean(head - step * direction)) / (2 * step)
        assert slope == pytest.approx((found * direction).sum(), abs=1e-4)


def test_a_loss_scale_reaches_the_gradient():
    for kind in ('ours', 'gluoncv'):
        _, plain = gradients(kind, 2)
        _, scaled = gradients(kind, 2, scale=64.0)
        for a, b in zip(plain, scaled):
            np.testing.assert_allclose(64 * a, b, rtol=1e-5)


@pytest.mark.parametrize('devices', [1, 2])
@pytest.mark.parametrize('aux_weight', [0.5, 0.2])
def test_gluoncv_is_gluoncvs_gradient(aux_weight, devices):
    """Also with a loss scale, of which GluonCV's takes no notice; nor does it of aux_weight."""
    head, second, label = arrays()
    criterion = MixSoftmaxCrossEntropyLoss(True, aux_weight=aux_weight)
    share, theirs = BATCH // devices, []
    for number in range(devices):
        piece = slice(share * number, share * (number + 1))
        outputs = [mx.nd.array(scores[piece]) for scores in (head, second)]
        for output in outputs:
            output.attach_grad()
        with mx.autograd.record():
            loss = 1000 * criterion(*outputs, mx.nd.array(label[piece]))
        mx.autograd.backward(loss)
        theirs.append([output.grad.asnumpy() / BATCH for output in outputs])  # as its script divides
    _, ours = gradients('gluoncv', devices, aux_weight)
    for found, wanted in zip(ours, zip(*theirs)):
        np.testing.assert_allclose(found, np.concatenate(wanted), atol=1e-7)


def test_on_one_device_gluoncv_is_ours_over_the_batch_size():
    ours, gluoncv = gradients('ours', 1, aux_weight=1.0), gradients('gluoncv', 1)
    np.testing.assert_allclose(ours[1][0] / BATCH, gluoncv[1][0], rtol=1e-5, atol=1e-9)
    assert mean_of('ours', ours[0], BATCH, 1) == pytest.approx(mean_of('gluoncv', gluoncv[0], BATCH, 1), rel=1e-5)


@pytest.mark.parametrize('kind', ['ours', 'gluoncv'])
def test_without_a_pixel_that_counts_the_loss_is_0(kind):
    head, second, label = arrays()
    for data in ((head, second, np.full_like(label, -1)),
                 (1e30 * head, second, np.full_like(label, -1))):
        total, found = gradients(kind, 2, data=data)
        assert total == 0 and all((gradient == 0).all() for gradient in found)


def test_one_device_without_a_pixel_does_not_disturb_the_other():
    head, second, label = arrays()
    label[2:] = -1
    number = (label >= 0).sum()
    _, found = gradients('ours', 2, data=(head, second, label))
    np.testing.assert_allclose(found[0], by_numpy(head, label)[1] / number, atol=1e-7)


def test_float16_scores_are_computed_in_float32():
    scores, _, label = arrays()
    half = mx.nd.array(20 * scores, dtype='float16')
    found = pixel_loss(half, mx.nd.array(label))
    np.testing.assert_allclose(found.asnumpy(), by_numpy(half.asnumpy().astype('float64'), label)[0], rtol=1e-5)


def test_without_a_second_head_there_is_one_term():
    scores, _, label = arrays()
    found = fcn_loss((mx.nd.array(scores),), mx.nd.array(label), 2.0, 0.5)
    np.testing.assert_allclose(found.asnumpy(), 2 * by_numpy(scores, label)[0], rtol=1e-5)
