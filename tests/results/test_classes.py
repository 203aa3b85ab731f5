import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score

from gluon_tricks.compat import mx
from gluon_tricks.results.classes import (
    Figures,
    class_accuracies,
    class_ious,
    confused,
    count,
    draw_classes,
    of_images,
    of_pixels,
)
from support.pictures import assert_readable

from gluoncv.utils.metrics import SegmentationMetric

LABELS = np.random.RandomState(0).randint(6, size=500)
PREDICTED = np.where(np.random.RandomState(1).rand(500) < 0.7, LABELS, np.random.RandomState(2).randint(6, size=500))
NAMES = ['tench', 'goldfish', 'great white shark', 'tiger shark', 'hammerhead', 'stingray']
COUNTS = confusion_matrix(LABELS, PREDICTED)


def images(labels=LABELS, predicted=PREDICTED, names=NAMES):
    return of_images({'labels': labels, 'predicted': predicted, 'classes': names})


def test_counts_are_the_confusion_matrix():
    assert count(LABELS, PREDICTED, 7).tolist() == confusion_matrix(LABELS, PREDICTED, labels=range(7)).tolist()


def test_accuracy_of_each_class():
    percent = class_accuracies(count(LABELS, PREDICTED, 7))
    assert percent[:6] == pytest.approx(100 * recall_score(LABELS, PREDICTED, average=None)) and np.isnan(percent[6])


def test_iou_of_each_class():
    percent = class_ious(count(LABELS, PREDICTED, 7))
    assert percent[:6] == pytest.approx(100 * jaccard_score(LABELS, PREDICTED, average=None)) and np.isnan(percent[6])
    theirs = SegmentationMetric(7)
    theirs.update(mx.nd.array(LABELS[None, None]), mx.nd.array(np.eye(7)[PREDICTED].T[None, :, None]))
    found = of_pixels({'counts': count(LABELS, PREDICTED, 7), 'classes': [*NAMES, 'never'], 'num_images': 3})
    assert found.whole == ('mIoU', pytest.approx(100 * theirs.get()[1])) and found.total == 500 and found.images == 3


def test_most_confused_pairs():
    pairs = confused(COUNTS, NAMES, most=100)
    found = {(pair.label, pair.predicted): (pair.number, pair.of) for pair in pairs}
    assert found == {(NAMES[row], NAMES[column]): (COUNTS[row, column], COUNTS[row].sum())
                     for row in range(6) for column in range(6) if row != column and COUNTS[row, column]}
    numbers = [pair.number for pair in pairs]
    assert numbers == sorted(numbers, reverse=True) and [pair.number for pair in confused(COUNTS, NAMES, 3)] == numbers[:3]
    assert str(pairs[0]) == f'{pairs[0].label} → {pairs[0].predicted}: {pairs[0].number} of {pairs[0].of}'
    assert confused(confusion_matrix(LABELS, LABELS), NAMES) == []


def test_the_picture():
    picture = draw_classes('a run', images(names=NAMES + ['never seen']))
    assert_readable(picture)
    accuracy, pairs = picture.figure.axes
    percent = 100 * recall_score(LABELS, PREDICTED, average=None)
    order = np.argsort(percent)
    assert [text.get_text() for text in accuracy.get_yticklabels()] == [NAMES[number] for number in order]
    assert [bar.get_width() for bar in accuracy.patches] == pytest.approx(percent[order])
    assert f'{100 * (LABELS == PREDICTED).mean():.2f}' in accuracy.get_title(loc='left')
    assert len(pairs.patches) == 10 and picture.text.startswith(str(confused(COUNTS, NAMES)[0]))


def test_the_picture_of_pixels():
    picture = draw_classes('a run', of_pixels({'counts': 1000 * COUNTS, 'classes': NAMES, 'num_images': 3}))
    assert_readable(picture)
    ious, pairs = picture.figure.axes
    assert [bar.get_width() for bar in ious.patches] == pytest.approx(sorted(class_ious(COUNTS)))
    assert ious.get_title(loc='left').startswith('IoU of each class (%); dashed: mIoU')
    first = confused(COUNTS, NAMES)[0]
    assert pairs.patches[0].get_width() == pytest.approx(100 * first.number / 500)
    assert f'{100 * first.number / first.of:.0f} % of it' in [text.get_text() for text in pairs.texts]
    assert f'{first.label} → {first.predicted}: {1000 * first.number} of {1000 * first.of}' in picture.text


def test_the_picture_of_a_detector():
    found = Figures('AP', tuple(NAMES), np.array([50.0, np.nan, 3.25, 80.0, 99.0, 0.0]), ('mAP', 46.45), 9)
    picture = draw_classes('a run', found)
    assert_readable(picture)
    (axes,) = picture.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.0, 3.25, 50.0, 80.0, 99.0] and 'mAP, 46.45' in axes.get_title(loc='left')
    assert picture.text.startswith('stingray: 0.00; great white shark: 3.25; tench: 50.00') and 'goldfish' not in picture.text


def test_of_many_classes_the_worst_are_named():
    rng = np.random.RandomState(3)
    labels = rng.randint(200, size=4000)
    predicted = np.where(rng.rand(4000) < labels / 200, labels, (labels + 1) % 200)
    found = images(labels, predicted, [f'class with a long name {number}' for number in range(200)])
    for each in (found, of_pixels({'counts': count(labels, predicted, 200), 'classes': found.names, 'num_images': 1}),
                 Figures('AP', found.names, found.percent, ('mAP', 49.7), 1)):
        picture = draw_classes('a run', each)
        assert_readable(picture)
        assert len(picture.figure.axes[0].patches) == 30
        assert picture.figure.axes[0].get_title(loc='left').startswith(f'{each.measure}: 30 worst of 200 (%)')


def test_nothing_confused():
    picture = draw_classes('a run', images(predicted=LABELS))
    assert len(picture.figure.axes) == 1 and 'no image' in picture.text
    assert_readable(picture)
