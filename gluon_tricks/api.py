"""For notebooks and other programs; `import gluon_tricks as gt` has each of these names.

    row = gt.recipe('demo')                                  # a row: row.paper, row.gluoncv, row.command, row.config
    result = gt.train(row.config.replace(save_dir='runs/mine'))
    run = gt.open_run('runs/mine')                           # of any task
    run.result, run.checkpoints, run.history()
    run.epochs(), run.plot()                                 # arrays, one row an epoch; curves
    net = run.net()                                          # a Gluon block with the best weights
    gt.evaluate(run)                                         # {'top1': ..., 'num_images': ...}
    gt.predict(run, ['seven.jpg'], top=3)

Raises UsageError for what the caller can put right, Diverged and Stopped for a run that ended so. MXNet is imported
where a network is needed: who reads runs does without.
"""
import importlib
import os
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Type, Union

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.options import Options
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.errors import UsageError
from gluon_tricks.pictures import curves
from gluon_tricks.training import checkpoint
from gluon_tricks.training import history as run_history

if TYPE_CHECKING:
    from gluon_tricks.training.run import Result

CONFIGS: Dict[str, Type[Options]] = {cls.TASK: cls for cls in (TrainConfig, RCNNConfig, FCNConfig)}


def train(config: Options) -> 'Result':
    """Train: TrainConfig, RCNNConfig or FCNConfig to a Result (`result`, `best`: figures; `save_dir`).

    An option left at None is resolved as the command resolves it. Raises UsageError, Diverged, and Stopped for a stop
    signal, after the checkpoint that the run resumes from was written.

    Each line of the log goes to the logger ``gluon_tricks``, at level INFO; to see them in a notebook type
    ``import logging; logging.basicConfig(level=logging.INFO)``. SAVE_DIR has them in any case.

    The data are those of ``python -m gluon_tricks prepare demo --out runs/demo-data``:

    >>> import gluon_tricks as gt
    >>> config = gt.recipe('demo').config.replace(num_epochs=1, warmup_epochs=0, save_dir='runs/mine')
    >>> result = gt.train(config)
    >>> result.result['epoch'], result.save_dir
    (0, 'runs/mine')
    """
    from gluon_tricks.doctor import examine as doctor
    from gluon_tricks.training import run as running
    assembly = importlib.import_module(f'gluon_tricks.tasks.{config.TASK}.assembly')
    resolved, notices = assembly.resolve(config)
    return running.train(resolved, assembly.assemble, [*notices, *doctor.warnings(config, resolved)])


