"""Every figure of log.jsonl that counts is found by the reader of each tool."""
import csv
import json
import math

import numpy as np
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.results import export_log
from gluon_tricks.training.history import step_of

# Real events in their shapes: an epoch of a classifier and of a detector, numbers that are not finite, a rewind, and an
# interval that was trained again after a resume.
EVENTS = [
    {'event': 'batch', 'epoch': 0, 'batch': 2, 'update': 2, 'lr': 0.05, 'speed': 99.5, 'loss': 2.25, 'time_stamp': 1.5e9},
    {'event': 'batch', 'epoch': 0, 'batch': 4, 'update': 4, 'lr': 0.1, 'loss': 'nan', 'skipped': 3, 'time_stamp': 1.5e9 + 1},
    {'event': 'rewind', 'reason': 'loss', 'checkpoint': 'x', 'rewinds': 1, 'time_stamp': 1.5e9 + 2},
    {'event': 'batch', 'epoch': 0, 'batch': 4, 'update': 4, 'lr': 0.1 / 3, 'loss': 1 / 3, 'time_stamp': 1.5e9 + 3.25},
    {'event': 'epoch', 'epoch': 0, 'lr': 1e-8, 'train': {'loss': 1.7}, 'time_stamp': 1.5e9 + 4,
     'validation': {'top1': 97.1234567890123, 'ap': {'dog': 50.5}, 'gap_histogram': [1, 2], 'gap_mean': 'inf'}},
    {'event': 'epoch', 'epoch': 1, 'lr': 0.0, 'train': {'loss': 1.5}, 'validation': {}, 'time_stamp': 1.5e9 + 5}]


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'log.jsonl').write_text(''.join(json.dumps(event) + '\n' for event in EVENTS))
    (tmp_path / 'run' / 'run.json').write_text(json.dumps({
        'config': {'lr': 0.1, 'model': 'resnet10_v1d_demo', 'long': 'x' * 9000}, 'status': 'finished'}))
    return tmp_path / 'run'


def figures(save_dir):
    """{(name, step): (number, seconds)} of the lines of a log that count, read here without the project's reader."""
    found = {}

    def add(prefix, values, step, seconds):
        for name, value in values.items():
            if isinstance(value, dict):
                add(f'{prefix}/{name}', value, step, seconds)
            elif value in ('nan', 'inf', '-inf') or isinstance(value, (int, float)):
                found[f'{prefix}/{name}', step] = float(value), seconds
    lines = [json.loads(line) for line in (save_dir / 'log.jsonl').read_text().splitlines()]
    places = [(event['event'], event.get('update', event.get('epoch', 0))) for event in lines]
    for number, event in enumerate(lines):
        if places[number] not in places[number + 1:]:
            kind, seconds = event.pop('event'), event.pop('time_stamp')
            add(kind, event, places[number][1], seconds)
    return found


def check(found, save_dir, same=lambda ours, theirs: ours == theirs or math.isnan(ours) and math.isnan(theirs)):
    """That a reader has found the figures, {(name, step): number}, and no others."""
    wanted = figures(save_dir)
    assert set(found) == set(wanted) and len(wanted) > 20
    assert not [key for key, (number, _) in wanted.items() if not same(number, found[key])]


def float32(ours, theirs):
    return np.float32(ours) == theirs or math.isnan(ours) and math.isnan(theirs)


def test_csv_by_python_s_own_reader(run, tmp_path):
    out = tmp_path / 'csv'
    assert export_log.to_csv(export_log.read_log(str(run)), str(out)) == str(out)
    found = {}
    for path in out.iterdir():
        with open(path, newline='') as stream:
            for row in csv.DictReader(stream):
                values = {name: float(text) for name, text in row.items() if text}
                step = step_of({name: int(value) for name, value in values.items() if name in ('update', 'epoch')})
                seconds = values.pop('time_stamp')
                for name, value in values.items():
                    key = f'{path.stem}/{name}', step
                    found[key] = value
                    assert figures(run)[key][1] == seconds
    check(found, run)


