"""The four things that a run does around its updates, in this order: divergence, log, checkpoint, stop."""
import collections
import contextlib
import signal
import time

from gluon_tricks.compat import mx
from gluon_tricks.training.divergence import Diverged
from gluon_tricks.training.signals import Stopped

# Updates the host may run ahead of the devices. Without a bound it would queue batches until memory is full.
_AHEAD = 2
MOST_SKIPPED = 200  # float16: updates in a row; a scale is halved at each


class Callback:
    """The moments that `loop.fit` tells of; state: `state.TrainState`. An exception ends the run."""

    def before_epoch(self, state):
        """Before an epoch, or the rest of it after a resume."""

    def after_update(self, state, losses):
        """After an update; losses: NDArrays, one a device, which may still be computed."""

    def after_training(self, state):
        """After the last update of an epoch, before its evaluation."""

    def after_epoch(self, state, metrics):
        """After the evaluation; metrics: {name: value}, {} without validation."""


class Divergence(Callback):
    """Looks at every loss, two updates late so that no device waits, and raises Diverged.

    wishes(): numbers that this worker asks for, 0 for nothing: to stop, to save. Several workers must do the same
    things at the same update, so that wishes are added up with the losses; `agreed` is what all know by now.
    """

    def __init__(self, wishes):
        self._wishes, self._skipped, self._queue, self.agreed = wishes, 0, collections.deque(), [0, 0]

    def before_epoch(self, state):
        self._queue.clear()

    def after_update(self, state, losses):
        self._check_skipped(state)
        wishes = self._wishes()
        self._add(state, losses, wishes)
        agreed = self.look(state, 0 if state.progress.batch == state.updates_per_epoch else _AHEAD)
        self.agreed = wishes if state.workers.number == 1 else agreed

    def after_training(self, state):
        self.check_weights(state)

    def look(self, state, ahead=0):
        """See the losses of all but the last `ahead` updates, for which it waits; returns the wishes in them."""
        agreed = [0, 0]
        while len(self._queue) > ahead:
            update, lr, row, wishes = self._queue.popleft()
            loss, *asked = row.asnumpy().tolist()
            state.monitor.see(update, loss, lr)
            agreed = [max(pair) for pair in zip(agreed, asked or wishes)]
        return agreed

    def check_weights(self, state):
        """Raise Diverged where a weight is not finite: such weights are never saved."""
        if not state.is_finite():
            raise Diverged(f'a weight is not finite in epoch {state.epoch}')

    def _add(self, state, losses, wishes):
        device = losses[0].context
        loss = sum((other.detach().sum().as_in_context(device) for other in losses[1:]), losses[0].detach().sum())
        row = loss.astype('float32', copy=False).reshape((1,)) / state.total_batch_size
        if state.workers.number > 1:
            row = state.workers.total(mx.nd.concat(row, mx.nd.array(wishes, ctx=device), dim=0))
        self._queue.append((state.update, state.lr, row, wishes))

    def _check_skipped(self, state):
        """Raise Diverged where float16's gradients have overflowed for so long that no scale will help."""
        self._skipped = self._skipped + 1 if state.scaler and not state.scaler.good else 0
        if self._skipped == MOST_SKIPPED:
            raise Diverged(f'the gradients of the last {MOST_SKIPPED} updates were not finite, at loss scale '
                           f'{state.scaler.scale:g} (update {state.update}, learning rate {state.lr:.6g})')


class Log(Callback):
    """Writes the log's lines and the figures of ``log.jsonl``: at each log interval, and after each epoch.

    record: run_log.Record; schedule: as in `loop.fit`; interval: updates between two lines, 0 for none.
    """

    def __init__(self, record, task, schedule, interval):
        self.record, self.task, self.schedule, self.interval, self._ended = record, task, schedule, interval, 0.0

    def before_epoch(self, state):
        self.record.begin_epoch(state.epoch, state.total_batch_size)

    def after_update(self, state, losses):
        progress = state.progress
        last = progress.batch == state.updates_per_epoch
        if last or self.interval and progress.batch % self.interval == 0:
            metrics = self.task.train_metrics()
            progress.read(metrics)
            if self.interval:
                self._line(state, progress, metrics)
            progress.pass_time()
        self.record.progress(update=state.update, lr=state.lr)

    def _line(self, state, progress, metrics):
        speed, wait = progress.speed, progress.wait
        self.record.line(self.task.batch_line(state.epoch, progress.batch, speed, metrics, state.lr, wait))
        self.record.event('batch', epoch=state.epoch, batch=progress.batch, update=state.update, lr=state.lr,
                          speed=speed, wait=wait, skipped=state.scaler.skipped if state.scaler else 0,
                          scale=state.scaler.scale if state.scaler else 1.0, **metrics)
        self.record.progress(metrics=metrics)

    def after_training(self, state):
        self.record.end_epoch()
        self._ended = time.time()

    def after_epoch(self, state, metrics):
        figures, scaler = state.progress.figures(), state.scaler
        lr = self.schedule((state.epoch + 1) * state.updates_per_epoch)
        for line in self.task.epoch_lines(state.epoch, dict(figures, lr=lr), metrics):
            self.record.line(line)
        if scaler:
            self.record.line(f'[Epoch {state.epoch}] loss scale: {scaler.scale:g}, {scaler.skipped} updates skipped '
                             'so far')
        self.record.event('epoch', epoch=state.epoch, lr=lr, speed=figures['speed'], time=figures['time'],
                          wait=figures['wait'], evaluation_time=time.time() - self._ended, train=figures['metrics'],
                          skipped=scaler.skipped if scaler else 0, validation=metrics)


class Checkpoint(Callback):
    """Saves after each epoch, and inside one when the workers agree to. keeper: retention.Keeper."""

    def __init__(self, keeper, divergence):
        self.keeper, self.divergence = keeper, divergence

    def after_update(self, state, losses):
        if any(self.divergence.agreed):
            state.progress.pass_time()
            self.save_inside(state)

    def after_epoch(self, state, metrics):
        self.keeper.save(state, metrics)

    def save_inside(self, state):
        """Save what was trained of the epoch so far; weights or losses that are not finite raise Diverged instead."""
        self.divergence.look(state)
        self.divergence.check_weights(state)
        self.keeper.save_inside(state)
        state.workers.gather([0])  # nobody leaves before the first worker has written


class Stop(Callback):
    """Ends the run after a stop signal, once there is a checkpoint to resume. guard: signals.Guard."""

    def __init__(self, guard, divergence, checkpoint, epochs):
        self.guard, self.divergence, self.checkpoint, self.epochs = guard, divergence, checkpoint, epochs

    def before_epoch(self, state):
        self.guard.interrupt(False)

    def after_update(self, state, losses):
        self.guard.beat()
        self._stop_if(self.divergence.agreed[0])

    def after_epoch(self, state, metrics):
        self._stop_if(state.workers.number == 1 and state.epoch < self.epochs - 1 and self.guard.asked)

    def _stop_if(self, wanted):
        if wanted:
            raise Stopped(self.guard.asked or int(signal.SIGTERM))

    @contextlib.contextmanager
    def interruptible(self, state):
        """Around what a stop signal ends at once, with a checkpoint of what is trained.

        Several workers must agree on a stop, which they do after an update.
        """
        alone = state.workers.number == 1
        try:
            self.guard.interrupt(alone)
            self._stop_if(alone and self.guard.asked)
            yield
        except Stopped:
            self.guard.interrupt(False)
            self.checkpoint.save_inside(state)
            raise
        finally:
            self.guard.interrupt(False)
