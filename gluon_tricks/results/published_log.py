"""GluonCV's training logs, read: those of train_imagenet.py (2018 and later) and of train_faster_rcnn.py.

Its published logs are one run each (dmlc/web-data, gluoncv/logs); their validation figures are those of GluonCV's
script, which counts some images twice or not at all (docs/differences.md). Our own logs have the same lines.
"""
import ast
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Match, Tuple

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file
from gluon_tricks.tasks.gluoncv_log import ClassificationLog, DetectionLog
from gluon_tricks.training.history import History, columns, drop_from

_NUMBER = r'([\d.eE+-]+|nan|inf)'
_PAIR = re.compile(r'([\w-]+)=' + _NUMBER)
_LINES = [(kind, task, re.compile(expression)) for kind, task, expression in (
    ('batch', 'classification', r'Epoch\[(\d{1,9})\] Batch \[(\d{1,9})\]\tSpeed: ' + _NUMBER + r' samples/sec\t(.*)'),
    ('train', 'classification', r'\[Epoch (\d{1,9})\] training: (.*)'),
    ('speed', 'classification', r'\[Epoch (\d{1,9})\] speed: ' + _NUMBER + r' samples/sec\ttime cost: ' + _NUMBER),
    ('errors', 'classification', r'\[Epoch (\d{1,9})\] validation: err-top1=(\d\.\d{6}) err-top5=(\d\.\d{6})'),
    ('batch', 'detection', r'\[Epoch (\d{1,9})\]\[Batch (\d{1,9})\], Speed: ' + _NUMBER + r' samples/sec, (.*)'),
    ('cost', 'detection', r'\[Epoch (\d{1,9})\] Training cost: ' + _NUMBER + ', (.*)'),
    ('validation', 'detection', r'\[Epoch (\d{1,9})\] Validation: '),
    ('map', 'detection', r'mAP=' + _NUMBER),
    ('rate', 'detection', r'\[Epoch (\d{1,9})\] Set learning rate to ' + _NUMBER))]
HEADLINE = {'classification': ClassificationLog.headline, 'detection': DetectionLog.headline}

_DATA = {'classification': 'ImageNet', 'detection': 'VOC'}  # of GluonCV's published logs


@dataclass(frozen=True, eq=False)
class PublishedLog(History):
    """What a log tells: the options of its run, its figures an epoch and a log interval, in the columns of a run's own.

    epochs: epoch, lr (of its last log line), speed (images/s), time (s), train_NAME, val_NAME: val_top1, val_top5,
    val_map_voc07 in percent. updates: epoch, batch (updates of the epoch that are done), lr, speed, and the figures of
    the line.
    """

    path: str = ''
    task: str = ''
    options: Dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> Dict[str, Any]:
        """The validation figures of the last epoch that has any, and the epoch."""
        return self._validation(lambda headline: len(headline) - 1)

    @property
    def best(self) -> Dict[str, Any]:
        """The validation figures of the epoch with the highest headline figure, the first of equals, and the epoch."""
        return self._validation(np.argmax)

    def _validation(self, choose: Any) -> Dict[str, Any]:
        headline = self.epochs['val_' + HEADLINE[self.task]]
        (rows,) = np.nonzero(np.isfinite(headline))
        row = rows[choose(headline[rows])]
        figures = {name[len('val_'):]: float(values[row]) for name, values in self.epochs.items()
                   if name.startswith('val_')}
        return dict(figures, epoch=int(self.epochs['epoch'][row]))


def read_log(path: str) -> PublishedLog:
    """The PublishedLog in a file; of several starts the last counts, and continues the one before after a resume.

    A line that is damaged, or of nobody's form, is passed over. Raises UsageError for a file that cannot be read, and
    for one without the validation of an epoch.
    """
    try:
        with open_file(os.path.expanduser(path)) as stream:
            reader = _Reader()
            for line in stream:
                reader.take(line.decode('utf-8', 'replace').rstrip('\r\n'))
    except OSError as error:
        raise UsageError(f'{path} cannot be read ({error.strerror}): give a training log of GluonCV') from error
    return reader.result(path)


