"""Weights of others to .params, and ours to timm's names."""
import hashlib

import numpy as np
import pytest

import gluon_tricks as gt
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange.convert import import_weights, timm_arrays, write_timm
from gluon_tricks.models import timm
from gluon_tricks.models.zoo import get_model
from support.networks import initialised, saved

pytest.importorskip('safetensors', reason='needs the package safetensors')
MODEL = 'resnet18_v1d'


@pytest.fixture(scope='module')
def network():
    """A ResNet-18-D of 7 classes whose statistics are not those of a new one."""
    net = initialised(get_model(MODEL, classes=7))
    for name, param in net.collect_params().items():
        if name.endswith('running_mean'):
            param.set_data(mx.nd.random.normal(0, 0.1, param.shape))
        elif name.endswith(('running_var', 'gamma')):
            param.set_data(mx.nd.random.uniform(0.5, 1.5, param.shape))
    return net


def test_there_and_back_every_bit_is_the_same(network, tmp_path):
    path, out = str(tmp_path / 'model.safetensors'), str(tmp_path / 'net.params')
    assert write_timm(network, MODEL, path).name == 'resnet18d'
    found = import_weights(path, out, MODEL)
    assert (found.model, found.classes, found.timm, found.counters) == (MODEL, 7, 'resnet18d', 0)
    params = network._collect_params_with_prefix()
    assert found.arrays == len(params) == 112 and found.values == sum(param.data().size for param in params.values())
    read = gt.read_params(out)
    assert list(read) == list(params)
    for name, array in read.items():
        assert array.dtype == np.float32 and array.tobytes() == params[name].data().asnumpy().tobytes()
    assert found.sha256 == hashlib.sha256(open(out, 'rb').read()).hexdigest()
    assert found.source_sha256 == hashlib.sha256(open(path, 'rb').read()).hexdigest()


def test_timm_opens_the_file_and_computes_the_same(network, theirs, tmp_path):
    torch, package = theirs
    path, x = str(tmp_path / 'model.safetensors'), np.random.RandomState(0).normal(0, 3, (2, 3, 64, 64))
    write_timm(network, MODEL, path)
    opened = package.create_model('resnet18d', num_classes=7, checkpoint_path=path).eval()
    with torch.no_grad():
        found = opened(torch.from_numpy(x.astype('float32'))).numpy()
    wanted = network(mx.nd.array(x)).asnumpy()
    assert 0 < abs(wanted).max() and abs(found - wanted).max() < 1e-5 * abs(wanted).max()


def test_the_file_has_timms_names_in_timms_order(network):
    listed = timm.networks()['resnet18d']
    found, arrays = timm_arrays(network, MODEL)
    assert found == listed
    assert [(name, array.shape) for name, array in arrays.items()] == list(listed.shapes(7).items())


def test_float16_full_names_and_counters(network, tmp_path):
    from safetensors.numpy import save_file
    _, arrays = timm_arrays(network, MODEL)
    half = {name: array.astype('float16') for name, array in arrays.items()}
    counters = {name.replace('running_var', 'num_batches_tracked'): np.array(5) for name in arrays
                if name.endswith('running_var')}
    save_file(dict(half, **counters), str(tmp_path / 'half.safetensors'))
    found = import_weights(str(tmp_path / 'half.safetensors'), str(tmp_path / 'a.params'), MODEL)
    assert found.counters == len(counters) == 22
    mx.nd.save(str(tmp_path / 'old.params'), {'arg:resnetv1d3_' + name[len(network.prefix):]: param.data().astype(
        'float16') for name, param in network.collect_params().items()})
    import_weights(str(tmp_path / 'old.params'), str(tmp_path / 'b.params'), MODEL)
    assert (tmp_path / 'a.params').read_bytes() == (tmp_path / 'b.params').read_bytes()


@pytest.mark.parametrize('out, options, words', [
    ('net.safetensors', {}, 'must end with .params'),
    ('none/net.params', {}, 'cannot be written'),
    ('net.params', {'classes': 8}, 'the file has 7 classes, and must have 8'),
    ('net.params', {'model': 'resnet18_v1b'}, 'give --model resnet18_v1d'),
    ('net.params', {'model': 'resnet50_v1d'}, 'give --model resnet18_v1d'),
    ('net.params', {'model': 'no_such'}, 'no such network'),
    ('in.params', {}, 'is the file that is read'),
])
def test_what_cannot_be_is_named_and_nothing_is_written(out, options, words, network, tmp_path):
    write_timm(network, MODEL, str(tmp_path / 'model.safetensors'))
    (tmp_path / 'in.params').symlink_to(tmp_path / 'model.safetensors')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=words):
        import_weights(str(tmp_path / 'model.safetensors'), str(tmp_path / out), **dict({'model': MODEL}, **options))
    assert sorted(tmp_path.iterdir()) == before


def test_gluoncvs_own_file(tmp_path):
    import gluoncv
    theirs = initialised(gluoncv.model_zoo.get_model('resnet18_v1b', pretrained=False, classes=5))
    found = import_weights(saved(theirs, tmp_path / 'in.params'), str(tmp_path / 'out.params'), 'resnet18_v1b', 5)
    assert (found.timm, found.classes) == ('', 5)
    for name, array in gt.read_params(str(tmp_path / 'out.params')).items():
        np.testing.assert_array_equal(array, theirs._collect_params_with_prefix()[name].data().asnumpy())


@pytest.mark.parametrize('model, words', [
    ('resnet50_v1', 'timm has no such network'), ('mobilenet1.0', '27 relu6'),
    ('resnet18_v1c', 'timm has no such network'), ('resnet18_v1b', "other arrays than timm's resnet18")])
def test_a_network_that_timm_cannot_open_is_not_written(model, words, network, tmp_path):
    net = initialised(get_model(model)) if model == 'mobilenet1.0' else network
    with pytest.raises(UsageError, match=words):
        write_timm(net, model, str(tmp_path / 'model.safetensors'))
    assert not list(tmp_path.iterdir())
