"""Emulated float16, bfloat16 and the loss scale, against NumPy's float16 and against float32."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks import low_precision
from gluon_tricks.tricks.low_precision import ROUNDED_FROM, LossScaler, all_finite, precision, refuse_bfloat16
from support import ROOT

from mxnet.gluon import nn  # noqa: E402  (after compat)

CPU = [mx.cpu(0)]


def to_half(x):
    with np.errstate(over='ignore'):
        return x.astype('float16').astype('float32')


class Residual(mx.gluon.HybridBlock):
    """conv-BN-relu-conv-BN and a shortcut, the last gamma zero; large enough to be rounded."""

    def __init__(self, channels):
        super().__init__()
        with self.name_scope():
            self.conv1 = nn.Conv2D(channels, 3, padding=1, in_channels=channels, use_bias=False)
            self.bn1 = nn.BatchNorm(in_channels=channels)
            self.conv2 = nn.Conv2D(channels, 3, padding=1, in_channels=channels, use_bias=False)
            self.bn2 = nn.BatchNorm(in_channels=channels, gamma_initializer='zeros')

    def hybrid_forward(self, F, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(y)))


def small_net(seed=0, channels=128, devices=CPU):
    mx.random.seed(seed)
    net = nn.HybridSequential(prefix='net_')
    with net.name_scope():
        net.add(nn.Conv2D(channels, 3, in_channels=3, use_bias=False), nn.BatchNorm(in_channels=channels),
                nn.Activation('relu'), Residual(channels), Residual(channels), nn.GlobalAvgPool2D(),
                nn.Dense(10, in_units=channels))
    net.initialize(mx.init.Xavier(), ctx=devices)
    return net


def batch(seed=0, number=4, size=10):
    rng = np.random.RandomState(seed)
    return mx.nd.array(rng.randn(number, 3, size, size)), mx.nd.array(rng.randint(0, 10, number))


def backward(net, half, x, label, scale=1.0):
    """Summed loss times `scale`; returns outputs and {structural name: gradient} in float32."""
    with mx.autograd.record():
        output = net(half.cast_input(x))
        loss = -mx.nd.log_softmax(output.astype('float32')).pick(label)
    loss.backward(mx.nd.full(loss.shape, scale))
    return output.asnumpy(), {name: param.grad().asnumpy().astype('float32')
                              for name, param in net._collect_params_with_prefix().items()
                              if param.grad_req != 'null'}


# ---------------------------------------------------------------------------------------------------------------------
# Emulated float16

def test_what_is_stored_in_float16():
    net, half = small_net(), precision('float16', CPU)
    names = list(net._collect_params_with_prefix())
    half.prepare(net)
    backward(net, half, *batch())
    assert list(net._collect_params_with_prefix()) == names
    for name, param in net._collect_params_with_prefix().items():
        batch_norm = name.rsplit('.', 1)[1] in ('gamma', 'beta', 'running_mean', 'running_var')
        assert param.data().dtype == (np.float32 if batch_norm else np.float16), name
        if param.grad_req != 'null':
            assert param.grad().dtype == param.data().dtype, name


def test_a_dense_layer_equals_numpy():
    """Weights, input, output and the gradients of all three are float16's; the sums in between are float32's."""
    rng = np.random.RandomState(0)
    x, w, g = rng.randn(5, 30), rng.randn(7, 30), rng.randn(5, 7) * 1e-3
    net, half = nn.Dense(7, in_units=30, use_bias=False), precision('float16', CPU)
    net.initialize()
    net.weight.set_data(mx.nd.array(w))
    half.prepare(net)
    x32 = half.cast_input(mx.nd.array(x))
    x32.attach_grad()
    with mx.autograd.record():
        y = net(x32)
    y.backward(mx.nd.array(g))
    w16, x16, g16 = (to_half(array.astype('float32')) for array in (w, x, g))
    np.testing.assert_array_equal(x32.asnumpy(), x16)
    np.testing.assert_array_equal(net.weight.data().asnumpy(), w16)
    np.testing.assert_array_equal(y.asnumpy(), to_half(y.asnumpy()))
    np.testing.assert_allclose(y.asnumpy(), x16 @ w16.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(net.weight.grad().asnumpy(), g16.T @ x16, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(x32.grad.asnumpy(), g16 @ w16, rtol=1e-5, atol=1e-7)
    assert np.abs(x32.grad.asnumpy() - g.astype('float32') @ w16).max() > 1e-6  # the rounding of g shows


def test_which_convolutions_round_their_outputs():
    for channels, rounds in ((ROUNDED_FROM // 9, False), (ROUNDED_FROM // 9 + 1, True)):
        conv, half = nn.Conv2D(4, 3, in_channels=channels), precision('float16', CPU)
        conv.initialize(mx.init.Normal(1.0))
        half.prepare(conv)
        y = conv(half.cast_input(mx.nd.random.normal(shape=(2, channels, 5, 5)))).asnumpy()
        assert (y == to_half(y)).all() == rounds


def test_out_of_range_is_infinite():
    net, half = nn.Dense(1, in_units=1, use_bias=False), precision('float16', CPU)
    net.initialize(mx.init.Constant(300.0))
    half.prepare(net)
    for value, finite in ((200.0, True), (300.0, False)):
        with mx.autograd.record():
            y = net(half.cast_input(mx.nd.array([[value]])))
        assert np.isfinite(y.asscalar()) == finite
        y.backward(mx.nd.array([[1000.0]]))
        assert not all_finite([net.weight.grad()])
    assert np.isinf(half.cast_input(mx.nd.array([7e4])).asscalar())
    assert half.cast_input(mx.nd.array([1e-9])).asscalar() == 0


def test_gradients_point_where_float32s_do():
    x, label = batch(number=8)
    net, half = small_net(), precision('float16', CPU)
    exact_output, exact = backward(small_net(), precision('float32', CPU), x, label)
    half.prepare(net)
    output, gradients = backward(net, half, x, label, scale=128.0)
    np.testing.assert_allclose(output, exact_output, rtol=0.02, atol=0.02)
    assert np.abs(output - exact_output).max() > 0
    for name, gradient in gradients.items():
        norms = np.linalg.norm(gradient) * np.linalg.norm(exact[name])
        if norms:  # behind a zero gamma there is no gradient yet
            assert (gradient * exact[name]).sum() / norms > 0.99, name
            assert np.linalg.norm(gradient) / 128 == pytest.approx(np.linalg.norm(exact[name]), rel=0.05), name


def test_imperative_equals_hybrid():
    x, label = batch()
    half, results = precision('float16', CPU), []
    for hybrid in (False, True):
        net = small_net()
        half.prepare(net)
        if hybrid:
            net.hybridize(static_alloc=True, static_shape=True)
        results.append(backward(net, half, x, label))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        np.testing.assert_array_equal(gradient, results[1][1][name], err_msg=name)


def test_a_net_that_has_run_hybridized_before():
    """A graph that MXNet kept from before `prepare` must not be used any more."""
    x, label = batch()
    half, results = precision('float16', CPU), []
    for ran_before in (False, True):
        net = small_net()
        net.hybridize(static_alloc=True)
        if ran_before:
            net(x).wait_to_read()
        half.prepare(net)
        half.prepare(net)  # a second time changes nothing
        results.append(backward(net, half, x, label)[0])
    np.testing.assert_array_equal(*results)


def test_before_and_after_initialize_and_on_two_devices():
    x, label = batch()
    half = precision('float16', [mx.cpu(0), mx.cpu(1)])
    after = small_net(devices=[mx.cpu(0), mx.cpu(1)])
    half.prepare(after)
    before = nn.HybridSequential(prefix='net_')
    before.add(nn.Conv2D(8, 3, in_channels=3), nn.Dense(2, in_units=8 * 64))
    half.prepare(before)
    before.initialize()
    assert before[0].weight.data().dtype == np.float16 and before(x).dtype == np.float32
    first = after(half.cast_input(x.as_in_context(mx.cpu(0))))
    second = after(half.cast_input(x.as_in_context(mx.cpu(1))))
    assert second.context == mx.cpu(1)
    np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())


def test_weights_are_saved_and_loaded_under_the_same_names(tmp_path):
    net, half = small_net(), precision('float16', CPU)
    net.save_parameters(str(tmp_path / 'before'))
    half.prepare(net)
    net.save_parameters(str(tmp_path / 'after'))
    before, after = (mx.nd.load(str(tmp_path / name)) for name in ('before', 'after'))
    assert set(before) == set(after)
    net.load_parameters(str(tmp_path / 'before'), cast_dtype=True)
    for name, value in net._collect_params_with_prefix().items():
        np.testing.assert_array_equal(value.data().asnumpy(), after[name].asnumpy())


def test_unknown_shapes_are_refused():
    net = nn.Conv2D(4, 3)
    net.initialize()
    with pytest.raises(UsageError, match='one batch'):
        precision('float16', CPU).prepare(net)


@pytest.mark.parametrize('name, size', [
    ('mobilenet1.0', 32), ('se_resnext50_32x4d', 32), pytest.param('inceptionv3', 299, marks=pytest.mark.slow),
    pytest.param('densenet121', 224, marks=pytest.mark.slow)])
def test_networks_of_gluoncvs_zoo(name, size):
    import gluoncv
    net, half = gluoncv.model_zoo.get_model(name, pretrained=False, classes=10), precision('float16', CPU)
    mx.random.seed(0)
    net.initialize(mx.init.Xavier())
    x = mx.nd.random.normal(shape=(2, 3, size, size))
    _, exact = backward(net, precision('float32', CPU), x, mx.nd.array([1, 2]))
    half.prepare(net)
    net.hybridize(static_alloc=True, static_shape=True)
    _, gradients = backward(net, half, x, mx.nd.array([1, 2]))
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    moved, exactly_moved = (sum(gradient.any() for gradient in some.values()) for some in (gradients, exact))
    assert moved > 0.9 * exactly_moved > 20


@pytest.mark.parametrize('name, size, words', [
    ('resnet50_v1d', 64, 'of ResNet-50-D'), ('resnet50_v1b', 64, 'of ResNet-50-B'), ('mobilenet1.0', 64, 'of MobileNet'),
    pytest.param('inceptionv3', 299, 'of Inception-V3', marks=pytest.mark.slow), ('resnet10_v1d_demo', 32, 'of the demo network')])
def test_the_reach_of_the_rounding_is_told(name, size, words):
    """In the log of a run, for its network, counted; and on the page."""
    from gluon_tricks.models.zoo import get_model, know_shapes
    net, half = get_model(name, classes=10), precision('float16', CPU)
    net.initialize()
    know_shapes(net, size)
    half.prepare(net)
    layers = [block for block in low_precision._layers(net) if hasattr(block, 'emulates_float16')]
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda block, inputs, y: seen.append((y.asnumpy() == to_half(y.asnumpy())).all()))
    with mx.autograd.train_mode():  # batch normalisation keeps the numbers from 0
        net(half.cast_input(mx.nd.random.normal(shape=(2, 3, size, size)))).wait_to_read()
    rounding, number = half.reach
    assert (sum(seen), len(seen)) == (rounding, number)
    assert f'{rounding} of the {number} convolutions and dense layers' in half.description
    half.prepare(small_net())  # a teacher: the run's network stays the one that is told of
    assert half.reach == (rounding, number)
    page = ' '.join((Path(str(ROOT)) / 'docs' / 'differences.md').read_text(encoding='utf-8').split())
    told = f'{rounding} of {number}'
    assert f'{told} layers {words}' in page or f'{told} {words}' in page
    assert f'{ROUNDED_FROM} multiply-adds' in page


def test_descriptions():
    assert precision('float32', CPU).description == '' and not precision('float32', CPU).emulated
    half = precision('float16', CPU)
    assert half.emulated and 'emulated' in half.description and str(ROUNDED_FROM) in half.description
    on_gpu = precision('float16', [mx.gpu(0)])
    assert not on_gpu.emulated and 'emulated' not in on_gpu.description
    assert on_gpu.cast_input(mx.nd.ones(1)).dtype == np.float16
    assert half.cast_input(mx.nd.ones(1)).dtype == np.float32
    with pytest.raises(UsageError, match='float8'):
        precision('float8', CPU)


def test_float16_on_a_gpu_is_the_networks_own_cast():
    net = small_net()
    precision('float16', [mx.gpu(0)]).prepare(net)
    dtypes = {name: np.dtype(param.dtype) for name, param in net._collect_params_with_prefix().items()}
    assert dtypes['0.weight'] == np.float16 and dtypes['1.gamma'] == np.float32
    assert type(net[0]) is nn.Conv2D


# ---------------------------------------------------------------------------------------------------------------------
# bfloat16

def test_bfloat16_needs_its_processor(monkeypatch):
    with pytest.raises(UsageError, match='GPU'):
        precision('bfloat16', [mx.gpu(0)])
    for flags, words in (({'avx512bw', 'avx512_bf16'}, None), (None, None), ({'avx512bw'}, 'AVX512_BF16')):
        monkeypatch.setattr(low_precision, '_cpu_flags', lambda: flags)
        assert (words is None) == ('AVX512_BF16' not in precision('bfloat16', CPU).description)
    monkeypatch.setattr(low_precision, '_cpu_flags', lambda: {'avx2'})
    with pytest.raises(UsageError, match='AVX512'):
        precision('bfloat16', CPU)


def test_layers_without_bfloat16_are_refused_by_name():
    refuse_bfloat16(small_net(), 'small')
    for layer in (nn.PReLU(), nn.Conv2DTranspose(4, 2), nn.Activation('softsign')):
        net = nn.HybridSequential()
        net.add(nn.HybridSequential())
        net[0].add(nn.Conv2D(4, 3), layer)
        with pytest.raises(UsageError, match=f'some_net.*{layer.name}'):
            refuse_bfloat16(net, 'some_net')


TRAIN = '''
import sys
sys.path.insert(0, {root!r})
from gluon_tricks.compat import mx
from gluon_tricks.tricks.low_precision import enable_bfloat16, refuse_bfloat16
enable_bfloat16()
enable_bfloat16()
import numpy as np
from mxnet.gluon import nn
{build}
refuse_bfloat16(net, 'net')
mx.random.seed(0)
np.random.seed(0)
net.initialize(mx.init.Xavier())
if {hybrid}:
    net.hybridize(static_alloc=True, static_shape=True)
trainer = mx.gluon.Trainer(net.collect_params(), 'sgd', dict(learning_rate=0.02, momentum=0.9), update_on_kvstore=False)
x, label = mx.nd.random.normal(shape=(4, 3, {size}, {size})), mx.nd.array([0, 1, 2, 3])
losses = []
for _ in range({updates}):
    with mx.autograd.record():
        output = net(x)
        loss = -mx.nd.log_softmax(output.astype('float32')).pick(label)
    loss.backward()
    trainer.step(4)
    losses.append(loss.mean().asscalar())
assert all(param.data().dtype == np.float32 for param in net.collect_params().values())
print('dtype', output.dtype, 'losses', losses[0], losses[-1])
assert losses[-1] < 0.7 * losses[0] or {updates} == 1
'''
SMALL = '''
net = nn.HybridSequential()
net.add(nn.Conv2D(24, 3), nn.BatchNorm(), nn.Activation('relu'), nn.Conv2D(20, 3), nn.BatchNorm(),
        nn.Activation('relu'), nn.GlobalAvgPool2D(), nn.Dropout(0.2), nn.Dense(10))
'''


def trains_in_bfloat16(build, size, updates, hybrid):
    """In a process of its own, for MXNet's mixed precision cannot be switched off again."""
    try:
        precision('bfloat16', CPU)
    except UsageError as error:
        pytest.skip(str(error))
    code = TRAIN.format(root=str(ROOT), build=build, size=size, updates=updates, hybrid=hybrid)
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert b'bfloat16' in done.stdout


