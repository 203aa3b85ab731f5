"""A short part of a run, measured: `measure` starts it in a process of its own, whose end it survives.

The same assembly, updates, evaluation and checkpoint as the run's, on the same devices; SAVE_DIR is not touched. In
order: updates as in a run, for some seconds or all epochs that fit in; the updates alone, over one batch; the reader
alone; a part of the evaluation; one checkpoint, in a temporary directory.
"""
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Optional

import numpy as np

from gluon_tricks.config.options import Options
from gluon_tricks.errors import UsageError
from gluon_tricks.files import python_path

_WARM = 3  # updates before the clock starts: the network is compiled, buffers are made


@dataclasses.dataclass(frozen=True)
class Measured:
    """Seconds: `start` of the process up to the first update that is timed; `update`, `step` (without reading), `read`
    (without updates; None where nothing is read) of one update's batch; `evaluation` and `checkpoint` once an epoch.

    images: of an update. devices: their number. updates, epochs: of the run. peak: bytes of the process's memory at
    most; what loader processes have is not in it. device_peak: bytes of one GPU, None on a CPU; device_memory: what it
    has. checkpoint_bytes: of one checkpoint; weights_bytes: of the weights in it.
    """

    start: float
    update: float
    step: float
    read: Optional[float]
    evaluation: float
    checkpoint: float
    images: int
    devices: int
    updates: int
    epochs: int
    peak: int
    device_peak: Optional[int]
    device_memory: Optional[int]
    checkpoint_bytes: int
    weights_bytes: int


def measure(config: Any, seconds: float, workers: int = 1) -> Measured:
    """Measure the run of a resolved configuration for about so many seconds, less than twice as long where the first
    updates are quick. workers: how many train, of which one is measured. Raises UsageError with the sentence that the
    run would end with, or how the process ended."""
    given = json.dumps({'task': config.TASK, 'config': config.to_dict(), 'seconds': seconds,
                        'workers': workers})
    done = subprocess.run([sys.executable, '-m', __name__], input=given, capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=python_path()))
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise UsageError(f'a trial of the run {_ending(done)}') from None
    if 'error' in answer:
        raise UsageError(answer['error'])
    return Measured(**answer)


def _ending(done):
    """How a process ended that did not say why."""
    if done.returncode == -signal.SIGKILL:
        return 'was killed (SIGKILL), as a system does that has no memory left: give a smaller --batch-size'
    words = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ['it said nothing']
    if 'out of memory' in done.stderr.lower() or 'cudaMalloc' in done.stderr:
        return f'ended for lack of memory on a device ({words[-1][:120]}): give a smaller --batch-size'
    return f'ended with code {done.returncode} ({words[-1][:200]}): run the command itself to see all of it'


# ---------------------------------------------------------------------------------------------------------------------
# In the process

def main() -> int:
    """Read a configuration from stdin, print the figures, or the sentence that the run ends with, as JSON."""
    began = time.time()
    given = json.load(sys.stdin)
    try:
        importlib.import_module('gluon_tricks.config.' + given['task'])
        kind = next(kind for kind in Options.__subclasses__() if kind.TASK == given['task'])
        config = kind.from_dict(given['config'])
        answer = _measure(config, given['seconds'], began, given['workers'])
    except UsageError as error:
        answer = {'error': str(error)}
    print(json.dumps(answer), flush=True)
    return 0


def _measure(config, seconds, began, workers):
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.training.resume import find_to_resume
    resumed = find_to_resume(config, workers)[0] is not None
    config = config.replace(kv_store='device') if config.kv_store.startswith(('dist', 'horovod')) else config
    devices = find_devices(config.devices, getattr(config, 'num_gpus', None))
    assembly = importlib.import_module(f'gluon_tricks.tasks.{config.TASK}.assembly')
    setup = assembly.assemble(config, devices, _first_of(workers, config.kv_store), resumed=resumed)
    task = setup.task
    state = setup.new_state(config)
    task.reseed(state.data_seed)
    updates = Updates(setup, state)
    batch = updates.warm(_WARM)
    start = time.time() - began
    update = updates.timed(seconds / 2)
    step = updates.alone(batch, seconds / 8)
    read = None if getattr(config, 'data_backend', '') == 'synthetic' else updates.reading(seconds / 8)
    evaluation = _evaluation(task, seconds / 4)
    checkpoint, size, weights = _checkpoint(config, state)
    used, total = _device_memory(devices)
    return dict(start=start, update=update, step=step, read=read, evaluation=evaluation, checkpoint=checkpoint,
                images=setup.total_batch_size, devices=len(devices), updates=setup.updates_per_epoch,
                epochs=config.num_epochs, peak=_peak(), device_peak=used, device_memory=total, checkpoint_bytes=size,
                weights_bytes=weights)


def _first_of(number, kv_store):
    """The first of several workers, alone: it reads its share, and what it asks the others is what it has itself."""
    from gluon_tricks.distributed.workers import Workers
    workers = Workers(kv_store)
    workers.number = number
    workers.gather = lambda values: np.array([values] * number)
    return workers


