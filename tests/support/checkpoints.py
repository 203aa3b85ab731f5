"""A small net with its trainer, and what keeps its checkpoints."""
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.distributed.workers import connect
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.training import checkpoint
from gluon_tricks.training.optimizer import create_optimizer
from gluon_tricks.training.retention import Keeper
from gluon_tricks.training.state import TrainState
from gluon_tricks.training.sums import Sums


def make_net(devices=(mx.cpu(0),), dtype='float32', seed=0):
    """A small net with BatchNorm and its trainer, one update done."""
    mx.random.seed(seed)
    net = mx.gluon.nn.HybridSequential(prefix='net_')
    with net.name_scope():
        net.add(mx.gluon.nn.Dense(4, in_units=3), mx.gluon.nn.BatchNorm(in_channels=4))
    net.initialize(ctx=list(devices))
    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer('paper', 0.9, 1e-4, dtype == 'float16'),
                               update_on_kvstore=False)
    connect(trainer)
    return net, trainer


def update(net, trainer, devices=(mx.cpu(0),), seed=1):
    rng = np.random.RandomState(seed)
    for device in devices:
        x = mx.nd.array(rng.normal(size=(6, 3)), ctx=device)
        with mx.autograd.record():
            loss = (net(x) ** 2 * mx.nd.array([1, 2, 3, 4], ctx=device)).sum(axis=1)
        loss.backward()
    trainer.set_learning_rate(0.1)
    trainer.allreduce_grads()
    trainer.update(6)


def save(folder, epoch, net, trainer, manifest):
    """The checkpoint of an epoch; returns its path."""
    state = make_state(net, trainer, epoch)
    return checkpoint.save(folder, checkpoint.name_of(epoch), state.arrays(), dict(state.manifest_fields(), **manifest))


def make_state(net, trainer, epoch=0):
    return TrainState(net, trainer, Sums(1), net.collect_params().list_ctx(), 5, 6, epoch=epoch)


def at(state, epoch):
    """The state at the end of an epoch."""
    state.epoch = epoch
    return state


class NoRecord:
    def check(self):
        pass

    def saved(self, path):
        pass


def make_keeper(tmp_path, **options):
    config = TrainConfig(save_dir=str(tmp_path), num_epochs=12, **options)
    net = mx.gluon.nn.Dense(2, in_units=2)
    net.initialize()
    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer('paper', 0.9, 0, False), update_on_kvstore=False)
    connect(trainer)
    task = Classification(net, config, [mx.cpu()], None, None, None)
    return config, Keeper(config, task, NoRecord(), {'classes': ['a', 'b']}), make_state(net, trainer)


def scores(top1):
    return {'top1': top1, 'top5': 99.0, 'num_images': 10, 'gap_histogram': [1, 2]}
