"""Algorithm 1: mini-batch stochastic gradient descent, for any task (paper section 2).

A task supplies what differs between classification, detection and segmentation:

    begin_epoch(epoch, first) -> iterator         the batches of one epoch, from the batch `first` on
    begin_batch(update)                           draws that every device shares
    shards(batch, devices) -> [arguments of loss] one tuple per device, preprocessed
    loss(*shard) -> NDArray                       summed by `backward`; also adds to the task's `sums`
    sums                                          sums.Sums: what train_metrics reads, and a checkpoint keeps
    train_metrics() -> {name: value}              reads and clears those sums: the host waits here
    metric_names                                  the names in it
    evaluate(beat) -> {name: value}               exact, over all validation images; calls beat() now and then
    reseed(seed)                                  other orders and draws from here on
    batch_line(...), epoch_lines(...) -> str      the task's log lines
"""
import collections
import contextlib
import signal
import time

from gluon_tricks.compat import mx
from gluon_tricks.distributed.workers import Workers
from gluon_tricks.training.divergence import Diverged, Monitor
from gluon_tricks.training.optimizer import master_weights
from gluon_tricks.training.signals import Guard, Stopped
from gluon_tricks.tricks.low_precision import all_finite

# Updates the host may run ahead of the devices. Without a bound it would queue batches until memory is full.
_AHEAD = 2
_MOST_SKIPPED = 200  # float16: updates in a row; a scale is halved at each


class Plan:
    """What a run does: schedule(update) is the learning rate, updates count from 1 over the whole run."""

    def __init__(self, schedule, epochs, updates_per_epoch, total_batch_size, seed, log_interval=50):
        self.schedule, self.epochs, self.updates_per_epoch = schedule, epochs, updates_per_epoch
        self.total_batch_size, self.seed, self.log_interval = total_batch_size, seed, log_interval


def step(task, batch, trainer, devices, update, lr, total_batch_size, scaler=None):
    """One update (the body of Algorithm 1's inner loop); returns the losses, one NDArray a device.

    The loss is summed over the batch and the update divides by `total_batch_size`: for float16 that is already a loss
    scale of `total_batch_size`. On top comes the dynamic scale of `scaler`; its overflow test reads one number from
    the device, and skips the update when a gradient is not finite.
    """
    task.begin_batch(update)
    with mx.autograd.record():
        losses = [task.loss(*shard) for shard in task.shards(batch, devices)]
    scale = scaler.scale if scaler else 1.0
    for loss in losses:
        loss.backward(mx.nd.full(loss.shape, scale, ctx=loss.context) if scale != 1.0 else None)
    trainer.allreduce_grads()
    overflow = scaler is not None and not all_finite(
        [param.list_grad()[0] for param in trainer._params if param.grad_req != 'null'])
    if scaler is not None:
        scaler.update(overflow)
    if not overflow:
        trainer.set_learning_rate(lr)
        trainer.update(total_batch_size * scale)
    return losses


class Progress:
    """How far an epoch is: what a checkpoint inside it keeps besides the weights, and the epoch's figures at its end.

    batch: updates done; totals: sums of the metrics over the images `counted`, those of whole log intervals; interval:
    images since; waited, seconds: time that went by, and of it for data.
    """

    def __init__(self, batch=0, totals=(), counted=0, interval=0, waited=0.0, seconds=0.0):
        self.batch, self.totals = batch, dict(totals)
        self.counted, self.interval, self.waited, self.seconds = counted, interval, waited, seconds

    def state(self):
        """JSON values, from which `Progress(**state)` is made."""
        return dict(vars(self), totals=list(self.totals.items()))

    def read(self, metrics):
        """Take the metrics of the interval that ends here."""
        for name, value in metrics.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * self.interval
        self.counted, self.interval = self.counted + self.interval, 0

    def figures(self):
        """{'metrics', 'speed', 'time', 'wait'} of the whole epoch."""
        seconds = max(self.seconds, 1e-9)
        return dict(metrics={name: value / self.counted for name, value in self.totals.items()},
                    speed=self.counted / seconds, time=seconds, wait=self.waited / seconds)


class _Clock:
    """Time since the last log line, and of it the share that was spent waiting for data."""

    def __init__(self):
        self.start, self.waited, self.images = time.time(), 0.0, 0

    def next_batch(self, batches):
        start = time.time()
        batch = next(batches, None)
        self.waited += time.time() - start
        return batch

    @property
    def seconds(self):
        return max(time.time() - self.start, 1e-9)


