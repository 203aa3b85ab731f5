"""PaperNAG against its formula in float64, against MXNet's NAG, and its states saved and restored."""
import math

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.training.optimizer import create_optimizer, get_states, master_weights, set_states

MU, WD, BATCH = 0.9, 1e-2, 64
CPU = (mx.cpu(0),)


def schedule(update):
    """Warmup over 10 updates, then cosine to zero: the rate changes at each update."""
    return 0.4 * update / 10 if update <= 10 else 0.2 * (1 + math.cos(math.pi * (update - 10) / 50))


def gradient(update, n, dtype):
    return (np.random.RandomState(update).randn(n) * (10 if update % 3 else 1)).astype(dtype)


def make(nag='paper', dtype='float32', devices=CPU, n=500, momentum=MU, shapes=None):
    """A trainer of parameters without a network: sized n (or `shapes`), the first of them in `dtype`."""
    params = []
    for number, shape in enumerate(shapes or [(n,)]):
        param = mx.gluon.Parameter(f'p{number}', shape=shape, dtype=dtype)
        param.initialize(mx.init.Zero(), ctx=list(devices))
        param.set_data(mx.nd.array(0.05 * np.random.RandomState(7).randn(*shape), dtype=dtype))
        params.append(param)
    return mx.gluon.Trainer(params, create_optimizer(nag, momentum, WD, dtype == 'float16'), update_on_kvstore=False)


def update(trainer, number, lr=None):
    for param in trainer._params:
        size = int(np.prod(param.shape))
        for weight, grad in zip(param.list_data(), param.list_grad()):
            grad[:] = mx.nd.array(gradient(number, size, param.dtype).reshape(param.shape), dtype=param.dtype)
            weight._fresh_grad = True
    trainer.set_learning_rate(schedule(number) if lr is None else lr)
    trainer.update(BATCH)


def weights(trainer, device=0):
    masters = master_weights(trainer)
    return [masters.get(param, param.list_data()[device]).asnumpy() for param in trainer._params]


def formula(dtype, rates, n=500, momentum=MU, number_type='float64'):
    """The formula of MXNet 1.3 by a recursion over displacements: w_t = w_0 - sum lr (g' + mu m)."""
    w = (0.05 * np.random.RandomState(7).randn(n)).astype(dtype).astype(number_type)
    m = np.zeros(n, number_type)
    scalar = np.dtype(number_type).type
    for number, lr in enumerate(rates, 1):
        g = gradient(number, n, dtype).astype(number_type) / scalar(BATCH) + scalar(WD) * w
        m = scalar(momentum) * m + g
        w = w - scalar(lr) * (g + scalar(momentum) * m)
    return w


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('momentum', [0.9, 0.0])
def test_the_formula_of_mxnet_1_3_under_a_changing_rate(dtype, momentum):
    """As near to float64 as the plain composition in float32 is (within a factor of 2)."""
    trainer, rates = make(dtype=dtype, momentum=momentum), [schedule(i) for i in range(1, 60)]
    for number, lr in enumerate(rates, 1):
        update(trainer, number, lr)
    exact = formula(dtype, rates, momentum=momentum)
    plain = np.abs(formula(dtype, rates, momentum=momentum, number_type='float32') - exact).max()
    error = np.abs(weights(trainer)[0] - exact).max()
    assert error < 2 * plain < 1e-5 * np.abs(exact).max()


def test_a_rate_of_zero_moves_nothing_and_keeps_the_momentum():
    """GluonCV's 2018 warmup begins at 0; a schedule may also touch 0 in the middle."""
    rates = [0.0, 0.1, 0.1, 0.0, 0.0, 0.2, 0.1]
    trainer, seen = make(), []
    for number, lr in enumerate(rates, 1):
        update(trainer, number, lr)
        seen.append(weights(trainer)[0])
    np.testing.assert_array_equal(seen[0], make()._params[0].data().asnumpy())
    np.testing.assert_allclose(seen[-1], formula('float32', rates), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen[4], formula('float32', rates[:5]), rtol=1e-5, atol=1e-6)


def test_mxnets_nag_is_the_same_at_a_constant_rate_only():
    results = {}
    for nag in ('paper', 'mxnet'):
        for name, rates in (('constant', [1e-3] * 20), ('warmup', [1e-3 * i / 10 for i in range(1, 21)])):
            trainer = make(nag)
            for number, lr in enumerate(rates, 1):
                update(trainer, number, lr)
            results[nag, name] = weights(trainer)[0]
    start = weights(make())[0]

    def apart(name):
        step = np.abs(results['paper', name] - start).max()
        return np.abs(results['paper', name] - results['mxnet', name]).max() / step

    assert apart('constant') < 1e-4
    assert apart('warmup') > 0.05


