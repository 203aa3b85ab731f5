import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.distributed.workers import Gradients, Workers, check_kv_store, connect, number_of_workers
from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint
from support import ROOT

pytestmark = pytest.mark.skipif(mx.context.num_gpus() > 0, reason='written for a machine without GPUs')


def test_a_store_the_build_lacks():
    check_kv_store('device')
    check_kv_store('local')
    with pytest.raises(UsageError, match='NCCL'):
        check_kv_store('nccl')


@pytest.mark.parametrize('name, part', [('byteps', 'dist_sync'), ('dist_async', 'dist_sync'), ('dist_sync', 'launch'),
                                        ('dist_device_sync', 'launch'), ('horovod', 'docs/distributed.md')])
def test_stores_that_cannot_work_are_refused_with_the_remedy(name, part, monkeypatch):
    monkeypatch.delenv('DMLC_ROLE', raising=False)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UsageError) as error:
        number_of_workers(name)
    assert f'--kv-store {name}' in str(error.value) and part in str(error.value)


def test_horovod_without_mxnet_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, 'horovod', types.ModuleType('horovod'))
    monkeypatch.setattr('importlib.util.find_spec', lambda name: True)
    monkeypatch.setitem(sys.modules, 'horovod.mxnet', None)
    with pytest.raises(UsageError, match='built without MXNet'):
        number_of_workers('horovod')


def test_one_worker_is_no_work():
    workers = Workers('device')
    array = mx.nd.ones((2, 2))
    assert (workers.rank, workers.number, workers.store) == (0, 1, 'device')
    assert workers.total(array) is array and workers.gather([1, 0.1]).tolist() == [[1, 0.1]]
    workers.average([])
    workers.check_same([1], 'nothing', 'else')
    workers.finish()
    assert number_of_workers('local') == 1


@pytest.mark.parametrize('store', ['device', 'local'])
def test_gradients_of_the_devices_are_added_in_one_call(store, monkeypatch):
    rng = np.random.RandomState(0)
    values = {shape: rng.randn(3, *shape).astype('float32') for shape in ((4, 5), (7,), (2, 1, 3))}
    params = [mx.gluon.Parameter(f'p{number}', shape=shape) for number, shape in enumerate(values)]
    params.insert(1, mx.gluon.Parameter('statistic', shape=(2,), grad_req='null'))
    for param in params:
        param.initialize(ctx=[mx.cpu(0), mx.cpu(1), mx.cpu(2)])
    trainer = mx.gluon.Trainer(params, 'sgd', kvstore=store, update_on_kvstore=False)
    connect(trainer)
    gradients, calls, pushpull = Gradients(trainer), [], mx.base._LIB.MXKVStorePushPull
    monkeypatch.setattr(mx.base._LIB, 'MXKVStorePushPull', lambda *words: (calls.append(list(words[2])),
                                                                          pushpull(*words))[1])
    for _ in range(2):
        for param in params:
            for grad, value in zip(param.list_grad() if param.grad_req != 'null' else (), values.get(param.shape, ())):
                grad[:] = value
        gradients.add()
        for param in params[:1] + params[2:]:
            first, second, third = values[param.shape]
            for grad in param.list_grad():
                np.testing.assert_allclose(grad.asnumpy(), first + second + third, rtol=1e-6, atol=1e-6)
    assert calls == [[0, 0, 0, 2, 2, 2, 3, 3, 3]] * 2


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

HOROVODRUN = os.path.join(os.path.dirname(sys.executable), 'horovodrun')
LAUNCHERS = {  # what starts two workers
    '': [],
    'dist_sync': [sys.executable, '-m', 'gluon_tricks', 'launch', '-n', '2', '-s', '1', '--grace', '10', '--'],
    'horovod': [HOROVODRUN, '--gloo', '-np', '2', '-H', 'localhost:2']}
with_horovod = pytest.mark.skipif(
    not (importlib.util.find_spec('horovod') and os.path.exists(HOROVODRUN)),
    reason='Horovod is not installed for this Python: docs/distributed.md has the commands')
both_stores = pytest.mark.parametrize('kv_store', ['dist_sync', pytest.param('horovod', marks=with_horovod)])


