"""The answers to the NeurIPS checklist: what the error bars are, and what the runs took."""
import gluon_tricks as gt
from gluon_tricks.results.checklist import checklist
from support.finished import DIGEST
from support.tables import imagenet_table, runs_of

MIXUP, COSINE = (f'table6/resnet50_v1d/{name}' for name in ('mixup', 'cosine'))


def test_error_bars_and_compute(tmp_path):
    text = checklist(imagenet_table(6, runs_of(tmp_path, MIXUP, [79.0, 79.2]) + ['/no/where']))
    assert 'significance.** Yes' in text and 'not standard errors' in text and 'initial weights' in text
    assert '+ mixup w/o distill, top1: 79.10 +- 0.14, n = 2' in text
    # 200 epochs of a minute on 8 devices
    assert '2 runs, 26.7 GPU-hours a run' in text and 'In total: 53.3 GPU-hours' in text and 'left out (1)' in text
    assert '8 x gpu (machine x86_64, cores 2, mxnet 1.9.1)' in text
    assert f'`python train_imagenet.py --recipe {MIXUP}`, 200 epochs, seeds 0, 1. Short side to 256' in text
    assert f'ImageNet. train: 1281167 images, SHA-256 {DIGEST}' in text


def test_rows_of_one_run_have_no_error_bar(tmp_path):
    one, several = runs_of(tmp_path, COSINE, [77.9]), runs_of(tmp_path, MIXUP, [79.0, 79.2])
    text = checklist(imagenet_table(6, one))
    assert 'significance.** No' in text and 'one run, without an error bar' in text and 'standard deviations' not in text
    assert 'significance.** Partly' in checklist(imagenet_table(6, one + several))


def test_a_run_of_several_rows_is_counted_once(tmp_path):
    paths = runs_of(tmp_path, 'table5/resnet50_v1', [76.2, 76.3])
    assert 'of 2 runs' in checklist(imagenet_table(5, paths)) and 'In total: 32 GPU-hours' in checklist(
        imagenet_table(5, paths))


def test_at_another_scale_the_command_is_the_run_s_own(tmp_path):
    text = checklist(gt.table(6, runs_of(tmp_path, MIXUP, [79.0])))
    assert '--recipe' not in text and '--mixup --dtype float16' in text


def test_without_runs_there_is_nothing_to_answer():
    assert 'No run is given' in checklist(gt.table(6))