@pytest.mark.parametrize('hybrid', [False, True])
def test_bfloat16_trains_with_dropout_and_odd_channels(hybrid):
    trains_in_bfloat16(SMALL, 12, 15, hybrid)


@pytest.mark.parametrize('name, size', [('resnet18_v1b', 32), ('mobilenet1.0', 32),
                                        pytest.param('se_resnext50_32x4d', 32, marks=pytest.mark.slow),
                                        pytest.param('inceptionv3', 299, marks=pytest.mark.slow)])
def test_bfloat16_takes_the_papers_networks(name, size):
    build = f'import gluoncv\nnet = gluoncv.model_zoo.get_model({name!r}, pretrained=False, classes=10)'
    trains_in_bfloat16(build, size, 1, True)


def test_enabling_bfloat16_is_left_to_other_processes():
    """A guard for this suite: switched on here, it would change every test that follows."""
    from mxnet.contrib import amp
    assert not amp.amp._amp_initialized


# ---------------------------------------------------------------------------------------------------------------------
# Loss scale

def test_the_scale_is_halved_at_overflow_and_doubled_after_an_interval():
    scaler = LossScaler(64)
    scaler.update(True)
    assert (scaler.scale, scaler.skipped) == (32, 1)
    for _ in range(1999):
        scaler.update(False)
    assert scaler.scale == 32
    scaler.update(False)
    assert scaler.scale == 64
    for _ in range(1999):
        scaler.update(False)
    scaler.update(True)  # the row of good updates begins anew
    for _ in range(1999):
        scaler.update(False)
    assert (scaler.scale, scaler.skipped) == (32, 2)


