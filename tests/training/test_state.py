import json

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint
from gluon_tricks.training.state import Progress, draw_seed, restore_arrays
from gluon_tricks.tricks.low_precision import LossScaler
from support.checkpoints import make_net, make_state, save, update


def values(net):
    return {name: [copy.asnumpy() for copy in param.list_data()]
            for name, param in net._collect_params_with_prefix().items()}


@pytest.mark.parametrize('devices', [(mx.cpu(0),), (mx.cpu(0), mx.cpu(1))])
def test_a_restored_run_goes_on_bit_for_bit(tmp_path, devices):
    net, trainer = make_net(devices)
    update(net, trainer, devices)
    save(str(tmp_path), 0, net, trainer, {'best': None, 'config': {}})
    update(net, trainer, devices, seed=2)
    expected = values(net)

    other, other_trainer = make_net(devices, seed=5)
    path, manifest, notices = checkpoint.find(str(tmp_path))
    assert manifest['epoch'] == 0 and notices == []
    restore_arrays(path, checkpoint.read(path), other, other_trainer)
    update(other, other_trainer, devices, seed=2)
    for name, copies in values(other).items():
        for ours, theirs in zip(copies, expected[name]):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_another_network_is_refused(tmp_path):
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    other = mx.gluon.nn.Dense(4, in_units=3)
    other.initialize()
    with pytest.raises(UsageError, match='another network'):
        restore_arrays(str(tmp_path / 'latest'), checkpoint.read(str(tmp_path / 'latest')), other, None)


def inside_an_epoch():
    """A state in its epoch 2 after three updates, with everything that a checkpoint keeps off its default."""
    net, trainer = make_net()
    state = make_state(net, trainer, 2)
    state.scaler, state.rewinds = LossScaler(), 1
    for number in range(3):
        state.begin_update()
        update(net, trainer, seed=number)
        state.sums.add(0, [mx.nd.array([number + 0.1])], 6)
        state.monitor.see(number, 2.0 - number, 0.1)
        state.scaler.update(overflow=number == 1)
    state.progress.read({'loss': 0.25})
    state.begin_update()
    return state


def test_what_it_says_is_put_back(tmp_path):
    """Figures and arrays of one state, put into another, are what that one says then, bit by bit."""
    state = inside_an_epoch()
    figures = state.manifest_fields(inside=True)
    path = checkpoint.save(str(tmp_path), 'epoch-0002-batch-000004', state.arrays(inside=True), dict(figures, config={}))
    other = make_state(*make_net(seed=5))
    other.scaler = LossScaler()
    other.restore(path, checkpoint.read(path))
    assert json.dumps(other.manifest_fields(inside=True), sort_keys=True) == json.dumps(figures, sort_keys=True)
    for file_name, arrays in state.arrays(inside=True).items():
        restored = other.arrays(inside=True)[file_name]
        assert set(restored) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(restored[name].asnumpy(), array.asnumpy(), err_msg=name)
    assert other.begin_update() == state.begin_update() == 2 * 5 + 5


def test_after_a_rewind_an_epoch_begins_again_with_other_draws(tmp_path):
    state = inside_an_epoch()
    path = checkpoint.save(str(tmp_path), 'epoch-0002-batch-000004', state.arrays(inside=True),
                           dict(state.manifest_fields(inside=True), config={}))
    other = make_state(*make_net(seed=5))
    other.restore(path, dict(checkpoint.read(path), scaler=None), rewinds=2)
    assert (other.epoch, other.progress.batch, other.rewinds) == (2, 0, 2)
    assert other.sums.count == 0 and other.data_seed != state.data_seed


@pytest.mark.parametrize('draws', [True, False])
def test_generators_are_seeded_for_a_task_that_draws(draws):
    state = make_state(*make_net())
    state.draws = draws
    numbers = []
    for start in (1, 2):
        mx.random.seed(start)
        state.progress.batch = 0
        state.begin_update()
        numbers.append(mx.nd.random.uniform().asscalar())
    assert (numbers[0] == numbers[1]) == draws


def test_draws_follow_from_seed_update_worker_and_rewind():
    seen = set()
    for seed in (0, 1):
        for rank in (0, 1):
            for rewinds in (0, 1):
                state = make_state(*make_net())
                state.seed, state.workers.rank, state.rewinds = seed, rank, rewinds
                for _ in range(3):
                    state.begin_update()
                    seen.add(float(mx.nd.random.uniform(shape=1).asscalar()))
    assert len(seen) == 2 * 2 * 2 * 3
    assert all(0 <= draw_seed(seed, update) < 2 ** 31 for seed in (0, 2 ** 31 - 1) for update in (1, 10 ** 9))


def test_the_figures_of_an_epoch_are_means_over_its_images():
    progress = Progress()
    for images, loss in ((10, 1.0), (30, 2.0)):
        progress.count(images)
        progress.read({'loss': loss})
    progress.pass_time()
    again = Progress(**json.loads(json.dumps(progress.state())))
    for each in (progress, again):
        assert each.figures()['metrics'] == {'loss': (10 * 1.0 + 30 * 2.0) / 40} and each.batch == 2
    assert again.figures()['time'] == progress.figures()['time']
