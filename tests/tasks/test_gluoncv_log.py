import re

import pytest

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.tasks.gluoncv_log import LOSSES, METRICS, ClassificationLog, DetectionLog, SegmentationLog

CONFIG = TrainConfig(num_classes=4, num_epochs=4, lr=0.1)


def lines_of(cls, config):
    example = cls()
    example.config = config
    return example


def test_the_classifiers_lines_are_gluoncvs():
    example = lines_of(ClassificationLog, CONFIG)
    line = example.batch_line(3, 50, 123.4, {'accuracy': 0.5, 'loss': 1.25}, 0.05, 0.1)
    assert line.startswith('Epoch[3] Batch [50]\tSpeed: 123.40 samples/sec\taccuracy=0.5000\tlr=0.050000')
    lines = example.epoch_lines(3, {'metrics': {'accuracy': 0.5}, 'speed': 99.9, 'time': 12.5},
                                {'top1': 80.0, 'top5': 95.0, 'num_images': 1000, 'loss': 1, 'gap_mean': 2, 'gap_std': 3})
    assert lines[:3] == ['[Epoch 3] training: accuracy=0.500000', '[Epoch 3] speed: 99 samples/sec\ttime cost: 12.500000',
                         '[Epoch 3] validation: err-top1=0.200000 err-top5=0.050000']


@pytest.mark.parametrize('options', [{}, {'mixup': True}])
def test_a_batch_line_fits_100_columns_and_gluoncvs_expression(options):
    example = lines_of(ClassificationLog, CONFIG.replace(**options))
    line = example.batch_line(999, 9999, 99999.99, {example.accuracy_name: 0.98765, 'loss': 6.9078}, 0.123456, 1.0)
    assert len(line.expandtabs(8)) <= 100
    assert re.match(r'Epoch\[(\d+)\] Batch \[(\d+)\]\tSpeed: ([.\d]+) samples/sec\t([\w-]+)=([.\d]+)\tlr=([.\d]+)',
                    line).groups() == ('999', '9999', '99999.99', example.accuracy_name, '0.9877', '0.123456')


@pytest.mark.parametrize('top1, warned', [(25.0, True), (24.0, True), (60.0, False)])
def test_accuracy_at_chance_is_said(top1, warned):
    lines = lines_of(ClassificationLog, CONFIG).epoch_lines(2, {'metrics': {'accuracy': 0.5}, 'speed': 1, 'time': 1},
        {'top1': top1, 'top5': 95.0, 'num_images': 1000, 'loss': 1, 'gap_mean': 2, 'gap_std': 3})
    assert any('chance' in line for line in lines) == warned


def test_the_detectors_lines_and_names_are_gluoncvs():
    task = lines_of(DetectionLog, RCNNConfig())
    metrics = dict.fromkeys(('loss',) + LOSSES + METRICS, 0.25)
    line = task.batch_line(3, 100, 11.7352, metrics, 0.001, 0.1)
    assert line.startswith('[Epoch 3][Batch 99], Speed: 11.735 samples/sec, RPN_Conf=0.250,RPN_SmoothL1=0.250,'
                           'RCNN_CrossEntropy=0.250,RCNN_SmoothL1=0.250,RPNAcc=0.250,RPNL1Loss=0.250,RCNNAcc=0.250,'
                           'RCNNL1Loss=0.250')
    lines = task.epoch_lines(3, {'time': 12.5, 'metrics': metrics}, {'map_voc07': 78.31, 'ap': {'dog': 80.0}})
    assert lines[0].startswith('[Epoch 3] Training cost: 12.500, RPN_Conf=0.250,')
    assert lines[1:] == ['[Epoch 3] Validation: ', 'dog=80.0', 'mAP=0.7831']
    assert task.file_name(3, {'map_voc07': 78.31}) == 'faster_rcnn_resnet50_v1b_voc_0003_0.7831.params'
    assert task.best_file_name(3, {}) == 'faster_rcnn_resnet50_v1b_voc_best.params'


def test_the_segmentations_lines_and_names_are_gluoncvs():
    task = lines_of(SegmentationLog, FCNConfig(crop_size=16))
    task.train_stream = type('Stream', (), {'updates_per_epoch': 50})
    metrics = {'miou': 0.39514, 'pix_acc': 0.79049, 'num_images': 2000}
    line = task.batch_line(3, 20, 11.5, {'loss': 1.2345}, 0.01, 0.02)
    assert line.startswith('Epoch 3 iteration 0020/0050: training loss 1.234 ') and line.endswith('io=2%')
    assert len(task.batch_line(999, 9999, 999.99, {'loss': 9.999}, 0.123456, 1.0)) <= 100
    facts = {'metrics': {'loss': 1.0}, 'speed': 11.5, 'time': 3.0}
    assert 'Epoch 3 validation pixAcc: 0.790, mIoU: 0.395' in task.epoch_lines(3, facts, metrics)
    assert 'centre crop 16 x 16' in task.epoch_lines(3, facts, metrics)[-1]
    assert len(task.epoch_lines(3, facts, {})) == 2
    assert task.file_name(3, metrics) == 'epoch_0003_mIoU_0.3951.params'
    assert task.file_name(3, {}) == 'epoch_0003_mIoU_0.0000.params'
    assert task.best_file_name(3, metrics) == 'best_epoch_0003_mIoU_0.3951.params'
    assert 'mIoU 39.51 %' in task.result_line(dict(metrics, epoch=3), dict(metrics, epoch=2))
