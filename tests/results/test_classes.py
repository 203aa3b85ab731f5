import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score

from gluon_tricks.results.classes import class_accuracies, confused, draw_classes
from support.pictures import assert_readable

LABELS = np.random.RandomState(0).randint(6, size=500)
PREDICTED = np.where(np.random.RandomState(1).rand(500) < 0.7, LABELS, np.random.RandomState(2).randint(6, size=500))
NAMES = ['tench', 'goldfish', 'great white shark', 'tiger shark', 'hammerhead', 'stingray']


def test_accuracy_of_each_class():
    percent, images = class_accuracies(LABELS, PREDICTED, 7)
    assert percent[:6] == pytest.approx(100 * recall_score(LABELS, PREDICTED, average=None))
    assert np.isnan(percent[6]) and images.tolist() == np.bincount(LABELS).tolist() + [0]


def test_most_confused_pairs():
    matrix = confusion_matrix(LABELS, PREDICTED)
    pairs = confused(LABELS, PREDICTED, NAMES, most=100)
    found = {(pair.label, pair.predicted): (pair.images, pair.of) for pair in pairs}
    assert found == {(NAMES[row], NAMES[column]): (matrix[row, column], matrix[row].sum())
                     for row in range(6) for column in range(6) if row != column and matrix[row, column]}
    images = [pair.images for pair in pairs]
    assert images == sorted(images, reverse=True) and [pair.images for pair in confused(LABELS, PREDICTED, NAMES, 3)] == images[:3]
    assert str(pairs[0]) == f'{pairs[0].label} → {pairs[0].predicted}: {pairs[0].images} of {pairs[0].of}'
    assert confused(LABELS, LABELS, NAMES) == []


def test_the_picture():
    picture = draw_classes('a run', {'labels': LABELS, 'predicted': PREDICTED, 'classes': NAMES + ['never seen']})
    assert_readable(picture)
    accuracy, pairs = picture.figure.axes
    percent = 100 * recall_score(LABELS, PREDICTED, average=None)
    order = np.argsort(percent)
    assert [text.get_text() for text in accuracy.get_yticklabels()] == [NAMES[number] for number in order]
    assert [bar.get_width() for bar in accuracy.patches] == pytest.approx(percent[order])
    assert f'{100 * (LABELS == PREDICTED).mean():.2f}' in accuracy.get_title(loc='left')
    assert len(pairs.patches) == 10 and picture.text.startswith(str(confused(LABELS, PREDICTED, NAMES)[0]))


def test_of_many_classes_the_worst_are_named():
    rng = np.random.RandomState(3)
    labels = rng.randint(200, size=4000)
    predicted = np.where(rng.rand(4000) < labels / 200, labels, (labels + 1) % 200)
    picture = draw_classes('a run', {'labels': labels, 'predicted': predicted,
                                     'classes': [f'class with a long name {number}' for number in range(200)]})
    assert_readable(picture)
    assert len(picture.figure.axes[0].patches) == 30
    assert picture.figure.axes[0].get_title(loc='left').startswith('30 worst of 200 classes (%)')


def test_nothing_confused():
    picture = draw_classes('a run', {'labels': LABELS, 'predicted': LABELS, 'classes': NAMES})
    assert len(picture.figure.axes) == 1 and 'no image' in picture.text
    assert_readable(picture)
