"""Algorithm 1: mini-batch stochastic gradient descent, for any task (paper section 2).

task: a `task.Task`; state: `state.TrainState`, what the run changes and a checkpoint keeps; callbacks:
`callbacks.Callback` objects, each of which is told in their order.
"""
import contextlib

from gluon_tricks.compat import mx


def fit(task, state, schedule, epochs, callbacks, interruptible=contextlib.nullcontext, beat=lambda: None):
    """Train from where `state` is until this many epochs are done; evaluate after each of them.

    schedule(update): the learning rate; updates count from 1 over the whole run. interruptible(): a context manager
    around what a stop signal may end, waiting for data and evaluation. beat(): called while an evaluation makes
    progress. A callback ends the run by an exception.
    """
    while state.epoch < epochs:
        for callback in callbacks:
            callback.before_epoch(state)
        train_epoch(task, state, schedule, callbacks, interruptible)
        for callback in callbacks:
            callback.after_training(state)
        state.average_statistics()  # the network that is evaluated is the one that is saved
        with interruptible():
            metrics = task.evaluate(beat)
        for callback in callbacks:
            callback.after_epoch(state, metrics)
        state.end_epoch()


def train_epoch(task, state, schedule, callbacks, interruptible):
    """The updates of an epoch that `state` has not seen."""
    batches, progress = iter(task.batches(state.epoch, state.progress.batch)), state.progress
    if progress.batch == state.updates_per_epoch:  # what was left is to evaluate
        return
    progress.start_clock()
    while progress.batch < state.updates_per_epoch:
        with interruptible():
            batch = progress.wait_for(batches)              # images <- sample()
        losses = step(task, state, batch, schedule)
        for callback in callbacks:
            callback.after_update(state, losses)
    next(batches, None)  # lets the stream close its iterators


def step(task, state, batch, schedule):
    """One update, the body of Algorithm 1; returns the losses, one NDArray a device. The host waits for none of it.

    (float16 reads one flag: whether the gradients are finite.)
    """
    update = state.begin_update()                           # counts, and seeds dropout and sampling
    shards = task.preprocess(batch, update)                 # X, y <- preprocess(images), one shard a device
    with mx.autograd.record():
        losses = [task.loss(shard) for shard in shards]     # z <- forward(net, X); l <- loss(z, y)
    state.backward(losses)                                  # grad <- backward(l), summed over devices and workers
    state.update_weights(schedule(update))                  # net <- update(net, grad)
    return losses
