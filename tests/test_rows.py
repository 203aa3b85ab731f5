"""A row of each table, end to end at demo scale: its recipe with the size of the images, and the data, overridden."""
import json

import pytest

import train_imagenet
from gluon_tricks.config import recipes
from gluon_tricks.data.prepare.demo_digits import write_digits
from gluon_tricks.data.records.record_file import read_index

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    pytest.importorskip('sklearn')
    folder = tmp_path_factory.mktemp('digits') / 'data'
    return str(folder), write_digits(str(folder))


@pytest.fixture(scope='module')
def run(digits, tmp_path_factory):
    """Train a recipe on the digits for two epochs and return (its run.json, its directory)."""
    folder, packed = digits

    def train(recipe, *flags):
        save_dir = tmp_path_factory.mktemp('run') / 'run'
        code = train_imagenet.main(
            ['--recipe', recipe, '--data-dir', folder, '--num-classes', '10', '--num-gpus', '0', '--batch-size', '64',
             '--input-size', '32', '--num-epochs', '2', '--warmup-epochs', '1', '--num-training-samples',
             str(len(read_index(packed.files['train'][1])[0])), '--save-dir', str(save_dir), *flags])
        assert code == 0
        return json.loads((save_dir / 'run.json').read_text()), save_dir
    return train


@pytest.mark.parametrize('recipe', [
    'table2/resnet50_v1',
    'table2/mobilenet1.0',
    'table3/efficient/resnet50_v1',
    'table4/bs1024/no_bias_decay',
    'table5/resnet50_v1d',
    'table6/resnet50_v1d/mixup',
    'table7/efficient',
    'table7/best',
])
def test_a_row_runs_end_to_end(run, digits, recipe):
    record, save_dir = run(recipe)
    assert record['status'] == 'finished'
    row = recipes.get(recipe).config
    assert record['config']['model'] == row.model
    for name in ('dtype', 'lr_mode', 'last_gamma', 'no_wd', 'label_smoothing', 'mixup', 'nag'):
        assert record['config'][name] == getattr(row, name), name
    images = len(read_index(digits[1].files['val'][1])[0])
    assert record['result']['epoch'] == 1 and record['result']['num_images'] == images
    assert (save_dir / 'latest' / 'net.params').is_file()


def test_a_distillation_row_with_a_teacher_trained_by_its_own_recipe(run, digits):
    teacher, teacher_dir = run('teacher/resnet152_v1d')
    assert teacher['config']['model'] == 'resnet152_v1d' and teacher['status'] == 'finished'
    record, _ = run('table6/resnet50_v1d/distill', '--teacher-params', str(teacher_dir / 'best' / 'net.params'))
    assert record['status'] == 'finished' and record['config']['teacher'] == 'resnet152_v1d'
    assert record['config']['temperature'] == 20
