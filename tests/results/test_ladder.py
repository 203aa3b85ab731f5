"""The runs that a table needs, and which of them are finished."""
import dataclasses
import os
from pathlib import Path

import pytest

from gluon_tricks.config.recipes import get
from gluon_tricks.config.scales import DEMO, FULL, Scale, rows_of_table
from gluon_tricks.errors import UsageError
from gluon_tricks.results.ladder import finished, runs_of
from support import finished as made


def names(runs):
    return [(run.name, run.config.seed) for run in runs]


def test_table_6_at_demo_scale(tmp_path):
    runs = runs_of(rows_of_table('6'), DEMO, 3, str(tmp_path))
    assert names(runs)[:2] == [('teacher/resnet152_v1d', 0), ('teacher/resnet152_v1d_mixup', 0)]
    assert len(runs) == 2 + 6 * 3 and [seed for _, seed in names(runs)[2:]] == [0] * 6 + [1] * 6 + [2] * 6
    assert len({run.config.save_dir for run in runs}) == len(runs)
    last = runs[-1]
    assert last.rows == ('table6/resnet50_v1d/distill_mixup',) and last.teacher == runs[1].config.save_dir
    assert last.config.teacher_params == os.path.join(os.path.abspath(runs[1].config.save_dir), 'best', 'net.params')
    assert all(run.config.num_gpus == 0 and run.config.data_dir != get('demo').config.data_dir for run in runs)


def test_rows_that_are_one_training_are_one_run(tmp_path):
    runs = runs_of(rows_of_table('5'), DEMO, 2, str(tmp_path))
    assert len(runs) == 3 * 2 and runs[0].rows == ('table5/resnet50_v1', 'table5/resnet50_v1b')
    others = runs_of(rows_of_table('4'), DEMO, 2, str(tmp_path))
    assert {run.config for run in runs} & {run.config for run in others} == {runs[0].config, runs[3].config}
    folder = os.path.join(str(tmp_path), 'table3-efficient-resnet50_v1-seed1')
    assert runs[3].config.save_dir == folder


def test_the_total_batch_size_is_shared_by_the_gpus(tmp_path):
    (run,) = runs_of([get('table5/resnet50_v1')], FULL, 1, str(tmp_path), 4)
    assert (run.config.num_gpus, run.config.batch_size) == (4, 256)
    (run,) = runs_of([get('table5/resnet50_v1')], FULL, 1, str(tmp_path), 0)
    assert (run.config.num_gpus, run.config.batch_size) == (0, 1024)
    with pytest.raises(UsageError, match='1024 images of an update cannot be shared by 3 GPUs'):
        runs_of([get('table5/resnet50_v1')], FULL, 1, str(tmp_path), 3)


def test_a_run_s_command_resumes(tmp_path):
    (run,) = runs_of([get('table5/resnet50_v1')], DEMO, 1, str(tmp_path))
    job = run.job(3)
    words = list(job.words)
    assert words[1:4] == ['-m', 'gluon_tricks', 'train'] and words[words.index('--resume') + 1] == 'auto'
    assert words[words.index('--num-data-workers') + 1] == '3' and job.folder == run.config.save_dir


def finish(run, **changes):
    made.finished(Path(run.config.save_dir), run.config.replace(**changes), {'top1': 97.0, 'top5': 99.0},
                  images=(200, 1597))


@pytest.mark.parametrize('scale', [DEMO, dataclasses.replace(DEMO, epochs=6), Scale('folder', 30, 512, classes=10)],
                         ids=['demo', 'short', 'folder'])
def test_a_finished_run_is_known(tmp_path, scale):
    for run in runs_of([get('table6/resnet50_v1d/distill_mixup'), get('table5/resnet50_v1b')], scale, 1, str(tmp_path)):
        assert finished(run) is None
        finish(run)
        assert finished(run).last['top1'] == 97.0


@pytest.mark.parametrize('changes', [dict(seed=1), dict(label_smoothing=True), dict(num_epochs=41)])
def test_another_run_in_its_place_is_refused(tmp_path, changes):
    (run,) = runs_of([get('table5/resnet50_v1')], DEMO, 1, str(tmp_path))
    finish(run, **changes)
    with pytest.raises(UsageError, match='holds another run than table3/efficient/resnet50_v1, seed 0 at this scale'):
        finished(run)


def test_a_run_that_is_not_finished_is_not(tmp_path):
    (run,) = runs_of([get('table5/resnet50_v1')], DEMO, 1, str(tmp_path))
    finish(run)
    path = Path(run.config.save_dir) / 'run.json'
    path.write_text(path.read_text().replace('"finished"', '"interrupted"'))
    assert finished(run) is None
