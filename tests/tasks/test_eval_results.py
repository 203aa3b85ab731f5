"""How figures are measured, in a sentence; the YAML is tested with the cards and tables that are made of it."""
import pytest

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.config.recipes_transfer import RECIPES as TRANSFER
from gluon_tricks.tasks.eval_results import figures_of, protocol, yaml


@pytest.mark.parametrize('config, words', [
    (RECIPES['table6/resnet50_v1d/mixup'].config, 'Short side to 256 (bilinear), centre crop 224, float16'),
    (RECIPES['table2/inceptionv3'].config, 'Short side to 342 (bilinear), centre crop 299, float32'),
    (RECIPES['demo'].config.replace(crop_ratio=1.0), 'Short side to 32 (bilinear), centre crop 32'),
    (TRANSFER['table8/mixup'].config, 'Short side to 600, long side at most 1000, float32; overlap of 0.5, 11 points'),
    (TRANSFER['table9/mixup'].config, 'Short side to 480 (bilinear), centre crop 480 x 480, one scale, float32')])
def test_a_protocol_is_that_of_the_configuration(config, words):
    assert protocol(config).startswith(words) and protocol(config).endswith('.')


def test_figures_that_are_no_numbers_are_none():
    assert figures_of('classification', {'top1': 79.1, 'top5': 'nan', 'loss': 1.0}) == {'top1': 79.1}
    assert yaml('classification', 'x', {}, '', '') == {}
