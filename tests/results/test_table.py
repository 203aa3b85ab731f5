"""What stands in a table's cells, of which runs, and what they say about the steps between rows."""
import math

import numpy as np
import pytest

import gluon_tricks as gt
from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.config.recipes_transfer import RECIPES as TRANSFER
from gluon_tricks.data.prepare import voc
from gluon_tricks.models import published
from support.finished import finished
from support.tables import imagenet_table, row_of, runs_of

MIXUP, SMOOTHING, COSINE = (f'table6/resnet50_v1d/{name}' for name in ('mixup', 'label_smoothing', 'cosine'))


def test_published_figures_stand_beside_the_row_whose_run_they_are_of():
    cell = row_of(gt.table(6), MIXUP).cells
    assert (cell['top1'].zoo, cell['top1'].log_last, cell['top1'].log_best, cell['top1'].timm) == (
        79.15, 79.08, 79.09, 79.080)
    assert (cell['top5'].zoo, cell['top5'].log_last, cell['top5'].log_best, cell['top5'].timm) == (
        94.58, 94.55, 94.60, 94.458)
    assert row_of(gt.table(6), COSINE).cells['top1'].zoo is None


def test_each_published_network_of_a_row_is_in_its_table():
    """By the table of published networks, which goes from the network to its rows."""
    for network in published.table():
        for name in network.rows:
            number = name.split('/')[0][len('table'):]
            if name.startswith('table'):
                cells = row_of(gt.table(number), name).cells
                assert (cells['top1'].zoo, cells['top5'].zoo) == network.zoo
                assert (cells['top1'].timm, cells['top5'].timm) == network.timm


