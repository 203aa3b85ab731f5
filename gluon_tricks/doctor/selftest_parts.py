"""The parts of the self-test, each run as a process by `selftest.py`: ``python -m gluon_tricks.doctor.selftest_parts
NAME``, settings as JSON on stdin, the answer as JSON in the last line of stdout.

A part returns a Found: `checks` are what must hold, with the limit beside the number; `figures` what was measured and
has no limit; `notes` words for the line of the part. Limits are for one update of a network whose residual branches
start at zero (`--last-gamma`), where rounding does not grow: float32 on two kinds of machine, 1e-3; float16 beside
float32, 2 % of the loss, and a cosine of 0.99 between the updates.
"""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple

import numpy as np

from gluon_tricks.compat import environment, mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.cores import available_cores
from gluon_tricks.data.pipeline import Batch
from gluon_tricks.data.records.packing import pack
from gluon_tricks.distributed.devices import find_devices
from gluon_tricks.distributed.workers import Gradients, Workers
from gluon_tricks.doctor.trial import Updates
from gluon_tricks.models import params_file
from gluon_tricks.noise import quiet
from gluon_tricks.tasks.classification.assembly import assemble, resolve
from gluon_tricks.training.history import read_events, updates
from gluon_tricks.training.loop import step
from gluon_tricks.training.optimizer import master_weights

_PATIENCE = 100.0  # seconds until a training has begun


class Found(NamedTuple):
    """What a part found."""

    checks: List[Dict[str, Any]]
    figures: Dict[str, Any]
    notes: List[str]


def _check(what, value, must, ok):
    return {'what': what, 'is': value, 'must': must, 'ok': bool(ok)}


def _below(what, value, limit):
    return _check(what, float(f'{value:.3g}'), f'at most {limit:g}', value <= limit)  # NaN is not


class Given:
    """What the parts are asked for. devices: those to test; gpu: whether they are GPUs; quick: smaller networks."""

    def __init__(self, devices='', quick=False, folder='.'):
        self.devices = find_devices(devices)
        if not devices and self.devices[0].device_type == 'cpu':
            self.devices = [mx.cpu(0), mx.cpu(1)]
        self.gpu, self.quick, self.folder = self.devices[0].device_type == 'gpu', quick, folder
        self.updates = 30 if self.gpu else 2 if quick else 6  # that are timed

    def config(self, devices, **changes):
        """A resolved configuration of a small network on these devices, on one random batch again and again."""
        values = dict(model='resnet10_v1d_demo' if self.quick else 'resnet50_v1d', num_classes=10, input_size=64,
                      batch_size=8, data_backend='synthetic', last_gamma=True, mode='hybrid', lr=0.05, num_epochs=1,
                      devices=','.join(map(str, devices)), log_interval=0, save_dir=os.path.join(self.folder, 'run'))
        if self.quick:
            values['input_size'] = 32
        values.update(changes)
        values.setdefault('num_training_samples', 100 * values['batch_size'] * len(devices))
        return resolve(TrainConfig(**values))[0]

    def rates(self, devices, **changes):
        """A configuration for the speed: the paper's network on GPUs, the demo's on a CPU, which would take hours."""
        sizes = dict(model='resnet50_v1d', num_classes=1000, input_size=224, batch_size=64) if self.gpu else dict(
            model='resnet10_v1d_demo', input_size=32, batch_size=8)
        return self.config(devices, **dict(sizes, **changes))


class Training:
    """A network with its optimizer, updated one batch at a time. config: resolved; the same seed gives the same weights
    on any device."""

    def __init__(self, config):
        self.devices = find_devices(config.devices)
        self.setup = assemble(config, self.devices, Workers(config.kv_store))
        self.task = self.setup.task
        self.state = self.setup.new_state(config)
        self.task.reseed(self.state.data_seed)

    def update(self, batch):
        """One update; returns the mean loss over its images."""
        losses = step(self.task, self.state, batch, self.setup.schedule)
        return sum(float(loss.asnumpy().astype('float64').sum()) for loss in losses) / self.setup.total_batch_size

    def weights(self, device=0):
        """The trained weights of a device, float32 masters where there are any, as one float64 array."""
        masters = master_weights(self.setup.trainer) if device == 0 else {}
        return np.concatenate([(masters[param] if param in masters else param.list_data()[device]).asnumpy().ravel()
                               for param in self.trained()]).astype('float64')

    def trained(self):
        """The Parameters that an update changes."""
        return [param for param in self.setup.trainer._params if param.grad_req != 'null']

    def gradients(self, device=0):
        """The gradients of a device as one float64 array."""
        return np.concatenate([param.list_grad()[device].asnumpy().ravel() for param in self.trained()]).astype(
            'float64')

    def backward(self, batch):
        """Forward and backward of a batch, and the sum over devices; no update."""
        shards = self.task.preprocess(batch, self.state.begin_update())
        with mx.autograd.record():
            losses = [self.task.loss(shard) for shard in shards]
        self.state.backward(losses)
        mx.nd.waitall()


