"""Networks by name: ours and GluonCV's, their options, their files, and that nothing is downloaded unasked."""
import socket

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import zoo
from gluon_tricks.models.resnet import ResNet
from gluon_tricks.models.zoo import get_model
from support.networks import initialised, saved

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


@pytest.mark.parametrize('name', PAPER)
def test_the_papers_networks_run_offline(name):
    net = get_model(name, classes=3)
    net.initialize(mx.init.Xavier())
    size = zoo.default_input_size(name)
    assert size == (299 if name == 'inceptionv3' else 224)
    scores = net(mx.nd.random.normal(shape=(1, 3, size, size)))
    assert scores.shape == (1, 3) and np.isfinite(scores.asnumpy()).all()


@pytest.mark.parametrize('name, expected', [
    ('resnet50_v1d', False), ('resnet50_v1', False), ('mobilenet1.0', False), ('inceptionv3', True), ('vgg11', True)])
def test_networks_that_draw_are_those_with_dropout(name, expected):
    assert zoo.draws(get_model(name, classes=3)) == expected


def test_a_network_without_a_graph_is_taken_to_draw():
    assert zoo.draws(mx.gluon.nn.Sequential())


def test_own_names():
    assert len(zoo.own_names()) == 19 and zoo.DEMO in zoo.own_names()
    for depth in (18, 34, 50, 101, 152):
        for variant in ('v1b', 'v1c', 'v1d'):
            assert f'resnet{depth}_{variant}' in zoo.own_names()
    assert isinstance(get_model('ResNet18_V1d'), ResNet)
    assert get_model('resnet34_v1b').fc.weight.shape == (1000, 512)
    assert get_model(zoo.DEMO, classes=10).fc.weight.shape == (10, 128)


def test_all_names_are_classifiers():
    names = zoo.all_names()
    assert names == sorted(names) and set(zoo.own_names()) <= set(names) and set(PAPER) <= set(names)
    for word in ('voc', 'coco', 'ade', 'citys', 'kinetics', 'pose', 'rcnn', 'ssd', 'int8', '_gn', 'custom'):
        assert not [name for name in names if word in name], word
    assert len(names) == 136


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
    with pytest.raises(UsageError, match=f'option {option}.*{name}'):
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
