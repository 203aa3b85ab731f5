"""Logs of GluonCV's two scripts: synthetic lines, our own lines, and the published logs where they are."""
import numpy as np
import pytest

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.errors import UsageError
from gluon_tricks.results.published_log import HEADLINE, read_log
from gluon_tricks.tasks.gluoncv_log import LOSSES, METRICS, ClassificationLog, DetectionLog
from support import ROOT

PUBLISHED = ROOT.parent / 'shared' / 'published'
# The best validation of the published logs (and its epoch, where that was noted), as others read them.
BEST = {'resnet50_v1': (77.34, 93.58), 'resnet50_v1b': (77.71,), 'resnet50_v1c': (78.04,), 'resnet50_v1d': (78.52, 94.24),
        'resnet50_v1d-mixup': (79.09, 94.60), 'inceptionv3-mixup': (78.25,), 'mobilenet1.0-mixup': (73.27, 91.32)}

CLASSIFIER = """Namespace(batch_size=128, log_interval=2, lr=0.4, lr_mode='cosine', num_epochs=2, num_gpus=8)
Epoch[0] Batch [{0}]\tSpeed: 1899.565520 samples/sec\taccuracy=0.883496\tlr=0.003133
Epoch[0] Batch [{1}]\tSpeed: 4810.490215 samples/sec\taccuracy=0.920217\tlr=0.006331
[Epoch 0] training: accuracy=0.750000
[Epoch 0] speed: 4700 samples/sec\ttime cost: 275.5
[Epoch 0] validation: err-top1=0.900000 err-top5=0.750000
Epoch[1] Batch [{0}]\tSpeed: 5000.0 samples/sec\taccuracy=0.5\tlr=0.002000
[Epoch 1] training: accuracy=0.500000
[Epoch 1] speed: 4800 samples/sec\ttime cost: 270.5
[Epoch 1] validation: err-top1=0.910000 err-top5=0.740000
"""
DETECTOR = """Namespace(lr=0.001, log_interval=100, network='resnet50_v1b')
[Epoch 0][Batch 99], Speed: 11.735 samples/sec, RPN_Conf=0.655,RCNNAcc=0.845
[Epoch 0] Training cost: 1312.133, RPN_Conf=0.139,RPN_SmoothL1=0.047
[Epoch 0] Validation: 
aeroplane=0.37
mAP=0.402897
[Epoch 1] Set learning rate to 0.0001
[Epoch 1] Training cost: 1300.1, RPN_Conf=0.12,RPN_SmoothL1=0.04
[Epoch 2] Training cost: 1300.1, RPN_Conf=0.11,RPN_SmoothL1=0.04
[Epoch 2] Validation: 
mAP=0.401
"""  # noqa: W291


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / 'some.log').write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_log(str(tmp_path / 'some.log'))
    return read


@pytest.mark.parametrize('numbers', [(1, 3), (2, 4)], ids=['from 0', 'from 1'])
def test_a_classifier_s_log(read, numbers):
    log = read(CLASSIFIER.format(*numbers))
    assert (log.name, log.task, log.options['lr_mode'], log.data) == ('some', 'classification', 'cosine', 'ImageNet')
    assert {name: column.tolist() for name, column in log.epochs.items()} == {
        'epoch': [0, 1], 'lr': [0.006331, 0.002], 'speed': [4700, 4800], 'time': [275.5, 270.5],
        'train_accuracy': [0.75, 0.5], 'val_top1': pytest.approx([10, 9]), 'val_top5': pytest.approx([25, 26])}
    assert log.updates['batch'].tolist() == [2, 4, 2] and log.updates['lr'].tolist() == [0.003133, 0.006331, 0.002]
    assert log.updates['accuracy'].tolist() == [0.883496, 0.920217, 0.5]
    assert log.best == {'top1': pytest.approx(10), 'top5': pytest.approx(25), 'epoch': 0}
    assert log.last == {'top1': pytest.approx(9), 'top5': pytest.approx(26), 'epoch': 1}


def test_a_detector_s_log(read):
    log = read(DETECTOR)
    assert (log.task, log.data) == ('detection', 'VOC') and log.updates['batch'].tolist() == [100]
    assert log.epochs['lr'].tolist() == [0.001, 0.0001, 0.0001] and log.epochs['time'].tolist() == [1312.133, 1300.1, 1300.1]
    np.testing.assert_allclose(log.epochs['val_map_voc07'], [40.2897, np.nan, 40.1])
    assert log.best == {'map_voc07': pytest.approx(40.2897), 'epoch': 0} and log.last['epoch'] == 2


def test_our_own_lines(read):
    metrics = {'top1': 80.0, 'top5': 95.0, 'num_images': 1000, 'loss': 1, 'gap_mean': 2, 'gap_std': 3}
    task = ClassificationLog()
    task.config = TrainConfig(num_classes=4, num_epochs=4, lr=0.1, mixup=True)
    lines = ['Namespace(log_interval=20, num_classes=4)',
             task.batch_line(3, 20, 123.4, {'mix_acc': 0.5, 'loss': 1.25}, 0.05, 0.1)]
    log = read('\n'.join(lines + task.epoch_lines(3, {'metrics': {'mix_acc': 0.5}, 'speed': 99, 'time': 12.5}, metrics)))
    assert log.last == {'top1': pytest.approx(80), 'top5': pytest.approx(95), 'epoch': 3} and log.data == ''
    assert log.updates['batch'].tolist() == [20] and log.updates['loss'].tolist() == [1.25]
    assert log.epochs['lr'].tolist() == [0.05] and log.epochs['train_mix_acc'].tolist() == [0.5]
    task = DetectionLog()
    task.config = RCNNConfig()
    figures = dict.fromkeys(('loss',) + LOSSES + METRICS, 0.25)
    lines = [task.batch_line(3, 100, 11.7, figures, 0.001, 0.1)]
    log = read('\n'.join(lines + task.epoch_lines(3, {'time': 12.5, 'metrics': figures}, {'map_voc07': 78.31, 'ap': {}})))
    assert log.last == {'map_voc07': pytest.approx(78.31), 'epoch': 3} and log.epochs['lr'].tolist() == [0.001]


