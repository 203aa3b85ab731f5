import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from gluon_tricks import checkpoint, loop
from gluon_tricks.classification import Classification
from gluon_tricks.compat import mx
from gluon_tricks.config import TrainConfig
from gluon_tricks.data.pipeline import Batch
from gluon_tricks.distributed import Workers, check_kv_store, connect, find_devices, number_of_workers
from gluon_tricks.errors import UsageError
from gluon_tricks.models.zoo import get_model, know_shapes, place
from gluon_tricks.optimizer import create_optimizer
from gluon_tricks.tricks.low_precision import LossScaler, precision
from gluon_tricks.tricks.zero_gamma import zero_gamma
from conftest import ROOT

pytestmark = pytest.mark.skipif(mx.context.num_gpus() > 0, reason='written for a machine without GPUs')


def test_the_cpu_is_taken_without_gpus():
    assert find_devices() == [mx.cpu()]
    assert find_devices(num_gpus=0) == [mx.cpu()]


def test_devices_by_name():
    assert find_devices('cpu(0),cpu(1)') == [mx.cpu(0), mx.cpu(1)]
    assert find_devices(' cpu ') == [mx.cpu(0)]


@pytest.mark.parametrize('names, number, part', [
    ('', 2, '--num-gpus 2'), ('gpu(0)', None, 'gpu(0)'), ('cpu(0),cpu(0)', None, 'twice'), ('tpu(0)', None, 'tpu(0)'),
    ('cpu(0);cpu(1)', None, 'cpu(0);cpu(1)'), (',', None, "''")])
def test_wrong_devices_are_named(names, number, part):
    with pytest.raises(UsageError) as error:
        find_devices(names, number)
    assert part in str(error.value)


def test_a_store_the_build_lacks():
    check_kv_store('device')
    check_kv_store('local')
    with pytest.raises(UsageError, match='NCCL'):
        check_kv_store('nccl')


@pytest.mark.parametrize('name, part', [('byteps', 'dist_sync'), ('dist_async', 'dist_sync'), ('dist_sync', 'launch'),
                                        ('dist_device_sync', 'launch'), ('horovod', 'HOROVOD_WITH_MXNET=1')])
def test_stores_that_cannot_work_are_refused_with_the_remedy(name, part, monkeypatch):
    monkeypatch.delenv('DMLC_ROLE', raising=False)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UsageError) as error:
        number_of_workers(name)
    assert '--kv-store %s' % name in str(error.value) and part in str(error.value)


def test_one_worker_is_no_work():
    workers = Workers('device')
    array = mx.nd.ones((2, 2))
    assert (workers.rank, workers.number, workers.store) == (0, 1, 'device')
    assert workers.total(array) is array and workers.gather([1, 0.1]).tolist() == [[1, 0.1]]
    workers.average([])
    workers.check_same([1], 'nothing', 'else')
    workers.finish()
    assert number_of_workers('local') == 1


def test_horovods_sums_go_to_all_devices(monkeypatch):
    """With a module of the same functions in Horovod's place, of two workers that hold the same."""
    module = types.ModuleType('horovod.mxnet')
    module.init, module.rank, module.size = lambda: None, lambda: 1, lambda: 2
    module.allreduce = lambda tensor, average, name, priority: tensor * 2
    module.broadcast = lambda tensor, root, name, priority: tensor + 5
    package = types.ModuleType('horovod')
    package.mxnet = module
    monkeypatch.setitem(sys.modules, 'horovod', package)
    monkeypatch.setitem(sys.modules, 'horovod.mxnet', module)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: package)
    workers = Workers('horovod')
    assert (workers.rank, workers.number, number_of_workers('horovod')) == (1, 2, 2)
    assert workers.total(mx.nd.ones((2, 3))).asnumpy().tolist() == [[2] * 3] * 2
    workers.finish()
    weight = mx.gluon.Parameter('weight', shape=(2,), init='zeros')
    weight.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    trainer = mx.gluon.Trainer([weight], 'sgd', {'learning_rate': 1}, kvstore=workers.store, update_on_kvstore=False)
    connect(trainer)
    assert [copy.asnumpy().tolist() for copy in weight.list_data()] == [[5, 5]] * 2
    with mx.autograd.record():
        losses = [copy.sum() for copy in weight.list_data()]
    mx.autograd.backward(losses)
    trainer.step(4)
    assert [copy.asnumpy().tolist() for copy in weight.list_data()] == [[4, 4]] * 2  # 5 - 2 workers * 2 devices / 4


