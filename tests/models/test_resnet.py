"""ResNet-B, -C, -D against GluonCV's with the same weights, and against the figures of the paper."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import resnet as own

import gluoncv
from gluoncv.model_zoo.resnetv1b import BasicBlockV1b, ResNetV1b

BLOCKS = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}


def gluoncv_net(depth, variant, **kwargs):
    """GluonCV's network; of the basic-block v1c and v1d it has no names, only the class and its switches."""
    if depth >= 50 or variant == 'v1b':
        return gluoncv.model_zoo.get_model(f'resnet{depth}_{variant}', pretrained=False, **kwargs)
    return ResNetV1b(BasicBlockV1b, BLOCKS[depth], deep_stem=True, avg_down=variant == 'v1d',
                     name_prefix=f'resnet{variant}_', **kwargs)


def images(batch=1, size=64, seed=0):
    return mx.nd.array(np.random.RandomState(seed).normal(size=(batch, 3, size, size)))


def randomise(net, seed=0):
    """Every parameter random and different, so that a swap of any two shows; running statistics too."""
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu('in', slope=0))
    net(mx.nd.zeros((1, 3, 32, 32))).wait_to_read()
    for name, param in net.collect_params().items():
        if name.endswith(('gamma', 'running_var')):
            param.set_data(mx.nd.random.uniform(0.5, 1.5, param.shape))
        elif not name.endswith('weight'):
            param.set_data(mx.nd.random.normal(scale=0.1, shape=param.shape))
    return net


NETWORKS = [(depth, variant) for depth in (18, 34, 50, 101, 152) for variant in own.VARIANTS]
LONG = [pair for pair in NETWORKS if pair not in ((18, 'v1d'), (50, 'v1d'))]


@pytest.mark.parametrize('depth, variant', NETWORKS)
def test_names_equal_gluoncv(depth, variant):
    ours, theirs = own.resnet(depth, variant), gluoncv_net(depth, variant)
    assert list(ours.collect_params().keys()) == list(theirs.collect_params().keys())
    assert list(ours._collect_params_with_prefix()) == list(theirs._collect_params_with_prefix())


@pytest.mark.parametrize('depth, variant', [pytest.param(*pair, marks=[pytest.mark.slow] * (pair in LONG))
                                            for pair in NETWORKS])