def test_a_resumed_run_goes_on_and_another_one_begins_anew(read):
    text = CLASSIFIER.format(1, 3)
    again = text.splitlines(keepends=True)
    assert read(text + ''.join(again[6:]).replace('0.910000', '0.800000')).epochs['val_top1'] == pytest.approx([10, 20])
    assert read(text + ''.join(again[:6])).epochs['epoch'].tolist() == [0]
    with pytest.raises(UsageError, match='no validation line'):  # of the run that begins, none yet
        read(text + ''.join(again[1:3]))


@pytest.mark.parametrize('cut', range(7, 120, 7))
def test_a_log_that_ends_anywhere_is_read_as_far_as_it_goes(read, cut):
    for text, name in ((CLASSIFIER.format(1, 3), 'val_top1'), (DETECTOR, 'val_map_voc07')):
        whole = read(text).epochs[name]
        found = read(text[:-cut]).epochs[name]
        there = np.isfinite(found[:len(whole)])
        if name == 'val_top1':
            assert found[there] == pytest.approx(whole[:len(found)][there])
        assert there[0]


def test_bytes_that_are_no_text_are_passed_over(read):
    log = read(b'\xff\x00\xfe\n' + CLASSIFIER.format(1, 3).encode() + b'\n[Epoch 1] validation: err-top1=\xff')
    assert log.last['epoch'] == 1


@pytest.mark.parametrize('text', ['', 'Namespace(', 'Epoch[0] Batch [49]\tSpeed: 1.0 samples/sec\taccuracy=0.1\tlr=0.1\n',
                                  '[Epoch 0] training: accuracy=0.5\n', 'mAP=0.5\n', '[Epoch 0] Validation: \nmAP=0.5',
                                  '[Epoch 99999999999] validation: err-top1=0.500000 err-top5=0.100000\n',
                                  'Epoch 3 validation pixAcc: 0.790, mIoU: 0.395\n', 'x' * 100000])
def test_what_is_no_log_is_one_sentence(read, text):
    with pytest.raises(UsageError, match='some.log has no validation line of GluonCV'):
        read(text)


@pytest.mark.parametrize('line', ["Namespace(lr='much', log_interval=[1])", 'Namespace(lr=', 'Namespace(' + '(' * 1000,
                                  'Namespace(f(x))', 'Namespace.x', '[Epoch 0] training: accuracy=..', 'mAP=0.5',
                                  'Epoch[0] Batch [1]\tSpeed: . samples/sec\taccuracy=1\tlr=1'])
def test_a_damaged_line_harms_no_other(read, line):
    log = read(line + '\n[Epoch 0] validation: err-top1=0.500000 err-top5=0.100000\r\n' + line + '\n')
    assert log.best == log.last == {'top1': 50, 'top5': pytest.approx(90), 'epoch': 0}


def test_no_file_is_one_sentence(tmp_path):
    for path in (tmp_path, tmp_path / 'none'):
        with pytest.raises(UsageError, match='cannot be read .*: give a training log'):
            read_log(str(path))


def published(name):
    path = PUBLISHED / f'{name}.log'
    if not path.exists():
        pytest.skip(f'the published log {path.name} is not here')
    return read_log(str(path))


@pytest.mark.parametrize('name', list(BEST))
def test_figures_of_the_published_logs(name):
    log = published(name)
    best = [log.best[figure] for figure in ('top1', 'top5')][:len(BEST[name])]
    assert best == pytest.approx(BEST[name], abs=0.00501)
    row = RECIPES[f'gluoncv/{name}'].gluoncv  # read by another expression, in tests/config
    for which, found in (('last', log.last), ('best', log.best)):
        assert [found['top1'], found['top5']] == pytest.approx(
            [row[f'log_{which}_top1'], row[f'log_{which}_top5']], abs=0.00501)
    assert len(log.epochs['epoch']) == log.options['num_epochs'] and log.last['epoch'] == log.options['num_epochs'] - 1
    assert all(np.isfinite(column).all() for column in log.epochs.values())
    assert len(log.updates['lr']) == 25 * log.options['num_epochs'] and set(log.updates['batch']) == set(range(50, 1251, 50))


def test_figures_of_the_published_detector():
    log = published('faster_rcnn_resnet50_v1b_voc_train')
    assert log.best == {'map_voc07': pytest.approx(78.31, abs=0.005), 'epoch': 16} and log.last['epoch'] == 19
    assert log.last['map_voc07'] == pytest.approx(77.66, abs=0.005)
    assert log.epochs['lr'].tolist() == pytest.approx([0.001] * 14 + [0.0001] * 6)
    assert np.isfinite(log.epochs['val_map_voc07']).all() and len(log.epochs['epoch']) == 20


@pytest.mark.parametrize('name', list(BEST) + ['faster_rcnn_resnet50_v1b_voc_train'])
def test_the_page_says_what_is_read(name):
    log = published(name)
    headline = HEADLINE[log.task]
    row = f'| {log.last[headline]:.2f} | {log.best[headline]:.2f} ({log.best["epoch"]}) |'
    assert any(line.startswith(f'| `{name}` |') and line.endswith(row)
               for line in (ROOT / 'docs' / 'figures.md').read_text(encoding='utf-8').splitlines())
