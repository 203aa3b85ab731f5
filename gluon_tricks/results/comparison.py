"""Trainings beside each other, epoch by epoch: their headline figure on the validation data.

A published log is one run: how far another may lie from it by chance is not known, so that nothing here judges.
"""
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

import numpy as np

from gluon_tricks.pictures.curves import ACCURACIES, EPOCHS, accuracy, headline
from gluon_tricks.pictures.picture import Canvas, Picture, check_number, end_of, look, shown, style
from gluon_tricks.training.history import History

_BESIDE = 3  # as many columns have room beside the first one's


@dataclass(frozen=True, eq=False)
class Comparison:
    """Histories with one headline figure. epochs: their numbers, from 0, as in the logs; values: of each history its
    figure in percent after these epochs, NaN where it has none."""

    figure: str
    histories: List[History]
    epochs: np.ndarray
    values: np.ndarray

    @property
    def letters(self) -> List[str]:
        return [chr(ord('A') + number) for number in range(len(self.histories))]

    def to_dict(self) -> Dict[str, Any]:
        """Plain JSON values, None for what is not there."""
        return {'figure': self.figure, 'unit': 'percent', 'histories': [
            {'name': history.name, 'last': _plain(_last(values)), 'best': _plain(_best(values)), 'values': [
                {'epoch': int(epoch), 'value': value} for epoch, value in zip(self.epochs, map(_plain, values))
                if value is not None]} for history, values in zip(self.histories, self.values)]}

    def lines(self, every: int = 1) -> List[str]:
        """The table, at most 80 columns wide: every so many epochs, the last one, and the best."""
        told = [f'{letter}  {shown(history.name, 77)}' for letter, history in zip(self.letters, self.histories)]
        told.append(f'{self.figure} (%) on the validation data after each epoch, counted from 0')
        beside = range(1, len(self.histories))
        for first in range(0, max(len(beside), 1), _BESIDE):
            told += [''] + self._block(list(beside[first:first + _BESIDE]), every)
        return told

    def _block(self, beside: List[int], every: int) -> List[str]:
        lines = ['epoch' + f'{"A":>9}' + ''.join(f'{self.letters[number]:>9}{self.letters[number] + " - A":>9}'
                                                 for number in beside)]
        rows = [(str(epoch), self.values[:, row]) for row, epoch in enumerate(self.epochs)
                if epoch % every == 0 or row == len(self.epochs) - 1]
        for name, choose in (('last', _last), ('best', _best)):
            rows.append((name, np.array([choose(values) for values in self.values])))
        for name, values in rows:
            lines.append(f'{name:>5}{_cell(values[0])}' + ''.join(
                _cell(values[number]) + _cell(values[number] - values[0], '+') for number in beside))
        return lines


def compare(histories: Sequence[History]) -> Comparison:
    """The Comparison of histories that have the headline figure of the first; see `histories.of_one_kind`."""
    check_number(len(histories), 'runs and logs')
    name = headline(histories[0])
    assert name is not None
    lines = [accuracy(history) for history in histories]
    epochs = np.unique(np.concatenate([done for done, _ in lines])).astype('int64') - 1
    values = np.full((len(lines), len(epochs)), np.nan)
    for row, (done, figures) in zip(values, lines):
        row[np.searchsorted(epochs, done.astype('int64') - 1)] = figures
    return Comparison(ACCURACIES[name][0], list(histories), epochs, values)


def draw_comparison(found: Comparison) -> Picture:
    """A Picture of a Comparison: the figures, and their differences to the first one's."""
    names = [history.name for history in found.histories]
    with style():
        canvas = Canvas([36.0] + [26.0] * (len(names) > 1), names)
        for axes, values in zip(canvas.axes, (found.values, found.values - found.values[0])):
            ends = []
            for number, row in enumerate(values):
                there = np.isfinite(row)
                alone: Dict[str, Any] = {'marker': 'o', 'markersize': 2.5} if there.sum() == 1 else {}
                axes.plot(found.epochs[there] + 1, row[there], **look(number), **alone)
                ends.append((canvas.names[number], end_of(row), look(number)['color']))
            if canvas.at_ends:
                canvas.name_lines(axes, ends)
        canvas.axes[0].set_title(f'{found.figure} on the validation data (%)')
        if len(names) > 1:
            canvas.axes[1].set_title(f'difference to {shown(names[0], 14)} (points)')
        canvas.share_x(EPOCHS)
    return canvas.done(f'{found.figure} of {", ".join(names)}', '; '.join(
        f'{name}: last {_last(row):.2f} %, best {_best(row):.2f} %' for name, row in zip(names, found.values)))


def _last(values: np.ndarray) -> float:
    return end_of(values)


def _best(values: np.ndarray) -> float:
    return float(np.nanmax(values))


def _plain(value: float) -> Any:
    return float(value) if np.isfinite(value) else None


def _cell(value: float, sign: str = '') -> str:
    return f'{value:{sign}9.2f}' if np.isfinite(value) else f'{"-":>9}'
