"""What ``log.jsonl`` tells of a run: its events, and its figures as columns of equal length; and ``run.json``."""
import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Tuple

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file

Columns = Dict[str, np.ndarray]
_COUNTS = ('epoch', 'batch', 'update')  # whole numbers; the other columns are float64


@dataclass(frozen=True, eq=False)
class History:
    """The figures of one training, of whatever origin: its name, and `epochs` and `updates` as the functions of these
    names give them. data: on what it was validated, in a word; '' where that is not known."""

    name: str
    epochs: Columns
    updates: Columns
    data: str = ''


def read_history(save_dir: str, name: str, data: str = '') -> History:
    """The History of a run's directory. Raises UsageError."""
    events = read_events(save_dir)
    return History(name, epochs(events), updates(events), data)


def read_record(save_dir: str) -> Dict[str, Any]:
    """The content of SAVE_DIR/run.json, {} where there is none or it is damaged."""
    try:
        with open_file(os.path.join(save_dir, 'run.json')) as stream:
            found = json.loads(stream.read().decode())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_events(save_dir: str) -> List[Dict[str, Any]]:
    """The events of SAVE_DIR/log.jsonl in their order; a line that was torn is left out. Raises UsageError."""
    path, events = os.path.join(save_dir, 'log.jsonl'), []
    try:
        with open_file(path) as stream:
            for line in stream:
                try:
                    events.append(json.loads(line.decode('utf-8', 'replace')))
                except (ValueError, RecursionError):
                    continue
    except OSError as error:
        raise UsageError(f'{path} cannot be read ({error.strerror}): give the SAVE_DIR of a run') from error
    return [event for event in events if isinstance(event, dict)]


def counted(events: Iterable[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The events that count, in their order: of an epoch or a log interval that was trained again, after a resume or a
    rewind, as it was trained last; all others."""
    epochs: List[Tuple[int, int, Dict[str, Any]]] = []  # (place in the run, place in the log, event)
    updates: List[Tuple[int, int, Dict[str, Any]]] = []
    others: List[Tuple[int, int, Dict[str, Any]]] = []
    for line, event in enumerate(events):
        kind = event.get('event')
        number: Any = event.get('epoch')
        if kind not in ('batch', 'epoch'):
            others.append((0, line, event))
            continue
        if _is_place(number):
            drop_from(epochs, number)
            if kind == 'epoch':
                epochs.append((number, line, event))
        if kind == 'batch' and all(_is_place(event.get(name)) for name in _COUNTS):
            drop_from(updates, event['update'])
            updates.append((event['update'], line, event))
    return [event for _, _, event in sorted(epochs + updates + others, key=lambda row: row[1])]


def epochs(events: Iterable[Dict[str, Any]]) -> Columns:
    """Columns with one row an epoch, of those that count: epoch, lr (of its last update), speed (images/s), time (s),
    wait (share of the time), and each number of the training and the validation, as train_NAME and val_NAME; NaN where
    there is none."""
    return columns([_numbers(event) for event in counted(events) if event.get('event') == 'epoch'], ('epoch',))


def updates(events: Iterable[Dict[str, Any]]) -> Columns:
    """Columns with one row a log interval, of those that count: epoch, batch (updates of the epoch), update (of the
    run), lr, speed (images/s), wait (share of the time), and the training's figures over the interval, such as loss."""
    return columns([_numbers(event) for event in counted(events) if event.get('event') == 'batch'], _COUNTS)


def scalars(kind: str, values: Dict[str, Any]) -> List[Tuple[str, float]]:
    """The numbers of an event, as [(`kind/name`, number)]; those of a dict in it as `kind/dict/name`."""
    found: List[Tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += scalars(f'{kind}/{name}', value)
        elif _is_number(value):
            with contextlib.suppress(OverflowError):
                found.append((f'{kind}/{name}', float(value)))
    return found


def step_of(values: Dict[str, Any]) -> int:
    """The place of an event in the run: its update, else its epoch, else 0."""
    return next((values[name] for name in ('update', 'epoch') if _is_place(values.get(name))), 0)


def drop_from(rows: List[Any], place: Any) -> None:
    """Take from the end of [(place, row)], in the order of the places, those at this place and after it."""
    while rows and rows[-1][0] >= place:
        rows.pop()


def columns(rows: List[Dict[str, float]], first: Tuple[str, ...]) -> Columns:
    """{name: array} of rows {name: number}, NaN where a row lacks a name; the names in `first` are always there."""
    names = list(dict.fromkeys((*first, *(name for row in rows for name in row))))
    return {name: np.array([row.get(name, np.nan) for row in rows], 'int64' if name in _COUNTS else 'float64')
            for name in names}


def _numbers(event: Dict[str, Any]) -> Dict[str, float]:
    """The numbers of an event; those of the training and the validation of an epoch with train_ and val_ before."""
    found: Dict[str, float] = {}
    for part, prefix in ((event, ''), (event.get('train'), 'train_'), (event.get('validation'), 'val_')):
        for name, value in part.items() if isinstance(part, dict) else ():
            if _is_number(value) and name != 'time_stamp':
                with contextlib.suppress(OverflowError):
                    found[prefix + name] = float(value)
    return found


def _is_number(value: Any) -> bool:
    """Whether a value of an event is a number; one that is not finite is text there (`run_log.finite`)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) or value in ('nan', 'inf', '-inf')


def _is_place(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 40
