"""The state that an update changes: the one list of what a checkpoint keeps of it and a resume puts back."""
import os
import re
import time

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.distributed.devices import mean_of
from gluon_tricks.distributed.workers import Gradients, Workers
from gluon_tricks.errors import UsageError
from gluon_tricks.models import params_file
from gluon_tricks.models.weights import stored_params
from gluon_tricks.training.divergence import Monitor
from gluon_tricks.training.multi_tensor import multi_tensor_update
from gluon_tricks.training.optimizer import get_states, master_weights, set_states
from gluon_tricks.tricks.low_precision import Finite, all_finite


class TrainState:
    """Weights, optimizer and counters of a run, and the seeds of its draws, which are computed, not stored.

    net, trainer: the network and its gluon.Trainer; sums: the task's `sums.Sums`; devices: list of mx.Context;
    updates_per_epoch: of every worker; total_batch_size: images of an update, over all devices and workers; seed: the
    run's; scaler: `LossScaler` of float16, else None; monitor: `divergence.Monitor`; workers: distributed.Workers;
    frozen: {structural name: float32 array} of what no update changes, whatever precision the network has it in.
    draws: of the task.

    epoch: the one being trained, from 0; progress: how far it is; rewinds: how often a divergence has sent the run
    back; update, lr: of the last update.
    """

    def __init__(self, net, trainer, sums, devices, updates_per_epoch, total_batch_size, seed=0, scaler=None,
                 monitor=None, workers=None, epoch=0, frozen=None, draws=True):
        self.net, self.trainer, self.sums, self.devices = net, trainer, sums, devices
        self.updates_per_epoch, self.total_batch_size, self.seed = updates_per_epoch, total_batch_size, seed
        self.scaler, self.monitor, self.workers = scaler, monitor or Monitor(), workers or Workers()
        self.frozen, self.draws = frozen or {}, draws
        self.epoch, self.progress, self.rewinds, self.update, self.lr = epoch, Progress(), 0, 0, 0.0
        self._gradients, self._gradients_finite = Gradients(trainer), None
        self._multi_tensor = multi_tensor_update(trainer)

    # -- one update -------------------------------------------------------------------------------------------------

    def begin_update(self):
        """Count an update and return its number, from 1 over the whole run; seed MXNet's draws by it.

        Those are dropout and a detector's samples; mixup draws from NumPy (`Classification.draw`). Seeding takes as
        long as a twentieth of an update of the demo's network, which draws nothing.
        """
        self.progress.count(self.total_batch_size)
        self.update = self.epoch * self.updates_per_epoch + self.progress.batch
        if self.draws:
            mx.random.seed(draw_seed((self.data_seed + 104729 * self.workers.rank) % 2 ** 31, self.update))
        return self.update

    @property
    def data_seed(self):
        """The seed of orders and draws, which all workers share: another one after each rewind."""
        return (self.seed + 15485863 * self.rewinds) % 2 ** 31

    def backward(self, losses):
        """Differentiate the losses, one NDArray a device; sum the gradients over devices and workers.

        The loss is summed over the batch and the update divides by `total_batch_size`: for float16 that is already a
        loss scale of `total_batch_size`. On top comes the dynamic scale of `scaler`.
        """
        scale = self.scaler.scale if self.scaler else 1.0
        for loss in losses:
            loss.backward(mx.nd.full(loss.shape, scale, ctx=loss.context) if scale != 1.0 else None)
        self._gradients.add()

    def update_weights(self, lr):
        """Update the weights by their gradients, at the learning rate `lr`.

        The overflow test of `scaler` reads one number from the device, and skips the update when a gradient is not
        finite.
        """
        self.lr, scale = lr, 1.0
        if self.scaler:
            scale = self.scaler.scale
            if self._gradients_finite is None:
                self._gradients_finite = Finite([param.list_grad()[0] for param in self.trainer._params
                                                 if param.grad_req != 'null'])
            overflow = not self._gradients_finite()
            self.scaler.update(overflow)
            if overflow:
                return
        if self._multi_tensor:
            self._multi_tensor.update(lr, self.total_batch_size * scale)
        else:
            self.trainer.set_learning_rate(lr)
            self.trainer.update(self.total_batch_size * scale)

    # -- an epoch ---------------------------------------------------------------------------------------------------

    def average_statistics(self):
        """Give every device of every worker the mean of the running statistics."""
        self.workers.average(self.trainer._params)

    def end_epoch(self):
        """The epoch is trained, evaluated and saved."""
        self.epoch, self.progress = self.epoch + 1, Progress()

    def is_finite(self):
        """Whether every trained weight (the float32 masters, where kept) and every running statistic is, on all
        workers; the host waits for the answer."""
        mx.nd.waitall()  # a compiled network of static shape writes its running statistics unseen by who reads them
        masters = master_weights(self.trainer)
        own = all_finite([value for param in self.trainer._params
                          for value in ([masters[param]] if param in masters else param.list_data())])
        return bool(self.workers.gather([own]).all())  # statistics are each worker's own

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def arrays(self, inside=False):
        """{file name: {name: NDArray}} of a checkpoint after an epoch, or inside it: then every worker must ask.

        `checkpoint.FILES` has the names.
        """
        files = {'net.params': net_arrays(self.net, self.trainer, self.frozen),
                 'optimizer.params': get_states(self.trainer) or {'empty': mx.nd.zeros(1)},
                 'devices.params': device_statistics(self.net, self.workers if inside else None, self.frozen)}
        return {name: arrays for name, arrays in files.items() if arrays}

    def manifest_fields(self, inside=False):
        """Its fields of the manifest, JSON values; inside an epoch every worker must ask."""
        fields = {'epoch': self.epoch, 'batch': None, 'rewinds': self.rewinds, 'monitor': self.monitor.state(),
                  'scaler': self.scaler.state() if self.scaler else None}
        if inside:
            fields.update(batch=self.progress.batch, progress=self.progress.state(),
                          sums=self.sums.of_workers(self.workers))
        return fields

    def restore(self, path, manifest, rewinds=0):
        """Put back the checkpoint `path`, whose manifest `checkpoint.read` gave.

        rewinds: this process's. After more of them than the checkpoint knows, an epoch is trained from its beginning,
        with other draws. Raises UsageError where the arrays are of another network.
        """
        self.frozen = restore_arrays(path, manifest, self.net, self.trainer, self.workers.rank, self.frozen)
        if self.scaler:
            self.scaler.restore(manifest['scaler'])
        self.monitor.restore(manifest['monitor'] or Monitor().state())
        self.sums.clear()
        self.rewinds, self.progress = max(rewinds, manifest['rewinds']), Progress()
        if manifest['batch'] is None:
            self.epoch = manifest['epoch'] + 1
            return
        self.epoch = manifest['epoch']
        if self.rewinds == manifest['rewinds']:
            self.sums.restore(manifest['sums'], self.devices, self.workers.rank)
            self.progress = Progress(**manifest['progress'])