# ---------------------------------------------------------------------------------------------------------------------
# Two workers

LAUNCH = [sys.executable, '-m', 'gluon_tricks', 'launch', '-n', '2', '-s', '1', '--grace', '2', '--', sys.executable]


def launch(*words, launcher=LAUNCH):
    """(exit code, stdout, stderr without MXNet's own lines) of a program with two workers and a server.

    With one thread each: another number adds in another order.
    """
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests')]))
    done = subprocess.run(launcher + list(words), cwd=str(ROOT), env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    return done.returncode, done.stdout, '\n'.join(line for line in done.stderr.splitlines() if '.cc:' not in line)


class Slices:
    """Stored batches, of which a worker takes its rows."""

    def __init__(self, updates):
        rng = np.random.RandomState(0)
        self.x = rng.normal(size=(updates, 16, 3, 32, 32)).astype('float32')
        self.y = rng.randint(10, size=(updates, 16)).astype('float32')

    def batch(self, number, workers):
        share = 16 // workers.number
        rows = slice(workers.rank * share, (workers.rank + 1) * share)
        return Batch([mx.nd.array(self.x[number, rows])], [mx.nd.array(self.y[number, rows])])


class Overflowing(Classification):
    """At one update the gradients of the second half of the images are too large for float16."""

    def begin_batch(self, update):
        self.update = update
        super().begin_batch(update)

    def loss(self, *shard):
        second = self.workers.rank or shard[0]  # on one worker's device, or the second device
        return super().loss(*shard) * (1e9 if second and self.update == 7 else 1.0)


def train_slices(workers, devices, dtype, updates=20):
    """(weights and statistics as saved, updates skipped) after some updates of a small network."""
    mx.random.seed(3 + workers.rank)  # the first worker's weights are everybody's
    low_precision = precision(dtype, devices)
    net = get_model('resnet10_v1d_demo', classes=10)
    zero_gamma(net)
    net.initialize(mx.init.Xavier())
    know_shapes(net, 32)
    place(net, devices, low_precision, True)
    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer('paper', 0.9, 1e-4, dtype == 'float16'),
                               kvstore=workers.store, update_on_kvstore=False)
    connect(trainer)
    config = TrainConfig(num_classes=10, input_size=32, batch_size=8, lr=0.1, dtype=dtype)
    kind = Overflowing if dtype == 'float16' else Classification
    task = kind(net, config, devices, None, None, low_precision, workers=workers)
    scaler, slices = LossScaler() if dtype == 'float16' else None, Slices(updates)
    for number in range(updates):
        loop.step(task, slices.batch(number, workers), trainer, devices, number + 1, 0.05, 16, scaler)
    workers.average(trainer._params)
    mx.nd.waitall()
    metrics = task.train_metrics()
    arrays = {name: array.asnumpy() for name, array in checkpoint.net_arrays(net, trainer).items()}
    return arrays, scaler.skipped if scaler else 0, metrics


def save_slices(kv_store, devices, dtype, prefix):
    """The program of a worker."""
    workers = Workers(kv_store)
    arrays, skipped, metrics = train_slices(workers, find_devices(devices), dtype)
    np.savez('%s%d.npz' % (prefix, workers.rank), **arrays)
    with open('%s%d.json' % (prefix, workers.rank), 'w') as stream:
        json.dump([skipped, metrics], stream)
    workers.finish()


def load_slices(prefix, rank):
    with open('%s%d.json' % (prefix, rank)) as stream:
        return (dict(np.load('%s%d.npz' % (prefix, rank))), *json.load(stream))


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_two_workers_are_one_with_two_devices(dtype, tmp_path):
    """The same slices: the same weights, statistics and metrics, and the same update skipped (float16)."""
    program, prefix = 'import test_distributed; test_distributed.save_slices(%r, %r, %r, %r)', str(tmp_path / 'worker')
    one = str(tmp_path / 'one')
    code, _, err = launch('-c', program % ('device', 'cpu(0),cpu(1)', dtype, one), launcher=LAUNCH[-1:])
    assert code == 0, err
    code, _, err = launch('-c', program % ('dist_sync', '', dtype, prefix))
    assert code == 0, err
    expected, skipped, metrics = load_slices(one, 0)
    assert skipped == (1 if dtype == 'float16' else 0)
    for rank in (0, 1):
        arrays, theirs_skipped, theirs = load_slices(prefix, rank)
        assert set(arrays) == set(expected) and theirs_skipped == skipped and set(theirs) == set(metrics)
        for name, value in expected.items():
            assert np.abs(arrays[name] - value).max() <= 1e-5 * max(np.abs(value).max(), 1e-3), name
        for name, value in metrics.items():
            assert theirs[name] == pytest.approx(value, rel=1e-5), name


