import json
import math

import numpy as np
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.training import history
from support.runs import history as kept_events
from support.runs import train


def epoch(number, **figures):
    return dict({'event': 'epoch', 'epoch': number, 'lr': 0.1}, **figures)


def batch(number, update, **figures):
    return dict({'event': 'batch', 'epoch': number, 'batch': update % 10, 'update': update, 'lr': 0.1}, **figures)


def test_columns_of_the_epochs():
    found = history.epochs([
        epoch(0, speed=9.5, train={'loss': 2.5}, validation={'top1': 30, 'ap': {'dog': 1}, 'gap_histogram': [1]}),
        epoch(1, train={'loss': 'nan'}, validation={}, skipped=True)])
    assert list(found) == ['epoch', 'lr', 'speed', 'train_loss', 'val_top1']
    assert found['epoch'].dtype == 'int64' and found['epoch'].tolist() == [0, 1]
    np.testing.assert_array_equal(found['val_top1'], [30, math.nan])
    np.testing.assert_array_equal(found['train_loss'], [2.5, math.nan])
    np.testing.assert_array_equal(found['speed'], [9.5, math.nan])


def test_an_epoch_that_is_trained_again_counts_once_and_what_followed_it_no_more():
    events = [epoch(number, lr=number) for number in range(5)]
    assert history.epochs(events + [epoch(2, lr=20.0)])['lr'].tolist() == [0, 1, 20]
    assert history.epochs(events + [batch(3, 31)])['epoch'].tolist() == [0, 1, 2]  # an epoch was begun again
    events = [batch(0, update, loss=update) for update in (2, 4, 6, 8)]
    assert history.updates(events + [batch(0, 5, loss=50)])['loss'].tolist() == [2, 4, 50]


@pytest.mark.parametrize('event', [{}, {'event': 'rewind', 'epoch': 0}, epoch('3'), epoch(-1), epoch(None), epoch(True), epoch(10 ** 30), epoch(9.0),
                                   {'event': 'batch', 'epoch': 9}, dict(batch(9, 5), update='x')])
def test_an_event_without_its_place_is_passed_over(event):
    assert history.epochs([epoch(0)] + [event])['epoch'].tolist() == [0]
    assert history.updates([batch(0, 1)] + [event])['update'].tolist() == [1]


def test_no_events_give_empty_columns():
    assert history.epochs([])['epoch'].shape == (0,) and history.updates([])['update'].shape == (0,)


def test_a_run_s_own_log_is_read_as_it_was_written(tmp_path):
    train(tmp_path)
    found, events = history.read_history(str(tmp_path), 'one'), kept_events(tmp_path)
    epochs = [event for (kind, _), event in events.items() if kind == 'epoch']
    updates = [event for (kind, _), event in events.items() if kind == 'batch']
    assert found.epochs['val_nearness'].tolist() == [event['validation']['nearness'] for event in epochs]
    assert found.updates['update'].tolist() == [event['update'] for event in updates]
    assert found.updates['loss'].tolist() == [event['loss'] for event in updates]


def test_what_was_torn_is_left_out(tmp_path):
    lines = [json.dumps(epoch(0)).encode(), b'{"event": "epoch", "epo', b'3', b'[]', b'\xff\xfe', b'[' * 100000,
             json.dumps(epoch(1)).encode()]
    (tmp_path / 'log.jsonl').write_bytes(b'\n'.join(lines))
    assert [event['epoch'] for event in history.read_events(str(tmp_path))] == [0, 1]
    assert history.read_history(str(tmp_path), 'one').epochs['epoch'].tolist() == [0, 1]


def test_no_log_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match='log.jsonl cannot be read .*: give the SAVE_DIR of a run'):
        history.read_events(str(tmp_path))
    (tmp_path / 'log.jsonl').mkdir()
    with pytest.raises(UsageError, match='log.jsonl cannot be read'):
        history.read_events(str(tmp_path))


@pytest.mark.parametrize('content, expected', [(b'{"status": "running"}', {'status': 'running'}), (b'{"sta', {}), (b'3', {}),
                                               (b'\xff', {}), (b'[' * 100000, {}), (None, {})])
def test_the_record_of_a_run(tmp_path, content, expected):
    if content is not None:
        (tmp_path / 'run.json').write_bytes(content)
    assert history.read_record(str(tmp_path)) == expected


def test_numbers_that_no_column_holds_are_left_out():
    found = history.epochs([epoch(0, speed=10 ** 400, wait=0.5, time='inf', note='text', lr=None)])
    assert {name: column.tolist() for name, column in found.items()} == {'epoch': [0], 'wait': [0.5], 'time': [math.inf]}