def draw_seed(seed, update):
    """A seed below 2**31 for MXNet's generators, from (seed, update): Knuth's multiplicative mixing."""
    return (seed * 1000003 + update * 2654435761) % (2 ** 31 - 1)


class Progress:
    """How far an epoch is, and its figures so far.

    batch: updates done; totals: sums of the metrics over the images `counted`, those of whole log intervals; interval:
    images since; waited, seconds: time that went by, and of it for data. A clock runs since the last log line or
    checkpoint, and becomes part of them by `pass_time`.
    """

    def __init__(self, batch=0, totals=(), counted=0, interval=0, waited=0.0, seconds=0.0):
        self.batch, self.totals = batch, dict(totals)
        self.counted, self.interval, self.waited, self.seconds = counted, interval, waited, seconds
        self.start_clock()

    def state(self):
        """JSON values, from which `Progress(**state)` is made."""
        return {'batch': self.batch, 'totals': list(self.totals.items()), 'counted': self.counted,
                'interval': self.interval, 'waited': self.waited, 'seconds': self.seconds}

    def count(self, images):
        """One update of this many images is done."""
        self.batch, self.interval = self.batch + 1, self.interval + images
        self._images += images

    def read(self, metrics):
        """Take the metrics of the interval that ends here."""
        for name, value in metrics.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * self.interval
        self.counted, self.interval = self.counted + self.interval, 0

    def figures(self):
        """{'metrics', 'speed', 'time', 'wait'} of the whole epoch."""
        seconds = max(self.seconds, 1e-9)
        return {'metrics': {name: value / self.counted for name, value in self.totals.items()},
                'speed': self.counted / seconds, 'time': seconds, 'wait': self.waited / seconds}

    # -- the clock --------------------------------------------------------------------------------------------------

    def start_clock(self):
        self._start, self._waited, self._images = time.time(), 0.0, 0

    def wait_for(self, batches):
        """The next batch; the time that it takes counts as waiting."""
        start = time.time()
        batch = next(batches)
        self._waited += time.time() - start
        return batch

    @property
    def _seconds(self):
        return max(time.time() - self._start, 1e-9)

    @property
    def speed(self):
        """Images a second by the clock."""
        return self._images / self._seconds

    @property
    def wait(self):
        """The share of the clock's time that was spent waiting for data."""
        return self._waited / self._seconds

    def pass_time(self):
        """The clock's time becomes the epoch's, and it starts again."""
        self.waited, self.seconds = self.waited + self._waited, self.seconds + self._seconds
        self.start_clock()