def start(*words, kv_store='dist_sync'):
    """A program with two workers, or with '' by itself, as a Popen.

    With one thread each: another number adds in another order.
    """
    environment = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests')]))
    return subprocess.Popen(LAUNCHERS[kv_store] + [sys.executable] + list(words), cwd=str(ROOT), env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def launch(*words, kv_store='dist_sync'):
    """(exit code, stdout, stderr without MXNet's own lines) of a program that `start` starts."""
    with start(*words, kv_store=kv_store) as process:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, out, '\n'.join(line for line in err.splitlines() if '.cc:' not in line)


def unlabelled(out):
    """The lines of the workers, sorted, without who said them: `[worker 0] ` or `[0]<stdout>:`."""
    return sorted(re.sub(r'^\[(worker )?\d\](<stdout>:| )', '', line) for line in out.splitlines())


def load_slices(prefix, rank):
    with open(f'{prefix}{rank}.json') as stream:
        return (dict(np.load(f'{prefix}{rank}.npz')), *json.load(stream))


@pytest.mark.slow
@both_stores
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_two_workers_are_one_with_two_devices(dtype, kv_store, tmp_path):
    """The same slices: the same weights, statistics and metrics, and the same update skipped (float16)."""
    program, prefix = 'from support import workers; workers.save_slices(%r, %r, %r, %r)', str(tmp_path / 'worker')
    one = str(tmp_path / 'one')
    code, _, err = launch('-c', program % ('device', 'cpu(0),cpu(1)', dtype, one), kv_store='')
    assert code == 0, err
    code, _, err = launch('-c', program % (kv_store, '', dtype, prefix), kv_store=kv_store)
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


def launch_workers(kv_store, program):
    """(code, stdout, stderr) of two workers that run a program; `w` is its Workers."""
    begin = ('import os, sys\nfrom gluon_tricks.compat import mx\nfrom gluon_tricks.distributed.workers import '
             f'Workers\nw = Workers("{kv_store}")\n')
    return launch('-c', begin + program, kv_store=kv_store)


@both_stores
def test_numbers_of_all_workers_arrive_exactly(kv_store):
    """And sums that nobody waits for keep their order."""
    code, out, err = launch_workers(kv_store, (
        'for _ in range(2):\n    print(w.gather([w.rank + 0.1, 2.0 ** 40 + 1, float("nan")]).tolist())\n'
        'print(w.gather([]).shape)\n'
        'sums = [w.total(mx.nd.array([i * (1.0 + w.rank)])) for i in range(200)]\n'
        'print([sum.asscalar() for sum in sums] == [3.0 * i for i in range(200)])\nw.finish()'))
    assert code == 0, err
    rows = [[rank + 0.1, 2.0 ** 40 + 1, float('nan')] for rank in (0, 1)]
    assert unlabelled(out) == ['(2, 0)'] * 2 + ['True'] * 2 + [repr(rows)] * 4
    assert len({line.split(']')[0] for line in out.splitlines()}) == 2


@both_stores
@pytest.mark.parametrize('end', [pytest.param('sys.exit(7)', marks=pytest.mark.slow), 'os.kill(os.getpid(), 9)'])
def test_a_worker_that_fails_alone_ends_the_job_at_once(kv_store, end):
    """Without waiting, at its exit, for the others: they wait for it. The code of horovodrun is always 1."""
    start = time.time()
    code, _, err = launch_workers(kv_store, f'w.gather([0])\nif w.rank: {end}\nw.gather([0])')
    own = 7 if 'exit' in end else 137
    assert code == (1 if kv_store == 'horovod' else own), err
    assert time.time() - start < 20


@pytest.mark.slow
@both_stores
def test_a_difference_between_workers_is_told_by_all(kv_store):
    code, out, err = launch_workers(kv_store, (
        'from gluon_tricks.errors import UsageError\nw.check_same([1], "other ones", "x")\ntry:\n'
        '    w.check_same([w.rank], "another rank", "remedy")\nexcept UsageError as error:\n    print(error)\n'
        'w.finish()'))
    assert code == 0, err
    assert unlabelled(out) == ['worker 1 has another rank than worker 0: remedy'] * 2


def digests(folder, name):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / name).glob('*.params')}


