import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.distributed import connect
from gluon_tricks.errors import UsageError
from gluon_tricks.optimizer import create_optimizer, get_states, master_weights, set_states


def reference(weight, grads, lrs, momentum, wd, rescale=1.0):
    """Sutskever's form in float64: look ahead, with an explicit position, instead of the code's velocity form.

    theta is the position behind the stored weight w = theta - lr mu m.
    """
    w, m = weight.astype('float64'), np.zeros(weight.shape)
    for grad, lr in zip(grads, lrs):
        slope = rescale * grad.astype('float64') + wd * w
        m = momentum * m + slope
        w = w - lr * slope - lr * momentum * m
    return w, m


def train(nag, weight, grads, lrs, momentum=0.9, wd=1e-2, dtype='float32', rescale=1.0):
    optimizer = create_optimizer(nag, momentum, wd, dtype == 'float16')
    optimizer.rescale_grad = rescale
    updater, value = mx.optimizer.get_updater(optimizer), mx.nd.array(weight, dtype=dtype)
    for grad, lr in zip(grads, lrs):
        optimizer.set_learning_rate(lr)
        updater(0, mx.nd.array(grad, dtype=dtype), value)
    state = updater.states[0]
    if nag == 'paper':
        return value.asnumpy(), (state.velocity, state.master)
    return value.asnumpy(), state if isinstance(state, tuple) else (state, None)


def case(updates=12, size=50, seed=0):
    rng = np.random.RandomState(seed)
    lrs = [0.05 * (i + 1) for i in range(updates // 2)] + [0.4, 0.04, 0.004] * updates  # warmup, then drops
    return rng.normal(size=size).astype('float32'), rng.normal(size=(updates, size)).astype('float32'), lrs[:updates]


def test_the_papers_formula_in_float64():
    weight, grads, lrs = case()
    value, velocity = train('paper', weight, grads, lrs, rescale=0.125)
    expected, m = reference(weight, grads, lrs, 0.9, 1e-2, 0.125)
    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(velocity[0].asnumpy(), -lrs[-1] * 1.9 * m, rtol=2e-5, atol=2e-6)


def test_the_two_are_equal_while_the_rate_is_constant_and_nothing_decays():
    weight, grads, _ = case()
    ours, _ = train('paper', weight, grads, [0.1] * 12, wd=0)
    theirs, _ = train('mxnet', weight, grads, [0.1] * 12, wd=0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_they_part_when_the_rate_drops():
    """MXNet's velocity keeps the old rate: after a drop to a hundredth it still moves the weight."""
    weight, grads, _ = case(4)
    ours, theirs = (train(nag, weight, grads, [0.5, 0.5, 0.5, 0.005], wd=0)[0] for nag in ('paper', 'mxnet'))
    assert np.abs(ours - theirs).max() > 0.1


def test_mxnets_is_the_fused_kernel():
    weight, grads, lrs = case(5)
    value, momentum = mx.nd.array(weight), mx.nd.zeros(50)
    for grad, lr in zip(grads, lrs):
        mx.nd.nag_mom_update(value, mx.nd.array(grad), momentum, out=value, lr=lr, momentum=0.9, wd=1e-2)
    np.testing.assert_array_equal(train('mxnet', weight, grads, lrs)[0], value.asnumpy())


@pytest.mark.parametrize('nag', ['paper', 'mxnet'])
def test_masters_are_float32_and_keep_what_float16_loses(nag):
    """Steps far below a float16 ulp of the weight add up in the master."""
    weight = np.full(3, 1.0, 'float32')
    grads = np.full((100, 3), 1e-3, 'float32')
    value, (velocity, master) = train(nag, weight, grads, [1e-2] * 100, momentum=0.1, wd=0.0, dtype='float16')
    assert value.dtype == np.float16 and master.dtype == np.float32 and velocity.dtype == np.float32
    np.testing.assert_allclose(master.asnumpy(), 1 - 100 * 1e-5 / (1 - 0.1), rtol=3e-5)
    assert (value == master.asnumpy().astype('float16')).all() and (value < 1).all()


def make(devices, dtype='float32', nag='paper'):
    mx.random.seed(0)
    net = mx.gluon.nn.Dense(3, in_units=4)
    net.initialize(ctx=devices)
    if dtype == 'float16':
        net.cast('float16')
    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer(nag, 0.9, 1e-4, dtype == 'float16'),
                               update_on_kvstore=False)
    connect(trainer)
    return net, trainer


def update(net, trainer, seed):
    rng = np.random.RandomState(seed)
    for param in net.collect_params().values():
        grad = rng.normal(size=param.shape)
        for copy in param.list_grad():
            copy[:] = mx.nd.array(grad, ctx=copy.context)
        for copy in param.list_data():
            copy._fresh_grad = True
    trainer.set_learning_rate(0.1)
    trainer.update(1)


@pytest.mark.parametrize('nag', ['paper', 'mxnet'])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('devices', [[mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]])
def test_states_as_plain_arrays_resume_exactly(devices, dtype, nag):
    net, trainer = make(devices, dtype, nag)
    update(net, trainer, 1)
    states = {name: value.copy() for name, value in get_states(trainer).items()}
    weights = [param.data(devices[0]).copy() for param in net.collect_params().values()]
    update(net, trainer, 2)

    other, other_trainer = make(devices, dtype, nag)
    for param, weight in zip(other.collect_params().values(), weights):
        param.set_data(weight)
    set_states(other_trainer, states)
    update(other, other_trainer, 2)
    for ours, theirs in zip(other.collect_params().values(), net.collect_params().values()):
        for device in devices:
            np.testing.assert_array_equal(ours.data(device).asnumpy(), theirs.data(device).asnumpy())
    assert len(master_weights(trainer)) == (2 if dtype == 'float16' else 0)


def test_wrong_states_and_names_are_refused():
    net, trainer = make([mx.cpu()])
    update(net, trainer, 1)
    _, half = make([mx.cpu()], 'float16')
    assert get_states(half) == {}
    with pytest.raises(UsageError, match='--dtype'):
        set_states(half, get_states(trainer))
    with pytest.raises(UsageError, match='nag'):
        create_optimizer('sgd', 0.9, 0, False)