def test_params_go_both_ways_and_outputs_are_equal(depth, variant, tmp_path):
    theirs, ours = randomise(gluoncv_net(depth, variant)), own.resnet(depth, variant)
    path = str(tmp_path / 'net.params')
    theirs.save_parameters(path)
    ours.load_parameters(path)
    expected = theirs(images()).asnumpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(ours(images()).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    ours.save_parameters(path)
    theirs = gluoncv_net(depth, variant)
    theirs.load_parameters(path)
    np.testing.assert_array_equal(theirs(images()).asnumpy(), expected)


@pytest.mark.parametrize('depth, variant', [
    (18, 'v1b'), pytest.param(18, 'v1d', marks=pytest.mark.slow), pytest.param(50, 'v1b', marks=pytest.mark.slow),
    (50, 'v1d')])
def test_dilated_equals_gluoncv_and_keeps_stride_8(depth, variant, tmp_path):
    theirs, ours = randomise(gluoncv_net(depth, variant, dilated=True)), own.resnet(depth, variant, dilated=True)
    path = str(tmp_path / 'net.params')
    theirs.save_parameters(path)
    ours.load_parameters(path)
    np.testing.assert_allclose(ours(images()).asnumpy(), theirs(images()).asnumpy(), rtol=1e-5, atol=1e-6)
    assert [c.shape[2] for c in ours.stages(images())] == [16, 8, 8, 8]
    plain = own.resnet(depth, variant)  # the same weights, another network: dilation must show
    plain.load_parameters(path)
    assert np.abs(plain(images()).asnumpy() - ours(images()).asnumpy()).max() > 1e-3


def test_training_step_equals_gluoncv(tmp_path):
    """Gradients and running statistics too: one recorded pass through a v1d with basic blocks."""
    theirs, ours = randomise(gluoncv_net(18, 'v1d', classes=10)), own.resnet(18, 'v1d', classes=10)
    path = str(tmp_path / 'net.params')
    theirs.save_parameters(path)
    ours.load_parameters(path)
    for net in (ours, theirs):
        with mx.autograd.record():
            loss = (net(images(4)) ** 2).sum()
        loss.backward()
    for name, param in ours.collect_params().items():
        other = theirs.collect_params()[name]
        np.testing.assert_allclose(param.data().asnumpy(), other.data().asnumpy(), rtol=1e-5, atol=1e-6, err_msg=name)
        if param.grad_req != 'null':
            scale = np.abs(other.grad().asnumpy()).max()
            np.testing.assert_allclose(param.grad().asnumpy() / scale, other.grad().asnumpy() / scale, atol=1e-5,
                                       err_msg=name)


def test_names_that_detection_patterns_rely_on():
    names = list(own.resnet(50, 'v1d').collect_params().keys())
    for name in ('resnetv1d_conv0_weight', 'resnetv1d_layers2_conv0_weight', 'resnetv1d_down2_conv0_weight',
                 'resnetv1d_layers4_batchnorm8_gamma', 'resnetv1d_dense0_bias'):
        assert name in names
    assert len(own.resnet(50, 'v1b')._collect_params_with_prefix()) == 267
    assert len(own.resnet(50, 'v1c')._collect_params_with_prefix()) == 277
    assert len(own.resnet(152, 'v1d')._collect_params_with_prefix()) == 787


def convolutions(block):
    return [(child._kwargs['kernel'][0], child._kwargs['stride'][0], child._channels)
            for child in block._children.values() if isinstance(child, mx.gluon.nn.Conv2D)]


def test_figure_2():
    """The three tweaks, read off the layers: (kernel, stride, channels)."""
    b, c, d = (own.resnet(50, variant) for variant in own.VARIANTS)
    for net in (b, c, d):  # Figure 2a, path A of a downsampling block: the stride sits in the 3x3
        assert convolutions(net.layer2[0]) == [(1, 1, 128), (3, 2, 128), (1, 1, 512)]
        assert all(s == 1 for _, s, _ in convolutions(net.layer2[1]))
    assert (b.conv1._kwargs['kernel'], b.conv1._kwargs['stride']) == ((7, 7), (2, 2))
    for net in (c, d):  # Figure 2b
        assert convolutions(net.conv1) == [(3, 2, 32), (3, 1, 32), (3, 1, 64)]
    for net in (b, c):
        assert convolutions(net.layer2[0].downsample) == [(1, 2, 512)]
    assert convolutions(d.layer2[0].downsample) == [(1, 1, 512)]  # Figure 2c
    pool = d.layer2[0].downsample[0]
    assert isinstance(pool, mx.gluon.nn.AvgPool2D)
    assert pool._kwargs['kernel'] == (2, 2) and pool._kwargs['stride'] == (2, 2)


def test_path_b_ignores_pixels_in_c_and_none_in_d():
    """Section 4.2: a 1x1 convolution with stride 2 sees a quarter of its input; the average pooling sees all."""
    for variant, seen in (('v1c', 0.25), ('v1d', 1.0)):
        path_b = own.resnet(50, variant).layer2[0].downsample
        path_b.initialize(mx.init.One())
        x = mx.nd.ones((1, 256, 8, 8))
        x.attach_grad()
        with mx.autograd.record():
            y = x
            for layer in list(path_b)[:-1]:  # all but the normalisation
                y = layer(y)
        y.backward()
        assert y.shape == (1, 512, 4, 4)
        assert (x.grad[0, 0] != 0).mean().asscalar() == seen


def test_stage_shapes_at_224():
    net = own.resnet(50, 'v1d')
    outputs = mx.sym.Group(net.stages(mx.sym.var('data')))
    _, shapes, _ = outputs.infer_shape(data=(2, 3, 224, 224))
    assert shapes == [(2, 256, 56, 56), (2, 512, 28, 28), (2, 1024, 14, 14), (2, 2048, 7, 7)]


class Head(mx.gluon.HybridBlock):
    """A network built on the stages, as a segmentation head is."""

    def __init__(self, base):
        super().__init__()
        with self.name_scope():
            self.base = base
            self.conv = mx.gluon.nn.Conv2D(5, 1)

    def hybrid_forward(self, F, x):
        _, _, c3, c4 = self.base.stages(x)
        return self.conv(c4), F.mean(c3, axis=1)


@pytest.mark.filterwarnings('ignore:Parameter .*dense0.* is not used')
def test_stages_work_inside_another_network_hybrid_or_not():
    net = Head(own.demo(10, 'v1d', dilated=True))
    net.initialize(mx.init.Xavier())
    plain = [y.asnumpy() for y in net(images())]
    net.hybridize(static_alloc=True)
    for y, expected in zip(net(images()), plain):
        np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    assert plain[0].shape == (1, 5, 8, 8)


def test_children_for_detection():
    """Faster-RCNN takes the children one by one: in this order they are the network's features."""
    net = own.demo(10, 'v1d', classes=7)
    net.initialize(mx.init.Xavier())
    x = images()
    for child in (net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3):
        x = child(x)
    assert x.shape == (1, 64, 4, 4)
    np.testing.assert_array_equal(net.layer4(x).asnumpy(), net.stages(images())[-1].asnumpy())


def test_demo_network(tmp_path):
    net = own.demo(10, 'v1d', classes=10)
    net.initialize(mx.init.Xavier())
    assert net(images(2, 32)).shape == (2, 10)
    assert [c.shape[1:] for c in net.stages(images(1, 64))] == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    assert convolutions(net.conv1) == [(3, 2, 8), (3, 1, 8), (3, 1, 16)]
    assert net.layer1[0].downsample is None and len(net.layer2[0].downsample) == 3
    assert len(net.layer1) == len(net.layer4) == 1
    full = own.resnet(10, 'v1d', classes=10)  # the same at the paper's width, against GluonCV's class
    theirs = randomise(gluoncv_net(10, 'v1d', classes=10))
    theirs.save_parameters(str(tmp_path / 'net.params'))
    full.load_parameters(str(tmp_path / 'net.params'))
    np.testing.assert_allclose(full(images()).asnumpy(), theirs(images()).asnumpy(), rtol=1e-5, atol=1e-6)
    assert list(net.collect_params().keys()) == list(theirs.collect_params().keys())


def test_hybrid_equals_imperative_and_fresh_initialisation_needs_no_forward():
    net = own.resnet(18, 'v1c', classes=3, width=8)
    net.initialize(mx.init.Xavier())
    assert all(param.data() is not None for param in net.collect_params().values())
    plain = net(images(2)).asnumpy()
    net.hybridize(static_alloc=True, static_shape=True)
    np.testing.assert_allclose(net(images(2)).asnumpy(), plain, rtol=1e-5, atol=1e-6)


def test_odd_sizes_and_a_batch_of_one():
    net = own.demo(10, 'v1d')
    net.initialize(mx.init.Xavier())
    assert net(images(1, 33)).shape == (1, 1000)


def test_norm_options_reach_every_layer_and_the_dict_stays():
    options = {'momentum': 0.8, 'epsilon': 1e-3}
    net = own.resnet(18, 'v1d', use_global_stats=True, norm_kwargs=options, width=8)
    assert options == {'momentum': 0.8, 'epsilon': 1e-3}
    norms = []
    net.apply(lambda block: norms.append(block) if isinstance(block, mx.gluon.nn.BatchNorm) else None)
    assert len(norms) == 3 + 16 + 3
    for norm in norms:
        assert norm._kwargs['use_global_stats'] and norm._kwargs['momentum'] == 0.8 and norm._kwargs['eps'] == 1e-3
    sync = own.resnet(18, 'v1d', norm_layer=mx.gluon.contrib.nn.SyncBatchNorm, norm_kwargs={'num_devices': 4}, width=8)
    assert isinstance(sync.bn1, mx.gluon.contrib.nn.SyncBatchNorm)


def test_use_global_stats_freezes_statistics():
    net = randomise(own.resnet(18, 'v1b', classes=2, width=8, use_global_stats=True))
    before = net.bn1.running_mean.data().asnumpy()
    with mx.autograd.record():
        training = net(images(2)).asnumpy()
    np.testing.assert_array_equal(net.bn1.running_mean.data().asnumpy(), before)
    np.testing.assert_allclose(training, net(images(2)).asnumpy(), rtol=1e-4, atol=1e-5)


def test_final_drop():
    net = randomise(own.resnet(18, 'v1d', classes=2, width=8, final_drop=0.5, use_global_stats=True))
    with mx.autograd.record():
        assert np.abs(net(images()).asnumpy() - net(images()).asnumpy()).max() > 0
    np.testing.assert_array_equal(net(images()).asnumpy(), net(images()).asnumpy())
    assert own.resnet(18, 'v1d').drop is None
    assert list(net._collect_params_with_prefix()) == list(own.resnet(18, 'v1d')._collect_params_with_prefix())


def test_cast_keeps_normalisation_in_float32():
    net = own.demo(10, 'v1d')
    net.cast('float16')
    assert net.fc.weight.dtype == 'float16' and np.dtype(net.bn1.gamma.dtype) == np.float32


@pytest.mark.parametrize('kwargs, words', [
    (dict(depth=20, variant='v1d'), 'depth 20'),
    (dict(depth=50, variant='v1'), 'variant v1'),
    (dict(depth=50, variant='v1d', width=15), 'width 15'),
    (dict(depth=50, variant='v1d', width=0), 'width 0'),
])
def test_usage_errors(kwargs, words):
    with pytest.raises(UsageError, match=words):
        own.resnet(**kwargs)