@pytest.mark.slow
@both_stores
def test_a_training_with_two_workers_and_its_resumption(kv_store, tiny_arguments, tmp_path):
    arguments = [word for word in tiny_arguments if word not in ('--lr', '0.05')]
    arguments = ['train_imagenet.py'] + arguments + ['--kv-store', kv_store, '--mixup', '--save-dir',
                                                     str(tmp_path / 'run')]
    code, out, err = launch(*arguments, kv_store=kv_store)
    assert code == 0, err
    assert len({line.split(']')[0] for line in out.splitlines()}) == 1  # one worker writes
    with open(str(tmp_path / 'run' / 'run.json')) as stream:
        facts = json.load(stream)
    assert facts['workers'] == 2 and facts['config']['lr'] == pytest.approx(0.1 * 2 * 16 / 256)
    assert (facts['updates_per_epoch'], facts['result']['num_images']) == (2, 27)

    before = digests(tmp_path / 'run', 'epoch-0001')
    shutil.rmtree(str(tmp_path / 'run' / 'epoch-0001'))
    code, out, err = launch(*(arguments + ['--resume', 'auto']), kv_store=kv_store)
    assert code == 0 and 'epoch-0000: 1 of 2 epochs are done' in out, err
    assert digests(tmp_path / 'run', 'epoch-0001') == before and len(before) == 2

    from gluon_tricks.training import resume
    config = TrainConfig.from_dict(dict(facts['config'], resume='auto'))
    with pytest.raises(UsageError, match='by 2 workers, and there are 1 now'):
        resume.find_to_resume(config)
    assert resume.find_to_resume(config, 2)[0]


@pytest.mark.parametrize('devices, dtype, kv_store', [
    (2, 'float32', ''), pytest.param(4, 'float16', 'dist_sync', marks=pytest.mark.slow),
    pytest.param(4, 'float16', '', marks=pytest.mark.slow),
    pytest.param(2, 'float32', 'dist_sync', marks=pytest.mark.slow),
    pytest.param(4, 'float16', 'horovod', marks=with_horovod)])
def test_the_figure_is_that_of_the_saved_network(devices, dtype, kv_store, tiny_arguments, tmp_path, capsys):
    """run.json's, the log's, the file's name's and that of `evaluate`: each device had its own running statistics."""
    place = tiny_arguments.index('--num-gpus')
    arguments = tiny_arguments[:place] + tiny_arguments[place + 2:] + [
        '--devices', ','.join(f'cpu({number})' for number in range(devices)), '--batch-size', '4', '--dtype', dtype,
        '--kv-store', kv_store or 'device', '--save-frequency', '1', '--save-dir', str(tmp_path)]
    code, _, err = launch('train_imagenet.py', *arguments, kv_store=kv_store)
    assert code == 0, err
    log = (tmp_path / 'train_imagenet.log').read_text()
    with open(str(tmp_path / 'run.json')) as stream:
        facts = json.load(stream)
    best = facts['best']['epoch']
    assert list(tmp_path.glob(f'{1 - facts["best"]["top1"] / 100:.4f}-imagenet-*-{best}-best.params'))
    for name, epoch in (('best', best), (f'epoch-{1 - best:04d}', 1 - best)):
        capsys.readouterr()
        assert main(['evaluate', str(tmp_path / name), '--json', '--num-gpus', '0']) == 0
        figures = json.loads(capsys.readouterr().out)
        manifest = checkpoint.read(str(tmp_path / name))
        assert {key: manifest['metrics'][key] for key in ('top1', 'top5', 'num_images')} == \
            {key: figures[key] for key in ('top1', 'top5', 'num_images')}
        assert figures['loss'] == pytest.approx(manifest['metrics']['loss'], rel=1e-5)  # summed in another order
        assert f'[Epoch {epoch}] exact: top-1 {figures["top1"]:.3f} % top-5 {figures["top5"]:.3f} %' in log
        assert set(manifest['files']) == {'net.params', 'optimizer.params'} and figures['dtype'] == dtype
        for result in [facts['best']] * (name == 'best') + [facts['result']] * (epoch == 1):
            assert (result['top1'], result['top5']) == (figures['top1'], figures['top5'])