def test_numbers_of_all_workers_arrive_exactly():
    program = ('from gluon_tricks.distributed import Workers\nw = Workers("dist_sync")\nfor _ in range(2):\n    print('
               'w.gather([w.rank + 0.1, 2.0 ** 40 + 1, float("nan")]).tolist())\nw.finish()')
    code, out, err = launch('-c', program)
    assert code == 0, err
    rows = [[rank + 0.1, 2.0 ** 40 + 1, float('nan')] for rank in (0, 1)]
    assert sorted(out.splitlines()) == ['[worker %d] %r' % (i // 2, rows) for i in range(4)]


def test_sums_that_nobody_waits_for_keep_their_order():
    program = ('from gluon_tricks.compat import mx\nfrom gluon_tricks.distributed import Workers\n'
               'w = Workers("dist_sync")\nsums = [w.total(mx.nd.array([i * (1.0 + w.rank)])) for i in range(200)]\n'
               'print([sum.asscalar() for sum in sums] == [3.0 * i for i in range(200)])\nw.finish()')
    code, out, err = launch('-c', program)
    assert code == 0 and out.count('True') == 2, out + err


def test_a_worker_that_fails_alone_ends_the_job_at_once():
    """Without waiting, at its exit, for the others: they wait for it."""
    program = ('import sys\nfrom gluon_tricks.distributed import Workers\nw = Workers("dist_sync")\n'
               'if w.rank: sys.exit(7)\nw.gather([0])')
    start = time.time()
    assert launch('-c', program)[0] == 7 and time.time() - start < 20


def test_a_difference_between_workers_is_told_by_all():
    program = ('from gluon_tricks.distributed import Workers\nfrom gluon_tricks.errors import UsageError\n'
               'w = Workers("dist_sync")\nw.check_same([1], "other ones", "x")\ntry:\n    w.check_same([w.rank], '
               '"another rank", "remedy")\nexcept UsageError as error:\n    print(error)\nw.finish()')
    code, out, err = launch('-c', program)
    assert code == 0, err
    assert [line[11:] for line in out.splitlines()] == ['worker 1 has another rank than worker 0: remedy'] * 2


def digests(folder, name):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / name).glob('*.params')}


def test_a_training_with_two_workers_and_its_resumption(tiny_arguments, tmp_path):
    arguments = [word for word in tiny_arguments if word not in ('--lr', '0.05')]
    arguments = ['train_imagenet.py'] + arguments + ['--kv-store', 'dist_sync', '--mixup', '--save-dir',
                                                     str(tmp_path / 'run')]
    code, out, err = launch(*arguments)
    assert code == 0, err
    assert len({line.split(']')[0] for line in out.splitlines()}) == 1  # one worker writes
    with open(str(tmp_path / 'run' / 'run.json')) as stream:
        facts = json.load(stream)
    assert facts['workers'] == 2 and facts['config']['lr'] == pytest.approx(0.1 * 2 * 16 / 256)
    assert (facts['updates_per_epoch'], facts['result']['num_images']) == (2, 27)

    before = digests(tmp_path / 'run', 'epoch-0001')
    shutil.rmtree(str(tmp_path / 'run' / 'epoch-0001'))
    code, out, err = launch(*(arguments + ['--resume', 'auto']))
    assert code == 0 and 'epoch-0000: 1 of 2 epochs are done' in out, err
    assert digests(tmp_path / 'run', 'epoch-0001') == before and len(before) == 2

    from gluon_tricks import keeper
    config = TrainConfig.from_dict(dict(facts['config'], resume='auto'))
    with pytest.raises(UsageError, match='by 2 workers, and there are 1 now'):
        keeper.find_to_resume(config)
    assert keeper.find_to_resume(config, 2)[0]
