"""The model that takes a decoded image, beside `predict`'s preprocessing and network."""
import json

import cv2
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import prepare
from gluon_tricks.exchange import onnx_graph, onnx_image
from gluon_tricks.models.zoo import DEMO, get_model
from support.onnx import with_statistics

pytest.importorskip('onnx', reason="pip install '.[onnx]'")
pytest.importorskip('onnxruntime', reason="pip install '.[onnx]'")

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


@pytest.fixture(scope='module')
def both():
    """(the model, function of an image by onnxruntime, the same by MXNet)."""
    net = with_statistics(get_model(DEMO, classes=10), 32)
    model = onnx_image.from_image(onnx_graph.classifier(net, 32), 32, 0.875, MEAN, STD, [f'class {k} é' for k in range(10)])

    def by_mxnet(image):
        return mx.nd.softmax(net(prepare(mx.nd.array(image, dtype='uint8'), 32, 0.875, MEAN, STD))).asnumpy()[0]
    return model, onnx_graph.session(model), by_mxnet


@pytest.mark.parametrize('height, width', [(37, 37), (31, 97), (200, 333), (501, 77), (1080, 1921), (1, 5), (33, 32), (640, 57),
                                           (299, 301), (74, 74)])
def test_images_of_any_size(height, width, both):
    patches = np.random.RandomState(height).randint(0, 256, (7, 9, 3)).astype('uint8')
    image = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    _, run, by_mxnet = both
    found, expected = run(image), by_mxnet(image)
    assert found.shape == (10,) and found.sum() == pytest.approx(1, abs=1e-5)
    assert found.argmax() == expected.argmax() and np.abs(found - expected).max() < 5e-3


def test_the_preprocessing_is_to_a_step_of_256(both):
    """By the node in front of the network: MXNet's pixels, but for those that OpenCV's weights round another way."""
    model, _, _ = both
    onnx = onnx_graph.require('onnx')
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    del cut.graph.output[:]
    cut.graph.output.append(onnx.helper.make_tensor_value_info('image_crop', onnx.TensorProto.FLOAT, [1, 3, 32, 32]))
    image = np.random.RandomState(0).randint(0, 256, (61, 83, 3)).astype('uint8')
    expected = prepare(mx.nd.array(image, dtype='uint8'), 32, 0.875, (0, 0, 0), (1, 1, 1)).asnumpy()
    found = onnx_graph.session(cut)(image)
    assert np.abs(found - expected).max() <= 1 and (found == expected).mean() > 0.8


def test_the_metadata_tell_classes_and_protocol(both):
    facts = {each.key: each.value for each in both[0].metadata_props}
    assert json.loads(facts['classes']) == [f'class {k} é' for k in range(10)]
    assert (facts['resize'], facts['crop'], facts['interpolation']) == ('37', '32', 'bilinear')
    assert tuple(json.loads(facts['mean'])) == MEAN and tuple(json.loads(facts['std'])) == STD


def test_no_warning(both, capfd):
    onnx_graph.session(both[0])
    assert capfd.readouterr().err == ''
