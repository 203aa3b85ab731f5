"""Which runs and logs are drawn, and which are left out."""
import json
import re

import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.results import histories
from gluon_tricks.results.histories import mixed, need, of_one_kind, read_classifiers, read_histories, read_logs
from support.finished import finished

MIXUP = 'table6/resnet50_v1d/mixup'
TOP = {'top1': 79.0, 'top5': 94.0}


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / 'run', MIXUP, TOP)


def test_a_finished_run(run):
    (history,), left_out = read_histories([run])
    assert not left_out and history.name == 'run' and history.epochs['val_top1'][-1] == 79.0
    ((record, same),), left_out = read_classifiers([run])
    assert not left_out and record.path == run and same.epochs['val_top1'].tolist() == history.epochs['val_top1'].tolist()


def test_what_is_no_finished_run_is_named_and_left_out(run, tmp_path):
    half = finished(tmp_path / 'half', MIXUP, TOP, status='running')
    damaged = finished(tmp_path / 'damaged', MIXUP, TOP)
    (tmp_path / 'damaged' / 'run.json').write_text('{"status": "fini')
    no_log = finished(tmp_path / 'no_log', MIXUP, TOP)
    (tmp_path / 'no_log' / 'log.jsonl').unlink()
    (tmp_path / 'foreign').mkdir()
    bad = [half, damaged, no_log, str(tmp_path / 'foreign'), str(tmp_path / 'none')]
    for read in (read_histories, read_classifiers):
        found, left_out = read([bad[0], run] + bad[1:])
        assert len(found) == 1 and [path for path, _ in left_out] == bad
        assert all(reason and '\n' not in reason for _, reason in left_out)
    assert histories.told(left_out)[0] == f'left out: {half}: {left_out[0][1]}' and 'running' in left_out[0][1]


@pytest.mark.parametrize('status', ['running', 'stopped', 'diverged'])
def test_an_unfinished_run_counts_on_request_as_far_as_it_is(run, tmp_path, status):
    half = finished(tmp_path / 'half', MIXUP, {'top1': 78.0, 'top5': 94.0}, status=status)
    log = tmp_path / 'half' / 'log.jsonl'
    log.write_text(''.join(log.read_text().splitlines(keepends=True)[:50]) + '{"torn')
    found, left_out = read_histories([half, run], unfinished=True)
    assert not left_out and [history.name for history in found] == ['half (unfinished)', 'run']
    assert len(found[0].epochs['epoch']) == 50
    damaged = finished(tmp_path / 'damaged', MIXUP, TOP)
    (tmp_path / 'damaged' / 'epoch-0199' / 'manifest.json').write_text('{')
    found, left_out = read_histories([damaged, str(tmp_path)], unfinished=True)
    assert not found and len(left_out) == 2


def test_a_run_that_was_given_twice_counts_once(run):
    assert [len(part) for part in read_histories([run, run])] == [1, 0]


def test_of_another_task(run, tmp_path):
    other = finished(tmp_path / 'other', 'table9/mixup', {'pix_acc': 0.78, 'miou': 0.38})
    found, left_out = read_classifiers([run, other])
    assert len(found) == 1 and left_out == [(other, 'it is a run of segmentation, and this is of classifiers')]
    both, _ = read_histories([run, other])
    kept, left_out = of_one_kind(both)
    assert [history.name for history in kept] == ['run']
    assert left_out == [('other', 'it has no top-1, by which run is judged')]
    assert of_one_kind([]) == ([], [])


def test_logs(tmp_path):
    (tmp_path / 'a.log').write_text('[Epoch 0] validation: err-top1=0.500000 err-top5=0.100000\n')
    (tmp_path / 'b.log').write_text('[Epoch 0] Training cost: 1.0, x=1\n[Epoch 0] Validation: \nmAP=0.5\n')
    (tmp_path / 'c.log').write_text('no log')
    paths = [str(tmp_path / name) for name in ('a.log', 'b.log', 'c.log', 'none')]
    found, left_out = read_logs(paths)
    assert [log.name for log in found] == ['a', 'b'] and [path for path, _ in left_out] == paths[2:]
    found, left_out = read_logs(paths, 'classification')
    assert [log.name for log in found] == ['a']
    assert left_out[0] == (paths[1], 'it is a log of detection, and this is of classification')


def test_figures_of_other_data_are_not_comparable(run, tmp_path):
    other = finished(tmp_path / 'other', MIXUP, {'top1': 98.0, 'top5': 100.0}, images=(1433, 364), data='cd' * 32)
    again = finished(tmp_path / 'again', MIXUP, {'top1': 97.0, 'top5': 100.0}, images=(1433, 364), data='cd' * 32)
    (first, *rest), _ = read_histories([run, other, again])
    assert mixed(rest) == [] and mixed([first]) == []
    (line,) = mixed([first] + rest)
    assert re.fullmatch(r'not comparable, for they are of different data: run \(.+\), other \(data cdcdcdcdcdcd\), '
                        r'again \(data cdcdcdcdcdcd\)', line)
    unknown = finished(tmp_path / 'unknown', MIXUP, TOP, data=None)
    assert read_histories([unknown])[0][0].data in ('', 'ImageNet')


def test_too_few_are_one_sentence():
    need([1], [], 'it takes runs')
    with pytest.raises(UsageError, match='^it takes runs, and none can be used; x is left out: no run$'):
        need([], [('x', 'no run'), ('y', 'no run')], 'it takes runs')
    with pytest.raises(UsageError, match='^it takes two, and 1 can be used$'):
        need([1], [], 'it takes two', 2)


def test_the_files_of_a_finished_run_are_not_changed(run, tmp_path):
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob('*')) if path.is_file()}
    read_histories([run], unfinished=True)
    assert before == {path: path.read_bytes() for path in sorted(tmp_path.rglob('*')) if path.is_file()}
    assert json.loads((tmp_path / 'run' / 'run.json').read_text())['status'] == 'finished'