class Updates:
    """Updates of a run, as `loop.train_epoch` does them, that wait for the loss of the update before the last: the host
    would run ahead of the clock."""

    def __init__(self, setup, state):
        from gluon_tricks.training.loop import step
        self.setup, self.state, self.task, self.step = setup, state, setup.task, step
        self.epoch, self.batches, self.waiting = -1, iter(()), []

    def next_batch(self):
        """The next batch, of the next epoch where one is over."""
        while True:
            if self.state.progress.batch < self.setup.updates_per_epoch:
                for batch in self.batches:
                    return batch
            next(self.batches, None)
            self.epoch += 1
            self.state.end_epoch()
            self.state.epoch = self.epoch
            self.batches = iter(self.task.batches(self.epoch))

    def update(self, batch):
        """One update; waits for the one before the last."""
        self.ask(batch)
        self.keep_up()

    def ask(self, batch):
        """One update, which the devices may still compute: the host's part of it."""
        self.waiting.append(self.step(self.task, self.state, batch, self.setup.schedule))

    def keep_up(self):
        """Wait for the update before the last."""
        if len(self.waiting) > 2:
            for loss in self.waiting.pop(0):
                loss.wait_to_read()

    def wait(self):
        from gluon_tricks.compat import mx
        self.waiting = []
        mx.nd.waitall()

    def warm(self, number):
        """So many updates; returns the last batch."""
        for _ in range(number):
            batch = self.next_batch()
            self.update(batch)
        self.wait()
        self.task.train_metrics()
        return batch

    def timed(self, seconds):
        """Seconds of an update, with all that the run does around it inside an epoch."""
        begin, number = time.time(), 0
        while time.time() - begin < seconds or number < _WARM:
            self.update(self.next_batch())
            number += 1
        self.wait()
        self.task.train_metrics()
        return (time.time() - begin) / number

    def alone(self, batch, seconds):
        """Seconds of an update over a batch that is there."""
        self.close()
        begin, number = time.time(), 0
        while time.time() - begin < seconds or number < _WARM:
            self.state.progress.batch = 0  # no epoch ends
            self.update(batch)
            number += 1
        self.wait()
        self.task.train_metrics()
        return (time.time() - begin) / number

    def reading(self, seconds):
        """Seconds of a batch that is read and not trained."""
        begin, number = time.time(), 0
        while time.time() - begin < seconds or number < _WARM:
            self.state.progress.batch = 0
            try:
                batch = next(self.batches)
            except StopIteration:
                self.epoch += 1
                self.batches = iter(self.task.batches(self.epoch))
                continue
            for array in _arrays(batch):
                array.wait_to_read()
            number += 1
        self.close()
        return (time.time() - begin) / number

    def close(self):
        """Let the reader of the epoch go."""
        self.batches = iter(())


def _arrays(batch):
    """The arrays of a batch of any task."""
    from gluon_tricks.compat import mx
    parts = batch if isinstance(batch, (list, tuple)) else [getattr(batch, name, None) for name in ('data', 'label')]
    found = []
    for part in parts:
        for each in part if isinstance(part, (list, tuple)) else [part]:
            found += [each] if isinstance(each, mx.nd.NDArray) else []
    return found


class _Enough(Exception):
    """The evaluation was watched for long enough."""


def _evaluation(task, seconds):
    """Seconds of an evaluation: of a whole one, or from the part that fits in."""
    total, seen, begin = _beats(task), [], 0.0
    if not total:
        return 0.0
    interval = getattr(task.config, 'val_interval', 1)  # epochs
    task.epoch = interval - 1

    def beat():
        seen.append(time.time())
        if time.time() - begin > seconds and len(seen) > 2:
            raise _Enough

    begin = time.time()
    for _ in range(2):  # the first compiles the network
        seen.clear()
        begin = time.time()
        try:
            task.evaluate(beat)
            whole = time.time() - begin
        except _Enough:
            whole = seen[0] - begin + (seen[-1] - seen[0]) / (len(seen) - 1) * (total - 1)
    return whole / interval


def _beats(task):
    """How often an evaluation tells that it is alive: once a batch, or once an image."""
    stream = getattr(task, 'eval_stream', None)
    if stream is not None:
        return -(-stream.num_images // getattr(stream, 'worker_batch_size', getattr(stream, 'batch_size', 1)))
    return len(getattr(task, 'test_set', None) or ())


def _checkpoint(config, state):
    """(seconds, bytes, bytes of its weights) of a checkpoint."""
    from gluon_tricks.training import checkpoint
    with tempfile.TemporaryDirectory(prefix='gluon_tricks-') as folder:
        begin = time.time()
        state.average_statistics()
        manifest = dict(state.manifest_fields(), config=config.to_dict())
        path = checkpoint.save(folder, checkpoint.name_of(0), state.arrays(), manifest)
        seconds = time.time() - begin
        sizes = {name: os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)}
        return seconds, sum(sizes.values()), sizes['net.params']


def _peak():
    """Bytes of this process's memory at most."""
    try:
        with open('/proc/self/status') as stream:
            return next(int(line.split()[1]) << 10 for line in stream if line.startswith('VmHWM:'))
    except (OSError, StopIteration):
        import resource
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size if sys.platform == 'darwin' else size << 10


def _device_memory(devices):
    """(bytes that are taken, bytes that there are) of the fullest GPU; None on a CPU."""
    from gluon_tricks.compat import mx
    if devices[0].device_type != 'gpu':
        return None, None
    found = [mx.context.gpu_memory_info(device.device_id) for device in devices]
    free, total = min(found, key=lambda pair: pair[0] / pair[1])
    return total - free, total


if __name__ == '__main__':
    sys.exit(main())