def test_n_mean_deviation_and_the_best_beside(tmp_path):
    values = [79.0, 79.1, 79.25]
    row = row_of(imagenet_table(6, runs_of(tmp_path, MIXUP, values)), MIXUP)
    cell = row.cells['top1']
    assert (cell.n, cell.mean, cell.sd) == (3, pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert cell.best == pytest.approx(np.mean(values) + 0.05) and cell.values == tuple(enumerate(values))
    assert cell.verdict.word == 'undecided' and row.comparable and len(row.runs) == 3
    assert row_of(imagenet_table(6, []), MIXUP).cells['top1'].mean is None


@pytest.mark.parametrize('values, word', [
    ([79.14, 79.16, 79.15], 'agrees'), ([78.5, 78.52, 78.51], 'below'), ([79.9, 79.92, 79.91], 'above (check the data)'),
    ([78.9, 79.4, 79.1], 'undecided'), ([79.1], 'agrees'), ([78.8], 'below'), ([79.5], 'above (check the data)'),
    ([], 'not run')])
def test_words(tmp_path, values, word):
    assert row_of(imagenet_table(6, runs_of(tmp_path, MIXUP, values)), MIXUP).cells['top1'].verdict.word == word


def test_one_run_has_no_verdict_but_on_imagenet_s_top_1(tmp_path):
    cells = row_of(imagenet_table(6, runs_of(tmp_path, MIXUP, [79.1])), MIXUP).cells
    assert cells['top5'].verdict.word == 'undecided' and 'one run' in cells['top5'].verdict.reason
    config = TRANSFER['table8/mixup'].config.replace(base_params='runs/table6/resnet50_v1d/mixup/best/net.params')
    path = finished(tmp_path / 'voc', config, {'map_voc07': 81.1}, classes=list(voc.CLASSES))
    row = row_of(gt.table(8, [path]), 'table8/mixup')
    assert row.comparable and row.cells['map_voc07'].verdict.word == 'undecided'


def test_runs_on_other_data_are_not_comparable(tmp_path):
    """Whatever they score; without ImageNet's certificates that is so of all runs."""
    table = gt.table(6, runs_of(tmp_path, MIXUP, [79.15, 79.15]))
    row = row_of(table, MIXUP)
    assert not row.comparable and {cell.verdict.word for cell in row.cells.values()} == {'not comparable'}
    other = runs_of(tmp_path, MIXUP, [99.0])
    table = imagenet_table(6, other)
    assert row_of(table, MIXUP).cells['top1'].verdict.word == 'above (check the data)'


def test_a_row_counts_runs_on_equal_data_alone(tmp_path):
    row = RECIPES[MIXUP]
    paths = [finished(tmp_path / f'{seed}', row.config.replace(seed=seed), {'top1': 50.0 + seed, 'top5': 90.0},
                      data=data * 32) for seed, data in enumerate(('ab', 'cd', 'cd'))]
    table = gt.table(6, paths)
    assert [seed for seed, _ in row_of(table, MIXUP).cells['top1'].values] == [1, 2]
    assert 'ResNet-50-D, + mixup w/o distill: 1 runs on other data are not counted.' in table.footnotes


def test_a_run_that_is_several_rows_counts_in_each(tmp_path):
    paths = runs_of(tmp_path, 'table2/resnet50_v1', [75.8, 75.9])
    assert len(row_of(imagenet_table(2, paths), 'table2/resnet50_v1').runs) == 2
    assert len(row_of(imagenet_table(4, paths), 'table4/bs256/linear_scaling').runs) == 2
    assert len(row_of(imagenet_table(3, paths), 'table3/baseline/resnet50_v1').runs) == 2


def test_steps_are_to_the_row_above_and_of_a_first_row_to_the_next():
    def steps(number, metric):
        return [None if row.cells[metric].step is None else round(row.cells[metric].step, 2)
                for row in gt.table(number).rows]

    assert steps(5, 'top1') == [-0.45, 0.45, 0.21, 0.29] and steps(8, 'map_voc07')[:3] == [-0.76, 0.76, 0.93]
    assert steps(6, 'top1')[:6] == [-0.75, 0.75, 0.4, 0.36, 0.48, 0.14] and steps(6, 'top1')[6] == -0.69
    assert steps(2, 'top1') == [0.57, -1.48, -1.57] and steps(2, 'top5') == [0.5, -0.97, None]
    assert steps(1, 'top1')[-1] == pytest.approx(79.29 - 77.42, abs=0.005)


def test_seeds_of_the_printed_steps():
    cells = [row.cells for row in gt.table(6).rows[:6]]
    assert [cell['top1'].seeds for cell in cells] == [1, 1, 1, 2, 1, 9]
    assert all(cell['top5'].seeds is None for cell in cells)
    assert all(row.cells['map_voc07'].seeds is None for row in gt.table(8).rows)


def test_rows_are_compared_with_the_row_above_that_was_run_by_pairs_of_seeds(tmp_path):
    rng = np.random.RandomState(0)
    figures = {COSINE: 77.9 + rng.normal(0, 0.1, 4), SMOOTHING: 78.3 + rng.normal(0, 0.1, 3),
               MIXUP: 79.1 + rng.normal(0, 0.1, 5)}
    table = imagenet_table(6, sum((runs_of(tmp_path, name, values) for name, values in figures.items()), []))
    found = {(upper.name, row.name): step for upper, row, step in table.steps}
    assert set(found) == {(COSINE, SMOOTHING), (SMOOTHING, MIXUP), (COSINE, MIXUP)}
    step = found[COSINE, SMOOTHING]
    differences = figures[SMOOTHING] - figures[COSINE][:3]
    assert step.seeds == (0, 1, 2) and step.difference == pytest.approx(differences.mean())
    assert step.deviation == pytest.approx(differences.std(ddof=1)) and step.better == 1 and not step.noise


def test_rows_on_unequal_data_are_not_compared(tmp_path):
    def path(name, data):
        row = RECIPES[name]
        return finished(tmp_path / data, row.config, {'top1': 50.0, 'top5': 90.0}, data=data * 32)

    assert not gt.table(6, [path(COSINE, 'ab'), path(SMOOTHING, 'cd')]).steps


def test_what_is_left_out_is_named(tmp_path):
    good = runs_of(tmp_path, MIXUP, [79.1])
    other = runs_of(tmp_path, 'table2/mobilenet1.0', [69.0])
    nobody = runs_of(tmp_path, MIXUP, [70.0], wd=0.5)
    table = gt.table(6, good + other + nobody + [str(tmp_path), '/no/where'])
    reasons = dict(table.left_out)
    assert 'of no row of table 6, but of table2/mobilenet1.0' in reasons[other[0]]
    assert 'its options are those of no recipe' in reasons[nobody[0]]
    assert 'no run.json' in reasons[str(tmp_path)] and 'no such directory' in reasons['/no/where']
    assert set(reasons) == {other[0], nobody[0], str(tmp_path), '/no/where'}


def test_a_run_of_a_scale_is_not_comparable(tmp_path):
    class Scale:
        @staticmethod
        def config(row):
            return row.config.replace(num_epochs=8, num_gpus=0, batch_size=20, lr=0.05) if row.name == MIXUP else None

    config = Scale.config(RECIPES[MIXUP])
    path = finished(tmp_path / 'run', config, {'top1': 97.0, 'top5': 99.0}, images=(200, 1597))
    assert gt.table(6, [path]).left_out and not gt.table(6, [path], [Scale]).left_out
    assert row_of(gt.table(6, [path], [Scale]), MIXUP).cells['top1'].verdict.word == 'not comparable'


def test_in_a_notebook():
    table = gt.table('6')
    assert table._repr_html_().startswith('<div') and '79.15' in str(table)
    assert table.to_dict()['rows'][0]['cells']['top1']['paper'] == 77.16
    assert math.isclose(table.rows[4].cells['top1'].paper, 79.15)
