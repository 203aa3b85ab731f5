import json
import re

import pytest

from gluon_tricks.commands.console import console
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.errors import UsageError
from gluon_tricks.training.run_log import Record, Silence, write_json


def test_everything_is_in_save_dir(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = Record(TrainConfig(save_dir='run'))
    with console():
        record.line('a line')
    record.event('batch', update=3, loss=float('nan'))
    record.finish('finished', result={'top1': 1.0})
    record.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['run']
    assert sorted(path.name for path in (tmp_path / 'run').iterdir()) == ['log.jsonl', 'run.json', 'train_imagenet.log']
    assert (tmp_path / 'run' / 'train_imagenet.log').read_text() == 'a line\n'
    assert capsys.readouterr().out == 'a line\n'
    event = json.loads((tmp_path / 'run' / 'log.jsonl').read_text())
    assert event['event'] == 'batch' and event['update'] == 3 and event['loss'] == 'nan'
    run = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert run['status'] == 'finished' and run['result'] == {'top1': 1.0}
    assert run['environment']['mxnet'] and run['command'] == 'python train_imagenet.py --save-dir run'
    assert re.match(r'\d{4}-\d\d-\d\dT', run['ended'])


def test_a_second_run_appends(tmp_path):
    for text in ('first', 'second'):
        record = Record(TrainConfig(save_dir=str(tmp_path)))
        record.line(text)
        record.close()
    assert (tmp_path / 'train_imagenet.log').read_text() == 'first\nsecond\n'


def test_a_save_dir_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='--save-dir'):
        Record(TrainConfig(save_dir=str(tmp_path / 'file' / 'run')))


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / 'a.json'
    write_json(str(path), {'a': 1})
    with pytest.raises(TypeError):
        write_json(str(path), {'a': object()})
    assert json.loads(path.read_text()) == {'a': 1}


def test_other_workers_write_nothing(tmp_path):
    record = Silence(TrainConfig(save_dir=str(tmp_path / 'run')))
    record.line('text')
    record.event('epoch', epoch=0)
    record.begin_run(10, 0)
    record.finish('finished', result={})
    record.close()
    assert record.last_checkpoint is None and not (tmp_path / 'run').exists()


def test_tensorboard(tmp_path):
    pytest.importorskip('tensorboardX', reason='the extra "tensorboard" is not installed')
    record = Record(TrainConfig(save_dir=str(tmp_path), tensorboard=True))
    record.event('epoch', epoch=0, validation={'top1': 50.0})
    record.close()
    assert list((tmp_path / 'tensorboard').glob('events*'))


def test_a_line_that_was_cut_short_ends_where_it_was_cut(tmp_path):
    """As after a full disk: the next event has a line of its own, and so has the next line of the log."""
    config = TrainConfig(save_dir=str(tmp_path))
    (tmp_path / 'log.jsonl').write_text('{"event": "one"}\n{"event": "tw')
    (tmp_path / config.logging_file).write_bytes(b'one\ntw\xc3')
    for _ in range(2):
        record = Record(config)
        record.event('three')
        record.line('three')
        record.close()
    lines = (tmp_path / 'log.jsonl').read_text().splitlines()
    assert lines[:2] == ['{"event": "one"}', '{"event": "tw'] and len(lines) == 4
    assert [json.loads(line)['event'] for line in lines[2:]] == ['three', 'three']
    assert (tmp_path / config.logging_file).read_bytes() == b'one\ntw\xc3\nthree\nthree\n'
