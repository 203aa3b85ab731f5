"""The update by listed arrays, as on GPUs and as on a CPU: bit for bit the Trainer's, and NAG's formula."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.training import multi_tensor
from gluon_tricks.training.multi_tensor import multi_tensor_update
from gluon_tricks.training.optimizer import create_optimizer, get_states, set_states

# Warmup from nothing, a rate of zero, and rates below 1e-4, which MXNet's kernels do not read alike from text and arrays.
RATES = [1.7345e-9, 0.1, 0.2, 0.0, 0.0, 0.3] + (1e-5 * np.random.RandomState(3).rand(5)).tolist()
SHAPES = [(3 + number % 5, 2) for number in range(30)]
MOST = multi_tensor._MOST


@pytest.fixture(autouse=True, params=['many', 'single', 'both'])
def kernels(request, monkeypatch):
    """As on GPUs; as on a CPU with large arrays, and with some of 6 and 8 numbers that count as small."""
    if request.param == 'many':
        monkeypatch.setattr(multi_tensor, 'DEVICES', ('cpu', 'gpu'))
    monkeypatch.setattr(multi_tensor, '_MOST', 7)  # so that most parameters take several calls
    monkeypatch.setattr(multi_tensor, 'SMALL', 8 if request.param == 'both' else 0)
    return request.param


def make(dtype='float32', devices=1, nag='paper', shapes=SHAPES):
    """A trainer of parameters of two types with float16, of three multipliers."""
    params = []
    for number, shape in enumerate(shapes):
        param = mx.gluon.Parameter(f'p{number}', shape=shape, dtype=dtype if number % 3 else 'float32')
        param.initialize(mx.init.Zero(), ctx=[mx.cpu(device) for device in range(devices)])
        param.set_data(mx.nd.array(0.05 * np.random.RandomState(number).randn(*shape), dtype=param.dtype))
        param.wd_mult, param.lr_mult = float(number % 4 > 0), 10.0 if number % 7 == 0 else 1.0
        params.append(param)
    return mx.gluon.Trainer(params, create_optimizer(nag, 0.9, 1e-2, dtype == 'float16'), update_on_kvstore=False)


def gradients(trainer, number):
    """Those of an update, float64, one a parameter."""
    draw = np.random.RandomState(number).randn
    return [draw(*param.shape) for param in trainer._params]


def give_gradients(trainer, number):
    for param, grad in zip(trainer._params, gradients(trainer, number)):
        source = mx.nd.array(grad, dtype=param.dtype)
        for weight, array in zip(param.list_data(), param.list_grad()):
            source.copyto(array)
            weight._fresh_grad = True


def by_gluon(trainer, number, lr):
    """One update by the Trainer: MXNet's single kernels."""
    give_gradients(trainer, number)
    trainer.set_learning_rate(lr)
    trainer.update(64 * 128)


def train(trainer, rates, first=0):
    """Updates by listed arrays."""
    update = multi_tensor_update(trainer)
    for number, lr in enumerate(rates, first):
        give_gradients(trainer, number)
        update.update(lr, 64 * 128)


def arrays(trainer):
    """All that an update changes, on all devices."""
    found = {f'weight {param.name} {device}': copy.asnumpy() for param in trainer._params
             for device, copy in enumerate(param.list_data())}
    for updater in trainer._updaters:
        for index, state in updater.states.items():
            found[f'velocity {index} {len(found)}'] = state.velocity.asnumpy()
            if state.master is not None:
                found[f'master {index} {len(found)}'] = state.master.asnumpy()
    return dict(found, **{'saved ' + name: array.asnumpy() for name, array in get_states(trainer).items()})


def check_same(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys() and len(one) > 2 * len(SHAPES)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize('devices', [1, 2])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_the_bits_of_the_single_kernels(dtype, devices):
    many, single = make(dtype, devices), make(dtype, devices)
    train(many, RATES)
    for number, lr in enumerate(RATES):
        by_gluon(single, number, lr)
    check_same(many, single)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_a_call_of_as_many_parameters_as_mxnet_takes(dtype, monkeypatch):
    monkeypatch.setattr(multi_tensor, '_MOST', MOST)
    many, single = (make(dtype, shapes=[(2, 2)] * 100) for _ in range(2))
    train(many, RATES[1:3])
    for number, lr in enumerate(RATES[1:3]):
        by_gluon(single, number, lr)
    check_same(many, single)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_restored_states_and_new_multipliers_count(dtype):
    """One trainer is restored in the middle; a multiplier changes while both train."""
    many, single = make(dtype), make(dtype)
    train(many, RATES[:6])
    states = {name: array.copy() for name, array in get_states(many).items()}
    weights = [param.data().copy() for param in many._params]
    update = multi_tensor_update(many)
    for number, lr in enumerate(RATES[:8]):
        give_gradients(many, number)
        update.update(lr, 64 * 128)
    set_states(many, states)
    for param, weight in zip(many._params, weights):
        param.set_data(weight)
    for number, lr in enumerate(RATES):
        by_gluon(single, number, lr) if number != 8 else None
        if number == 8:
            for trainer in (many, single):
                trainer._params[5].lr_mult = 0.5
            by_gluon(single, number, lr)
        if number >= 6:
            give_gradients(many, number)
            update.update(lr, 64 * 128)
    check_same(many, single)


def test_the_formula_of_nag():
    """MXNet 1.3's, in float64: m <- mu m + g', w <- w - lr (g' + mu m)."""
    trainer, rates = make(shapes=SHAPES[:8]), [0.01 * number for number in range(1, 20)]
    start = [param.data().asnumpy().astype('float64') for param in trainer._params]
    train(trainer, rates)
    for index, (w, param) in enumerate(zip(start, trainer._params)):
        m = np.zeros_like(w)
        for number, lr in enumerate(rates):
            g = gradients(trainer, number)[index] / (64 * 128) + 1e-2 * param.wd_mult * w
            m = 0.9 * m + g
            w = w - lr * param.lr_mult * (g + 0.9 * m)
        np.testing.assert_allclose(param.data().asnumpy(), w, rtol=2e-5, atol=1e-8)


def test_who_updates_so(kernels, monkeypatch):
    """The paper's NAG, in few calls where the devices are said to; MXNet's own NAG has no such kernels."""
    called, call = [], multi_tensor._Call.__call__
    monkeypatch.setattr(multi_tensor._Call, '__call__', lambda self, options: called.append(1) or call(self, options))
    train(make(), RATES[:1])
    assert (len(called) == 2 * len(SHAPES)) == (kernels == 'single') and called
    assert multi_tensor_update(make(nag='mxnet')) is None
    called.clear()
    train(make('float16'), RATES[:1])
    assert (len(called) == 2 * len(SHAPES)) == (kernels == 'single') and called
    monkeypatch.undo()
    assert multi_tensor.DEVICES == ('gpu',) and multi_tensor.SMALL > 0


def test_a_parameter_without_a_gradient_is_told():
    trainer = make()
    give_gradients(trainer, 0)
    trainer._params[4].data()._fresh_grad = False
    with pytest.raises(UserWarning, match='p4 .*no gradient'):
        multi_tensor_update(trainer).update(0.1, 1)
