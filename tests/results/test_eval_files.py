"""Figures of rows as Hugging Face reads them."""
import os

import pytest
import yaml

import gluon_tricks as gt
from gluon_tricks.errors import UsageError
from gluon_tricks.results.eval_files import write
from support.finished import finished
from support.tables import imagenet_table, runs_of

MIXUP = 'table6/resnet50_v1d/mixup'


def test_a_file_for_each_row_that_has_runs(tmp_path):
    table = imagenet_table(6, runs_of(tmp_path / 'runs', MIXUP, [79.0, 79.2]))
    path, = write(table, str(tmp_path / 'out'))
    assert path == str(tmp_path / 'out' / MIXUP / '.eval_results' / 'classification.yaml')
    with open(path, encoding='utf-8') as stream:
        top1, top5 = yaml.safe_load(stream)
    assert top1['dataset'] == {'id': 'ImageNet', 'task_id': 'top1'} and top1['value'] == pytest.approx(79.1)
    assert top5['value'] == 94.0 and top1['date'] == '2026-01-10'
    for words in ('Top-1 accuracy, percent', 'mean of 2 runs (seeds 0, 1)', 'last epoch', '50000 images', 'top1 0.1414',
                  'Short side to 256 (bilinear), centre crop 224, float16'):
        assert words in top1['notes']


def test_segmentation_is_counted_from_0_to_1_again(tmp_path):
    path = finished(tmp_path / 'runs', 'table9/b_standard', {'pix_acc': 0.78, 'miou': 0.37})
    table = gt.table(9, [path])
    entries = [yaml.safe_load(open(file, encoding='utf-8')) for file in write(table, str(tmp_path / 'out'))]
    assert {entry['dataset']['task_id']: pytest.approx(entry['value']) for entry in entries[0]} == {
        'pix_acc': 0.78, 'miou': 0.37}


def test_no_figures_and_no_place(tmp_path):
    with pytest.raises(UsageError, match='no figures'):
        write(gt.table(6), str(tmp_path / 'out'))
    assert not os.path.exists(str(tmp_path / 'out'))
    table = imagenet_table(6, runs_of(tmp_path / 'runs', MIXUP, [79.0]))
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='cannot be written'):
        write(table, str(tmp_path / 'file'))
