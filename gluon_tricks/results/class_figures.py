"""The figures of each class of a run: what its log says of its best epoch, or what its network says of the images."""
import math
from typing import Any, Dict, Sequence

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.results.classes import Figures, of_images, of_pixels
from gluon_tricks.results.records import FIGURES, Record
from gluon_tricks.tasks.classification.trained import validation as images
from gluon_tricks.tasks.segmentation.trained import validation as pixels


def of_run(record: Record, devices: Sequence[Any], look: bool = True) -> Figures:
    """The Figures of a run's best checkpoint. Raises UsageError where they cannot be had.

    A detector's are those of its log. look: whether a classifier, or a segmentation network, looks at its validation
    images again; else a segmentation network's are those of its log, without pairs.
    """
    if record.task == 'classification':
        return of_images(images(record.path, list(devices)))
    if record.task == 'segmentation' and look:
        return of_pixels(pixels(record.path, list(devices)))
    return of_log(record)


def of_log(record: Record) -> Figures:
    """The Figures that log.jsonl has of a detector's, or a segmentation network's, best epoch."""
    told = [event.get('validation') for event in record.epochs if event.get('epoch') == record.best['epoch']]
    found = told[-1] if told and isinstance(told[-1], dict) else {}
    metric = next(iter(FIGURES[record.task]))
    figures = _detector(found) if record.task == 'detection' else _segments(record, found)
    values = [value for value in figures.values() if not math.isnan(value)]
    if not values or abs(sum(values) / len(values) - record.best[metric]) > 1e-6:
        raise UsageError(f'log.jsonl does not give the figures of the classes behind its best {metric}')
    measure, mean = ('AP', 'mAP') if record.task == 'detection' else ('IoU', 'mIoU')
    return Figures(measure, tuple(figures), np.array(list(figures.values())), (mean, record.best[metric]),
                   record.num_images)


def _detector(found: Dict[str, Any]) -> Dict[str, float]:
    """{class: AP in percent} of a line of the log, {} for what is none."""
    told = found.get('ap') if isinstance(found.get('ap'), dict) else {}
    return {name: float(value) for name, value in told.items() if _is_figure(value, 100)}


def _segments(record: Record, found: Dict[str, Any]) -> Dict[str, float]:
    """{class: IoU in percent} of a line of the log, {} for what is none."""
    told, names = found.get('class_iou'), record.classes
    if not isinstance(told, list) or names is None or not len(told) == len(names) == len(set(names)):
        return {}
    return {name: 100 * float(value) for name, value in zip(names, told) if _is_figure(value, 1)}


def _is_figure(value: Any, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most + 1e-9
