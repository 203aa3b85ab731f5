"""The rows of the paper that a configuration is."""
import pytest

from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.models.zoo import default_input_size
from gluon_tricks.tasks.rows import rows_of


@pytest.mark.parametrize('name', sorted(recipes.RECIPES))
def test_a_recipe_s_configuration_is_its_row(name):
    row = recipes.RECIPES[name]
    config = row.config.replace(save_dir='elsewhere', seed=7, lr=row.lr, input_size=row.config.input_size or default_input_size(row.config.model))
    found = rows_of(config, max(1, config.num_gpus or 1))
    assert name in [each.name for each in found]
    assert all(each.config.mixup == config.mixup and each.config.model == config.model for each in found)
    assert name not in [each.name for each in rows_of(config.replace(wd=0.123), max(1, config.num_gpus or 1))]
    assert name not in [each.name for each in rows_of(config, 999)]


@pytest.mark.parametrize('name', sorted(recipes_transfer.RECIPES))
def test_so_is_one_of_tables_8_and_9(name):
    config = recipes_transfer.RECIPES[name].config
    config = config.replace(base_params='x.params', total_batch_size=config.total_batch_size or 4)
    assert name in [each.name for each in rows_of(config, 4)]
    assert name not in [each.name for each in rows_of(config.replace(lr=0.123), 4)]


def test_a_resolved_run_of_table_9_knows_its_classes_and_is_still_the_row():
    config = recipes_transfer.RECIPES['table9/mixup'].config.replace(num_classes=150)
    assert [each.name for each in rows_of(config, 4)] == ['table9/' + name for name in (
        'efficient', 'cosine', 'smooth', 'distill', 'mixup', 'distill_with_mixup')]
