"""Algorithm 1: mini-batch stochastic gradient descent, for any task (paper section 2).

A task supplies what differs between classification, detection and segmentation:

    begin_epoch(epoch) -> iterator of batches     the data of one epoch
    begin_batch(update)                           draws that every device shares
    shards(batch, devices) -> [arguments of loss] one tuple per device, preprocessed
    loss(*shard) -> NDArray                       summed by `backward`; also adds to the device's metrics
    train_metrics() -> {name: value}              reads and clears those metrics: the host waits here, and only here
    evaluate() -> {name: value}                   exact, over all validation images
    batch_line(...), epoch_lines(...) -> str      the task's log lines
"""
import collections
import math
import time

from gluon_tricks.compat import mx
from gluon_tricks.optimizer import master_weights
from gluon_tricks.tricks.low_precision import all_finite

# Updates the host may run ahead of the devices. Without a bound it would queue batches until memory is full.
_AHEAD = 2


class Diverged(RuntimeError):
    """The loss or a weight is not finite any more: one sentence with the update, the learning rate and the remedy."""


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


class _Clock:
    """Time of one log interval, and of it the share that was spent waiting for data."""

    def __init__(self):
        self.restart()

    def restart(self):
        self.start, self.waited, self.images = time.time(), 0.0, 0

    def next_batch(self, batches):
        start = time.time()
        batch = next(batches, None)
        self.waited += time.time() - start
        return batch

    @property
    def seconds(self):
        return max(time.time() - self.start, 1e-9)


def train_epoch(task, epoch, trainer, devices, schedule, updates_per_epoch, total_batch_size, seed, scaler=None,
                log_interval=50, report=lambda **facts: None, tick=lambda **facts: None):
    """One pass through the training images; returns {'speed', 'time', 'wait', 'images', metrics...} of the epoch.

    schedule(update) gives the learning rate; updates count from 1 over the whole run. report(...) is called every
    `log_interval` batches with the interval's figures, tick(...) after each batch with the update's number.
    Raises Diverged when the loss is not finite (seen at the log interval, named with the exact update).
    """
    whole, interval, pending = _Clock(), _Clock(), collections.deque()
    batches = iter(task.begin_epoch(epoch))
    totals, counted = collections.OrderedDict(), 0
    last_lr = None
    for i in range(updates_per_epoch):
        if len(pending) >= _AHEAD:
            pending.popleft().wait_to_read()
        batch = interval.next_batch(batches)
        update = epoch * updates_per_epoch + i + 1
        mx.random.seed(_draws(seed, update))  # dropout and sampling, the same after a resume
        last_lr = schedule(update)
        losses = step(task, batch, trainer, devices, update, last_lr, total_batch_size, scaler)
        pending.append(losses[-1])
        interval.images += total_batch_size
        tick(update=update, lr=last_lr)
        if (log_interval and (i + 1) % log_interval == 0) or i + 1 == updates_per_epoch:
            metrics = task.train_metrics()
            _check_finite(metrics, last_lr)
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + value * interval.images
            counted += interval.images
            whole.waited += interval.waited
            if log_interval:
                report(epoch=epoch, batch=i + 1, update=update, lr=last_lr, speed=interval.images / interval.seconds,
                       wait=interval.waited / interval.seconds, metrics=metrics)
            interval.restart()
    next(batches, None)  # lets the stream close its iterators
    facts = {name: value / counted for name, value in totals.items()}
    seconds = whole.seconds
    return dict(metrics=facts, speed=counted / seconds, time=seconds, wait=whole.waited / seconds, lr=last_lr)


def _draws(seed, update):
    """A seed below 2**31 for MXNet's generators, from (seed, update): Knuth's multiplicative mixing."""
    return (seed * 1000003 + update * 2654435761) % (2 ** 31 - 1)


def _check_finite(metrics, lr):
    bad = metrics.pop('first_bad_update', None)
    if bad is not None:
        raise Diverged('the loss is not finite at update %d (learning rate %.6g)' % (bad, lr))


def weights_are_finite(trainer):
    """Whether every trained weight (the float32 masters, where kept) is finite; the host waits for the answer."""
    masters = master_weights(trainer)
    return all_finite([masters.get(param, param.list_data()[0])
                       for param in trainer._params if param.grad_req != 'null'])


def fit(task, trainer, devices, schedule, epochs, updates_per_epoch, total_batch_size, seed, record, save,
        scaler=None, start_epoch=0, log_interval=50, settle=lambda: None):
    """Train for `epochs` epochs; evaluate and save after each. Returns the metrics of the last evaluation.

    record: experiments.record.Record, takes every line and figure. save(epoch, metrics): writes the checkpoint and
    tells the record its path. settle(): called before each evaluation and save, lets several workers average their
    running statistics. Raises Diverged, naming the last good checkpoint.
    """
    metrics, started = None, time.time()
    for epoch in range(start_epoch, epochs):
        def report(epoch, batch, update, lr, speed, wait, metrics):
            record.line(task.batch_line(epoch, batch, speed, metrics, lr, wait, scaler))
            record.event('batch', epoch=epoch, batch=batch, update=update, lr=lr, speed=speed, wait=wait,
                         skipped=scaler.skipped if scaler else 0, scale=scaler.scale if scaler else 1.0, **metrics)
            record.progress(metrics=metrics)

        record.begin_epoch(epoch, total_batch_size)
        try:
            facts = train_epoch(task, epoch, trainer, devices, schedule, updates_per_epoch, total_batch_size, seed,
                                scaler, log_interval, report, tick=record.progress)
            if not weights_are_finite(trainer):
                raise Diverged('a weight is not finite after epoch %d (learning rate %.6g)' % (epoch, facts['lr']))
        except Diverged as error:
            raise Diverged('%s: the run is stopped; last good checkpoint: %s; lower --lr, add --warmup-epochs, or '
                           'resume from there' % (error, record.last_checkpoint or 'none yet')) from None
        finally:
            record.end_epoch()
        settle()
        began = time.time()
        metrics = task.evaluate()
        for line in task.epoch_lines(epoch, facts, metrics):
            record.line(line)
        record.event('epoch', epoch=epoch, lr=facts['lr'], speed=facts['speed'], time=facts['time'],
                     wait=facts['wait'], evaluation_time=time.time() - began, train=facts['metrics'],
                     skipped=scaler.skipped if scaler else 0, validation=metrics)
        save(epoch, metrics)
    record.line('Training time for %d epochs: %f sec.' % (epochs - start_epoch, time.time() - started))
    return metrics
