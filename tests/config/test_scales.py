"""Rows at another scale: what each changes in the row above stays, and all else is shared."""
import dataclasses

import pytest

from gluon_tricks.config.recipes import RECIPES, get
from gluon_tricks.config.scales import DEMO, FULL, Scale, apart, names_of_runs, rows_of_table, teacher_of
from gluon_tricks.errors import UsageError

FOLDER = Scale('folder', epochs=30, batch_size=256, classes=12, options=(('data_dir', 'mine'),))


def changes(row, other):
    ours, theirs = row.to_dict(), other.to_dict()
    return {name for name in ours if ours[name] != theirs[name]} - {'save_dir'}


@pytest.mark.parametrize('table', ['1', '2', '3', '4', '5', '6', '7', 'slides'])
def test_at_full_scale_a_row_is_the_paper_s(table):
    for row in rows_of_table(table):
        config = FULL.config(row)
        assert config.batch_size == row.total_batch_size
        assert changes(config, row.config) <= {'batch_size', 'num_gpus', 'save_frequency'}


@pytest.mark.parametrize('scale', [DEMO, FOLDER], ids=['demo', 'folder'])
def test_a_row_changes_what_it_changes_in_the_paper(scale):
    """But ResNet-B, which with basic blocks is the plain network."""
    rows = [row for table in '456' for row in rows_of_table(table) if row.above and scale.config(row)]
    assert len(rows) == (20 if scale is DEMO else 32)
    for row in rows:
        expected = changes(row.config, get(row.above).config)
        found = changes(scale.config(row), scale.config(get(row.above)))
        if scale is DEMO and row.name == 'table5/resnet50_v1b':
            assert expected == {'model'} and not found
        else:
            assert found == expected | ({'lr'} if 'batch_size' in expected and scale is DEMO else set()), row.name


def test_the_demo_in_the_paper_s_proportions():
    efficient, mixup = (DEMO.config(get(f'table6/resnet50_v1d/{name}')) for name in ('efficient', 'mixup'))
    assert (efficient.num_epochs, mixup.num_epochs, efficient.decay_epochs) == (40, 67, (10, 20, 30))
    assert efficient.warmup_epochs == 2 and (efficient.batch_size, efficient.lr) == (20, 0.05)
    assert efficient.model == 'resnet10_v1d_demo' and efficient.dtype == 'float16' and efficient.num_gpus == 0
    small = DEMO.config(get('table4/bs256/warmup'))
    assert (small.batch_size, small.lr) == (5, 0.0125)
    teacher = DEMO.config(get('teacher/resnet152_v1d'))
    assert (teacher.model, teacher.batch_size, teacher.lr) == ('resnet18_v1d_demo', 10, 0.025)
    assert DEMO.config(get('slides/cutout')).cutout == 16  # half the side, as 112 of 224


def test_rows_without_a_counterpart():
    assert DEMO.config(get('table6/inceptionv3/cosine')) is None
    assert DEMO.config(get('table7/best')) is None and FOLDER.config(get('table7/best')) is None
    assert FULL.config(get('table7/best')).num_classes == 365
    assert FOLDER.config(get('table6/inceptionv3/cosine')).num_classes == 12


def test_rows_with_equal_configurations_share_a_run():
    names = names_of_runs(FULL)
    assert all(row.config.save_dir == 'runs/' + names[name] for name, row in RECIPES.items() if name != 'demo')
    names = names_of_runs(DEMO)
    assert {names['table4/bs1024/fp16'], names['table5/resnet50_v1'], names['table5/resnet50_v1b']} == {
        'table3/efficient/resnet50_v1'}
    assert names['table6/resnet50_v1d/efficient'] == 'table5/resnet50_v1d' == names['table5/resnet50_v1d']
    for name, first in names.items():
        assert DEMO.config(get(name)) == DEMO.config(get(first))
    assert len({DEMO.config(get(first)) for first in names.values()}) == len(set(names.values()))


def test_a_student_s_teacher():
    assert teacher_of(get('table6/mobilenet1.0/distill').config) == 'teacher/resnet152_v1d'
    assert teacher_of(get('table6/mobilenet1.0/mixup').config) == ''
    for row in RECIPES.values():
        assert not row.config.teacher or teacher_of(row.config) in RECIPES


def test_every_epoch_has_one_of_each():
    for epochs in range(4, 121):
        config = dataclasses.replace(DEMO, epochs=epochs).config(get('table4/bs1024/warmup'))
        assert config.warmup_epochs >= 1 and len(config.decay_epochs) == 3 and config.num_epochs == epochs


@pytest.mark.parametrize('table', ['0', '8', '9', '10', 'x', '6/resnet50_v1d', ''])
def test_tables_that_are_no_ladder(table):
    with pytest.raises(UsageError, match='^table .*: train them|must be 1 to 7, or slides'):
        rows_of_table(table)


@pytest.mark.parametrize('changes, words', [(dict(epochs=3), '--epochs 3 must be at least 4'),
                                            (dict(batch_size=3), '--batch-size 3 must be at least 4')])
def test_too_small(changes, words):
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(DEMO, **changes)


@pytest.mark.parametrize('scale', [FULL, DEMO], ids=['full', 'demo'])
@pytest.mark.parametrize('table', ['4', '5', '6'])
def test_rows_that_share_a_run_or_a_teacher_stand_together_and_no_others(table, scale):
    rows, names = rows_of_table(table), names_of_runs(scale)
    groups = apart(rows, scale)
    assert sorted(sum(groups, ())) == sorted(row.name for row in rows if row.name in names)
    runs = [{names[row.name] for row in rows if row.name in group}
            | {names[teacher_of(row.config)] for row in rows if row.name in group and teacher_of(row.config)}
            for group in groups]
    assert sum(map(len, runs)) == len(set().union(*runs))  # no run is of two groups
    assert (max(map(len, groups)) > 1) == (table == '6' and scale == FULL or table == '5' and scale == DEMO)
