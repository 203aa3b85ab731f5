"""One training run, whatever the task: resumed, recorded, and kept."""
import contextlib
import dataclasses
import os
import signal
import time
from typing import Any, Callable, Dict, Optional

from gluon_tricks.compat import mx
from gluon_tricks.distributed.devices import find_devices
from gluon_tricks.distributed.workers import Workers
from gluon_tricks.errors import UsageError
from gluon_tricks.files import Lock, file_digest
from gluon_tricks.training import callbacks, checkpoint, resume
from gluon_tricks.training.divergence import Diverged, Monitor
from gluon_tricks.training.loop import fit
from gluon_tricks.training.retention import Keeper, is_good
from gluon_tricks.training.run_log import Record, Silence
from gluon_tricks.training.signals import Guard, Stopped
from gluon_tricks.training.state import TrainState
from gluon_tricks.training.task import Task
from gluon_tricks.tricks.low_precision import LossScaler


@dataclasses.dataclass(frozen=True)
class Setup:
    """The parts of a run, which a task's assembly puts together.

    task: has the network and its devices; trainer: a gluon.Trainer; schedule(update): the learning rate;
    updates_per_epoch: of every worker; total_batch_size: images of an update, over all devices and workers. notices:
    lines for the log; start_epoch: where a run begins that is not resumed; manifest: JSON values for every checkpoint,
    such as `resume.check_fits` compares; facts: for run.json; frozen: {structural name: float32 array} of what no
    update changes.
    """

    task: Task
    trainer: mx.gluon.Trainer
    schedule: Callable[[int], float]
    updates_per_epoch: int
    total_batch_size: int
    notices: tuple = ()
    start_epoch: int = 0
    manifest: dict = dataclasses.field(default_factory=dict)
    facts: dict = dataclasses.field(default_factory=dict)
    frozen: dict = dataclasses.field(default_factory=dict)

    def new_state(self, config: Any, workers: Optional[Workers] = None) -> TrainState:
        """The TrainState that a run of this configuration begins with. Raises UsageError."""
        task = self.task
        return TrainState(task.net, self.trainer, task.sums, task.devices, self.updates_per_epoch,
                          self.total_batch_size, config.seed, loss_scaler(config), Monitor(config.divergence_factor),
                          workers, self.start_epoch, self.frozen, task.draws)


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended: the figures of the last epoch and of the best one (None without validation), and where.

    >>> import gluon_tricks as gt
    >>> result = gt.Result({'top1': 97.5, 'epoch': 19}, None, 'runs/mine')  # as `gt.train` returns it
    >>> result.result['top1'], result.save_dir
    (97.5, 'runs/mine')
    """

    result: Dict[str, Any]
    best: Optional[Dict[str, Any]]
    save_dir: str


def train(config, assemble, notices=()):
    """The run of a resolved configuration; returns its Result.

    assemble: function(config, devices, workers, notices, resumed) -> Setup, called once SAVE_DIR is this process's
    alone; notices: lines for its log; resumed: whether the weights are a checkpoint's, so that --base-params is not
    read again. Raises as `Run` and `Run.train`, and UsageError for devices that are not there.
    """
    devices, workers = find_devices(config.devices, getattr(config, 'num_gpus', None)), Workers(config.kv_store)
    with Run(config, workers) as run:
        return run.train(assemble(config, devices, workers, notices, run.resumed is not None))


class Run:
    """A run of a resolved configuration: made before the data are opened, so that a wrong --resume is told at once.

    SAVE_DIR is this process's alone until `release`, or the end of the ``with`` that the run is entered by. workers:
    distributed.Workers; all of them compute the run, and the first writes it down. Raises UsageError where another
    process has SAVE_DIR, as `resume.find_to_resume`, and where the workers do not find the same checkpoint.
    """

    def __init__(self, config, workers=None):
        self.config, self.workers = config, workers or Workers()
        self.lock = None if self.workers.rank else _lock(config.save_dir)
        try:
            self.resumed, self.notices = resume.find_to_resume(config, self.workers.number)
            found = int(self.resumed[1]['digest'][:12], 16) if self.resumed else -1
            self.workers.check_same([found], 'another checkpoint', f'--save-dir {config.save_dir} must be on a disk '
                                                                   'that all workers share')
        except BaseException:
            self.release()
            raise
        if self.lock and not self.lock.works:
            self.notices.append(f'Warning: the disk of --save-dir {config.save_dir} has no locks: see to it that no '
                                'second run writes there')

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.release()

    def release(self):
        """Let other processes have SAVE_DIR."""
        if self.lock:
            self.lock.release()

    def _check(self):
        """Raise UsageError where SAVE_DIR is not the directory any more that this run has begun to write."""
        if self.lock and not self.lock.holds():
            raise UsageError(f'--save-dir {self.config.save_dir} was removed, moved or replaced while the run wrote '
                             'there: the run is ended; put it back and resume with --resume auto, or start again')

    def train(self, setup):
        """Algorithm 1, with everything around it; returns the Result.

        Raises Diverged, Stopped for a stop signal (Ctrl-C as well), and UsageError: each is in the record by then, but
        for a checkpoint that does not fit, which is told before anything is written. A run that stands still ends the
        process, with code 4.
        """
        config, workers, base = self.config, self.workers, self._base()
        kept = dict(setup.manifest, task=config.TASK, workers=workers.number, updates_per_epoch=setup.updates_per_epoch,
                    **base)
        if self.resumed:
            self._check_fits(*self.resumed, setup, kept)
        record = Silence(config) if workers.rank else Record(config, self._check)
        command = config.resume_command() + ('' if workers.number == 1 else ', under the same launcher')
        with self._recording(record, command), Guard(config.save_dir, config.stall_minutes, command) as guard:
            self._introduce(setup, record, base)
            keeper = Keeper(config, setup.task, record, kept, self.resumed, workers.rank)
            self._fit(setup, record, keeper, guard, kept)
            workers.finish()
            record.finish('finished', result=keeper.result, best=keeper.best)
            if setup.task.headline in keeper.result:
                record.line(setup.task.result_line(keeper.result, keeper.best))
            record.line('In %s: run.json, log.jsonl, latest/net.params%s'
                        % (record.save_dir, ', best/net.params' if keeper.best else ''))
            return Result(keeper.result, keeper.best, config.save_dir)

    def _base(self):
        """{'base': digest and size of --base-params' file}, as it was when the run began; {} without one.

        Raises UsageError, on every worker, where the workers have other files.
        """
        if self.resumed:
            return {'base': self.resumed[1]['base']} if 'base' in self.resumed[1] else {}
        path = os.path.expanduser(self.config.base_params)
        if not path:
            return {}
        digest = file_digest(path)
        self.workers.check_same([int(digest[:12], 16)], 'another --base-params file', 'give all of them the same one')
        return {'base': {'sha256': digest, 'bytes': os.path.getsize(path)}}

    def _introduce(self, setup, record, base):
        """The first lines of the log, and the facts of run.json."""
        record.line('Namespace(%s)' % ', '.join('%s=%r' % pair for pair in sorted(self.config.to_dict().items())))
        for line in list(setup.notices) + self.notices:
            record.line(line)
        record.facts(devices=[str(device) for device in setup.task.devices], workers=self.workers.number,
                     updates_per_epoch=setup.updates_per_epoch, **base, **setup.facts)

    @contextlib.contextmanager
    def _recording(self, record, resume_command):
        """Around a run: whatever ends it is recorded, and raised as Diverged, Stopped or UsageError."""
        try:
            yield
        except Diverged as error:
            record.finish('diverged', reason=str(error))
            record.line(f'error: {error}')
            raise
        except (Stopped, KeyboardInterrupt) as error:
            stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
            record.finish('interrupted', reason=str(stopped))
            record.line('stopped by %s%s: resume with %s' % (
                stopped, f', {record.last_checkpoint} is saved' if record.last_checkpoint else '', resume_command))
            raise stopped from error
        except UsageError as error:
            with contextlib.suppress(UsageError):  # what ended the run matters more than what cannot be written now
                record.finish('failed', reason=str(error))
            raise
        finally:
            record.close()

    def _check_fits(self, path, stored, setup, kept):
        """Raise UsageError for a checkpoint that this run cannot resume."""
        resume.check_manifest(self.config, path, stored)
        resume.check_fits(self.config, path, stored, setup, self.workers.number, kept)

    def _fit(self, setup, record, keeper, guard, kept):
        """Train from the beginning or from the checkpoint; after a divergence as --on-divergence says."""
        config, task, resumed, rewinds = self.config, setup.task, self.resumed, 0
        state = setup.new_state(config, self.workers)
        divergence = callbacks.Divergence(
            lambda: [guard.asked, float(keeper.is_due() and not state.monitor.high)])
        checkpoints = callbacks.Checkpoint(keeper, divergence)
        stop = callbacks.Stop(guard, divergence, checkpoints, config.num_epochs)
        told = [divergence, callbacks.Log(record, task, setup.schedule, config.log_interval), checkpoints, stop]
        images = setup.updates_per_epoch * setup.total_batch_size
        while True:
            if resumed:
                state.restore(*resumed, rewinds=rewinds)
            task.reseed(state.data_seed)
            record.begin_run(images * config.num_epochs,
                             images * state.epoch + state.progress.batch * setup.total_batch_size)
            began, first = time.time(), state.epoch
            try:
                fit(task, state, setup.schedule, config.num_epochs, told, lambda: stop.interruptible(state), guard.beat)
                record.line(f'Training time for {config.num_epochs - first} epochs: {time.time() - began:f} sec.')
                return
            except Diverged as error:
                # The first worker alone writes; the others read what it wrote: the loss was everybody's.
                path, rewinds = checkpoint.find(config.save_dir, is_good)[0], state.rewinds + 1
                if config.on_divergence == 'stop' or rewinds > config.max_rewinds or path is None:
                    raise Diverged('%s: the run is stopped; last good checkpoint: %s; lower --lr, add --warmup-epochs, '
                                   'or resume from there' % (error, path or 'none yet')) from None
                resumed = path, checkpoint.read(path)
                self._check_fits(*resumed, setup, kept)
                record.line(f'{error}: back to {path}, to continue with other draws ({rewinds} of at most '
                            f'{config.max_rewinds} times)')
                record.event('rewind', reason=str(error), checkpoint=path, rewinds=rewinds)


def loss_scaler(config):
    """The LossScaler of a float16 run, else None. Raises UsageError."""
    if config.dtype != 'float16':
        return None
    return LossScaler() if config.loss_scale == 'dynamic' else LossScaler(float(config.loss_scale), fixed=True)


def _lock(save_dir):
    try:
        return Lock(save_dir, f'--save-dir {save_dir}', 'wait for its end, or give another --save-dir')
    except OSError as error:
        raise UsageError(f'--save-dir {save_dir} cannot be written ({error.strerror}): choose another'
                         ) from error