class Run:
    """The directory of a run: `path`, `task`, `config`, and what `run.json` tells: `status`, `result`, `best`.

    path: SAVE_DIR, or a checkpoint in it. Raises UsageError where there is no whole checkpoint.

    >>> import gluon_tricks as gt
    >>> run = gt.Run('runs/demo-seed0')
    >>> run.task, run.config.model, run.history()[0]['event']
    ('classification', 'resnet10_v1d_demo', 'batch')
    """

    def __init__(self, path: Union[str, 'os.PathLike[str]']) -> None:
        self.path = os.path.expanduser(str(path))
        if not os.path.isdir(self.path):
            raise UsageError(f'{path} is not a directory: give the SAVE_DIR of a run')
        self.folder = checkpoint.best_of(self.path)
        self.manifest = checkpoint.read(self.folder)
        self.task = checkpoint.task_of(self.manifest)
        if self.task not in CONFIGS:
            raise UsageError(f'{path} is a run of the task {self.task!r:.40}, which this version does not know')
        self.config = CONFIGS[self.task].from_dict(self.manifest['config'])

    @property
    def params(self) -> str:
        """The path of the weights: of the best epoch, where there was a validation."""
        return os.path.join(self.folder, 'net.params')

    @property
    def checkpoints(self) -> List[str]:
        """Names of the run's checkpoints, the oldest first."""
        return checkpoint.names(self.path)

    @property
    def record(self) -> Dict[str, Any]:
        """The content of run.json, {} without one."""
        return run_history.read_record(self.path)

    @property
    def result(self) -> Dict[str, Any]:
        """The figures of the last epoch, as the checkpoint has them."""
        return self.record.get('result') or self.manifest['metrics']

    @property
    def best(self) -> Optional[Dict[str, Any]]:
        """The figures of the best epoch, None without validation."""
        return self.manifest['best']

    def history(self) -> List[Dict[str, Any]]:
        """The events of log.jsonl in their order, dicts; a line that was torn is left out."""
        return run_history.read_events(self.path)

    def epochs(self) -> run_history.Columns:
        """The figures of each epoch, {name: array} with one row an epoch: epoch, lr, speed (images/s), time (s), wait
        (share of it), train_NAME and val_NAME; an epoch that was trained again counts as it was trained last.

        ``pandas.DataFrame(run.epochs())`` makes a table of them.

        >>> import gluon_tricks as gt
        >>> figures = gt.Run('runs/demo-seed0').epochs()
        >>> figures['epoch'][0], figures['val_top1'].shape == figures['train_loss'].shape
        (0, True)
        """
        return run_history.epochs(self.history())

    def plot(self) -> curves.Picture:
        """Curves over the epochs: loss, accuracy, learning rate, throughput, waiting for data. A notebook shows them.

        >>> import gluon_tricks as gt
        >>> gt.Run('runs/demo-seed0').plot().save('runs/curves')
        ['runs/curves.svg', 'runs/curves.png']
        """
        name = os.path.basename(os.path.abspath(self.path))
        return curves.draw_curves([run_history.read_history(self.path, name)])

    def devices(self) -> List[Any]:
        """The devices for inference: all visible GPUs, else the CPU."""
        from gluon_tricks.distributed.devices import find_devices
        return find_devices()

    def net(self) -> Any:
        """The Gluon block with the best weights, for inference, on `devices`."""
        return _trained(self).network(self.folder, self.config, self.devices())


def _trained(run: Run) -> Any:
    return importlib.import_module(f'gluon_tricks.tasks.{run.task}.trained')


def open_run(path: Union[str, 'os.PathLike[str]']) -> Run:
    """The Run in a directory: SAVE_DIR, or a checkpoint in it. Raises UsageError.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> run = gt.open_run('runs/demo-seed0')
    >>> run.net()(mx.nd.zeros((1, 3, 32, 32), ctx=run.devices()[0])).shape
    (1, 10)
    """
    return Run(path)


def evaluate(run: Run, devices: str = '', num_gpus: Optional[int] = None) -> Dict[str, Any]:
    """Exact metrics of a Run's best checkpoint over its validation images, each counted once.

    devices, num_gpus: as the options. Raises UsageError.

    >>> import gluon_tricks as gt
    >>> figures = gt.evaluate(gt.open_run('runs/demo-seed0'))
    >>> 0 <= figures['top1'] <= figures['top5'] <= 100 and figures['num_images'] > 0
    True
    """
    from gluon_tricks.distributed.devices import find_devices
    return _trained(run).evaluate(run.folder, run.config, find_devices(devices, num_gpus))


def predict(run: Run, images: Iterable[str], top: int = 5) -> List[Dict[str, Any]]:
    """Predictions of a Run's best checkpoint for image files, a dict for each: classes, boxes or segments.

    top: classes of an image. Raises UsageError that names a file which is not an image.

    >>> import gluon_tricks as gt
    >>> seen = gt.predict(gt.open_run('runs/demo-seed0'), ['runs/demo-data/val/7/digit_0007.JPEG'], top=3)
    >>> [sorted(each) for each in seen[0]['classes']]
    [['index', 'name', 'probability'], ['index', 'name', 'probability'], ['index', 'name', 'probability']]
    """
    return _trained(run).predict(run.folder, run.config, list(images), run.devices(), top)
