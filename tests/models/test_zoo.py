"""Networks by name: ours and GluonCV's, their options, their files, and that nothing is downloaded unasked."""
import socket

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import zoo
from gluon_tricks.models.resnet import ResNet
from gluon_tricks.models.zoo import get_model, load_params

import gluoncv

PAPER = ('resnet50_v1', 'inceptionv3', 'mobilenet1.0', 'resnext50_32x4d', 'se_resnet50', 'se_resnext50_32x4d',
         'densenet201')


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to reach a host fails the test, but where a test asks for it."""
    def refuse(*args, **kwargs):
        raise OSError('the network was reached')
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setattr(socket.socket, 'connect', refuse)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv('MXNET_HOME', raising=False)
    return str(tmp_path / 'models')


def initialised(net):
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 64, 64)))
    return net


def saved(net, path, dtype='float32'):
    net.cast(dtype)
    net.save_parameters(str(path))
    return str(path)


@pytest.mark.parametrize('name', PAPER)
def test_the_papers_networks_run_offline(name):
    net = get_model(name, classes=3)
    net.initialize(mx.init.Xavier())
    size = zoo.default_input_size(name)
    assert size == (299 if name == 'inceptionv3' else 224)
    scores = net(mx.nd.random.normal(shape=(1, 3, size, size)))
    assert scores.shape == (1, 3) and np.isfinite(scores.asnumpy()).all()


def test_own_names():
    assert len(zoo.own_names()) == 16 and zoo.DEMO in zoo.own_names()
    for depth in (18, 34, 50, 101, 152):
        for variant in ('v1b', 'v1c', 'v1d'):
            assert 'resnet%d_%s' % (depth, variant) in zoo.own_names()
    assert isinstance(get_model('ResNet18_V1d'), ResNet)
    assert get_model('resnet34_v1b').fc.weight.shape == (1000, 512)
    assert get_model(zoo.DEMO, classes=10).fc.weight.shape == (10, 128)


def test_all_names_are_classifiers():
    names = zoo.all_names()
    assert names == sorted(names) and set(zoo.own_names()) <= set(names) and set(PAPER) <= set(names)
    for word in ('voc', 'coco', 'ade', 'citys', 'kinetics', 'pose', 'rcnn', 'ssd', 'int8', '_gn', 'custom'):
        assert not [name for name in names if word in name], word
    assert len(names) == 133


@pytest.mark.parametrize('name', ['resnet18_v2', 'mobilenetv2_0.25', 'googlenet', 'nasnet_4_1056', 'shufflenet_v2',
                                  'hrnet_w18_small_v1_c', 'cifar_resnet20_v1'])
def test_gluoncvs_networks_give_one_output(name):
    net = get_model(name, classes=5)
    _, shapes, _ = net(mx.sym.var('data')).infer_shape(data=(2, 3) + 2 * (zoo.default_input_size(name),))
    assert shapes == [(2, 5)]


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(set(zoo.all_names()) - {'nasnet_4_1056'}))
def test_every_network_builds_with_any_number_of_classes(name):
    if zoo._PRUNED.search(name):
        assert get_model(name).name.startswith('resnet')
    else:
        test_gluoncvs_networks_give_one_output(name)


def test_pruned_networks_have_1000_classes():
    with pytest.raises(UsageError, match='resnet50_v1d_0.11.*1000 classes'):
        get_model('resnet50_v1d_0.11', classes=5)
    assert tuple(get_model('resnet50_v1d_0.11').fc.weight.shape) == (1000, 784)


def test_default_input_size():
    names = 'InceptionV3', 'resnet50_v1d', zoo.DEMO, 'cifar_resnet20_v1'
    assert [zoo.default_input_size(name) for name in names] == [299, 224, 32, 32]


@pytest.mark.parametrize('name, words', [
    ('resnet50v1d', 'resnet50_v1d'), ('se_resnet51', 'se_resnet50'), ('inception_v3', 'inceptionv3'),
    ('xyzzy', 'such as resnet50_v1d'),
    ('faster_rcnn_resnet50_v1b_voc', 'transfer/'), ('fcn_resnet50_ade', 'transfer/'),
    ('ssd_300_resnet34_v1b_voc', 'does not classify'),
    ('resnet50_v1b_kinetics400', 'does not classify images'), ('yolo3_darknet53_coco', 'does not classify'),
    ('resnet50_v1_int8', 'quantised'), ('resnet50_v1b_gn', 'group normalisation'),
])
def test_names_refused(name, words):
    with pytest.raises(UsageError, match=words) as caught:
        get_model(name)
    assert name in str(caught.value) and '\n' not in str(caught.value)


def test_use_se_is_for_resnext():
    net = get_model('resnext50_32x4d', use_se=True)
    same = get_model('se_resnext50_32x4d')
    assert list(net._collect_params_with_prefix()) == list(same._collect_params_with_prefix())
    assert len(get_model('resnext50_32x4d', use_se=False)._collect_params_with_prefix()) < \
        len(net._collect_params_with_prefix())
    assert type(get_model('se_resnext50_32x4d', use_se=True)) is type(same)
    for name in ('resnet50_v1', 'resnet50_v1d'):
        with pytest.raises(UsageError, match='use_se'):
            get_model(name, use_se=True)


@pytest.mark.parametrize('name, option', [
    ('resnet50_v1d', 'last_gamma'), ('resnet50_v1d', 'prefix'), ('resnet50_v1s', 'final_drp'),
    ('mobilenet1.0', 'last_gamma'), ('mobilenet1.0', 'multiplier'), ('inceptionv3', 'last_gamma'),
    ('densenet201', 'use_global_stats'), ('resnet50_v1', 'dilated'), (zoo.DEMO, 'colour'),
])
def test_options_a_network_cannot_take(name, option):
    with pytest.raises(UsageError, match='option %s.*%s' % (option, name)):
        get_model(name, **{option: 1})


def test_options_go_through_and_dicts_stay():
    options = {'momentum': 0.5}
    for name in ('resnet18_v1d', 'resnet50_v1s'):
        get_model(name, norm_kwargs=options, use_global_stats=True)
        assert options == {'momentum': 0.5}
    net = get_model('resnet18_v1d', norm_kwargs=options, dilated=True, width=16)
    assert net.bn1._kwargs['momentum'] == 0.5 and net.bn1.gamma.shape == (16,)
    assert get_model('resnet50_v1s', final_drop=0.5).drop is not None


@pytest.mark.parametrize('name', ['resnet50_v1d', 'mobilenet1.0'])
def test_a_failed_download_is_one_sentence(name, root, monkeypatch):
    monkeypatch.setenv('MXNET_GLUON_REPO', 'http://127.0.0.1:9/')
    with pytest.raises(UsageError) as caught:
        get_model(name, pretrained=True, root=root)
    for words in (name, 'http://127.0.0.1:9/', '--params-file FILE', '--resume-params FILE'):
        assert words in str(caught.value)


@pytest.mark.parametrize('name', ['resnet18_v1d', zoo.DEMO, 'nasnet_6_4032'])
def test_networks_without_published_weights(name, root):
    with pytest.raises(UsageError, match='published no weights.*--params-file'):
        get_model(name, pretrained=True, root=root)


def test_pretrained_takes_the_file_at_hand(root, tmp_path, monkeypatch):
    from gluoncv.model_zoo import model_store
    asked = []
    path = saved(initialised(gluoncv.model_zoo.get_model('resnet18_v1b', pretrained=False)), tmp_path / 'net.params')

    def at_hand(name, tag=None, root=None):
        asked.append((name, tag, root))
        return path

    monkeypatch.setattr(model_store, 'get_model_file', at_hand)
    net = get_model('resnet18_v1b', pretrained='117a384e', root=root)
    assert asked == [('resnet18_v1b', '117a384e', root)]
    np.testing.assert_array_equal(net.conv1.weight.data().asnumpy(), mx.nd.load(path)['conv1.weight'].asnumpy())
    with pytest.raises(UsageError, match='1000 classes and the network 10'):
        get_model('resnet18_v1b', classes=10, pretrained=True, root=root)
    with pytest.raises(UsageError, match='mobilenet0.25.*do not fit'):
        get_model('mobilenet0.25', pretrained=True, root=root)


# ---- load_params


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
        assert 'fc.bias has the shape %s in the file' % (shape,) in refused(demo, path)


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


@pytest.mark.parametrize('name, size, words', [
    ('resnet50_v1d', 16, 'less than one pixel'), ('inceptionv3', 48, 'cannot take such images; give its own size, 299'),
    ('densenet121', 64, 'cannot take such images'), ('mobilenet1.0', 8, 'less than one pixel')])
def test_images_too_small_for_a_network_are_told(name, size, words, capsys):
    net = zoo.get_model(name, classes=2)
    net.initialize()
    with pytest.raises(UsageError, match=words):
        zoo.know_shapes(net, size, name)
    assert not capsys.readouterr().out


def test_a_network_for_small_images_takes_them():
    net = zoo.get_model(zoo.DEMO, classes=2)
    net.initialize()
    zoo.know_shapes(net, 24, zoo.DEMO)