# ---------------------------------------------------------------------------------------------------------------------
# Arrays

def _is_statistic(param):
    return param.grad_req == 'null'


def net_arrays(net, trainer=None, frozen=()):
    """{structural name: float32 array} of a network as ``save_parameters`` names them: masters where the optimizer
    keeps them.

    Running statistics are the mean over the devices, which all have it after an epoch (`Workers.average`). frozen:
    `TrainState.frozen`, which are taken as they are.
    """
    masters = master_weights(trainer) if trainer is not None else {}
    arrays = {}
    for name, param in stored_params(net).items():
        if name in frozen:
            arrays[name] = frozen[name]
            continue
        copies = param.list_data()
        if _is_statistic(param) and len(copies) > 1:
            value = mean_of(copies)
        else:
            value = masters.get(param, copies[0])
        arrays[name] = value.astype('float32', copy=False)
    return arrays


def device_statistics(net, workers=None, frozen=()):
    """{'NUMBER:NAME': array} of the running statistics of each device, those of the first worker first.

    Empty where they all hold the same, as after an epoch. workers: distributed.Workers, each of which must ask. frozen:
    names of arrays that no device changes.
    """
    own = [(name, copy) for name, param in stored_params(net).items() if _is_statistic(param) and name not in frozen
           for copy in param.list_data()]
    devices = len(net.collect_params().list_ctx())
    if not own or devices == 1 and (workers is None or workers.number == 1):
        return {}
    values = np.concatenate([copy.asnumpy().ravel() for _, copy in own])
    ends, found = np.cumsum([copy.size for _, copy in own])[:-1], {}
    for worker, row in enumerate([values] if workers is None else workers.gather(values)):
        for place, ((name, copy), values) in enumerate(zip(own, np.split(row, ends))):
            found[f'{worker * devices + place % devices}:{name}'] = values.reshape(copy.shape).astype('float32')
    if all(np.array_equal(values, found['0:' + key.partition(':')[2]]) for key, values in found.items()):
        return {}
    return {key: mx.nd.array(values) for key, values in found.items()}


def restore_arrays(path, manifest, net, trainer, rank=0, frozen=()):
    """Put a checkpoint's weights, running statistics and optimizer state into a network and its trainer.

    manifest: of `read`; rank: of this worker. Returns {name: array} of the names in `frozen`. Raises UsageError where
    the network is another one.
    """
    saved = params_file.load(os.path.join(path, 'net.params'))
    params = stored_params(net)
    if set(saved) != set(params):
        odd = sorted(set(saved) ^ set(params))[0]
        raise UsageError(f'checkpoint {path} holds another network: {odd} stands in only one of the two')
    for name, param in params.items():
        if saved[name].shape != param.shape:
            raise UsageError(f'checkpoint {path} holds another network: {name} is {saved[name].shape} there and '
                             f'{param.shape} here')
        param.set_data(saved[name])
    states = params_file.load(os.path.join(path, 'optimizer.params'))
    states.pop('empty', None)
    set_states(trainer, states)
    if 'devices.params' in manifest['files']:
        devices = len(net.collect_params().list_ctx())
        for key, value in params_file.load(os.path.join(path, 'devices.params')).items():
            number, _, name = key.partition(':')
            if not re.fullmatch('[0-9]{1,6}', number) or name not in params or not _is_statistic(params[name]) \
                    or name in frozen or value.shape != params[name].shape:
                raise UsageError(f'checkpoint {path} holds another network: {key!r:.60} in devices.params is not one '
                                 'of its statistics')
            if int(number) // devices == rank:
                value.copyto(params[name].list_data()[int(number) % devices])
    return {name: saved[name] for name in frozen}
