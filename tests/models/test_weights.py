"""Weights of files: whose they may be, and that nothing changes where they do not fit."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import zoo
from gluon_tricks.models.weights import load_params
from gluon_tricks.models.zoo import get_model
from support.networks import initialised, saved

import gluoncv


def test_load_params_from_gluoncv(tmp_path):
    theirs = gluoncv.model_zoo.get_model('resnet18_v1b', pretrained=False, classes=4)
    path = saved(initialised(theirs), tmp_path / 'net.params')
    net = get_model('resnet18_v1b', classes=4)
    load_params(net, path)
    for name, array in mx.nd.load(path).items():
        np.testing.assert_array_equal(net._collect_params_with_prefix()[name].data().asnumpy(), array.asnumpy())


def test_load_params_into_a_network_that_knows_no_shapes_yet(tmp_path):
    path = saved(initialised(get_model('mobilenet0.25', classes=4)), tmp_path / 'net.params')
    net = get_model('mobilenet0.25', classes=4)
    load_params(net, path)
    assert net(mx.nd.zeros((1, 3, 64, 64))).shape == (1, 4)


def test_float16_files_go_into_float32_networks_and_back(tmp_path):
    path = saved(initialised(get_model(zoo.DEMO, classes=4)), tmp_path / 'half.params', 'float16')
    assert mx.nd.load(path)['fc.weight'].dtype == np.float16
    net = get_model(zoo.DEMO, classes=4)
    load_params(net, path)
    assert net.fc.weight.data().dtype == np.float32
    np.testing.assert_array_equal(net.fc.weight.data().asnumpy(), mx.nd.load(path)['fc.weight'].asnumpy())
    half = get_model(zoo.DEMO, classes=4)
    half.cast('float16')
    load_params(half, saved(net, tmp_path / 'full.params'))
    assert half.fc.weight.data().dtype == np.float16 and half.bn1.gamma.data().dtype == np.float32


def test_load_params_from_an_export(tmp_path):
    net = get_model(zoo.DEMO, classes=4)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    expected = net(mx.nd.ones((1, 3, 32, 32))).asnumpy()
    net.export(str(tmp_path / 'net'))
    other = get_model(zoo.DEMO, classes=4)
    load_params(other, str(tmp_path / 'net-0000.params'))
    np.testing.assert_allclose(other(mx.nd.ones((1, 3, 32, 32))).asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_load_params_on_several_devices(tmp_path):
    path = saved(initialised(get_model(zoo.DEMO, classes=4)), tmp_path / 'net.params')
    net = get_model(zoo.DEMO, classes=4)
    net.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    load_params(net, path)
    assert net.fc.weight.list_ctx() == [mx.cpu(0), mx.cpu(1)]
    for array in net.fc.weight.list_data():
        np.testing.assert_array_equal(array.asnumpy(), mx.nd.load(path)['fc.weight'].asnumpy())
    fresh = get_model(zoo.DEMO, classes=4)
    load_params(fresh, path, ctx=mx.cpu(1))
    assert fresh.fc.weight.list_ctx() == [mx.cpu(1)]


def refused(net, path):
    """The sentence that refuses a file; nothing of the network has changed."""
    before = {name: param.data().asnumpy() for name, param in net.collect_params().items()}
    with pytest.raises(UsageError) as caught:
        load_params(net, str(path))
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    for name, param in net.collect_params().items():
        np.testing.assert_array_equal(param.data().asnumpy(), before[name])
    return str(caught.value)


@pytest.fixture
def demo():
    net = get_model(zoo.DEMO, classes=4)
    net.initialize(mx.init.Xavier())
    return net


def test_files_that_are_no_weights(demo, tmp_path):
    path = tmp_path / 'net.params'
    assert 'no such file' in refused(demo, path)
    assert 'no such file' in refused(demo, tmp_path)
    for content in (b'', b'\x12', b'PK\x03\x04 a zip file', b'{"nodes": []}'):
        path.write_bytes(content)
        assert 'not a .params file' in refused(demo, path)
    demo.save_parameters(str(path))
    whole = path.read_bytes()
    for length in (8, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert 'damaged or cut short' in refused(demo, path)
    mx.nd.save(str(path), [mx.nd.zeros(3)])
    assert 'no named arrays' in refused(demo, path)


def test_another_number_of_classes(demo, tmp_path):
    path = saved(initialised(get_model(zoo.DEMO, classes=9)), tmp_path / 'net.params')
    sentence = refused(demo, path)
    assert '9 classes and the network 4' in sentence and '--num-classes 9' in sentence
    arrays = {name: param.data() for name, param in demo._collect_params_with_prefix().items()}
    for shape in ((), (0,)):
        with mx.util.np_shape(True):
            mx.nd.save(path, dict(arrays, **{'fc.bias': mx.nd.zeros(shape)}))
        assert f'fc.bias has the shape {shape} in the file' in refused(demo, path)


def test_weights_of_another_network(demo, tmp_path):
    path = saved(initialised(get_model('resnet18_v1b', classes=4, width=8)), tmp_path / 'net.params')
    sentence = refused(demo, path)
    for words in ('lacks conv1.0.weight', 'has conv1.weight', 'file: 102 arrays', 'network resnetv1d: 72 arrays'):
        assert words in sentence, words
    path = saved(initialised(get_model(zoo.DEMO, classes=4, width=8)), tmp_path / 'narrow.params')
    assert 'conv1.0.weight has the shape (4, 3, 3, 3)' in refused(demo, path)
    arrays = {name: param.data() for name, param in demo._collect_params_with_prefix().items()}
    mx.nd.save(str(tmp_path / 'extra.params'), dict(arrays, **{'aux.weight': mx.nd.zeros(1)}))
    assert 'the file has aux.weight' in refused(demo, tmp_path / 'extra.params')
    del arrays['layer3.0.bn2.gamma']
    mx.nd.save(str(tmp_path / 'missing.params'), arrays)
    assert 'the file lacks layer3.0.bn2.gamma (' in refused(demo, tmp_path / 'missing.params')


def test_a_run_cannot_ask_for_any_number_of_classes(demo, tmp_path):
    """The file says how many there are, before a layer of another number takes memory."""
    path = saved(demo, tmp_path / 'net.params')
    with pytest.raises(UsageError, match='--num-classes 4'):
        zoo.trained_net(zoo.DEMO, path, 2 ** 40, 32, [mx.cpu()], None)
