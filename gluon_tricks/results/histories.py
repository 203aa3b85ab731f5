"""The runs and the published logs that a command was given, as histories; what is left out, with its reason."""
import os
from dataclasses import replace
from typing import Iterable, List, Sequence, Tuple

from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.curves import ACCURACIES, headline
from gluon_tricks.pictures.picture import names_of
from gluon_tricks.results.published_log import PublishedLog, read_log
from gluon_tricks.results.records import Record, records
from gluon_tricks.training.history import History, read_history, read_record

LeftOut = List[Tuple[str, str]]  # (path, reason)


def read_histories(paths: Iterable[str], unfinished: bool = False) -> Tuple[List[History], LeftOut]:
    """(histories, what is left out) of the SAVE_DIRs of runs, in their order.

    unfinished: a run that has not ended, or did not end well, counts as far as its log.jsonl tells.
    """
    paths = list(dict.fromkeys(os.path.expanduser(path) for path in paths))
    found, left_out = records(paths)
    finished, reasons = {record.path: record for record in found}, dict(left_out)
    histories: List[History] = []
    others: LeftOut = []
    for path, name in zip(paths, names_of(paths)):
        try:
            if path in finished:
                histories.append(read_history(path, name, data_of(finished[path])))
            elif unfinished and read_record(path).get('status', 'finished') != 'finished':
                histories.append(read_history(path, f'{name} (unfinished)'))
            else:
                raise UsageError(reasons[path])
        except UsageError as error:
            others.append((path, str(error)))
    return histories, others


def data_of(record: Record) -> str:
    """On what a run was validated, in a word: the name of the data set, else a part of its digest."""
    digest = str((record.data.get('val') or {}).get('digest') or '')
    return record.dataset or digest and 'data ' + digest[:12]


def read_runs(paths: Iterable[str]) -> Tuple[List[Tuple[Record, History]], LeftOut]:
    """([(Record, History)] of the finished runs of any task, what is left out), in their order."""
    found, left_out = records(paths)
    return _with_histories(found), left_out


def read_classifiers(paths: Iterable[str]) -> Tuple[List[Tuple[Record, History]], LeftOut]:
    """`read_runs` of classifiers alone."""
    found, left_out = records(paths)
    left_out += [(record.path, f'it is a run of {record.task}, and this is of classifiers') for record in found
                 if record.task != 'classification']
    return _with_histories([record for record in found if record.task == 'classification']), left_out


def _with_histories(found: List[Record]) -> List[Tuple[Record, History]]:
    names = names_of([record.path for record in found])
    return [(record, read_history(record.path, name, data_of(record))) for record, name in zip(found, names)]


def read_logs(paths: Iterable[str], task: str = '') -> Tuple[List[PublishedLog], LeftOut]:
    """(published logs, what is left out), in their order; task: of that one alone."""
    logs: List[PublishedLog] = []
    left_out: LeftOut = []
    for path in dict.fromkeys(paths):
        try:
            log = read_log(path)
            if task not in ('', log.task):
                raise UsageError(f'it is a log of {log.task}, and this is of {task}')
            logs.append(log)
        except UsageError as error:
            left_out.append((path, str(error)))
    names = names_of([os.path.splitext(log.path)[0] for log in logs])
    return [replace(log, name=name) for log, name in zip(logs, names)], left_out


def with_rates(logs: Sequence[PublishedLog]) -> Tuple[List[PublishedLog], LeftOut]:
    """(those that tell the learning rates of a training on ImageNet, the others with a reason)."""
    kept = [log for log in logs if log.data == 'ImageNet' and 'lr' in log.updates]
    return kept, [(log.path, 'it tells no learning rates of a training on ImageNet') for log in logs if log not in kept]


def mixed(histories: Sequence[History]) -> List[str]:
    """One line where the figures of histories are of different data, [] where nothing tells that they are."""
    known = [history for history in histories if history.data]
    if len({history.data for history in known}) < 2:
        return []
    return ['not comparable, for they are of different data: '
            + ', '.join(f'{history.name} ({history.data})' for history in known)]


def of_one_kind(histories: Sequence[History]) -> Tuple[List[History], LeftOut]:
    """(those with the headline figure of the first, the others with a reason): the rest cannot be beside it."""
    kept: List[History] = []
    left_out: LeftOut = []
    wanted = headline(histories[0]) if histories else None
    for history in histories:
        if wanted is not None and headline(history) == wanted:
            kept.append(history)
        else:
            left_out.append((history.name, 'it has no validation' if wanted is None else
                             f'it has no {ACCURACIES[wanted][0]}, by which {histories[0].name} is judged'))
    return kept, left_out


def told(left_out: LeftOut) -> List[str]:
    """One line for each that is left out."""
    return [f'left out: {path}: {reason}' for path, reason in left_out]


def need(found: Sequence[object], left_out: LeftOut, what: str, number: int = 1) -> None:
    """Raise UsageError with the first reason where fewer than `number` are left."""
    if len(found) < number:
        why = f'; {left_out[0][0]} is left out: {left_out[0][1]}' if left_out else ''
        raise UsageError(f'{what}, and {len(found) or "none"} can be used{why}')
