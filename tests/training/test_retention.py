import os

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.training import checkpoint, retention
from gluon_tricks.training.resume import find_to_resume
from gluon_tricks.training.retention import Keeper
from support.checkpoints import NoRecord, at, make_keeper, make_net, make_state, scores, update


def test_kept_are_the_latest_two_the_best_the_last_and_every_fifth(tmp_path):
    _, keeper, state = make_keeper(tmp_path, save_frequency=5)
    for epoch, top1 in enumerate([10, 20, 90, 30, 40, 50, 60, 70]):
        keeper.save(at(state, epoch), scores(top1))
    assert checkpoint.names(str(tmp_path)) == ['epoch-0002', 'epoch-0004', 'epoch-0006', 'epoch-0007']
    assert checkpoint.target(str(tmp_path), 'best') == 'epoch-0002'
    assert checkpoint.target(str(tmp_path), 'latest') == 'epoch-0007'
    assert keeper.best == {'top1': 90, 'top5': 99.0, 'num_images': 10, 'epoch': 2, 'checkpoint': 'epoch-0002'}
    assert keeper.result == {'top1': 70, 'top5': 99.0, 'num_images': 10, 'epoch': 7}


def test_gluoncvs_names_stay_when_their_checkpoints_go(tmp_path):
    _, keeper, state = make_keeper(tmp_path, save_frequency=1)
    keeper.save(at(state, 0), scores(50.0))
    assert {'0.5000-imagenet-resnet50_v1d-0-best.params', 'imagenet-resnet50_v1d-0.params'} <= set(
        os.listdir(str(tmp_path)))


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_the_exported_weights_have_the_type_asked_for_and_the_checkpoint_all_bits(dtype, tmp_path):
    _, keeper, state = make_keeper(tmp_path, save_frequency=1, save_dtype=dtype)
    path = keeper.save(at(state, 0), scores(50.0))
    exact = state.net.weight.data().asnumpy()
    stored, exported = (mx.nd.load(str(file))['weight'] for file in (
        tmp_path / 'epoch-0000' / 'net.params', tmp_path / 'imagenet-resnet50_v1d-0.params'))
    assert path.endswith('epoch-0000') and (stored.asnumpy() == exact).all()
    assert exported.dtype == np.dtype(dtype) and (exported.asnumpy() == exact.astype(dtype)).all()


def test_an_equal_score_is_not_better(tmp_path):
    _, keeper, state = make_keeper(tmp_path)
    keeper.save(at(state, 0), scores(50.0))
    keeper.save(at(state, 1), scores(50.0))
    assert checkpoint.target(str(tmp_path), 'best') == 'epoch-0000'


def test_without_validation_there_is_no_best(tmp_path):
    _, keeper, state = make_keeper(tmp_path)
    keeper.save(at(state, 0), {})
    assert keeper.best is None and checkpoint.target(str(tmp_path), 'best') is None
    assert keeper.result == {'epoch': 0}


def test_what_a_divergence_may_go_back_to_stays_after_a_resume(tmp_path):
    config, keeper, state = make_keeper(tmp_path)
    keeper.save(at(state, 0), scores(50.0))
    resumed = find_to_resume(config.replace(resume='auto'))[0]
    after = Keeper(config, keeper.task, NoRecord(), {}, resumed)
    state.monitor.restore({'losses': [], 'high': 7})
    for epoch, top1 in ((1, 60.0), (2, 70.0), (3, 80.0)):
        after.save(at(state, epoch), scores(top1))
    assert checkpoint.names(str(tmp_path)) == ['epoch-0000', 'epoch-0002', 'epoch-0003']


def numbers(folder, frequency, best):
    """(checkpoints at the end of a run, the most at a time while one is written); best: its best epoch."""
    folder.mkdir()
    config, keeper, state = make_keeper(folder, save_frequency=frequency)
    at_a_time = 0
    for epoch in range(config.num_epochs):
        at_a_time = max(at_a_time, len(checkpoint.names(str(folder))) + 1)
        keeper.save(at(state, epoch), scores(90.0 if epoch == best else epoch))
    return len(checkpoint.names(str(folder))), at_a_time


@pytest.mark.parametrize('frequency, most', [(0, 3), (1, 12), (5, 5), (10, 4)])
def test_how_many_checkpoints_there_are(frequency, most, tmp_path):
    """Where the best epoch is none of the others."""
    found = [numbers(tmp_path / str(best), frequency, best) for best in (1, 11)]
    assert retention.most_kept(make_keeper(tmp_path, save_frequency=frequency)[0]) == most
    assert found[0][0] == most and found[1][0] <= most
    assert max(at_a_time for _, at_a_time in found) == most + (frequency == 0)


@pytest.mark.parametrize('frequency', [0, 1, 5])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_room_that_exported_weights_take(dtype, frequency, tmp_path):
    """Each epoch is the best so far; a hard link to a checkpoint that is there takes none."""
    config, keeper, state = make_keeper(tmp_path, save_frequency=frequency, save_dtype=dtype)
    for epoch in range(config.num_epochs):
        keeper.save(at(state, epoch), scores(float(epoch)))
    files = [path for path in tmp_path.glob('*.params') if path.stat().st_nlink == 1]
    most = retention.exported_bytes(config, 1000)
    each, size = 500 if dtype == 'float16' else 1000, 2000
    taken = each * len(files) + size * len(checkpoint.names(str(tmp_path)))
    assert 0 <= most + size * retention.most_kept(config) - taken <= size  # the best is one of the others here


def test_bytes_of_a_checkpoint_by_its_parameters():
    """The arrays' own, less the two vectors of statistics, and the last learning rate beside each momentum."""
    net, trainer = make_net()
    update(net, trainer)
    files = make_state(net, trainer).arrays()
    stored = sum(4 * array.size for arrays in files.values() for array in arrays.values())
    params = [param.data() for param in net.collect_params().values() if param.grad_req != 'null']
    trained = sum(param.size for param in params)
    assert stored == retention.checkpoint_bytes(trained, 'float32') + 2 * 4 * 4 + 4 * len(params)
    assert retention.checkpoint_bytes(trained, 'float16') == 12 * trained