def test_the_scale_stays_at_least_one():
    scaler = LossScaler()
    for _ in range(40):
        scaler.update(True)
    assert (scaler.scale, scaler.skipped) == (1.0, 40)


def test_a_fixed_scale_only_counts():
    scaler = LossScaler(8, fixed=True)
    for overflow in [False] * 2001 + [True]:
        scaler.update(overflow)
    assert (scaler.scale, scaler.skipped) == (8.0, 1)
    other = LossScaler(4, fixed=True)
    other.restore(scaler.state())
    assert (other.scale, other.skipped) == (4.0, 1)


def test_a_restored_scaler_goes_on():
    import json
    scaler, other = LossScaler(), LossScaler()
    for number in range(1500):
        scaler.update(number == 700)
    other.restore(json.loads(json.dumps(scaler.state())))
    for number in range(3000):
        scaler.update(number == 2500)
        other.update(number == 2500)
        assert other.state() == scaler.state()
    assert scaler.skipped == 2


@pytest.mark.parametrize('scale', [0, -1, float('inf'), float('nan')])
def test_a_scale_must_be_positive(scale):
    with pytest.raises(UsageError, match='positive'):
        LossScaler(scale)


@pytest.mark.parametrize('by_operator', [True, False])
def test_all_finite_over_dtypes_and_devices(by_operator, monkeypatch):
    """As on GPUs, where the host reads one number, and as on a CPU."""
    monkeypatch.setattr(low_precision, 'BY_OPERATOR', ('cpu',) if by_operator else ('gpu',))

    def arrays():
        return [mx.nd.ones((3,), ctx=mx.cpu(i % 2), dtype=dtype)
                for i in range(250) for dtype in ('float16', 'float32')]

    reads, real = [], mx.nd.NDArray.asnumpy
    monkeypatch.setattr(mx.nd.NDArray, 'asnumpy', lambda array: reads.append(array.size) or real(array))
    assert all_finite(arrays()) is True
    assert reads == ([1] if by_operator else [3] * 500)
    for position in (0, 1, 2, 3, 401, 499):  # first and last, each dtype and device, beyond one call's 200 arrays
        for value in (np.inf, -np.inf, np.nan):
            some = arrays()
            some[position][1] = value
            assert all_finite(some) is False, (position, value)
    assert all_finite([]) is True


