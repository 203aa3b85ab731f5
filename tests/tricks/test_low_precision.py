import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tricks.low_precision import LossScaler, all_finite, precision, refuse_bfloat16
from gluon_tricks.tricks.zero_gamma import zero_gamma

CPU = [mx.cpu()]


def make(name='resnet10_v1d_demo', size=32, prepare=True, **options):
    mx.random.seed(0)
    net = get_model(name, classes=10, **options)
    if prepare is not None and name.startswith('resnet10'):
        zero_gamma(net)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, size, size)))
    if prepare:
        precision('float16', CPU).prepare(net)
    return net


def gradients(net, x, y, hybrid=False):
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    with mx.autograd.record():
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(net(x).astype('float32'), y)
    loss.backward()
    return {name: param.grad() for name, param in net._collect_params_with_prefix().items()
            if param.grad_req != 'null'}


def batch(size=32, number=8):
    rng = np.random.RandomState(0)
    return mx.nd.array(rng.normal(size=(number, 3, size, size))), mx.nd.array(rng.randint(10, size=number))


def test_what_is_float16_and_what_stays_float32():
    net = make()
    for name, grad in gradients(net, *batch()).items():
        half = name.endswith('weight') or name.endswith('bias')
        assert grad.dtype == (np.float16 if half else np.float32), name
    stats = [param for name, param in net._collect_params_with_prefix().items() if 'running' in name]
    assert stats and all(param.data().dtype == np.float32 for param in stats)


def test_names_and_files_do_not_change(tmp_path):
    plain, half = make(prepare=False), make()
    assert list(plain._collect_params_with_prefix()) == list(half._collect_params_with_prefix())
    half.save_parameters(str(tmp_path / 'a.params'))
    plain.load_parameters(str(tmp_path / 'a.params'), cast_dtype=True)


def test_the_scores_are_rounded():
    x, _ = batch()
    scores = make()(x).asnumpy()
    assert (scores == scores.astype('float16').astype('float32')).all()
    plain = make(prepare=False)(x).asnumpy()
    assert (plain != scores).any() and np.abs(plain - scores).max() < 2e-2 * np.abs(plain).max()


def test_gradients_point_where_float32s_do():
    x, y = batch(number=16)
    exact, half = gradients(make(prepare=False), x, y), gradients(make(), x, y)
    for name in exact:
        a, b = exact[name].asnumpy().ravel().astype('float64'), half[name].asnumpy().ravel().astype('float64')
        norm = np.linalg.norm(a) * np.linalg.norm(b)
        assert norm == 0 or a @ b / norm > 0.99, name


def test_imperative_and_hybrid_are_equal():
    x, y = batch()
    one, other = gradients(make(), x, y), gradients(make(), x, y, hybrid=True)
    assert all((one[name] == other[name]).asnumpy().all() for name in one)


def test_a_large_loss_scale_overflows_as_float16_does():
    x, y = batch()
    net = make()
    with mx.autograd.record():
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(net(x).astype('float32'), y)
    loss.backward(mx.nd.full(loss.shape, 2.0 ** 22))
    assert not all_finite([param.grad() for param in net.collect_params().values() if param.grad_req != 'null'])


@pytest.mark.parametrize('name, size', [('mobilenet0.25', 32), ('resnet18_v1', 32), ('mobilenetv2_0.25', 32)])
def test_any_zoo_network_can_be_emulated(name, size):
    net = make(name, size)
    grads = gradients(net, *batch(size, 2))
    assert any(grad.dtype == np.float16 for grad in grads.values()) and all_finite(list(grads.values()))


def test_all_finite_looks_at_every_type():
    good = [mx.nd.ones(3), mx.nd.ones(3, dtype='float16')]
    assert all_finite(good)
    for bad in (np.inf, -np.inf, np.nan):
        for dtype in ('float32', 'float16'):
            assert not all_finite(good + [mx.nd.array([0, bad], dtype=dtype)])


def test_the_scale_doubles_halves_and_counts():
    scaler = LossScaler(8, growth_interval=3)
    for overflow in (False, False, False):
        scaler.update(overflow)
    assert (scaler.scale, scaler.skipped) == (16, 0)
    for _ in range(6):
        scaler.update(True)
    assert (scaler.scale, scaler.skipped) == (1, 6)
    scaler.update(False)
    other = LossScaler(8, growth_interval=3)
    other.restore(scaler.state())
    assert other.state() == scaler.state()
    fixed = LossScaler(8, fixed=True)
    fixed.update(True)
    assert (fixed.scale, fixed.skipped) == (8, 1)


def test_descriptions_and_refusals():
    assert precision('float32', CPU).description == ''
    assert precision('float16', CPU).emulated and 'emulated' in precision('float16', CPU).description
    gpu = precision('float16', [mx.gpu(0)])
    assert not gpu.emulated and gpu.cast_input(mx.nd.zeros(1)).dtype == np.float16
    for dtype, devices in (('bfloat16', [mx.gpu(0)]), ('float8', CPU)):
        with pytest.raises(UsageError, match='--dtype %s' % dtype):
            precision(dtype, devices)


def test_bfloat16_is_refused_by_the_networks_name():
    refuse_bfloat16(get_model('resnet18_v1d'), 'resnet18_v1d')
    for name in ('inceptionv3', 'squeezenet1.0'):
        with pytest.raises(UsageError, match='%s.*dropout' % name):
            refuse_bfloat16(get_model(name), name)


def test_bfloat16_trains():
    """In a process of its own: MXNet cannot switch it off again."""
    code = '''
import numpy as np
from gluon_tricks.compat import mx
from gluon_tricks.loss import cross_entropy
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tricks.low_precision import enable_bfloat16
enable_bfloat16()
mx.random.seed(0)
net = get_model('resnet10_v1d_demo', classes=4)
net.initialize(mx.init.Xavier())
net.hybridize(static_alloc=True, static_shape=True)
trainer = mx.gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.05, 'momentum': 0.9})
x, target = mx.nd.random.normal(shape=(8, 3, 32, 32)), mx.nd.one_hot(mx.nd.arange(8) % 4, 4)
losses = []
for _ in range(12):
    with mx.autograd.record():
        loss = cross_entropy(net(x), target)
    loss.backward()
    trainer.step(8)
    losses.append(loss.mean().asscalar())
assert net(x).dtype != np.float32 and net.fc.weight.data().dtype == np.float32
assert np.isfinite(losses).all() and losses[-1] < losses[0] / 2, losses
'''
    done = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
