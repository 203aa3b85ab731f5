"""What a table costs and shows, against figures that were worked out by other means."""
import math

import numpy as np
import pytest
from scipy import stats

from gluon_tricks.config.recipes import get
from gluon_tricks.config.scales import DEMO, FULL, rows_of_table
from gluon_tricks.results import plan as planning
from gluon_tricks.results.ladder import runs_of
from gluon_tricks.results.plan import Plan, given_speed, measured_speed, paper_speed, power, steps_between
from gluon_tricks.results.records import records
from gluon_tricks.results.verdict import seeds_needed
from support.finished import finished


def plan(table, scale=FULL, seeds=1, out='nowhere', **options):
    rows = rows_of_table(table)
    return Plan(rows, scale, seeds, runs_of(rows, scale, seeds, str(out), 8), **options)


# Of each row against the one printed above it: the seeds for 5 %, two-sided, 80 %, sigma 0.10.
NEEDED = {'table4/bs256': [7, 7, 175, 1570], 'table4/bs1024': [1, 1, 2, 5], 'table5': [1, 4, 2],
          'table6/resnet50_v1d': [1, 1, 2, 1, 9], 'table6/inceptionv3': [1, 4, 9, 1, 1],
          'table6/mobilenet1.0': [1, 16, 1, 1, 1]}


@pytest.mark.parametrize('column', list(NEEDED))
def test_the_seeds_that_a_row_needs(column):
    names = [row.name for row in rows_of_table(column[len('table')]) if row.name.startswith(column + '/')]
    steps = {(step['row'], step['than']): step for step in plan(column[len('table')]).steps()}
    assert [steps[pair]['seeds'] for pair in zip(names[1:], names)] == NEEDED[column]


def test_mixup_is_told_against_the_row_that_it_changes_too():
    steps = {(step.row, step.than): step.points for step in steps_between(rows_of_table('6'))}
    mixup = 'table6/resnet50_v1d/mixup'
    assert steps[mixup, 'table6/resnet50_v1d/distill'] == 0.48
    assert steps[mixup, 'table6/resnet50_v1d/label_smoothing'] == 0.84
    assert [step.than for step in steps_between(rows_of_table('slides'))] == ['slides/baseline'] * 3
    assert not steps_between(rows_of_table('2'))


def test_power_by_simulation():
    rng = np.random.RandomState(0)
    for points, seeds in ((0.1, 3), (0.16, 7), (-0.2, 2), (0.0, 4)):
        a, b = (rng.normal(mean, 0.1, (40000, seeds)).mean(axis=1) for mean in (points, 0))
        found = np.mean(2 * stats.norm.sf(np.abs(a - b) / (0.1 * math.sqrt(2 / seeds))) < 0.05)
        assert power(points, seeds) == pytest.approx(found, abs=0.01)


def test_enough_seeds_have_the_power():
    for points in (0.05, 0.11, 0.2, 0.4, 1.0):
        seeds = seeds_needed(points, math.sqrt(2) * 0.1, exact=False)
        assert power(points, seeds) >= 0.8 and (seeds == 1 or power(points, seeds - 1) < 0.8)


def test_what_the_seeds_see():
    found = {seeds: [step['seen'] for step in plan('4', seeds=seeds).steps()] for seeds in (1, 5)}
    assert found == {1: [False] * 4 + [True, True, False, False], 5: [False] * 4 + [True] * 4}
    assert not plan('4', DEMO).steps()  # the paper's steps are ImageNet's


def test_the_paper_s_hours():
    """13.3 minutes an epoch on 8 GPUs, 120 epochs; 4.4 in float16."""
    found = plan('4', speed=paper_speed())
    hours = {run.name: found.cost(run) for run in found.runs}
    assert hours['table2/resnet50_v1'].gpu_hours == pytest.approx(120 * 13.3 / 60 * 8) and hours['table2/resnet50_v1'].known
    assert hours['table3/efficient/resnet50_v1'].gpu_hours == pytest.approx(120 * 4.4 / 60 * 8)
    assert [run.name for run in found.runs].count('table3/efficient/resnet50_v1') == 1 and len(found.runs) == 10


def test_another_network_by_its_multiply_adds():
    """ResNet-50-D: 4.329 G for 3.858 G; a student runs its teacher forward, a third of a training of that."""
    found = plan('6', speed=paper_speed())
    cost = {run.name: found.cost(run) for run in found.runs}
    plain = 120 * 4.4 / 60 * 8 * 4.329 / 3.858
    assert cost['table6/resnet50_v1d/cosine'].gpu_hours == pytest.approx(plain, rel=1e-3)
    assert not cost['table6/resnet50_v1d/cosine'].known and cost['table6/inceptionv3/cosine'].known
    student = cost['table6/resnet50_v1d/distill'].gpu_hours
    teacher = cost['teacher/resnet152_v1d'].gpu_hours / 13.3 * 4.4  # in float32
    assert student == pytest.approx(plain + teacher / 3, rel=1e-3)
    assert cost['table6/resnet50_v1d/mixup'].gpu_hours == pytest.approx(plain * 200 / 120, rel=1e-3)


def test_a_speed_that_is_given():
    found = plan('5', speed=given_speed(1000, 4, get('table5/resnet50_v1')))
    cost = found.cost(found.runs[0])
    assert cost.known and cost.gpu_hours == pytest.approx(1281167 * 120 / 1000 / 3600 * 4)


def test_a_speed_that_was_measured(tmp_path):
    paths = [finished(tmp_path / str(seed), get('table2/resnet50_v1').config.replace(seed=seed), {'top1': 75.0, 'top5': 92.0})
             for seed in range(2)]
    speed = measured_speed(records(paths)[0])  # 100 images/s on 8 GPUs
    assert speed.known == {('resnet50_v1', 'float32'): 100 / 8}
    assert measured_speed([]) is None


def test_disk(tmp_path):
    """Checkpoints as they are written: ResNet-50's 25.6 M parameters, momentum, and float16's masters."""
    found = plan('4')
    cost = {run.name: found.cost(run) for run in found.runs}
    assert cost['table2/resnet50_v1'].checkpoints == pytest.approx(3 * 2 * 4 * 25.58e6, rel=1e-3)
    assert cost['table3/efficient/resnet50_v1'].checkpoints == pytest.approx(3 * 3 * 4 * 25.58e6, rel=1e-3)
    assert cost['table2/resnet50_v1'].weights == pytest.approx(4 * 25.58e6, rel=1e-3)
    assert planning.GPUS == get('table2/resnet50_v1').config.num_gpus


def test_what_is_finished_and_what_has_no_place(tmp_path):
    first = plan('6', DEMO, 2, tmp_path)
    assert len(first.runs) == 14 and not first.done and first.seconds is None
    assert len(first.left_out) == 12 and all('resnet50' not in name for name in first.left_out)
    run = first.runs[3]
    finished(tmp_path / run.config.save_dir.rpartition('/')[2], run.config, {'top1': 97.0, 'top5': 99.0}, seconds=0.5)
    again = plan('6', DEMO, 2, tmp_path)
    assert list(again.done) == [run.config.save_dir] and again.seconds == pytest.approx(0.5)
    assert 'table6/resnet50_v1d/efficient' in again.shared(again.runs[2])
