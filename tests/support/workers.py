"""Programs that the workers of a test run."""
import json
import sys
import time

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.data.pipeline import Batch
from gluon_tricks.distributed.devices import find_devices
from gluon_tricks.distributed.workers import Workers, connect
from gluon_tricks.models.zoo import get_model, know_shapes, place
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.training import loop
from gluon_tricks.training.optimizer import create_optimizer
from gluon_tricks.training.state import TrainState
from gluon_tricks.tricks.low_precision import LossScaler, precision
from gluon_tricks.tricks.zero_gamma import zero_gamma


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

    def preprocess(self, batch, update):
        self.update = update
        return super().preprocess(batch, update)

    def loss(self, shard):
        second = self.workers.rank or shard.device  # on one worker's device, or the second device
        return super().loss(shard) * (1e9 if second and self.update == 7 else 1.0)


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
    state = TrainState(net, trainer, task.sums, devices, updates, 16, scaler=scaler, workers=workers)
    for number in range(updates):
        loop.step(task, state, slices.batch(number, workers), lambda update: 0.05)
    state.average_statistics()
    mx.nd.waitall()
    metrics = task.train_metrics()
    arrays = {name: array.asnumpy() for name, array in state.arrays()['net.params'].items()}
    return arrays, scaler.skipped if scaler else 0, metrics


def save_slices(kv_store, devices, dtype, prefix):
    """The program of a worker."""
    workers = Workers(kv_store)
    arrays, skipped, metrics = train_slices(workers, find_devices(devices), dtype)
    np.savez(f'{prefix}{workers.rank}.npz', **arrays)
    with open(f'{prefix}{workers.rank}.json', 'w') as stream:
        json.dump([skipped, metrics], stream)
    workers.finish()


def train_slowly(seconds, arguments):
    """The program of a worker that takes its time over each update."""
    import train_imagenet
    step = loop.step

    def slow_step(*words):
        time.sleep(seconds)
        return step(*words)

    loop.step = slow_step
    sys.exit(train_imagenet.main(arguments))