def test_multipliers_of_a_parameter_count():
    """No bias decay sets wd_mult 0, transfer learning sets lr_mult."""
    trainer = make(shapes=[(50,), (50,), (50,)])
    trainer._params[1].wd_mult = 0.0
    trainer._params[2].lr_mult = 0.0
    before = weights(trainer)
    for _number in (1, 2, 3):
        for param in trainer._params:
            param.data()._fresh_grad = True
        trainer.set_learning_rate(0.1)
        trainer.update(1)  # the gradients are zero: only decay moves a weight
    after = weights(trainer)
    assert (np.abs(after[0]) < np.abs(before[0])).all()
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(after[2], before[2])


def test_masters_are_float32_and_keep_what_float16_loses():
    """An update below half a float16 step is lost in the weight, and is whole after many in the master."""
    for nag in ('paper', 'mxnet'):
        param = mx.gluon.Parameter('p', shape=(1,), dtype='float16')
        param.initialize(mx.init.One())
        trainer = mx.gluon.Trainer([param], create_optimizer(nag, 0.0, 0.0, True), update_on_kvstore=False)
        for number in range(8):
            param.grad()[:] = 1
            param.data()._fresh_grad = True
            trainer.set_learning_rate(1e-4)  # float16 below 1 has steps of 4.9e-4
            trainer.update(1)
            if number == 1:
                assert param.data().asscalar() == 1.0
        master = master_weights(trainer)[param]
        assert master.dtype == np.float32 and param.data().dtype == np.float16
        assert master.asscalar() == pytest.approx(1 - 8e-4, abs=1e-6)
        assert param.data().asscalar() == np.float16(master.asscalar())


def test_float16_without_masters_is_refused():
    param = mx.gluon.Parameter('p', shape=(1,), dtype='float16')
    param.initialize()
    trainer = mx.gluon.Trainer([param], create_optimizer('paper', 0.9, 0.0, False), update_on_kvstore=False)
    param.data()._fresh_grad = True
    with pytest.raises(UsageError, match='multi_precision'):
        trainer.update(1)


@pytest.mark.parametrize('devices', [CPU, (mx.cpu(0), mx.cpu(1))])
@pytest.mark.parametrize('nag', ['paper', 'mxnet'])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_a_restored_trainer_goes_on_bit_for_bit(tmp_path, nag, dtype, devices):
    """Through a file of plain arrays, into a trainer that has made no update and into one that has."""
    trainer = make(nag, dtype, devices, shapes=[(30,), (4, 5)])
    for number in range(1, 6):
        update(trainer, number)
    path = str(tmp_path / 'states')
    mx.nd.save(path, get_states(trainer))
    kept = [param.data().asnumpy() for param in trainer._params]
    for number in range(6, 12):
        update(trainer, number)
    for updates_before in (0, 2):
        other = make(nag, dtype, devices, shapes=[(30,), (4, 5)])
        for number in range(1, updates_before + 1):
            update(other, number)
        for param, value in zip(other._params, kept):
            param.set_data(mx.nd.array(value, dtype=dtype))
        set_states(other, mx.nd.load(path))
        for number in range(6, 12):
            update(other, number)
        for device in range(len(devices)):
            for ours, theirs in zip(other._params, trainer._params):
                np.testing.assert_array_equal(ours.list_data()[device].asnumpy(),
                                              theirs.list_data()[device].asnumpy())
        for ours, theirs in zip(weights(other), weights(trainer)):
            np.testing.assert_array_equal(ours, theirs)


def test_states_are_copies_and_have_plain_names():
    trainer = make(dtype='float16')
    assert get_states(trainer) == {} and master_weights(trainer) == {}
    update(trainer, 1)
    states = get_states(trainer)
    assert set(states) == {'0/velocity', '0/master', '0/lr'}
    assert set(get_states(make_updated('mxnet', 'float32'))) == {'0/momentum'}
    assert set(get_states(make_updated('mxnet', 'float16'))) == {'0/momentum', '0/master'}
    other = make(dtype='float16')
    set_states(other, states)
    update(other, 2)
    assert (get_states(trainer)['0/velocity'] == states['0/velocity']).asnumpy().all()


def make_updated(nag, dtype):
    trainer = make(nag, dtype)
    update(trainer, 1)
    return trainer


def test_states_of_another_run_are_refused():
    states = get_states(make_updated('paper', 'float32'))
    for other in (make('mxnet'), make(dtype='float16'), make(n=499)):
        with pytest.raises(UsageError, match='parameter 0'):
            set_states(other, states)
    with pytest.raises(UsageError, match='parameter 9'):
        set_states(make(), {'9/velocity': states['0/velocity']})


def test_an_unknown_nag_is_refused():
    with pytest.raises(UsageError, match='paper or mxnet'):
        create_optimizer('nesterov')
