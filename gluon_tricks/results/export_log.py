"""The figures of a finished or unfinished run in the form of another tool, after or beside the training: TensorBoard,
CSV, MLflow, Trackio.

Every number of log.jsonl that counts (`training/history.py`) has a name, such as `batch/loss` or
`epoch/validation/top1`, the place in the run, an update or an epoch, and the time at which it was written.
"""
import csv
import io
import os
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from gluon_tricks.errors import UsageError
from gluon_tricks.files import unwritable, write_whole
from gluon_tricks.training.history import counted, read_events, read_record, scalars, step_of
from gluon_tricks.training.run_log import tensorboard

_AT_ONCE = 1000, 100  # metrics and parameters that MLflow takes in one call
_LONGEST = 500  # characters of a parameter's value, in every version of MLflow


class Event(NamedTuple):
    """A line of the log: its kind, such as batch or epoch; the place in the run; Unix time in seconds; the numbers by
    their names."""

    kind: str
    step: int
    time: float
    numbers: Tuple[Tuple[str, float], ...]


class Log(NamedTuple):
    """What is exported. name: of the run; events: in their order; options: those of its configuration; status: as in
    run.json, '' where that is not told."""

    name: str
    events: Sequence[Event]
    options: Dict[str, Any]
    status: str


def read_log(save_dir: str) -> Log:
    """The Log of a run's directory. Raises UsageError where it has no log, or one without a figure."""
    record, found = read_record(save_dir), []
    for event in counted(read_events(save_dir)):
        values = {name: value for name, value in event.items() if name not in ('event', 'time_stamp')}
        time = event.get('time_stamp')
        numbers = scalars(str(event.get('event')), values)
        if numbers:
            found.append(Event(str(event.get('event')), step_of(values),
                               float(time) if isinstance(time, (int, float)) else 0.0, tuple(numbers)))
    if not found:
        raise UsageError(f'{os.path.join(save_dir, "log.jsonl")} has no figure: wait for the first log interval, or '
                         'give the SAVE_DIR of another run')
    options = record.get('config')
    return Log(os.path.basename(os.path.abspath(save_dir)), found, options if isinstance(options, dict) else {},
               str(record.get('status', '')))


# ---------------------------------------------------------------------------------------------------------------------
# The tools: each function takes a Log and where it goes, and returns that in words

def _new_folder(folder):
    """Make a directory that is to hold one export. Raises UsageError where it holds something."""
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder):
            raise UsageError(f'{folder} is not empty: give another --out, or remove it')
    except OSError as error:
        raise unwritable(folder, error, 'give another --out') from error


def to_tensorboard(log: Log, out: str) -> str:
    """TensorBoard's events in a directory; it keeps float32."""
    _new_folder(out)
    with tensorboard(out, '--to tensorboard') as board:
        for event in log.events:
            for name, value in event.numbers:
                board.add_scalar(name, value, event.step, walltime=event.time)
    return out


def to_csv(log: Log, out: str) -> str:
    """OUT/KIND.csv for each kind of event, such as batch.csv and epoch.csv: a row an event, with all digits."""
    _new_folder(out)
    for kind in dict.fromkeys(event.kind for event in log.events):
        events = [event for event in log.events if event.kind == kind]
        names = list(dict.fromkeys(name for event in events for name, _ in event.numbers))
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(['time_stamp'] + [name[len(kind) + 1:] for name in names])
        for event in events:
            numbers = dict(event.numbers)
            table.writerow([repr(event.time)] + [repr(numbers[name]) if name in numbers else '' for name in names])
        try:
            write_whole(os.path.join(out, f'{kind}.csv'), text.getvalue().encode())
        except OSError as error:
            raise unwritable(out, error, 'give another --out') from error
    return out


def to_mlflow(log: Log, out: str) -> str:
    """A run of MLflow at a tracking URI, in the experiment `gluon_tricks`, with the options as parameters."""
    try:
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise UsageError("--to mlflow needs the package mlflow: type `pip install '.[mlflow]'`") from error
    metrics = [Metric(name, value, round(1000 * event.time), event.step)
               for event in log.events for name, value in event.numbers]
    params = [Param(name, str(value)[:_LONGEST]) for name, value in log.options.items()]
    ended = {'finished': 'FINISHED', 'running': 'RUNNING', '': 'FINISHED'}.get(log.status, 'FAILED')
    try:
        client = MlflowClient(tracking_uri=out)
        experiment = client.get_experiment_by_name('gluon_tricks')
        run = client.create_run(experiment.experiment_id if experiment else client.create_experiment('gluon_tricks'),
                                start_time=metrics[0].timestamp, run_name=log.name).info.run_id
        for first in range(0, len(metrics), _AT_ONCE[0]):
            client.log_batch(run, metrics=metrics[first:first + _AT_ONCE[0]])
        for first in range(0, len(params), _AT_ONCE[1]):
            client.log_batch(run, params=params[first:first + _AT_ONCE[1]])
        client.set_terminated(run, ended, metrics[-1].timestamp)
    except MlflowException as error:
        raise UsageError(f'--out {out} is not a place that MLflow can write ({str(error).splitlines()[0]:.300}): give '
                         'a tracking URI, such as sqlite:///mlflow.db') from error
    return f'{out}, experiment gluon_tricks, run {run}'


def to_trackio(log: Log, out: str) -> str:
    """A run of Trackio's project `gluon_tricks` in a directory; it has the time of the export, log.jsonl's beside."""
    if out:
        os.environ['TRACKIO_DIR'] = os.path.abspath(out)  # it is read at the import
    try:
        import trackio
    except ImportError as error:
        raise UsageError("--to trackio needs the package trackio (Python 3.10 or later): type "
                         "`pip install '.[trackio]'`") from error
    run = trackio.init('gluon_tricks', name=log.name, config=dict(log.options), embed=False, auto_log_gpu=False,
                       auto_log_cpu=False)
    for event in log.events:
        run.log(dict(event.numbers, **{f'{event.kind}/time_stamp': event.time}), step=event.step)
    trackio.finish()
    return f'project gluon_tricks, run {log.name}'


class Tool(NamedTuple):
    """A tool that takes logs. write(Log, out) returns where it is; place(SAVE_DIR): `out` where none is given;
    look(out): the command that shows it, None where the files are enough."""

    write: Callable[[Log, str], str]
    place: Callable[[str], str]
    look: Callable[[str], Optional[str]]


def _inside(name):
    return lambda save_dir: os.path.join(save_dir, 'exported', name)


TOOLS: Dict[str, Tool] = {
    'tensorboard': Tool(to_tensorboard, _inside('tensorboard'), lambda out: f'tensorboard --logdir {out}'),
    'csv': Tool(to_csv, _inside('csv'), lambda out: None),
    'mlflow': Tool(to_mlflow, lambda save_dir: os.environ.get('MLFLOW_TRACKING_URI') or 'sqlite:///mlflow.db',
                   lambda out: f'mlflow ui --backend-store-uri {out}'),
    'trackio': Tool(to_trackio, lambda save_dir: '', lambda out: 'trackio show --project gluon_tricks')}