def test_equal_statistics_keep_their_bits():
    """Whatever the number of devices: a run stopped in an evaluation averages them once more."""
    devices = [mx.cpu(number) for number in range(3)]
    param = mx.gluon.Parameter('bn_running_var', shape=(1000,), init=mx.init.Normal(1), grad_req='null')
    param.initialize(ctx=devices)
    before = param.data(devices[0]).asnumpy()
    Workers().average([param])
    assert all((copy.asnumpy() == before).all() for copy in param.list_data())
    param.data(devices[2])[:] = before + 0.75
    Workers().average([param])
    for copy in param.list_data():
        np.testing.assert_allclose(copy.asnumpy(), before + 0.25, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@both_stores
def test_a_stop_inside_an_epoch_and_its_resumption(kv_store, tiny_arguments, tmp_path):
    """A SIGTERM to what started the workers: they save, and the run that goes on ends with the same bytes."""
    if kv_store == 'horovod' and 'bash' in os.path.realpath('/bin/sh'):
        pytest.skip('horovodrun gives no time to save where /bin/sh is bash: docs/distributed.md')
    program = 'from support import workers; workers.train_slowly(%r, %r)'
    arguments = tiny_arguments + ['--kv-store', kv_store, '--batch-size', '2', '--log-interval', '3', '--mixup']
    whole, parts = [arguments + ['--save-dir', str(tmp_path / name)] for name in ('whole', 'parts')]
    code, _, err = launch('-c', program % (0, whole), kv_store=kv_store)
    assert code == 0, err

    with start('-c', program % (0.2, parts), kv_store=kv_store) as process:
        try:
            seen = next((line for line in process.stdout if 'Batch' in line), None)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert seen and process.returncode == (1 if kv_store == 'horovod' else 143), out + err
    _, manifest, _ = checkpoint.find(str(tmp_path / 'parts'))
    assert manifest['epoch'] == 0 and 1 <= manifest['batch'] < 16, out + err

    code, out, err = launch('-c', program % (0, parts + ['--resume', 'auto']), kv_store=kv_store)
    assert code == 0 and f'{manifest["batch"]} updates of the next' in out, err
    assert digests(tmp_path / 'parts', 'epoch-0001') == digests(tmp_path / 'whole', 'epoch-0001') != {}


@pytest.mark.slow
def test_the_head_alone_with_two_workers(tiny_arguments, tmp_path):
    """Nothing else changes by a bit, a resume needs the base's file no more, and both must have the same one."""
    from gluon_tricks.models.params_file import read_params
    from gluon_tricks.models.zoo import DEMO, get_model
    from support.networks import saved, trained_elsewhere
    paths = [saved(trained_elsewhere(get_model(DEMO, classes=7), seed), tmp_path / f'{seed}.params') for seed in (0, 1)]
    start = read_params(paths[0])
    arguments = tiny_arguments + ['--kv-store', 'dist_sync', '--train-layers', 'head', '--wd', '0.1', '--base-params']
    run = ['train_imagenet.py'] + arguments + [paths[0], '--save-dir', str(tmp_path / 'run')]
    code, _, err = launch(*run)
    assert code == 0, err
    found = read_params(str(tmp_path / 'run' / 'latest' / 'net.params'))
    assert {name for name in start if found[name].tobytes() != start[name].tobytes()} == {'fc.weight', 'fc.bias'}
    before = digests(tmp_path / 'run', 'epoch-0001')
    shutil.rmtree(str(tmp_path / 'run' / 'epoch-0001'))
    os.remove(paths[0])
    code, _, err = launch(*run, '--resume', 'auto')
    assert code == 0 and digests(tmp_path / 'run', 'epoch-0001') == before, err

    saved(trained_elsewhere(get_model(DEMO, classes=7)), paths[0])
    code, out, err = launch('-c', (
        f'import os, sys\nfrom gluon_tricks.commands import train\npaths = {paths!r}\ntry:\n'
        f'    os.mkdir({str(tmp_path / "first")!r})\nexcept FileExistsError:\n    paths.reverse()\n'
        f'sys.exit(train.main({arguments!r} + [paths[0], "--save-dir", {str(tmp_path / "other")!r}]))'))
    assert code == 2 and 'worker 1 has another --base-params file than worker 0: give all' in out + err, err