class _Reader:
    """What the lines so far tell."""

    def __init__(self) -> None:
        self.task, self.rate, self.validated = '', np.nan, -1
        self.options: Dict[str, Any] = {}
        self.epochs: List[Tuple[int, Dict[str, float]]] = []
        self.updates: List[Tuple[Tuple[int, int], Dict[str, float]]] = []

    def take(self, line: str) -> None:
        if line.startswith('Namespace('):
            self.options = _options(line)
            rate: Any = self.options.get('lr')
            self.rate = float(rate) if type(rate) in (int, float) else np.nan
            return
        for kind, task, expression in _LINES:
            found = expression.match(line)
            if found and self.task in ('', task):
                try:
                    getattr(self, '_' + kind)(found)
                except ValueError:  # the line was torn inside a number, or belongs to none before it
                    return
                self.task = task

    def _row(self, found: Match[str]) -> Dict[str, float]:
        """The figures of the epoch that a line names, so far."""
        number = int(found.group(1))
        if not self.epochs or self.epochs[-1][0] != number:
            drop_from(self.epochs, number)
            self.epochs.append((number, {'epoch': number, 'lr': self.rate}))
        return self.epochs[-1][1]

    def _batch(self, found: Match[str]) -> None:
        place, figures = (int(found.group(1)), int(found.group(2))), _pairs(found.group(4))
        speed = float(found.group(3))
        if self.updates and place <= self.updates[-1][0]:  # the epoch is trained again
            drop_from(self.updates, place)
            drop_from(self.epochs, place[0])
        self.rate = figures.pop('lr', self.rate)
        self.updates.append((place, {'epoch': place[0], 'batch': place[1], 'lr': self.rate, 'speed': speed, **figures}))
        self._row(found)['lr'] = self.rate

    def _train(self, found: Match[str]) -> None:
        self._row(found).update({'train_' + name: value for name, value in _pairs(found.group(2)).items()})

    def _speed(self, found: Match[str]) -> None:
        self._row(found).update(speed=float(found.group(2)), time=float(found.group(3)))

    def _cost(self, found: Match[str]) -> None:
        self._row(found).update({'time': float(found.group(2)),
                                 **{'train_' + name: value for name, value in _pairs(found.group(3)).items()}})

    def _errors(self, found: Match[str]) -> None:
        top1, top5 = (100 * (1 - float(error)) for error in found.groups()[1:])
        self._row(found).update(val_top1=top1, val_top5=top5)

    def _validation(self, found: Match[str]) -> None:
        self.validated = int(found.group(1))

    def _map(self, found: Match[str]) -> None:
        if not self.epochs or self.epochs[-1][0] != self.validated:
            raise ValueError('a figure of no epoch')
        self.epochs[-1][1]['val_map_voc07'] = 100 * float(found.group(1))

    def _rate(self, found: Match[str]) -> None:
        self.rate = float(found.group(2))

    def result(self, path: str) -> PublishedLog:
        rows, first = [row for _, row in self.updates], min([row['batch'] for _, row in self.updates], default=0)
        if first + 1 == self.options.get('log_interval'):  # the script counts batches from 0
            rows = [dict(row, batch=row['batch'] + 1) for row in rows]
        epochs = columns([row for _, row in self.epochs], ('epoch', 'lr', 'speed', 'time'))
        if not np.isfinite(epochs.get('val_' + HEADLINE.get(self.task, ''), np.nan)).any():
            raise UsageError(f'{path} has no validation line of GluonCV\'s train_imagenet.py or train_faster_rcnn.py: '
                             'give the log of such a training')
        name = os.path.splitext(os.path.basename(path))[0]
        data = '' if 'num_classes' in self.options else _DATA[self.task]  # our own logs name their classes
        return PublishedLog(name, epochs, columns(rows, ('epoch', 'batch')), data, path, self.task, self.options)


def _pairs(text: str) -> Dict[str, float]:
    return {name: float(value) for name, value in _PAIR.findall(text)}


def _options(line: str) -> Dict[str, Any]:
    """The options of a line Namespace(name=value, ...), {} for one that was torn."""
    try:
        call = ast.parse(line.strip(), mode='eval').body
        return {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}  # type: ignore
    except (SyntaxError, ValueError, AttributeError, RecursionError, MemoryError):
        return {}
