"""What an export is refused for: outputs that are not MXNet's."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import onnx_agreement
from support.networks import initialised

MEAN, STD = (120.0, 120.0, 120.0), (60.0, 60.0, 60.0)


@pytest.fixture
def net():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3, padding=1), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Flatten())
    return initialised(net)


def test_a_classifier_that_agrees_and_one_that_does_not(net):
    seen = onnx_agreement.classifier(lambda x: net(mx.nd.array(x)).asnumpy() * (1 + 1e-6), net, 32, MEAN, STD)
    assert 0 < seen['difference'] < 1e-5 < seen['limit']
    for wrong in (lambda out: out * 1.01, lambda out: out * np.nan, lambda out: out[:, ::-1]):
        with pytest.raises(UsageError, match='does not give what MXNet gives'):
            onnx_agreement.classifier(lambda x, wrong=wrong: wrong(net(mx.nd.array(x)).asnumpy()), net, 32, MEAN, STD)


def test_another_class_is_refused_but_where_the_two_are_alike():
    one, other = np.float32([0.6, 0.4]), np.float32([0.4, 0.6])
    near, nearer = np.float32([0.505, 0.495]), np.float32([0.495, 0.505])
    with pytest.raises(UsageError):
        onnx_agreement.from_image(lambda image: other, lambda image: one)
    seen = onnx_agreement.from_image(lambda image: near, lambda image: nearer)
    assert seen['difference'] == pytest.approx(0.01, abs=1e-6) and seen['images'] == 3


def test_a_segmenter_s_pixels_are_counted():
    net = mx.gluon.nn.Conv2D(4, 3, padding=1)
    net.initialize(mx.init.Xavier())
    seen = onnx_agreement.segmenter(lambda x: net(mx.nd.array(x)).asnumpy(), net, MEAN, STD)
    assert seen['pixels'] == 64 * 64 + 2 * 97 * 65 + 80 * 131 and seen['pixels_of_another_class'] == 0
    with pytest.raises(UsageError, match='pixels of another class'):
        onnx_agreement.segmenter(lambda x: net(mx.nd.array(x)).asnumpy()[:, ::-1], net, MEAN, STD)


def found(ids, scores, boxes):
    return [np.float32(each)[None] for each in ([[k] for k in ids], [[k] for k in scores], boxes)]


BOXES = [[0, 0, 10, 10], [5, 5, 20, 20], [-1, -1, -1, -1]]


@pytest.mark.parametrize('given, expected', [
    (found([1, 2, -1], [0.9, 0.8, -1], BOXES), (2, 2, 2)),
    (found([2, -1, 1], [0.8, -1, 0.9], [BOXES[1], BOXES[2], BOXES[0]]), (2, 2, 2)),        # another order
    (found([1, -1, -1], [0.9, -1, -1], [BOXES[0], BOXES[2], BOXES[2]]), (2, 1, 1)),        # one is missing
    (found([1, 1, -1], [0.9, 0.8, -1], BOXES), (2, 2, 1)),                                 # another id
    (found([1, 2, -1], [0.9, 0.7, -1], BOXES), (2, 2, 1)),                                 # another score
    (found([1, 2, 2], [0.9, 0.8, 0.8], BOXES[:2] + BOXES[1:2]), (2, 3, 2)),                # one twice
    (found([1, 2, -1], [0.9, 0.8, -1], [[0, 0, 10, 10.002]] + BOXES[1:]), (2, 2, 1))])     # another box
def test_detections_are_matched(given, expected):
    seen = onnx_agreement.compare_detections(given, found([1, 2, -1], [0.9, 0.8, -1], BOXES))
    assert (seen['expected'], seen['given'], seen['found']) == expected


def test_a_detector_is_refused_for_what_it_misses_and_where_nothing_can_be_compared():
    class Detector(mx.gluon.Block):
        def forward(self, x):
            return [mx.nd.array(each) for each in found([1, 2, -1], [0.9, 0.8, -1], BOXES)]

    net = Detector()
    net.params.get('weight', shape=(1,)).initialize()
    whole = found([1, 2, -1], [0.9, 0.8, -1], BOXES)
    seen = onnx_agreement.detector(lambda x: whole, net, 32, 48, MEAN, STD)
    assert seen['expected'] == seen['found'] >= 40
    with pytest.raises(UsageError, match='does not give'):
        onnx_agreement.detector(lambda x: found([1, -1, -1], [0.9, -1, -1], BOXES), net, 32, 48, MEAN, STD)
    net.forward = lambda x: [mx.nd.array(each) for each in found([-1], [-1], [[-1] * 4])]
    with pytest.raises(UsageError, match='finds nothing'):
        onnx_agreement.detector(lambda x: found([-1], [-1], [[-1] * 4]), net, 32, 48, MEAN, STD)


def test_the_images_differ_and_are_whole():
    first, second = onnx_agreement.image(33, 51, 0), onnx_agreement.image(33, 51, 1)
    assert first.shape == (33, 51, 3) and first.dtype == np.uint8 and (first != second).any()
    assert onnx_agreement.batch(2, 33, 51, MEAN, STD).shape == (2, 3, 33, 51)
