"""The rows of the paper that a configuration is."""
import pytest

from gluon_tricks.api import CONFIGS
from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.models.zoo import default_input_size
from gluon_tricks.tasks import rows
from gluon_tricks.tasks.rows import rows_of


def test_what_a_row_may_differ_in_are_options_that_a_resume_may_not():
    fields = [field for cls in CONFIGS.values() for field in cls.fields()]
    assert rows._ELSEWHERE <= {field.name for field in fields if not field.metadata['free_on_resume']}


@pytest.mark.parametrize('name', sorted(recipes.RECIPES))
def test_a_recipe_s_configuration_is_its_row(name):
    row = recipes.RECIPES[name]
    config = row.config.replace(save_dir='elsewhere', seed=7, lr=row.lr, input_size=row.config.input_size or default_input_size(row.config.model))
    found = rows_of(config, max(1, config.num_gpus or 1))
    assert name in [each.name for each in found]
    assert all(each.config.mixup == config.mixup and each.config.model == config.model for each in found)
    assert name not in [each.name for each in rows_of(config.replace(wd=0.123), max(1, config.num_gpus or 1))]
    assert name not in [each.name for each in rows_of(config, 999)]
    assert not rows_of(config.replace(base_params='x.params'), max(1, config.num_gpus or 1))


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


class Tenth:
    """A scale: a tenth of the epochs, on one device; no row of another network than ResNet-50-D."""

    @staticmethod
    def config(row):
        return row.config.replace(num_epochs=row.config.num_epochs // 10, num_gpus=0, batch_size=20, lr=0.05) \
            if row.config.model == 'resnet50_v1d' else None


def test_at_a_scale_a_run_is_the_row_of_that_scale_alone():
    config = Tenth.config(recipes.get('table6/resnet50_v1d/mixup')).replace(input_size=224, seed=3)
    assert 'table6/resnet50_v1d/mixup' in [row.name for row in rows_of(config, 1, Tenth)]
    assert 'table6/resnet50_v1d/label_smoothing' not in [row.name for row in rows_of(config, 1, Tenth)]
    assert rows_of(config, 1) == [] and rows_of(config.replace(lr=0.1), 1, Tenth) == []
