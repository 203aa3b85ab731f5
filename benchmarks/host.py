"""Host time of an update: CPU time of the Python thread, ours against the loop of GluonCV's train_imagenet.py.

    python benchmarks/host.py                                      # devices, precisions, tricks
    python benchmarks/host.py --devices 8 --dtypes float16 --profile
    python benchmarks/host.py --devices 8 --width 8 --repeats 30   # the same arrays, an eighth as wide: less to compute

Both train the same network on the same small images in one process, in turn. The devices are CPU contexts; what they
compute is not measured: `time.thread_time` counts the thread that calls MXNet, which on a GPU machine must be done
before the GPUs are. The images of an update arrive a second late, so that nothing is computed on the host's own cores
while it asks for the update (--contended: they are there, and the figures vary by a fifth). An update is all that the
loop does for a batch that it has: ours from preprocessing to the look at the losses, GluonCV's from split_and_load to
the metric. The update of the weights is the one that GPUs get (`gluon_tricks.training.multi_tensor`), and with
--single-kernels the one of a CPU. float16 is emulated: weights and gradients are float16, the masters float32. After
the flag: from the answer whether float16's gradients are finite to the end of the update, while GPUs have nothing to
do until the first kernels are queued.
"""
import argparse
import atexit
import cProfile
import gc
import os
import pstats
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import numpy as np  # noqa: E402

from gluon_tricks.compat import mx  # noqa: E402
from gluon_tricks.config.classification import TrainConfig  # noqa: E402
from gluon_tricks.data.pipeline import Batch  # noqa: E402
from gluon_tricks.distributed.workers import Workers  # noqa: E402
from gluon_tricks.models import resnet  # noqa: E402
from gluon_tricks.tasks.classification import assembly  # noqa: E402
from gluon_tricks.training import multi_tensor  # noqa: E402
from gluon_tricks.training.callbacks import Divergence  # noqa: E402
from gluon_tricks.training.loop import step  # noqa: E402
from gluon_tricks.tricks import low_precision  # noqa: E402
from gluon_tricks.tricks.low_precision import LossScaler, precision  # noqa: E402

from gluoncv.utils import LRScheduler, LRSequential  # noqa: E402

CLASSES, LR = 1000, 1e-3
TRICKS = {'none': {}, 'mixup': dict(mixup=True, label_smoothing=True)}


class Late(mx.operator.CustomOp):
    """Gives its input, after a while."""

    seconds = 1.0

    def forward(self, is_train, req, in_data, out_data, aux):
        time.sleep(self.seconds)
        self.assign(out_data[0], req[0], in_data[0])


@mx.operator.register('late')
class LateProp(mx.operator.CustomOpProp):
    """The operator `mx.nd.Custom(x, op_type='late')`."""

    def create_operator(self, ctx, in_shapes, in_dtypes):
        return Late()


# MXNet's own end waits for ever for an operator in Python that has not run; what is registered later runs earlier.
atexit.register(mx.nd.waitall)


class Flag(LossScaler):
    """A loss scale that notes when the flag was read, and skips no update."""

    read = 0.0

    def update(self, overflow):
        self.read = time.thread_time()
        super().update(False)


class Ours:
    """gluon_tricks' loop."""

    def __init__(self, devices, dtype, tricks, arguments):
        config, _ = assembly.resolve(TrainConfig(
            model=arguments.model, data_backend='synthetic', input_size=arguments.side, batch_size=2, last_gamma=True,
            num_classes=CLASSES, devices=','.join(str(device) for device in devices), dtype=dtype, lr=LR,
            nag=arguments.nag, **TRICKS[tricks]))
        setup = assembly.assemble(config, devices, Workers())
        self.task, self.schedule = setup.task, setup.schedule
        self.scaler = Flag(1.0, fixed=True) if dtype == 'float16' else None
        self.state = setup.new_state(config)
        self.state.scaler = self.scaler
        self.divergence, self.batches = Divergence(lambda: [0, 0]), iter(self.task.batches(0))
        self.batch = next(self.batches)

    @property
    def images(self):
        return self.batch.data[0]

    @images.setter
    def images(self, images):
        self.batch = Batch([images], self.batch.label)

    def update(self):
        self.divergence.after_update(self.state, step(self.task, self.state, self.batch, self.schedule))

    @property
    def after_flag(self):
        """Seconds of the thread since the flag was read."""
        return time.thread_time() - self.scaler.read if self.scaler else 0.0


