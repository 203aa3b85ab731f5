"""For notebooks and other programs; `import gluon_tricks as gt` has each of these names.

    row = gt.recipe('demo')                                  # a row: row.paper, row.gluoncv, row.command, row.config
    result = gt.train(row.config.replace(save_dir='runs/mine'))
    run = gt.open_run('runs/mine')                           # of any task
    run.result, run.checkpoints, run.history()
    net = run.net()                                          # a Gluon block with the best weights
    gt.evaluate(run)                                         # {'top1': ..., 'num_images': ...}
    gt.predict(run, ['seven.jpg'], top=3)

Raises UsageError for what the caller can put right, Diverged and Stopped for a run that ended so.
"""
import importlib
import json
import os

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.distributed.devices import find_devices
from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint
from gluon_tricks.training import run as running

CONFIGS = {cls.TASK: cls for cls in (TrainConfig, RCNNConfig, FCNConfig)}


def train(config):
    """Train: TrainConfig, RCNNConfig or FCNConfig to a Result (`result`, `best`: figures; `save_dir`).

    An option left at None is resolved as the command resolves it. Raises UsageError, Diverged, and Stopped for a stop
    signal, after the checkpoint that the run resumes from was written.

    Each line of the log goes to the logger ``gluon_tricks``, at level INFO; to see them in a notebook type
    ``import logging; logging.basicConfig(level=logging.INFO)``. SAVE_DIR has them in any case.
    """
    assembly = importlib.import_module('gluon_tricks.tasks.%s.assembly' % config.TASK)
    config, notices = assembly.resolve(config)
    return running.train(config, assembly.assemble, notices)


class Run:
    """The directory of a run: `path`, `task`, `config`, and what `run.json` tells: `status`, `result`, `best`.

    path: SAVE_DIR, or a checkpoint in it. Raises UsageError where there is no whole checkpoint.
    """

    def __init__(self, path):
        self.path = os.path.expanduser(str(path))
        if not os.path.isdir(self.path):
            raise UsageError('%s is not a directory: give the SAVE_DIR of a run' % path)
        self.folder = checkpoint.best_of(self.path)
        self.manifest = checkpoint.read(self.folder)
        self.task = checkpoint.task_of(self.manifest)
        if self.task not in CONFIGS:
            raise UsageError('%s is a run of the task %.40r, which this version does not know' % (path, self.task))
        self.config = CONFIGS[self.task].from_dict(self.manifest['config'])

    @property
    def params(self):
        """The path of the weights: of the best epoch, where there was a validation."""
        return os.path.join(self.folder, 'net.params')

    @property
    def checkpoints(self):
        """Names of the run's checkpoints, the oldest first."""
        return checkpoint.names(self.path)

    @property
    def record(self):
        """What run.json holds, {} without one."""
        try:
            with open(os.path.join(self.path, 'run.json')) as stream:
                return json.load(stream)
        except (OSError, ValueError):
            return {}

    @property
    def result(self):
        """The figures of the last epoch, as the checkpoint has them."""
        return self.record.get('result') or self.manifest['metrics']

    @property
    def best(self):
        """The figures of the best epoch, None without validation."""
        return self.manifest['best']

    def history(self):
        """The events of log.jsonl in their order, dicts; a line that was torn is left out."""
        events = []
        with open(os.path.join(self.path, 'log.jsonl')) as stream:
            for line in stream:
                try:
                    events.append(json.loads(line))
                except ValueError:
                    continue
        return events

    def devices(self):
        """Where it is asked: all visible GPUs, else the CPU."""
        return find_devices()

    def net(self):
        """The Gluon block with the best weights, for inference, on `devices`."""
        return _trained(self).network(self.folder, self.config, self.devices())


def _trained(run):
    return importlib.import_module('gluon_tricks.tasks.%s.trained' % run.task)


def open_run(path):
    """The Run in a directory. Raises UsageError."""
    return Run(path)


def evaluate(run, devices='', num_gpus=None):
    """Exact metrics of a Run's best checkpoint over its validation images, each counted once.

    devices, num_gpus: as the options. Raises UsageError.
    """
    return _trained(run).evaluate(run.folder, run.config, find_devices(devices, num_gpus))


def predict(run, images, top=5):
    """What a Run's best checkpoint sees in image files, a dict for each: classes, boxes or segments.

    top: classes of an image. Raises UsageError that names a file which is not an image.
    """
    return _trained(run).predict(run.folder, run.config, list(images), run.devices(), top)