def test_tensorboard_by_its_own_reader(run, tmp_path):
    pytest.importorskip('tensorboardX', reason='the extra "tensorboard" is not installed')
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator', reason='no tensorboard')
    out = tmp_path / 'board'
    export_log.to_tensorboard(export_log.read_log(str(run)), str(out))
    board = reader.EventAccumulator(str(out), size_guidance={reader.SCALARS: 0})
    board.Reload()
    events = {(name, event.step): event for name in board.Tags()['scalars'] for event in board.Scalars(name)}
    check({key: event.value for key, event in events.items()}, run, float32)
    assert all(events[key].wall_time == seconds for key, (_, seconds) in figures(run).items())


def test_mlflow_by_its_own_client(run, tmp_path):
    mlflow = pytest.importorskip('mlflow', reason='the extra "mlflow" is not installed')
    pytest.importorskip('sqlalchemy', reason='the extra "mlflow" is not installed')
    place = f'sqlite:///{tmp_path}/mlflow.db'
    for _ in range(2):  # two runs of one experiment
        export_log.to_mlflow(export_log.read_log(str(run)), place)
    client = mlflow.tracking.MlflowClient(tracking_uri=place)
    runs = client.search_runs([client.get_experiment_by_name('gluon_tricks').experiment_id])
    assert [each.info.status for each in runs] == ['FINISHED'] * 2 and runs[0].data.tags['mlflow.runName'] == 'run'
    assert runs[0].data.params == {'lr': '0.1', 'model': 'resnet10_v1d_demo', 'long': 'x' * 500}
    found = {(name, metric.step): metric for name in runs[0].data.metrics
             for metric in client.get_metric_history(runs[0].info.run_id, name)}
    # In a database MLflow keeps an infinite number as the largest one.
    check({key: metric.value for key, metric in found.items()}, run,
          lambda ours, theirs: ours == theirs or math.isnan(ours) and math.isnan(theirs)
          or math.isinf(ours) and theirs == 1.7976931348623157e308)
    assert all(found[key].timestamp == round(1000 * seconds) for key, (_, seconds) in figures(run).items())


def test_trackio_by_its_own_reader(run, tmp_path, monkeypatch):
    pytest.importorskip('trackio', reason='the extra "trackio" is not installed')
    import trackio
    from trackio.sqlite_storage import SQLiteStorage
    monkeypatch.setenv('TRACKIO_DIR', str(tmp_path / 'trackio'))
    monkeypatch.setattr(trackio, 'TRACKIO_DIR', tmp_path / 'trackio')
    export_log.to_trackio(export_log.read_log(str(run)), '')
    rows = SQLiteStorage.get_logs('gluon_tricks', 'run')
    found = {(name, row['step']): value for row in rows for name, value in row.items()
             if '/' in name and not name.endswith('/time_stamp')}
    check({key: float(value) for key, value in found.items()}, run)


@pytest.mark.parametrize('tool', ['tensorboard', 'csv'])
def test_a_directory_that_holds_something_is_left_alone(run, tool):
    pytest.importorskip('tensorboardX', reason='the extra "tensorboard" is not installed')
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(UsageError, match='is not empty'):
        export_log.TOOLS[tool].write(export_log.read_log(str(run)), str(run))
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.mark.parametrize('tool, package', [('tensorboard', 'tensorboardX'), ('mlflow', 'mlflow'), ('trackio', 'trackio')])
def test_without_the_package_one_sentence_names_the_extra(run, tmp_path, tool, package, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, package, None)
    monkeypatch.setitem(__import__('sys').modules, package + '.entities', None)
    with pytest.raises(UsageError, match=f"pip install '\\.\\[{tool}\\]'"):
        export_log.TOOLS[tool].write(export_log.read_log(str(run)), str(tmp_path / 'new'))


def test_a_run_without_a_figure_is_one_sentence(tmp_path):
    (tmp_path / 'log.jsonl').write_text('{"event": "rewind", "reason": "x"}\n')
    with pytest.raises(UsageError, match='has no figure'):
        export_log.read_log(str(tmp_path))


def test_mlflow_that_cannot_write_is_one_sentence(run):
    pytest.importorskip('mlflow', reason='the extra "mlflow" is not installed')
    with pytest.raises(UsageError, match='is not a place that MLflow can write'):
        export_log.to_mlflow(export_log.read_log(str(run)), 'nowhere://x')
