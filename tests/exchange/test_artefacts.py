"""What MXNet and timm make of their files, and a form that is not the network's."""
import math
import os
import re

import numpy as np
import pytest

from gluon_tricks.api import open_run
from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import short_side
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import export, onnx_agreement, onnx_graph
from gluon_tricks.exchange.artefacts import crop_pct
from gluon_tricks.exchange.subject import subject_of
from gluon_tricks.models.weights import load_params
from gluon_tricks.models.zoo import DEMO, get_model
from support.exported import TASKS


@pytest.mark.parametrize('task', TASKS)
def test_mxnet_opens_the_graph_with_the_weights(task, folders):
    """By the line that the documentation gives; net.params has the names that `load_params` and GluonCV take."""
    run, folder = folders[task]
    block = mx.gluon.SymbolBlock.imports(str(folder / 'net-symbol.json'), ['data'], str(folder / 'net.params'))
    net = subject_of(str(run)).net
    x = onnx_agreement.batch(1, 96, 128, (120,) * 3, (60,) * 3) if task != 'classification' else np.ones((2, 3, 32, 32), 'float32')
    for found, expected in zip(onnx_agreement.outputs(block, x), onnx_agreement.outputs(net, x)):
        assert np.array_equal(found, expected)
    assert mx.nd.load(str(folder / 'net.params')).keys() == mx.nd.load(open_run(run).params).keys()


def test_the_file_of_weights_loads_again(folders):
    run, folder = folders['classification']
    net = get_model(DEMO, classes=4)
    load_params(net, str(folder / 'net.params'))
    x = np.ones((1, 3, 32, 32), 'float32')
    assert np.array_equal(onnx_agreement.outputs(net, x)[0], onnx_agreement.outputs(open_run(run).net(), x)[0])


def test_timm_opens_the_folder(theirs, folders):
    """By the line that the documentation gives: the logits of MXNet, the names of the classes, the size of images."""
    torch, timm = theirs
    run, folder = folders['classification']
    opened = timm.create_model(f'local-dir:{folder}', pretrained=True).eval()
    x = onnx_agreement.batch(7, 32, 32, (120,) * 3, (60,) * 3)
    with torch.no_grad():
        found = opened(torch.from_numpy(x)).numpy()
    expected = onnx_agreement.outputs(open_run(run).net(), x)[0]
    assert found.shape == (7, 4) and onnx_graph.relative_difference(found, expected) < 1e-5
    assert opened.pretrained_cfg['label_names'] == ['red', 'grün', 'blue', 'white']
    resize = timm.data.create_transform(**timm.data.resolve_model_data_config(opened)).transforms[0]
    assert resize.size == short_side(32, 0.875) == 37


def test_the_card_s_lines_open_the_folder(folders):
    import onnxruntime

    import mxnet
    run, folder = folders['classification']
    text = (folder / 'README.md').read_text(encoding='utf-8')
    lines = {name: line for name, line in re.findall('^\\* (.+), DIR being this folder: `(.+)`$', text, re.M)}
    assert set(lines) == {'ONNX Runtime', 'MXNet', 'timm'}  # the last is run above
    images = onnx_agreement.batch(2, 32, 32, (120,) * 3, (60,) * 3)
    names = {'onnxruntime': onnxruntime, 'mxnet': mxnet, 'images': images}
    expected = onnx_agreement.outputs(open_run(run).net(), images)[0]
    found = [eval(lines['ONNX Runtime'].replace('DIR', str(folder)), names)[0],
             onnx_agreement.outputs(eval(lines['MXNet'].replace('DIR', str(folder)), names), images)[0]]
    for each in found:
        assert onnx_graph.relative_difference(each, expected) < 1e-5


@pytest.mark.parametrize('ratio', [0.875, 0.9, 0.95, 1.0, 2 / 3, 0.1])
def test_timm_s_crop_resizes_as_here(ratio):
    for side in range(1, 600):
        assert math.floor(side / crop_pct(side, ratio)) == short_side(side, ratio)
    assert crop_pct(224, 0.875) == 0.875


def test_an_artefact_that_differs_leaves_no_folder(folders, tmp_path, monkeypatch):
    """One weight of the ONNX model is not the network's."""
    import onnx
    made = onnx_graph.classifier

    def wrong(net, input_size):
        model = made(net, input_size)
        each = next(each for each in model.graph.initializer if each.name.endswith('dense0_bias'))
        each.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(each) + np.float32([0, 0.01, 0, 0]), each.name))
        return model
    monkeypatch.setattr(onnx_graph, 'classifier', wrong)
    with pytest.raises(UsageError, match='does not give what MXNet gives'):
        export.export(subject_of(str(folders['classification'][0])), str(tmp_path / 'out'))
    assert os.listdir(str(tmp_path)) == []
