"""Weights of files: whose they may be, and that nothing changes where they do not fit."""
import shlex
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange.convert import import_weights
from gluon_tricks.models import params_file, timm, zoo
from gluon_tricks.models.backbone import build_backbone
from gluon_tricks.models.weights import load_params
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tricks.low_precision import precision
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
    for content in (b'', b'\x12', b'{"nodes": []}'):
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
        zoo.trained_net(zoo.DEMO, path, 2 ** 40, 32, [mx.cpu()], precision('float32', [mx.cpu()]))


@pytest.mark.parametrize('take', [
    lambda path, out: zoo.trained_net(zoo.DEMO, path, 4, 32, [mx.cpu()], precision('float32', [mx.cpu()])),
    lambda path, out: build_backbone(zoo.DEMO, path), lambda path, out: import_weights(path, out, zoo.DEMO)])
def test_a_file_is_read_once(take, demo, tmp_path, monkeypatch):
    path, read, load = saved(demo, tmp_path / 'net.params'), [], params_file.load

    def counted(path):
        read.append(path)
        return load(path)
    monkeypatch.setattr(params_file, 'load', counted)
    take(path, str(tmp_path / 'out.params'))
    assert read == [path]


# ---------------------------------------------------------------------------------------------------------------------
# Full names of any era

@pytest.mark.parametrize('prefix', ['resnetv1d_', 'resnetv1d0_', 'arg:resnetv1d12_'])
def test_full_names_with_another_number_of_the_network(prefix, demo, tmp_path):
    """Gluon counts the networks of a process, and did so in other ways."""
    path, values = str(tmp_path / 'a.params'), mx.nd.random.normal(shape=(3,))
    demo(mx.nd.zeros((1, 3, 32, 32)))
    arrays = {name: mx.nd.random.normal(shape=param.shape, dtype='float16')
              for name, param in demo.collect_params().items()}
    mx.nd.save(path, {prefix + name[len('resnetv1d_'):]: array for name, array in arrays.items()})
    load_params(demo, path)
    for name, param in demo.collect_params().items():
        np.testing.assert_array_equal(param.data().asnumpy(), arrays[name].asnumpy())
    mx.nd.save(path, {f'{prefix}extra': values, **{prefix + name[len('resnetv1d_'):]: array
                                                   for name, array in arrays.items()}})
    assert 'the file has extra' in refused(demo, path)


def test_full_names_of_a_network_whose_prefix_gluon_counts(tmp_path):
    path = str(tmp_path / 'a.params')
    net = initialised(get_model('mobilenet0.25', classes=4))
    mx.nd.save(path, {name: param.data() for name, param in net.collect_params().items()})
    other = get_model('mobilenet0.25', classes=4)
    assert other.prefix != net.prefix
    load_params(other, path)
    x = mx.nd.ones((1, 3, 32, 32))
    np.testing.assert_array_equal(other(x).asnumpy(), net(x).asnumpy())


def test_full_names_of_a_variant_with_the_same_shapes_are_refused(tmp_path):
    """ResNet-C's and -D's arrays have the same shapes in the same order."""
    net, path = initialised(get_model('resnet18_v1c', classes=4, width=8)), str(tmp_path / 'a.params')
    mx.nd.save(path, {name: param.data() for name, param in net.collect_params().items()})
    other = initialised(get_model('resnet18_v1d', classes=4, width=8))
    assert [param.shape for param in other.collect_params().values()] == [
        param.shape for param in net.collect_params().values()]
    assert 'the weights of another network' in refused(other, path)


# ---------------------------------------------------------------------------------------------------------------------
# timm's safetensors

@pytest.fixture
def resnet18(tmp_path):
    """(path of a file with timm's names, {our name: array}) of a ResNet-18-B of 4 classes."""
    package = pytest.importorskip('safetensors.numpy', reason='needs the package safetensors')
    rng = np.random.RandomState(0)
    network = timm.networks()['resnet18']
    arrays = {name: rng.normal(size=shape).astype('float32') for name, shape in network.shapes(4).items()}
    counters = {name.replace('running_var', 'num_batches_tracked'): np.array(3) for name in arrays
                if name.endswith('running_var')}
    path = str(tmp_path / 'model.safetensors')
    package.save_file(dict(arrays, **counters), path)
    return path, {ours: arrays[name] for name, ours, _ in network.arrays}


def test_load_params_from_timm(resnet18):
    path, arrays = resnet18
    net = get_model('resnet18_v1b', classes=4)
    load_params(net, path)
    params = net._collect_params_with_prefix()
    assert set(params) == set(arrays)
    for name, param in params.items():
        np.testing.assert_array_equal(param.data().asnumpy(), arrays[name])


def test_a_file_of_timms_for_another_network_is_refused(resnet18, demo):
    path, _ = resnet18
    assert "timm's resnet18, resnet18_v1b here" in refused(demo, path)
    for model in ('resnet18_v1d', 'resnet18_v1'):
        sentence = refused(initialised(get_model(model, classes=4)), path)
        assert 'give --model resnet18_v1b' in sentence
    assert 'the file has 4 classes and the network 9' in refused(initialised(get_model('resnet18_v1b', classes=9)), path)
    other = initialised(get_model('resnet18_v1b', classes=4, norm_kwargs={'epsilon': 1e-3}))
    assert 'other BatchNorm epsilons' in refused(other, path)


def test_the_base_of_a_detector_or_a_segmenter_takes_it(resnet18):
    path, arrays = resnet18
    for options in ({'dilated': True}, {'use_global_stats': True}):
        net = build_backbone('resnet18_v1b', path, **options)
        np.testing.assert_array_equal(net.layer4[1].conv2.weight.data().asnumpy(), arrays['layer4.1.conv2.weight'])


@pytest.mark.parametrize('name, content', [('net.pth', b'x'), ('net.bin', b''), ('net', b'PK\x03\x04'),
                                           ('net.safetensors', b'\x80\x02}q\x00.')])
def test_a_pickle_is_never_read(name, content, demo, tmp_path):
    (tmp_path / name).write_bytes(content)
    sentence = refused(demo, tmp_path / name)
    assert 'a pickle' in sentence and 'python -c ' in sentence and 'weights_only=True' in sentence


def test_the_line_that_converts_a_pickle(resnet18, tmp_path):
    torch = pytest.importorskip('torch', reason='needs torch')
    from safetensors.torch import load_file
    path, arrays = resnet18
    torch.save({'state_dict': load_file(path)}, str(tmp_path / "it's.pth"))
    net = get_model('resnet18_v1b', classes=4)
    with pytest.raises(UsageError) as caught:
        load_params(net, str(tmp_path / "it's.pth"))
    command = str(caught.value).split('type: python ')[1]
    subprocess.run(f'{shlex.quote(sys.executable)} {command}', shell=True, check=True)
    load_params(net, str(tmp_path / "it's.safetensors"))
    np.testing.assert_array_equal(net.fc.weight.data().asnumpy(), arrays['fc.weight'])