def test_small_gradients_need_the_scale():
    """A gradient of 1e-8 is zero in float16, and is there again under a scale of 2**12."""
    net, half = nn.Dense(1, in_units=1, use_bias=False), precision('float16', CPU)
    net.initialize(mx.init.One())
    half.prepare(net)
    for scale, expected in ((1.0, 0.0), (2.0 ** 12, 1e-8)):
        with mx.autograd.record():
            y = net(mx.nd.ones((1, 1)))
        y.backward(mx.nd.array([[1e-8 * scale]]))
        assert net.weight.grad().asnumpy().item() / scale == pytest.approx(expected, rel=0.01)


def test_the_softmax_of_half_scores_is_float32():
    """Cast first: the log-softmax of 1000 float16 scores agrees with float64's; in float16 it does not."""
    rng = np.random.RandomState(0)
    scores = mx.nd.array(rng.randn(1, 1000) * 3).astype('float16')
    exact = scores.asnumpy().astype('float64')
    exact = exact - exact.max() - np.log(np.exp(exact - exact.max()).sum())
    assert np.abs(mx.nd.log_softmax(scores.astype('float32')).asnumpy() - exact).max() < 1e-5
    assert np.abs(mx.nd.log_softmax(scores).asnumpy() - exact).max() > 1e-3