class _Flight:
    """The updates that the devices are still at; of the others, the loss and what the workers asked for is known.

    Several workers must do the same things at the same update, so that what they ask for is added up, in the way of a
    gradient, and known two updates later.
    """

    def __init__(self, workers):
        self.workers, self._queue = workers, collections.deque()

    def add(self, update, lr, losses, total_batch_size, asked):
        """losses: one array a device; asked: numbers, 0 for nothing."""
        device = losses[0].context
        loss = sum((other.detach().sum().as_in_context(device) for other in losses[1:]), losses[0].detach().sum())
        row = loss.astype('float32', copy=False).reshape((1,)) / total_batch_size
        if self.workers.number > 1:
            row = self.workers.total(mx.nd.concat(row, mx.nd.array(asked, ctx=device), dim=0))
        self._queue.append((update, lr, row, asked))

    def landed(self, ahead):
        """Generator of (update, lr, loss, asked) of those more than `ahead` updates back; waits for them."""
        while len(self._queue) > ahead:
            update, lr, row, asked = self._queue.popleft()
            row = row.asnumpy().tolist()
            yield update, lr, row[0], row[1:] or asked


class Fit:
    """A training: `run` goes through its epochs, evaluates and saves after each of them, and inside them when asked to.

    record: run_log.Record, takes every line and figure; keeper: retention.Keeper, or what saves like it;
    scaler: of float16; guard: signals.Guard, tells of stop signals; monitor: divergence.Monitor.
    """

    def __init__(self, task, trainer, devices, plan, record, keeper, scaler=None, guard=None, monitor=None,
                 workers=None):
        self.task, self.trainer, self.devices, self.plan = task, trainer, devices, plan
        self.record, self.keeper, self.scaler = record, keeper, scaler
        self.guard, self.monitor, self.workers = guard or Guard('.'), monitor or Monitor(), workers or Workers()
        self._flight, self._seed, self._skipped = _Flight(self.workers), plan.seed, 0

    def run(self, epoch=0, progress=None):
        """Train from this epoch on, from inside it with the `progress` that a checkpoint kept.

        Returns the metrics of the last evaluation. Raises Diverged, and Stopped once there is a checkpoint to go on
        from.
        """
        metrics, started, first, self._flight = None, time.time(), epoch, _Flight(self.workers)
        for epoch in range(epoch, self.plan.epochs):
            self.record.begin_epoch(epoch, self.plan.total_batch_size)
            progress = progress or Progress()
            self.guard.interruptible = False
            try:
                self._train(epoch, progress)
                self._check_weights(epoch)
            finally:
                self.record.end_epoch()
            metrics = self._evaluate(epoch, progress)
            self.keeper.save(epoch, metrics, self.monitor.state())
            progress = None
            self._stop_if(self.workers.number == 1 and epoch < self.plan.epochs - 1 and self.guard.asked)
        self.record.line('Training time for %d epochs: %f sec.' % (self.plan.epochs - first, time.time() - started))
        return metrics

    def reseed(self, rewinds):
        """Other orders and draws after each rewind; and each worker has its own of dropout and sampling."""
        seed = (self._seed + 15485863 * rewinds) % 2 ** 31
        self.plan.seed = (seed + 104729 * self.workers.rank) % 2 ** 31
        self.task.reseed(seed)

    # -- the training images ------------------------------------------------------------------------------------------

    def _train(self, epoch, progress):
        plan, task = self.plan, self.task
        batches = iter(task.begin_epoch(epoch, progress.batch))
        if progress.batch == plan.updates_per_epoch:  # what was left is to evaluate
            return
        clock = _Clock()
        while progress.batch < plan.updates_per_epoch:
            batch = self._next(batches, clock, epoch, progress)
            update = epoch * plan.updates_per_epoch + progress.batch + 1
            mx.random.seed(_draws(plan.seed, update))  # dropout and sampling, the same after a resume
            lr = plan.schedule(update)
            losses = step(task, batch, self.trainer, self.devices, update, lr, plan.total_batch_size, self.scaler)
            self._check_skipped(update, lr)
            wishes = [self.guard.asked, float(self.keeper.is_due() and not self.monitor.high)]
            self._flight.add(update, lr, losses, plan.total_batch_size, wishes)
            progress.batch += 1
            progress.interval += plan.total_batch_size
            clock.images += plan.total_batch_size
            last = progress.batch == plan.updates_per_epoch
            agreed = self._look(0 if last else _AHEAD)
            if (plan.log_interval and progress.batch % plan.log_interval == 0) or last:
                clock = self._report(epoch, update, lr, progress, clock)
            self.record.progress(update=update, lr=lr)
            self.guard.beat()
            stop, due = wishes if self.workers.number == 1 else agreed
            if stop or due:
                clock = self._pass(progress, clock)
                self._save_inside(epoch, progress)
            self._stop_if(stop)
        next(batches, None)  # lets the stream close its iterators

    def _next(self, batches, clock, epoch, progress):
        """The next batch; a stop signal ends the waiting for it, between two updates."""
        with self._interruptible(epoch, progress):
            return clock.next_batch(batches)

    @contextlib.contextmanager
    def _interruptible(self, epoch, progress):
        """A stop signal is obeyed at once, and a checkpoint made. Several workers must agree on it, after an update."""
        try:
            self.guard.interruptible = self.workers.number == 1
            self._stop_if(self.guard.interruptible and self.guard.asked)
            yield
        except Stopped:
            self.guard.interruptible = False
            self._save_inside(epoch, progress)
            raise
        finally:
            self.guard.interruptible = False

    def _look(self, ahead):
        """Let the monitor see the losses that are known; returns what the workers asked for in them."""
        agreed = [0, 0]
        for update, lr, loss, asked in self._flight.landed(ahead):
            self.monitor.see(update, loss, lr)
            agreed = [max(pair) for pair in zip(agreed, asked)]
        return agreed

    def _report(self, epoch, update, lr, progress, clock):
        """The end of a log interval; returns the next one's clock."""
        metrics = self.task.train_metrics()
        progress.read(metrics)
        if self.plan.log_interval:
            speed, wait, scaler = clock.images / clock.seconds, clock.waited / clock.seconds, self.scaler
            self.record.line(self.task.batch_line(epoch, progress.batch, speed, metrics, lr, wait))
            self.record.event('batch', epoch=epoch, batch=progress.batch, update=update, lr=lr, speed=speed, wait=wait,
                              skipped=scaler.skipped if scaler else 0, scale=scaler.scale if scaler else 1.0,
                              **metrics)
            self.record.progress(metrics=metrics)
        return self._pass(progress, clock)

    @staticmethod
    def _pass(progress, clock):
        """The clock's time becomes the epoch's; returns a new one."""
        progress.waited, progress.seconds = progress.waited + clock.waited, progress.seconds + clock.seconds
        return _Clock()

    # -- evaluation, checkpoints, stops -------------------------------------------------------------------------------

    def _evaluate(self, epoch, progress):
        """Metrics of the validation images, and the epoch's lines; a stop signal ends it, for it can be done again."""
        self.workers.average(self.trainer._params)
        began, figures = time.time(), progress.figures()
        lr = self.plan.schedule((epoch + 1) * self.plan.updates_per_epoch)
        with self._interruptible(epoch, progress):
            metrics = self.task.evaluate(self.guard.beat)
        for line in self.task.epoch_lines(epoch, dict(figures, lr=lr), metrics):
            self.record.line(line)
        if self.scaler:
            self.record.line('[Epoch %d] loss scale: %g, %d updates skipped so far' % (
                epoch, self.scaler.scale, self.scaler.skipped))
        self.record.event('epoch', epoch=epoch, lr=lr, speed=figures['speed'], time=figures['time'],
                          wait=figures['wait'], evaluation_time=time.time() - began, train=figures['metrics'],
                          skipped=self.scaler.skipped if self.scaler else 0, validation=metrics)
        return metrics

    def _save_inside(self, epoch, progress):
        self._look(0)
        self._check_weights(epoch)
        self.keeper.save_inside(epoch, progress.state(), self.monitor.state())
        if self.workers.number > 1:
            self.workers.gather([0])  # nobody leaves before the first worker has written

    def _stop_if(self, number):
        if number:
            raise Stopped(self.guard.asked or int(signal.SIGTERM))

    def _check_skipped(self, update, lr):
        """Raise Diverged where float16's gradients have overflowed for so long that no scale will help."""
        self._skipped = self._skipped + 1 if self.scaler and not self.scaler.good else 0
        if self._skipped == _MOST_SKIPPED:
            raise Diverged('the gradients of the last %d updates were not finite, at loss scale %g (update %d, learning '
                           'rate %.6g)' % (_MOST_SKIPPED, self.scaler.scale, update, lr))

    def _check_weights(self, epoch):
        """Raise Diverged where a weight is not finite: such weights are never saved."""
        mx.nd.waitall()  # a compiled network of static shape writes its running statistics unseen by who reads them
        if not self.workers.gather([weights_are_finite(self.trainer)]).all():  # statistics are each worker's own
            raise Diverged('a weight is not finite in epoch %d' % epoch)


def _draws(seed, update):
    """A seed below 2**31 for MXNet's generators, from (seed, update): Knuth's multiplicative mixing."""
    return (seed * 1000003 + update * 2654435761) % (2 ** 31 - 1)


def weights_are_finite(trainer):
    """Whether every trained weight (the float32 masters, where kept) and every running statistic is finite; the host
    waits for the answer."""
    masters = master_weights(trainer)
    return all_finite([value for param in trainer._params
                       for value in ([masters[param]] if param in masters else param.list_data())])
