"""A training of one weight, whole runs of it, and what a run leaves."""
import hashlib
import json
import os
import time

import numpy as np

from gluon_tricks.commands.console import console
from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.distributed.workers import connect
from gluon_tricks.training import run
from gluon_tricks.training import task as training_task
from gluon_tricks.training.divergence import Diverged
from gluon_tricks.training.optimizer import create_optimizer
from gluon_tricks.training.run import Setup
from gluon_tricks.training.signals import Stopped
from gluon_tricks.training.sums import Sums

CPU = [mx.cpu()]


class Task(training_task.Task):
    """One weight that is pulled to 3, by batches that depend on seed, epoch and place. fails: raised in an epoch."""

    headline, result_names, metric_names = 'nearness', ('nearness',), ('loss',)

    def __init__(self, fails=None):
        self.seen, self.fails, self.devices = [], fails, CPU
        self.net = mx.gluon.nn.Dense(1, in_units=1, use_bias=False, weight_initializer='zeros')
        self.net.initialize()
        self.sums = Sums(1)

    def reseed(self, seed):
        self.seed = seed

    def batches(self, epoch, first=0):
        if self.fails and epoch == 1:
            raise self.fails
        self.epoch = epoch
        rng = np.random.RandomState([self.seed, epoch])
        return iter([mx.nd.array(rng.normal(size=(4, 1))) for _ in range(5)][first:])

    def begin_batch(self, update):
        self.seen.append(update)

    def preprocess(self, batch, update):
        self.begin_batch(update)
        return [batch]

    def loss(self, x):
        loss = (self.net(x) - 3) ** 2
        self.sums.add(0, [loss.sum()], len(x))
        return loss

    def train_metrics(self):
        rows, count = self.sums.read()
        return {'loss': rows.sum() / count}

    def evaluate(self, beat):
        return {'nearness': -abs(float(self.net.weight.data().asnumpy()[0, 0]) - 3), 'in_epoch': self.epoch}

    def batch_line(self, *arguments):
        return 'batch'

    def epoch_lines(self, epoch, facts, metrics):
        return [f'epoch {epoch}']

    def file_name(self, epoch, metrics):
        return f'weights-{epoch}.params'

    def best_file_name(self, epoch, metrics):
        return f'best-{epoch}.params'

    def result_line(self, result, best):
        return f'nearness {result["nearness"]:.3f} after epoch {result["epoch"]}'


def train(tmp_path, fails=None, task=None, **options):
    task = task or Task(fails)

    def assemble(config, devices, workers, notices, resumed):
        trainer = mx.gluon.Trainer(task.net.collect_params(), create_optimizer(), update_on_kvstore=False)
        connect(trainer)
        return Setup(task, trainer, lambda update: 0.05, 5, 4, ('a notice',),
                     manifest={'of': 'bread'}, facts={'oven': 'hot'})

    config = TrainConfig(save_dir=str(tmp_path), num_epochs=3, **dict({'log_interval': 2}, **options))
    code = 0
    try:
        with console():
            run.train(config, assemble)
    except (Diverged, Stopped) as error:
        code = error.exit_code
    return code, task.net.weight.data().asscalar(), json.loads((tmp_path / 'run.json').read_text())


def history(folder):
    """{(kind, update or epoch): figures} of log.jsonl, without times: a later event takes the place of an earlier."""
    events = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    for event in events:
        for name in ('time_stamp', 'speed', 'wait', 'time', 'evaluation_time'):
            event.pop(name, None)
    return {(event['event'], event.get('update', event['epoch'])): event for event in events if 'epoch' in event}


class Signalled(Task):
    """A signal comes at an update, or in the evaluation of an epoch."""

    def __init__(self, number, update=None, epoch=None):
        super().__init__()
        self.number, self.update, self.stop_epoch, self.evaluated = number, update, epoch, 0

    def begin_batch(self, update):
        super().begin_batch(update)
        if update == self.update:
            os.kill(os.getpid(), self.number)

    def evaluate(self, beat):
        if self.evaluated == self.stop_epoch:
            os.kill(os.getpid(), self.number)
            time.sleep(0.1)
        self.evaluated += 1
        return super().evaluate(beat)


def outcome(folder):
    """Digests of what the run leaves, its figures, and its result."""
    digests = {name: hashlib.sha256((folder / 'latest' / name).read_bytes()).hexdigest()
               for name in os.listdir(str(folder / 'latest')) if name.endswith('.params')}
    facts = json.loads((folder / 'run.json').read_text())
    manifest = json.loads((folder / 'latest' / 'manifest.json').read_text())
    return digests, history(folder), facts['result'], facts['best'], manifest['scaler'], manifest['monitor']