class GluonCV:
    """The loop of GluonCV's script: the statements between a batch and its metric, with the options of its tricks."""

    def __init__(self, devices, dtype, tricks, arguments):
        config = TrainConfig(model=arguments.model, input_size=arguments.side, last_gamma=True, dtype=dtype,
                             num_classes=CLASSES)
        self.devices, self.size, self.mixes = devices, 2 * len(devices), tricks == 'mixup'
        self.precision = precision(dtype, devices)
        self.net, _, _ = assembly.build_net(config, devices, self.precision)
        parts = dict(base_lr=0, target_lr=LR, nepochs=5, iters_per_epoch=1000)
        self.trainer = mx.gluon.Trainer(self.net.collect_params(), 'nag', dict(
            wd=1e-4, momentum=0.9, multi_precision=dtype == 'float16', lr_scheduler=LRSequential([
                LRScheduler('linear', **parts), LRScheduler('cosine', **dict(parts, base_lr=LR, target_lr=0))])))
        self.loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not self.mixes)
        self.metric = mx.metric.RMSE() if self.mixes else mx.metric.Accuracy()
        rng = np.random.RandomState(0)
        self.images = mx.nd.array(rng.normal(size=(self.size, 3, arguments.side, arguments.side)))
        self.labels = mx.nd.array(rng.randint(CLASSES, size=self.size))

    def targets(self, labels, lam, eta=0.1):
        """Smoothed and mixed with their reverse."""
        values = dict(on_value=1 - eta + eta / CLASSES, off_value=eta / CLASSES)
        return [lam * label.one_hot(CLASSES, **values) + (1 - lam) * label[::-1].one_hot(CLASSES, **values)
                for label in labels]

    def update(self):
        data, labels = (mx.gluon.utils.split_and_load(part, ctx_list=self.devices, batch_axis=0)
                        for part in (self.images, self.labels))
        if self.mixes:
            lam = np.random.beta(0.2, 0.2)
            data = [lam * x + (1 - lam) * x[::-1] for x in data]
            labels = self.targets(labels, lam)
        with mx.autograd.record():
            outputs = [self.net(self.precision.cast_input(x)) for x in data]
            losses = [self.loss(output, label.astype(output.dtype, copy=False))
                      for output, label in zip(outputs, labels)]
        for loss in losses:
            loss.backward()
        self.trainer.step(self.size)
        if self.mixes:
            outputs = [mx.nd.SoftmaxActivation(output.astype('float32', copy=False)) for output in outputs]
        self.metric.update(labels, outputs)


def narrow(width):
    """Give every network `width` channels in stage 1, where the paper's have 64."""
    made = resnet.ResNet.__init__
    resnet.ResNet.__init__ = lambda self, *words: made(self, *words[:-1], width)


def milliseconds(program, late=True):
    """(host time of an update, of it after the flag)."""
    mx.nd.waitall()
    if late:
        program.images = mx.nd.Custom(program.images, op_type='late')
    start = time.thread_time()
    program.update()
    return 1e3 * (time.thread_time() - start), 1e3 * getattr(program, 'after_flag', 0.0)


def compare(devices, dtype, tricks, arguments):
    """Print the medians of both and their ratio."""
    programs = [Ours(devices, dtype, tricks, arguments), GluonCV(devices, dtype, tricks, arguments)]
    times = [[milliseconds(program, not arguments.contended) for program in programs]
             for _ in range(arguments.repeats + 2)][2:]
    ours, theirs = (statistics.median(row[number][0] for row in times) for number in (0, 1))
    ratios = [row[0][0] / row[1][0] for row in times]
    line = '%d %-7s %-5s  ours %6.1f ms, GluonCV %6.1f, ratio %.2f (%.2f to %.2f)' % (
        len(devices), dtype, tricks, ours, theirs, statistics.median(ratios), min(ratios), max(ratios))
    if dtype == 'float16':
        line += '; after the flag %.1f ms' % statistics.median(row[0][1] for row in times)
    print(line, flush=True)


def profile(devices, dtype, tricks, arguments):
    """Print what an update of each is made of: the functions by the thread's time in them."""
    for program in (Ours(devices, dtype, tricks, arguments), GluonCV(devices, dtype, tricks, arguments)):
        found = cProfile.Profile(time.thread_time)
        for repeat in range(arguments.repeats + 2):
            mx.nd.waitall()
            if repeat >= 2:
                found.enable()
            program.update()
            found.disable()
        print(f'{type(program).__name__}: {arguments.repeats} updates, {len(devices)} devices, {dtype}, {tricks}')
        pstats.Stats(found).sort_stats(arguments.sort).print_stats(25)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--devices', type=int, nargs='+', default=[1, 2, 4, 8])
    parser.add_argument('--dtypes', nargs='+', default=['float32', 'float16'], choices=('float32', 'float16'))
    parser.add_argument('--tricks', nargs='+', default=list(TRICKS), choices=list(TRICKS))
    parser.add_argument('--nag', default='paper', choices=('paper', 'mxnet'), help='of ours')
    parser.add_argument('--single-kernels', action='store_true', help='update as on a CPU')
    parser.add_argument('--model', default='resnet50_v1d')
    parser.add_argument('--side', type=int, default=32)
    parser.add_argument('--width', type=int, default=64, help='channels of stage 1')
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--contended', action='store_true', help='compute while the host asks')
    parser.add_argument('--profile', action='store_true')
    parser.add_argument('--sort', default='tottime', help='of --profile: tottime or cumtime')
    arguments = parser.parse_args()
    if arguments.width != 64:
        narrow(arguments.width)
    if not arguments.single_kernels:
        multi_tensor.DEVICES = low_precision.BY_OPERATOR = ('cpu', 'gpu')
    for number in arguments.devices:
        devices = [mx.cpu(index) for index in range(number)]
        for dtype in arguments.dtypes:
            for tricks in arguments.tricks:
                (profile if arguments.profile else compare)(devices, dtype, tricks, arguments)
                gc.collect()


if __name__ == '__main__':
    main()
