"""What a network confuses: a figure of each class, and the most confused pairs.

Classifiers have the accuracy of each class, over images; segmentation networks its IoU, over pixels; detectors its
average precision, and no pairs: of a box that meets no object nobody can say what it was taken for.
"""
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from gluon_tricks.pictures.picture import WIDTH, Canvas, Picture, look, shown, style, width_of

_NAMED = 30  # classes that are drawn by name; of more, the worst
_MOST = 10   # confused pairs


@dataclass(frozen=True)
class Pair:
    """Images, or pixels, of one class that were taken for another: names, and how many of how many."""

    label: str
    predicted: str
    number: int
    of: int

    def __str__(self) -> str:
        return f'{self.label} → {self.predicted}: {self.number} of {self.of}'


@dataclass(frozen=True)
class Figures:
    """Figures of the classes of one network.

    measure: what they are; names of the classes; percent: (K,), NaN where there is none. whole: (name, percent) of the
    figure of all. pairs: the most confused, of `total` images or pixels (unit); () where they are not known. images:
    that were looked at.
    """

    measure: str
    names: Tuple[str, ...]
    percent: np.ndarray
    whole: Tuple[str, float]
    images: int
    pairs: Tuple[Pair, ...] = ()
    total: int = 0
    unit: str = 'images'

    @property
    def there(self) -> List[int]:
        """The classes that have a figure, the worst first."""
        return [number for number in np.argsort(self.percent, kind='stable').tolist()
                if not np.isnan(self.percent[number])]


def count(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) images by label and prediction, of (N,) labels and predictions."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_accuracies(counts: np.ndarray) -> np.ndarray:
    """(K,) accuracy in percent, of (K, K) counts by label and prediction; NaN for a class without images."""
    with np.errstate(invalid='ignore'):
        return 100 * np.diag(counts) / counts.sum(axis=1)


def class_ious(counts: np.ndarray) -> np.ndarray:
    """(K,) intersection over union in percent, of (K, K) pixels by label and prediction.

    NaN for a class that is neither there nor predicted, which counts as 0 in GluonCV's mean.
    """
    with np.errstate(invalid='ignore'):
        return 100 * np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts))


def confused(counts: np.ndarray, names: Sequence[str], most: int = _MOST) -> List[Pair]:
    """The pairs (label, prediction) with the most counts of (K, K), the first of equals by their numbers."""
    of, wrong = counts.sum(axis=1), counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind='stable')[:most]
    pairs = zip(*np.unravel_index(order, wrong.shape))
    return [Pair(names[label], names[predicted], int(wrong[label, predicted]), int(of[label]))
            for label, predicted in pairs if wrong[label, predicted]]


def of_images(found: Dict[str, Any]) -> Figures:
    """Of a classifier: tasks.classification.trained.validation's arrays and class names."""
    names, labels, predicted = found['classes'], found['labels'], found['predicted']
    counts = count(labels, predicted, len(names))
    top1 = 100 * float((labels == predicted).mean())
    return Figures('accuracy', tuple(names), class_accuracies(counts), ('top-1', top1), len(labels),
                   tuple(confused(counts, names)), len(labels))


def of_pixels(found: Dict[str, Any]) -> Figures:
    """Of a segmentation network: tasks.segmentation.trained.validation's counts and class names."""
    names, counts = found['classes'], found['counts']
    ious = class_ious(counts)
    return Figures('IoU', tuple(names), ious, ('mIoU', float(np.nan_to_num(ious).mean())), found['num_images'],
                   tuple(confused(counts, names)), int(counts.sum()), 'pixels')


def draw_classes(name: str, found: Figures) -> Picture:
    """A Picture of the figure of each class, the worst where they are many, and of the most confused pairs."""
    there = found.there
    rows = [(shown(found.names[number]), found.percent[number], f'{found.percent[number]:.0f}')
            for number in there[:_NAMED]]
    confusions = [(f'{shown(pair.label, 13)} → {shown(pair.predicted, 13)}', *_length(found, pair))
                  for pair in found.pairs]
    with style():
        left, right = 4 + width_of([row[0] for row in rows + confusions]), 13 if found.unit == 'images' else 16
        canvas = Canvas([3.4 * len(part) + 2 for part in (rows, confusions) if part], left=left, right=right, gap=12)
        edge = (2 - left) / (WIDTH - left - right)  # of the picture, for the titles
        axes = canvas.axes[0]
        _bars(axes, rows, look(0)['color'])
        axes.set_xlim(0, 100)
        axes.axvline(found.whole[1], color='black', linewidth=0.8, linestyle='--')
        which = (f'{found.measure} of each class' if len(there) <= _NAMED else
                 f'{found.measure}: {_NAMED} worst of {len(there)}')
        axes.set_title(f'{which} (%); dashed: {found.whole[0]}, {found.whole[1]:.2f}', x=edge)
        if confusions:
            _bars(canvas.axes[1], confusions, look(1)['color'])
            pixels = found.unit == 'pixels'
            canvas.axes[1].set_title('most confused (label → prediction), ' + (
                '% of pixels' if pixels else 'images'), x=edge)
            locator: Any = canvas.axes[1].xaxis.get_major_locator()
            locator.set_params(integer=not pixels)
    return canvas.done(f'Classes of {name}', '; '.join(_words(found)))


def _length(found: Figures, pair: Pair) -> Tuple[float, str]:
    """(length of a pair's bar, words at its end)."""
    if found.unit == 'images':
        return pair.number, f'{pair.number} of {pair.of}'
    share = 100 * pair.number / pair.of
    return 100 * pair.number / found.total, ('<1' if share < 0.5 else f'{share:.0f}') + ' % of it'


def _words(found: Figures) -> List[str]:
    """What a picture shows: of classifiers the pairs alone, whose classes may be a thousand."""
    words = list(map(str, found.pairs))
    if found.measure == 'accuracy':
        return words or ['no image was taken for another class']
    return [f'{found.names[number]}: {found.percent[number]:.2f}' for number in found.there[:_NAMED]] + words


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
