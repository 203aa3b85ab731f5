"""What a classifier confuses: accuracy of each class, and the most confused pairs."""
from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np

from gluon_tricks.pictures.picture import WIDTH, Canvas, Picture, look, shown, style, width_of

_NAMED = 30  # classes that are drawn by name; of more, the worst


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another: names, and how many of how many."""

    label: str
    predicted: str
    images: int
    of: int

    def __str__(self) -> str:
        return f'{self.label} → {self.predicted}: {self.images} of {self.of}'


def class_accuracies(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Tuple[np.ndarray, np.ndarray]:
    """((K,) accuracy in percent, NaN for a class without images; (K,) images), of (N,) labels and predictions."""
    images = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    with np.errstate(invalid='ignore'):
        return 100 * hits / images, images


def confused(labels: np.ndarray, predicted: np.ndarray, names: Sequence[str], most: int = 10) -> List[Pair]:
    """The pairs (label, prediction) with the most images, the first of equals by their numbers."""
    classes, images = len(names), np.bincount(labels, minlength=len(names))
    wrong = labels != predicted
    pairs, counts = np.unique(labels[wrong] * classes + predicted[wrong], return_counts=True)
    order = np.argsort(-counts, kind='stable')[:most]
    return [Pair(names[pair // classes], names[pair % classes], int(count), int(images[pair // classes]))
            for pair, count in zip(pairs[order].tolist(), counts[order])]


def draw_classes(name: str, found: Any) -> Picture:
    """A Picture of the accuracy of each class, the worst where they are many, and of the most confused pairs.

    found: tasks.classification.trained.validation's arrays and class names.
    """
    names, labels, predicted = found['classes'], found['labels'], found['predicted']
    percent, images = class_accuracies(labels, predicted, len(names))
    there = [number for number in np.argsort(percent, kind='stable') if images[number]][:_NAMED]
    pairs = confused(labels, predicted, names)
    rows = [(shown(names[number]), percent[number], f'{percent[number]:.0f}') for number in there]
    confusions = [(f'{shown(pair.label, 13)} → {shown(pair.predicted, 13)}', pair.images,
                   f'{pair.images} of {pair.of}') for pair in pairs]
    top1 = 100 * float((labels == predicted).mean())
    with style():
        left, right = 4 + width_of([row[0] for row in rows + confusions]), 13
        canvas = Canvas([3.4 * len(part) + 2 for part in (rows, confusions) if part], left=left, right=right, gap=12)
        edge = (2 - left) / (WIDTH - left - right)  # of the picture, for the titles
        axes = canvas.axes[0]
        _bars(axes, rows, look(0)['color'])
        axes.set_xlim(0, 100)
        axes.axvline(top1, color='black', linewidth=0.8, linestyle='--')
        number = (images > 0).sum()
        which = 'accuracy of each class' if len(there) == number else f'{len(there)} worst of {number} classes'
        axes.set_title(f'{which} (%); dashed: all, {top1:.2f}', x=edge)
        if confusions:
            _bars(canvas.axes[1], confusions, look(1)['color'])
            canvas.axes[1].set_title('most confused (label → prediction), images', x=edge)
            locator: Any = canvas.axes[1].xaxis.get_major_locator()
            locator.set_params(integer=True)
    return canvas.done(f'Classes of {name}', '; '.join(map(str, pairs)) or 'no image was taken for another class')


def _bars(axes: Any, rows: Sequence[Tuple[str, float, str]], colour: str) -> None:
    places = np.arange(len(rows))
    axes.barh(places, [row[1] for row in rows], height=0.62, color=colour)
    axes.set_yticks(places)
    axes.set_yticklabels([row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(left=False)
    axes.grid(False, axis='y')
    for place, (_, _, words) in zip(places, rows):
        axes.annotate(words, (1, place), (3, 0), xycoords=('axes fraction', 'data'), textcoords='offset points',
                      va='center', fontsize=7, annotation_clip=False)
