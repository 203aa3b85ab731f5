import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.segmentation import metrics
from gluon_tricks.tasks.segmentation.data import Batch
from gluon_tricks.tasks.segmentation.metrics import Confusion
from gluon_tricks.tricks.low_precision import precision

from gluoncv.model_zoo.segbase import MultiEvalModel
from gluoncv.utils.metrics import SegmentationMetric

CPU = [mx.cpu()]
FLOAT32 = precision('float32', CPU)

cases = st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2 ** 31 - 1),
                  st.sampled_from([0.0, 0.3, 1.0]))


def draw(classes, number, side, seed, ignored):
    """[(label, predicted)] of several images; some labels are -1."""
    rng = np.random.RandomState(seed)
    pairs = []
    for _ in range(number):
        label = rng.randint(classes, size=(side, side + 1))
        label[rng.uniform(size=label.shape) < ignored] = -1
        pairs.append((label, np.where(rng.uniform(size=label.shape) < 0.5, np.maximum(label, 0),
                                      rng.randint(classes, size=label.shape))))
    return pairs


def count(classes, pairs):
    confusion = Confusion(classes)
    for label, predicted in pairs:
        confusion.add(label, predicted)
    return confusion


@settings(max_examples=200, deadline=None)
@given(cases)
def test_counts_and_figures_are_numpys(case):
    pairs, classes = draw(*case), case[0]
    confusion = count(classes, pairs)
    label = np.concatenate([each.ravel() for each, _ in pairs])
    predicted = np.concatenate([each.ravel() for _, each in pairs])
    table = [[((label == true) & (predicted == other)).sum() for other in range(classes)] for true in range(classes)]
    assert confusion.counts.tolist() == table
    ratios = []
    for k in range(classes):
        either = (label >= 0) & ((label == k) | (predicted == k))
        ratios.append((label == k)[either].sum() and (predicted[either] == label[either]).sum() / either.sum())
    found = confusion.metrics()
    assert found['num_images'] == len(pairs)
    np.testing.assert_allclose(found['class_iou'], ratios, atol=1e-12)
    assert found['miou'] == pytest.approx(np.mean(ratios), abs=1e-12)
    real = label >= 0
    assert found['pix_acc'] == pytest.approx((label[real] == predicted[real]).mean() if real.any() else 0, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(cases)
def test_figures_are_gluoncvs(case):
    pairs, classes = draw(*case), case[0]
    theirs = SegmentationMetric(classes)
    for label, predicted in pairs:
        scores = np.eye(classes, dtype='float32')[predicted].transpose(2, 0, 1)
        theirs.update(mx.nd.array(label[None]), mx.nd.array(scores[None]))
    found = count(classes, pairs).metrics()
    np.testing.assert_allclose((found['pix_acc'], found['miou']), theirs.get(), atol=1e-15)


def test_batches_count_as_their_images():
    pairs = draw(5, 3, 6, 0, 0.3)
    together = Confusion(5)
    together.add(*map(np.stack, zip(*pairs)))
    assert (together.counts == count(5, pairs).counts).all() and together.num_images == 3


def test_nothing_counted_is_an_error():
    with pytest.raises(UsageError, match='no validation image'):
        Confusion(3).metrics()


def test_pixels_are_normalised_as_gluoncvs():
    pixels = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype('uint8')
    transforms = mx.gluon.data.vision.transforms
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize([.485, .456, .406], [.229, .224, .225])])
    np.testing.assert_allclose(metrics.normalise(pixels), theirs(mx.nd.array(pixels, dtype='uint8')).asnumpy(),
                               atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Protocols

class Net(mx.gluon.nn.HybridSequential):
    """Scores that a pixel's neighbourhood decides; remembers the shapes it was asked for."""

    base_size, crop_size = 32, 24

    def __init__(self, classes=4):
        super().__init__()
        self.shapes = []
        self.add(mx.gluon.nn.Conv2D(classes, 3, padding=1, in_channels=3))
        mx.random.seed(2)
        self.initialize(mx.init.Xavier())

    def forward(self, x):
        self.shapes.append(x.shape[2:])
        return (super().forward(x),)

    def evaluate(self, x):
        return self(x)[0]


class Stored:
    """Images of several sizes, whole, and as batches of their corners."""

    def __init__(self, sizes, batch_size=2):
        rng = np.random.RandomState(0)
        self.data = [(rng.randint(0, 256, (h, w, 3)).astype('uint8'), rng.randint(-1, 4, (h, w)).astype('int16'))
                     for h, w in sizes]
        self.num_images, self.batch_size = len(sizes), batch_size

    def images(self):
        return iter(self.data)

    def batches(self):
        size = self.batch_size
        for first in range(0, self.num_images, size):
            rows = [self.data[number % self.num_images] for number in range(first, first + size)]
            yield Batch(np.stack([metrics.normalise(pixels[:8, :8]) for pixels, _ in rows]),
                        np.stack([label[:8, :8] for _, label in rows])), min(size, self.num_images - first)


def expected(net, pairs):
    return count(4, [(label, net(mx.nd.array(metrics.normalise(pixels)[None]))[0][0].asnumpy().argmax(0))
                     for pixels, label in pairs]).metrics()


@pytest.mark.parametrize('devices', [CPU, [mx.cpu(0), mx.cpu(1)]])
def test_whole_images_are_counted_once_at_their_size(devices):
    net, stream = Net(), Stored([(8, 9), (13, 8), (21, 30)])
    wanted = expected(net, stream.data)
    net.collect_params().reset_ctx(devices)
    net.shapes.clear()
    assert metrics.evaluate_images(net, stream, devices, FLOAT32, 4) == wanted
    assert net.shapes == [(8, 9), (13, 8), (21, 30)]


@pytest.mark.parametrize('devices', [CPU, [mx.cpu(0), mx.cpu(1)]])
@pytest.mark.parametrize('number', [1, 4, 5])
def test_crops_are_counted_once_without_what_fills_up(number, devices):
    net, stream = Net(), Stored([(8, 8)] * number)
    wanted = expected(net, stream.data)
    net.collect_params().reset_ctx(devices)
    assert metrics.evaluate_crops(net, stream, devices, FLOAT32, 4) == wanted
    assert wanted['num_images'] == number


def test_a_stream_that_loses_an_image_is_found_out():
    stream = Stored([(8, 8)] * 3)
    stream.num_images = 4
    stream.batches = lambda: iter([(next(Stored([(8, 8)] * 2).batches()))])
    with pytest.raises(RuntimeError, match='2 of 4'):
        metrics.evaluate_crops(Net(), stream, CPU, FLOAT32, 4)


@pytest.mark.parametrize('size', [(20, 33), (33, 20), (24, 24), (40, 7), (11, 12)])
def test_several_scales_are_gluoncvs(size):
    net = Net()
    x = mx.nd.array(np.random.RandomState(1).normal(size=(3,) + size))
    theirs = MultiEvalModel(net, 4, CPU)(x)
    ours = metrics.multi_scale(net.evaluate, x.expand_dims(0), net.base_size, net.crop_size)
    np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), rtol=1e-4)
    assert set(net.shapes) == {(24, 24)}


def test_several_scales_do_not_overflow():
    found = metrics.multi_scale(lambda x: 1e4 * x, mx.nd.ones((1, 3, 30, 20)), 32, 24)
    assert np.isfinite(found.asnumpy()).all()


def test_the_multi_scale_evaluation_uses_them():
    net, stream = Net(), Stored([(20, 33), (12, 12)])
    found = metrics.evaluate_images(net, stream, CPU, FLOAT32, 4, multi=(32, 24))
    wanted = count(4, [(label, metrics.multi_scale(net.evaluate, mx.nd.array(metrics.normalise(pixels)[None]), 32, 24)
                        [0].asnumpy().argmax(0)) for pixels, label in stream.data]).metrics()
    assert found == wanted
