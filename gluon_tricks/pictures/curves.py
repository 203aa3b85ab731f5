"""Curves of trainings over their epochs: loss, accuracy, learning rate, throughput, waiting for data."""
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.picture import Canvas, Picture, check_number, end_of, look, style
from gluon_tricks.training.history import Columns, History

# Column of the validation -> (its name, what makes percent of it): the first that a history has is its headline.
ACCURACIES = {'val_top1': ('top-1', 1), 'val_map_voc07': ('mAP', 1), 'val_miou': ('mean IoU', 100)}
# Columns of the training's accuracy, 0 to 1.
_TRAINED = ('train_accuracy', 'train_mix_acc', 'train_pix_acc')
EPOCHS = 'epochs done'

Line = Tuple[np.ndarray, np.ndarray]


def headline(history: History) -> Optional[str]:
    """The column of a history by which its epochs are judged, None without validation."""
    return next((name for name in ACCURACIES if np.isfinite(history.epochs.get(name, np.nan)).any()), None)


def accuracy(history: History) -> Line:
    """(epochs done, the headline figure in percent), both empty without validation."""
    name = headline(history)
    if name is None:
        return np.zeros(0), np.zeros(0)
    values = history.epochs[name] * ACCURACIES[name][1]
    there = np.isfinite(values)
    return history.epochs['epoch'][there] + 1.0, values[there]


def rates(history: History) -> Line:
    """(epochs done, the learning rate), at each line of the log; else at the end of each epoch."""
    columns = history.updates
    if len(columns['epoch']) and 'lr' in columns:
        return columns['epoch'] + columns['batch'] / max(columns['batch'].max(), 1), columns['lr']
    return _epochs(history.epochs, 'lr')


def _epochs(columns: Columns, name: str, factor: float = 1.0) -> Line:
    values = columns.get(name, np.full(len(columns['epoch']), np.nan)) * factor
    return columns['epoch'] + 1.0, values


class _Panel(NamedTuple):
    label: str
    validation: Callable[[History], Line]           # a full line
    training: Callable[[History], Optional[Line]]   # a thin, dotted one


def _trained(history: History) -> Optional[Line]:
    name = next((name for name in _TRAINED if name in history.epochs), None)
    return None if name is None else _epochs(history.epochs, name, 100.0)


def panels(histories: Sequence[History]) -> List[_Panel]:
    """The panels for which any of the histories has a figure."""
    kinds = list(dict.fromkeys(ACCURACIES[name][0] for name in map(headline, histories) if name))
    found = [_Panel('loss (nats)', lambda history: _epochs(history.epochs, 'val_loss'),
                    lambda history: _epochs(history.epochs, 'train_loss')),
             _Panel(f'{" or ".join(kinds)} (%)', accuracy, _trained),
             _Panel('learning rate', rates, lambda history: None),
             _Panel('images per second', lambda history: _epochs(history.epochs, 'speed'), lambda history: None),
             _Panel('waiting for data (% of the time)', lambda history: _epochs(history.epochs, 'wait', 100.0),
                    lambda history: None)]
    return [panel for panel in found if any(_is_there(line) for history in histories
                                            for line in (panel.validation(history), panel.training(history)))]


def _is_there(line: Optional[Line]) -> bool:
    return line is not None and bool(np.isfinite(line[1]).any())


def draw_curves(histories: Sequence[History], title: str = 'Curves') -> Picture:
    """A Picture of the curves of histories over their epochs, one panel a figure.

    Full lines are the validation, thin dotted ones the training. Raises UsageError where there is nothing to draw.
    """
    check_number(len(histories), 'histories')
    chosen = panels(histories)
    if not chosen:
        raise UsageError('there is no finished epoch to draw: wait for the first one')
    names = [history.name for history in histories]
    with style():
        canvas = Canvas([22.0] * len(chosen), names)
        for panel, axes in zip(chosen, canvas.axes):
            _draw(canvas, axes, panel, histories)
        canvas.share_x(EPOCHS)
    return canvas.done(title, f'{title} of {", ".join(names)}, over {EPOCHS}: '
                       + ', '.join(panel.label for panel in chosen))


def _draw(canvas: Canvas, axes: Any, panel: _Panel, histories: Sequence[History]) -> None:
    ends: List[Tuple[str, float, str]] = []
    both: Set[str] = set()
    for number, history in enumerate(histories):
        validation, training = panel.validation(history), panel.training(history)
        kind = look(number)
        if _is_there(validation):
            axes.plot(*validation, **_mark(validation, kind))
            ends.append((canvas.names[number], end_of(validation[1]), kind['color']))
            both.add('validation')
        if training is not None and _is_there(training):
            axes.plot(*training, **_mark(training, {**kind, 'linestyle': (0, (1, 1.2)), 'linewidth': 0.8}))
            both.add('training')
    if panel.label.startswith(('images', 'waiting')):
        axes.set_ylim(bottom=0)
    axes.set_title(panel.label + (': full line validation, dotted training' if len(both) == 2 else ''))
    if canvas.at_ends:
        canvas.name_lines(axes, ends)


def _mark(line: Line, kind: Dict[str, Any]) -> Dict[str, Any]:
    """A line of a single point is drawn as a dot."""
    return dict(kind, marker='o', markersize=2.5) if np.isfinite(line[1]).sum() == 1 else kind
