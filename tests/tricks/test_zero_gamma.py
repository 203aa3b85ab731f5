"""Zero gamma: which gammas, on which networks, before and after initialize; blocks that start as the identity."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.zero_gamma import zero_gamma


def get_model(name, **options):
    from gluoncv.model_zoo import get_model as from_zoo
    return from_zoo(name, pretrained=False, **options)


def gammas(net, init=None):
    """Structural names of the network's gammas, all or those with the given initialiser."""
    return {name for name, parameter in net._collect_params_with_prefix().items()
            if name.endswith('gamma') and init in (None, parameter.init)}


@pytest.mark.parametrize('name, count, total', [('resnet50_v1', 16, 53), ('resnet50_v1d', 16, 55),
                                                ('resnet50_v1b', 16, 53), ('se_resnet50_v1', 16, 53)])
def test_as_gluoncvs_last_gamma(name, count, total):
    net = get_model(name)
    assert len(gammas(net, 'zeros')) == 0
    names = zero_gamma(net)
    assert len(names) == len(set(names)) == count and len(gammas(net)) == total
    assert gammas(net, 'zeros') == gammas(get_model(name, last_gamma=True), 'zeros')


@pytest.mark.parametrize('name, ends', [('resnet18_v1b', '.bn2.gamma'), ('resnet18_v1', '.body.4.gamma')])
def test_basic_blocks_too(name, ends):
    net = get_model(name)
    assert len(zero_gamma(net)) == 8
    assert len(gammas(net, 'zeros')) == 8 and all(gamma.endswith(ends) for gamma in gammas(net, 'zeros'))


def test_gluoncv_leaves_its_basic_block_v1b_out():
    assert len(gammas(get_model('resnet18_v1b', last_gamma=True), 'zeros')) == 0


@pytest.mark.parametrize('name', ['resnext50_32x4d', 'se_resnext50_32x4d'])
def test_resnext(name):
    net = get_model(name)
    assert len(zero_gamma(net)) == 16
    assert all(gamma.endswith('.body.7.gamma') for gamma in gammas(net, 'zeros')) and len(gammas(net, 'zeros')) == 16


def test_gluoncvs_resnext_has_the_switch_inverted():
    assert len(gammas(get_model('resnext50_32x4d'), 'zeros')) == 16
    assert len(gammas(get_model('resnext50_32x4d', last_gamma=True), 'zeros')) == 0


@pytest.mark.parametrize('when', ['before initialize', 'before the first batch', 'after the first batch'])
def test_every_block_starts_as_the_identity(when):
    net = get_model('resnet18_v1b', classes=3)
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    if when == 'before initialize':
        names = zero_gamma(net)
    net.initialize(mx.init.Xavier())
    if when == 'before the first batch':
        names = zero_gamma(net)
    net(x).wait_to_read()
    if when == 'after the first batch':
        names = zero_gamma(net)
    for name, parameter in net.collect_params('.*gamma').items():
        assert np.unique(parameter.data().asnumpy()).tolist() == [0 if name in names else 1], name
    features = mx.nd.relu(mx.nd.random.normal(shape=(2, 64, 8, 8)))
    with mx.autograd.record():  # batch statistics
        np.testing.assert_array_equal(net.layer1(features).asnumpy(), features.asnumpy())
        block = net.layer2[0]
        np.testing.assert_array_equal(block(features).asnumpy(), mx.nd.relu(block.downsample(features)).asnumpy())


def test_initialized_but_shapes_still_unknown():
    net = get_model('resnet18_v1', classes=3)  # its BatchNorms learn their channels from the first batch
    net.initialize(mx.init.Xavier())
    names = zero_gamma(net)
    net(mx.nd.zeros((1, 3, 32, 32))).wait_to_read()
    for name, parameter in net.collect_params('.*gamma').items():
        assert np.unique(parameter.data().asnumpy()).tolist() == [0 if name in names else 1], name


def test_identity_through_squeeze_and_excitation():
    net = get_model('se_resnet18_v1', classes=3)
    zero_gamma(net)
    net.initialize(mx.init.Xavier())
    features = mx.nd.relu(mx.nd.random.normal(shape=(2, 64, 8, 8)))
    with mx.autograd.record():
        np.testing.assert_array_equal(net.features[4][0](features).asnumpy(), features.asnumpy())


def test_on_several_devices():
    net = get_model('resnet18_v1b', classes=3)
    devices = [mx.cpu(0), mx.cpu(1)]
    net.initialize(ctx=devices)
    for device in devices:
        net(mx.nd.zeros((1, 3, 32, 32), ctx=device)).wait_to_read()
    zero_gamma(net)
    for device in devices:
        assert net.layer4[1].bn2.gamma.data(device).asnumpy().any() == 0


def test_a_later_force_reinit_keeps_the_zeros():
    net = get_model('resnet18_v1b', classes=3)
    net.initialize()
    net(mx.nd.zeros((1, 3, 32, 32))).wait_to_read()
    zero_gamma(net)
    net.initialize(mx.init.Xavier(), force_reinit=True)
    assert net.layer1[0].bn2.gamma.data().asnumpy().any() == 0


@pytest.mark.parametrize('name', ['inceptionv3', 'mobilenet1.0', 'densenet201'])
def test_refuses_a_network_without_residual_blocks(name):
    with pytest.raises(UsageError, match='has none'):
        zero_gamma(get_model(name))


@pytest.mark.parametrize('name', ['resnet18_v2', 'resnet50_v2', 'se_resnet18_v2'])
def test_refuses_pre_activation_blocks(name):
    net = get_model(name)
    with pytest.raises(UsageError, match='end in a BatchNorm'):
        zero_gamma(net)
    assert len(gammas(net, 'zeros')) == 0
