"""The figures of each class of real runs: their own records, GluonCV's metrics, scikit-learn's confusion matrix."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from gluon_tricks.commands import train_detection, train_segmentation
from gluon_tricks.compat import mx
from gluon_tricks.data.prepare import command as prepare
from gluon_tricks.errors import UsageError
from gluon_tricks.results.class_figures import of_log, of_run
from gluon_tricks.results.records import records
from gluon_tricks.results.report import report
from gluon_tricks.tasks.detection.data import open_voc, test_images
from gluon_tricks.tasks.detection.task import detect
from gluon_tricks.tasks.detection.trained import trained_net
from gluon_tricks.tasks.segmentation.data import Scenes, eval_transform, labels
from gluon_tricks.tasks.segmentation.metrics import normalise
from gluon_tricks.tasks.segmentation.trained import load_net
from gluon_tricks.tricks.low_precision import precision
from support.archives import png, write_ade20k
from support.detection import SMALL_FLAGS, write_tree

from gluoncv.utils.metrics import SegmentationMetric
from gluoncv.utils.metrics.voc_detection import VOC07MApMetric

CPU = [mx.cpu()]


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """The Record of a detector's run of two epochs on 8 images."""
    folder = tmp_path_factory.mktemp('detector')
    write_tree(folder / 'voc')
    assert train_detection.main(['--data-dir', str(folder / 'voc'), '--save-dir', str(folder / 'run'), *SMALL_FLAGS]) == 0
    return only(folder / 'run')


@pytest.fixture(scope='module')
def segments(tmp_path_factory):
    """The Record of a segmentation run of an epoch; 6 validation images of 4 classes, with pixels of none."""
    folder, changes = tmp_path_factory.mktemp('segments'), {}
    for part, short, number in (('training', 'train', 4), ('validation', 'val', 6)):
        for each in range(1, number + 1):
            mask = np.full((40, 40 + 5 * each % 5), each % 4 + 1, 'uint8')
            mask[:4], mask[20:, :9] = 0, (each + 1) % 4 + 1
            changes[f'annotations/{part}/ADE_{short}_{each:08d}.png'] = png(mask)
    prepare.main(['ade20k', '--out', str(folder / 'tree'), *write_ade20k(folder / 'zip', changes, 4, 6)])
    assert train_segmentation.main([
        '--data-dir', str(folder / 'tree'), '--backbone', 'resnet10_v1d_demo', '--base-size', '40', '--crop-size', '32',
        '--batch-size', '2', '--test-batch-size', '4', '--epochs', '1', '--ngpus', '0', '--save-dir', str(folder / 'run')]) == 0
    return only(folder / 'run')


def only(path):
    (record,), _ = records([path])
    return record


def with_log(record, folder, change):
    """The Record of a copy of a run whose log's last epoch was changed."""
    shutil.copytree(record.path, str(folder), symlinks=True)
    lines = (folder / 'log.jsonl').read_text().splitlines()
    for place, line in enumerate(lines):
        event = json.loads(line)
        if event.get('event') == 'epoch':
            change(event['validation'])
            lines[place] = json.dumps(event)
    (folder / 'log.jsonl').write_text('\n'.join(lines) + '\n')
    return only(folder)


def test_average_precisions_are_gluoncvs(detector):
    _, test_set = open_voc(detector.config.data_dir)
    net = trained_net(detector.config, str(Path(detector.path) / 'best' / 'net.params'), test_set.classes, CPU,
                      precision('float32', CPU))
    metric = VOC07MApMetric(iou_thresh=0.5, class_names=test_set.classes)
    for image, boxes, _ in test_images(test_set, net.short, net.max_size):
        ids, scores, found = detect(net, image, CPU[0], precision('float32', CPU))
        metric.update(found[None], ids[None], scores[None], boxes[..., :4], boxes[..., 4], boxes[..., 5])
    *theirs, (_, mean) = zip(*metric.get())
    theirs = {name: 100 * value for name, value in theirs if not np.isnan(value)}
    found = of_run(detector, CPU)
    assert dict(zip(found.names, found.percent)) == pytest.approx(theirs, abs=1e-4) and found.images == 8
    assert found.whole == ('mAP', pytest.approx(100 * mean, abs=1e-4)) and found.pairs == () and len(theirs) == 2


