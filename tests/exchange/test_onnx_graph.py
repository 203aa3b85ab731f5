"""Classifiers and segmenters as ONNX, run by onnxruntime beside MXNet."""
import sys

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import onnx_graph
from gluon_tricks.models.zoo import DEMO, default_input_size, get_model, own_names
from gluon_tricks.tasks.segmentation.network import build_fcn
from support.onnx import with_statistics

onnx = pytest.importorskip('onnx', reason="pip install '.[onnx]'")
pytest.importorskip('onnxruntime', reason="pip install '.[onnx]'")

SMALL = [DEMO, 'resnet18_v1d']
LARGE = sorted(set(own_names()) - set(SMALL)) + ['resnet50_v1', 'inceptionv3', 'mobilenet1.0', 'densenet201',
                                                 'se_resnext50_32x4d']


def build(name):
    net = get_model(name, classes=10)
    with_statistics(net, default_input_size(name))
    return net, onnx_graph.classifier(net, default_input_size(name))


@pytest.mark.parametrize('name', SMALL + [pytest.param(name, marks=pytest.mark.slow) for name in LARGE])
def test_a_classifier_gives_mxnet_s_logits_at_any_batch_and_without_a_warning(name, capfd):
    net, model = build(name)
    run = onnx_graph.session(model)
    for batch in (1, 7):
        x = np.random.RandomState(batch).normal(0, 2, (batch, 3) + (default_input_size(name),) * 2).astype('float32')
        expected = net(mx.nd.array(x)).asnumpy()
        assert run(x).shape == expected.shape == (batch, 10)
        difference = onnx_graph.relative_difference(run(x), expected)
        print(f'{name} batch {batch}: {difference:.2g}')
        assert difference < 1e-5
    captured = capfd.readouterr()
    print(captured.out)  # which -s shows
    assert captured.err == ''


def test_the_form_of_the_model():
    net, model = build(DEMO)
    assert [(each.domain, each.version) for each in model.opset_import] == [('', 13)] and model.ir_version == 7
    assert [each.name for each in model.graph.input] == ['input']
    assert [each.name for each in model.graph.output] == ['logits']
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names) and all(names)
    used = {name for node in model.graph.node for name in node.input}
    assert {each.name for each in model.graph.initializer} <= used
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'batch'


@pytest.fixture(scope='module')
def fcn():
    mx.random.seed(0)
    net = build_fcn(DEMO, 5, aux=True)
    net.head.initialize(mx.init.Xavier(), force_reinit=True)
    model = onnx_graph.segmenter(net, 5)
    return net, model, onnx_graph.session(model)


@pytest.mark.parametrize('size', [(1, 64, 64), (2, 96, 72), (3, 81, 133)])
def test_an_fcn_takes_any_batch_height_and_width(size, fcn):
    net, _, run = fcn
    x = np.random.RandomState(0).normal(0, 2, (size[0], 3) + size[1:]).astype('float32')
    found, expected = run(x), net(mx.nd.array(x))[0].asnumpy()
    assert found.shape == expected.shape == (size[0], 5) + size[1:]
    assert onnx_graph.relative_difference(found, expected) < 1e-5
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_an_fcn_s_second_head_is_left_out(fcn):
    _, model, _ = fcn
    assert [each.name for each in model.graph.output] == ['logits']
    assert not [each.name for each in model.graph.initializer if 'head1' in each.name]


def test_what_has_no_translation_is_one_sentence():
    class Strange(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return F.contrib.quadratic(x, a=1, b=2, c=3)
    with pytest.raises(UsageError, match='cannot be written as ONNX: .*quadratic'):
        onnx_graph.translate(Strange(), {'input': (1, 3)}, {'output': (1, 3)})


@pytest.mark.parametrize('name', ['onnx', 'onnxruntime'])
def test_without_the_extra_there_is_one_sentence(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"^{name} is not installed: type `pip install '.\[onnx\]'`"):
        onnx_graph.require(name)


def test_an_onnx_that_is_too_new_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx.mapping', None)
    with pytest.raises(UsageError, match='too new for MXNet'):
        onnx_graph.require('onnx')