def _distance(ours, theirs):
    """|ours - theirs| / |theirs|, 0 for two that are zero."""
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-30))


# ---------------------------------------------------------------------------------------------------------------------
# The parts

def machine(given):
    """What the machine is, and whether each device adds."""
    features = sorted(name for name, feature in mx.runtime.Features().items() if feature.enabled)
    figures = dict(environment(), devices=[str(device) for device in given.devices], cores=available_cores(),
                   features=features)
    if given.gpu:
        figures['memory'] = [mx.context.gpu_memory_info(device.device_id) for device in given.devices]  # free, all
    if shutil.which('nvidia-smi'):
        for name, words in (('nvidia_smi', ['--query-gpu=name,driver_version,compute_cap,memory.total,power.limit',
                                            '--format=csv']), ('topology', ['topo', '-m'])):
            figures[name] = subprocess.run(['nvidia-smi', *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                           text=True).stdout.splitlines()
    sums = [float(mx.nd.ones((1000, 100), ctx=device).sum().asscalar()) for device in given.devices]
    return Found([_check('the sum of 100000 ones on each device', sums, 1e5, all(each == 1e5 for each in sums))],
                 figures, [f'{len(given.devices)} devices, {figures["cores"]} cores'])


def precision(given):
    """One device: float32 beside the CPU's, float16 beside float32, and beside the CPU's emulation of it."""
    device, number = given.devices[:1], 3
    runs = {'float32': (device, 'float32'), 'float16': (device, 'float16'), 'float32 CPU': ([mx.cpu()], 'float32'),
            'float16 emulated': ([mx.cpu()], 'float16')}
    losses, first, starts = {}, {}, {}
    for name, (devices, dtype) in runs.items():
        training = Training(given.config(devices, dtype=dtype))
        batch = next(iter(training.task.batches(0)))
        starts[name] = training.weights()
        losses[name] = [training.update(batch)]
        first[name] = training.weights() - starts[name]
        losses[name] += [training.update(batch) for _ in range(number - 1)]
    checks = [_below('initial weights, float32 and CPU', _distance(starts['float32'], starts['float32 CPU']), 0)]
    figures = {'losses': losses, 'updates': number}
    for ours, theirs, limit, least in (('float32', 'float32 CPU', 1e-3, 0.9999), ('float16', 'float32', 0.02, 0.99),
                                       ('float16', 'float16 emulated', 0.02, 0.99)):
        cosine = float(first[ours] @ first[theirs] / (np.linalg.norm(first[ours]) * np.linalg.norm(first[theirs])))
        pair = f'{ours} and {theirs}'
        checks += [_below(f'loss of update 1, {pair}', abs(losses[ours][0] / losses[theirs][0] - 1), limit),
                   _check(f'cosine of update 1, {pair}', round(cosine, 6), f'at least {least:g}', cosine >= least)]
        figures[f'loss of update {number}, {pair}'] = abs(losses[ours][-1] / losses[theirs][-1] - 1)
    return Found(checks, figures, [f'{check["what"]}: {check["is"]}' for check in checks if 'cosine' in check['what']])


def devices(given):
    """The sum of the gradients over the devices, by each key-value store, beside one device that takes all slices."""
    number, checks, figures = len(given.devices), [], {}
    config = given.config(given.devices[:1])
    alone = Training(config)
    size = config.batch_size
    rng = np.random.RandomState(1)
    images = mx.nd.array(rng.normal(size=(size * number, 3, config.input_size, config.input_size)))
    labels = mx.nd.array(rng.randint(config.num_classes, size=size * number))
    for param in alone.trained():
        param.grad_req = 'add'
        param.zero_grad()
    for first in range(0, size * number, size):
        alone.backward(Batch([images[first:first + size]], [labels[first:first + size]]))
    expected = alone.gradients()
    stores = ['local', 'device'] + ['nccl'] * mx.runtime.Features().is_enabled('NCCL')
    for store in stores if number > 1 else ['device']:
        together = Training(given.config(given.devices, kv_store=store))
        together.backward(Batch([images], [labels]))
        found = [together.gradients(place) for place in range(number)]
        gradients = Gradients(together.setup.trainer)
        begin = time.time()
        for _ in range(given.updates):
            gradients.add()
        mx.nd.waitall()
        figures[f'{store}: seconds of a sum over {len(expected)} gradients'] = (time.time() - begin) / given.updates
        same = all(np.array_equal(each, found[0]) for each in found)
        checks += [_below(f'{store}: gradients, {number} devices and one', _distance(found[0], expected), 1e-3),
                   _check(f'{store}: all devices have the same sum', same, True, same)]
    return Found(checks, figures, [f'{check["what"]}: {check["is"]}' for check in checks[::2]])


def overflow(given):
    """float16 on all devices: an update that overflows changes nothing and halves the scale; the next one is made."""
    training = Training(given.config(given.devices, dtype='float16', loss_scale='dynamic'))
    batch = next(iter(training.task.batches(0)))
    training.update(batch)
    scaler, before = training.state.scaler, [training.weights(place) for place in range(len(given.devices))]
    huge = scaler.scale = 2.0 ** 60
    training.update(batch)
    after = [training.weights(place) for place in range(len(given.devices))]
    same = all(np.array_equal(*pair) for pair in zip(before, after))
    checks = [_check('updates skipped at a scale of 2**60', scaler.skipped, 1, scaler.skipped == 1),
              _check('the weights are as before', same, True, same),
              _check('the scale', scaler.scale, huge / 2, scaler.scale == huge / 2)]
    scaler.scale = scaler.first_scale
    loss = training.update(batch)
    moved = _distance(training.weights(), before[0])
    checks += [_check('the next update', moved, 'above 0', 0 < moved < np.inf),
               _check('its loss', loss, 'finite', np.isfinite(loss))]
    return Found(checks, {'moved': moved, 'loss': loss}, ['skipped once, the weights as before, then on'])


def _records(given):
    """{option: path} of records of noise in four colours, 500 x 375, made where they are not there."""
    import cv2
    number, found = 1024 if given.gpu else 64 if given.quick else 256, {}
    rng = np.random.RandomState(0)
    for part, images in (('train', number), ('val', 64)):
        prefix = os.path.join(given.folder, part)
        if not os.path.exists(prefix + '.rec'):
            items = []
            for place in range(images):
                image = rng.randint(0, 100, (47, 63, 3)) + 150 * np.eye(4, 3)[place % 4]
                image = cv2.resize(image.astype('uint8'), (500, 375))
                items.append((cv2.imencode('.jpg', image)[1].tobytes(), place % 4, f'{part}{place}'))
            pack(items, prefix)
        found.update({f'rec_{part}': prefix + '.rec', f'rec_{part}_idx': prefix + '.idx'})
    return found


def records(given):
    """Images a second that are read, decoded and augmented to 224 pixels; and whether an epoch is twice the same."""
    config = given.config([mx.cpu()], data_backend='mxnet', num_training_samples=None, batch_size=32,
                          input_size=64 if given.quick else 224, **_records(given))
    stream = assemble(config, [mx.cpu()], Workers('device')).task.train_stream
    seen, seconds = [], []
    for _ in range(2):
        begin, total = time.time(), 0.0
        for batch in stream.epoch(0):
            total += sum(float(piece.astype('float64').sum().asscalar()) for piece in batch.data)
        seconds.append(time.time() - begin)
        seen.append(total)
    rate = stream.updates_per_epoch * config.batch_size / seconds[1]
    same = seen[0] == seen[1]
    return Found([_check('the epoch read again has the same pixels', same, True, same)],
                 {'images/s': rate, 'threads': config.decode_threads, 'seconds': seconds},
                 [f'{rate:.0f} images/s with {config.decode_threads} threads'])


def resume(given):
    """A training in float16 on all devices that SIGTERM ends and --resume auto ends, beside one left alone."""
    config = given.config(
        given.devices, dtype='float16', model='resnet10_v1d_demo', input_size=32, num_epochs=4, log_interval=1,
        data_backend='mxnet', num_training_samples=None, num_classes=4, **_records(given))
    whole, stopped = (config.replace(save_dir=os.path.join(given.folder, name)) for name in ('whole', 'stopped'))
    words = [sys.executable, '-m', 'gluon_tricks', 'train']
    log = os.path.join(given.folder, 'train.log')
    with open(log, 'w') as stream:
        told = dict(stdout=stream, stderr=subprocess.STDOUT)
        codes = [subprocess.call(words + whole.arguments(), **told)]
        process = subprocess.Popen(words + stopped.arguments(), **told)
        limit = time.time() + _PATIENCE
        while process.poll() is None and time.time() < limit and not _has_begun(stopped.save_dir, epoch=1):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        codes += [process.wait(), subprocess.call(words + stopped.replace(resume='auto').arguments(), **told)]
    good = codes == [0, 128 + signal.SIGTERM, 0]
    checks = [_check('exit codes: undisturbed, stopped, resumed', codes, [0, 128 + signal.SIGTERM, 0], good)]
    if not good:
        with open(log) as stream:
            return Found(checks, {'said': stream.read().splitlines()[-30:]}, [])
    weights = [params_file.load(os.path.join(each.save_dir, 'latest', 'net.params')) for each in (whole, stopped)]
    worst = max(_distance(weights[1][name].asnumpy().astype('float64'), value.asnumpy().astype('float64'))
                for name, value in weights[0].items())
    # On a GPU the order of additions may differ from run to run, and nothing is promised.
    checks.append(_below('weights, stopped and undisturbed', worst, float('inf') if given.gpu else 0))
    steps = [updates(read_events(each.save_dir))['update'].tolist() for each in (whole, stopped)]
    checks.append(_check('updates in the log', steps[0] == steps[1], True, steps[0] == steps[1]))
    return Found(checks, {'distance': worst}, [f'exit codes {codes}, distance of the weights {worst:g}'])


def _has_begun(save_dir, epoch):
    """Whether a training's log has an update of an epoch."""
    path = os.path.join(save_dir, 'log.jsonl')
    return os.path.exists(path) and any(event.get('epoch') == epoch for event in read_events(save_dir))


def speed(given):
    """Images a second and the host's time for an update: one device and all, float32 and float16, from one batch in
    memory and from records. A configuration that fails, as for lack of memory, is written down."""
    one, every = given.devices[:1], given.devices
    plans = [('float32', one, False), ('float16', one, False), ('float32', every, False), ('float16', every, False),
             ('float16', every, True)]
    checks, figures, notes = [], {}, []
    for dtype, where, from_records in plans:
        name = f'{dtype}, {len(where)} {given.devices[0].device_type}' + (', records' if from_records else '')
        if name in figures:
            continue
        data = dict(data_backend='mxnet', num_training_samples=None, **_records(given)) if from_records else {}
        try:
            figures[name] = _rate(Training(given.rates(where, dtype=dtype, **data)), given.updates)
        except mx.MXNetError as error:
            checks.append(_check(name, str(error).strip().splitlines()[-1][:300], 'no error', False))
            continue
        rate = figures[name]['images/s']
        checks.append(_check(name, rate, 'above 0', rate > 0))
        notes.append(f'{name}: {rate:.4g} images/s')
    return Found(checks, figures, notes)


def _rate(training, number):
    """Figures of so many updates, after some that compile: the host runs at most two ahead, as in a run."""
    updates = Updates(training.setup, training.state)
    updates.warm(3)
    hosts, begin = [], time.time()
    for _ in range(number):
        batch, before = updates.next_batch(), time.thread_time()
        updates.ask(batch)
        hosts.append(time.thread_time() - before)
        updates.keep_up()
    updates.wait()
    seconds = time.time() - begin
    images = training.setup.total_batch_size
    return {'images/s': number * images / seconds, 'updates': number, 'batch_size': images,
            'host ms of an update': 1000 * statistics.median(hosts)}


PARTS = {part.__name__: part for part in (machine, precision, devices, overflow, records, resume, speed)}


def main() -> int:
    """Run the part that is named; returns 0 where it came to an end, whatever it found."""
    given = json.load(sys.stdin)
    with quiet():
        found = PARTS[sys.argv[1]](Given(**given))
    print(json.dumps(_plain(found._asdict())), flush=True)
    return 0


def _plain(value):
    """A value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, (np.generic,)):
        value = value.item()
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)


if __name__ == '__main__':
    sys.exit(main())