def test_ious_and_pairs_are_gluoncvs_and_scikit_learns(segments):
    config = segments.config
    net, _, classes = load_net(config, str(Path(segments.path) / 'best' / 'net.params'), CPU)
    metric, label, predicted = SegmentationMetric(classes), [], []
    scenes = Scenes(config.data_dir, 'validation', classes)
    for index in range(len(scenes)):
        image, mask = eval_transform(*scenes.read(index), crop_size=config.crop_size)
        scores = net(mx.nd.array(normalise(np.asarray(image))[None]))[0]
        metric.update(mx.nd.array(labels(mask)[None]), scores)
        label.append(labels(mask).ravel())
        predicted.append(scores.argmax(axis=1).asnumpy().astype(int).ravel())
    label, predicted = np.concatenate(label), np.concatenate(predicted)
    counts = confusion_matrix(label[label >= 0], predicted[label >= 0], labels=range(classes))
    found = of_run(segments, CPU)
    assert found.whole == ('mIoU', pytest.approx(100 * metric.get()[1]))
    assert found.whole[1] == pytest.approx(segments.best['miou']) and found.images == 6
    place = {name: number for number, name in enumerate(found.names)}
    wrong = counts - np.diag(np.diag(counts))
    assert [pair.number for pair in found.pairs] == sorted(wrong[wrong > 0].tolist(), reverse=True)[:10] and found.pairs
    for pair in found.pairs:
        row = counts[place[pair.label]]
        assert (pair.number, pair.of) == (row[place[pair.predicted]], row.sum())
    assert found.total == counts.sum()
    log = of_run(segments, CPU, look=False)  # its own log, without pairs
    assert log.percent == pytest.approx(np.nan_to_num(found.percent)) and log.pairs == () and log.names == found.names


def test_the_devices_share_the_images(segments):
    found, one = of_run(segments, [mx.cpu(0), mx.cpu(1), mx.cpu(2)]), of_run(segments, CPU)
    assert found.pairs == one.pairs and found.images == one.images == 6


@pytest.mark.parametrize('change', [
    lambda told: told.pop('ap'), lambda told: told.update(ap=[1, 2]), lambda told: told.update(ap={}),
    lambda told: told.update(ap={name: 'x' for name in told['ap']}), lambda told: told['ap'].update(more=50.0)])
def test_a_log_without_the_figures_of_a_detector(change, detector, tmp_path):
    with pytest.raises(UsageError, match='does not give the figures of the classes behind its best map_voc07'):
        of_log(with_log(detector, tmp_path / 'run', change))


@pytest.mark.parametrize('change', [
    lambda told: told.pop('class_iou'), lambda told: told['class_iou'].pop(), lambda told: told.update(class_iou='x'),
    lambda told: told['class_iou'].__setitem__(0, 0.987), lambda told: told['class_iou'].__setitem__(0, {'a': 1})])
def test_a_log_without_the_figures_of_segments(change, segments, tmp_path):
    with pytest.raises(UsageError, match='does not give the figures of the classes behind its best miou'):
        of_log(with_log(segments, tmp_path / 'run', change))


def test_a_page_has_them(detector, segments):
    found = report([detector.path, segments.path])
    by_task = {group.records[0].task: group for group in found.groups}
    assert by_task['detection'].classes.found.measure == 'AP' and not by_task['detection'].notes
    assert by_task['segmentation'].classes.pairs == [] and any('--look' in note for note in by_task['segmentation'].notes)
    group, = report([segments.path], look=True, devices=CPU).groups
    assert group.classes.pairs and all(images == [] for _, images in group.classes.pairs) and not group.notes


def test_scenes_that_are_gone_are_said(segments, tmp_path):
    moved = Path(segments.config.data_dir).rename(tmp_path / 'tree')
    try:
        with pytest.raises(UsageError, match='is missing'):
            of_run(segments, CPU)
        group, = report([segments.path], look=True, devices=CPU).groups
        assert group.classes is None and any('could not be looked at' in note for note in group.notes)
    finally:
        moved.rename(segments.config.data_dir)
