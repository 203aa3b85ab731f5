"""What a report holds: tables with their verdicts, runs with their curves, and what the networks do with images.

Runs that differ by their seed alone, or by what changes no number, are one group: one set of curves, one deviation.
"""
import dataclasses
import glob
import os
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from gluon_tricks.config.scales import DEMO
from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.curves import draw_curves, headline
from gluon_tricks.pictures.picture import Picture, names_of, printable
from gluon_tricks.results import checklist, examples, histories, printed
from gluon_tricks.results.comparison import Comparison, compare
from gluon_tricks.results.records import Record, records
from gluon_tricks.results.table import Table, build
from gluon_tricks.tasks.eval_results import protocol
from gluon_tricks.training.history import History, read_history

MOST_DRAWN = 18     # groups whose curves are drawn, as many as Table 6 has rows: each is 50 to 180 kB
_SEEDS = 5          # of a group whose curves are drawn, and listed
MOST_LOOKED = 8     # groups whose network looks at its validation images again
MOST_PICTURES = 12  # pictures of detectors and segmentation networks, of all groups
_OF_A_GROUP = 4     # of these
_EPOCHS = 11        # epochs whose figures are listed


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone.

    title: no other group's; names: of the runs. figures: of each epoch, of the runs that are listed. curves: None
    beyond MOST_DRAWN; classes: None where the images were not looked at; shown: the pictures that lie in
    SAVE_DIR/pictures. notes: sentences.
    """

    title: str
    records: Tuple[Record, ...]
    names: Tuple[str, ...]
    figures: Comparison
    curves: Optional[Picture] = None
    classes: Optional[examples.Classes] = None
    shown: Tuple[examples.Shown, ...] = ()
    notes: Tuple[str, ...] = ()

    @property
    def metrics(self) -> Tuple[str, ...]:
        return tuple(name for name in self.records[0].last if name != 'epoch')

    @property
    def facts(self) -> List[Tuple[str, str]]:
        """(what, words) of what was run."""
        first = self.records[0]
        options = first.config.to_dict()
        data = {part: facts or {} for part, facts in first.data.items()}
        images = [f'{data.get(part, {}).get("images", "?")} {words}'
                  for part, words in (('train', 'to train'), ('val', 'to validate'))]
        found = [('Rows', ', '.join(first.rows) or 'none: its options are those of no recipe'),
                 ('Network', network_of(first)),
                 ('Data', f'{options["data_dir"]}: {" and ".join(images)}; {histories.data_of(first)}'),
                 ('Epochs', str(options['num_epochs'])), ('Validation', protocol(first.config)),
                 ('Ran on', checklist.machine(first)), ('Started', str(first.facts.get('started', ''))[:40])]
        return [(what, words) for what, words in found if words]

    @property
    def data(self) -> str:
        """On what they were validated, in a word."""
        return histories.data_of(self.records[0])

    @property
    def commands(self) -> List[str]:
        """What runs each of them again, from the beginning and to another place."""
        return [record.config.replace(resume='', save_dir=record.config.save_dir.rstrip('/') + '-again').command()
                for record in self.records]

    def values(self, metric: str, which: str = 'last') -> np.ndarray:
        """(n,) percent after the last epoch, or the best one."""
        return np.array([getattr(record, which)[metric] for record in self.records])

    def spread(self, metric: str) -> str:
        """The deviation (n - 1) of the last epoch's figures in words, '' of one run."""
        values = self.values(metric)
        return f'{values.std(ddof=1):.2f}' if len(values) > 1 else ''

    @property
    def listed(self) -> List[Tuple[int, List[float]]]:
        """(epochs done, the figure of each run) of some epochs, the last one among them."""
        rows = np.unique(np.linspace(0, len(self.figures.epochs) - 1, _EPOCHS).round().astype(int))
        return [(int(self.figures.epochs[row]) + 1, self.figures.values[:, row].tolist()) for row in rows]


@dataclasses.dataclass(frozen=True)
class Report:
    """tables: those asked for, else as few as have a row for every run that is one; each says nothing of runs that are
    none of its rows. notes: sentences; left_out: (path, why) of what is no finished run."""

    tables: Tuple[Table, ...]
    groups: Tuple[Group, ...]
    notes: Tuple[str, ...]
    left_out: Tuple[Tuple[str, str], ...]

    @property
    def runs(self) -> int:
        return sum(len(group.records) for group in self.groups)

    @property
    def title(self) -> str:
        runs = f'{self.runs} run' + 's' * (self.runs != 1)
        tables = [f'Table {table.number}' if table.number != 'slides' else 'Slides' for table in self.tables]
        return ', '.join(tables + [runs] * bool(self.runs))


def report(paths: Sequence[str], numbers: Sequence[str] = (), look: bool = False,
           devices: Optional[Sequence[Any]] = None, scales: Iterable[Any] = (DEMO,)) -> Report:
    """The Report of SAVE_DIRs and of tables' numbers. Raises UsageError where neither is left.

    look: networks look at their validation images again, of whatever data; else at the demo's alone. devices: for that;
    None: all visible GPUs, else the CPU, found when the first network looks.
    """
    found, left_out = records(dict.fromkeys(paths), scales)
    told = {record.path: read_history(record.path, '', histories.data_of(record)) for record in found}
    left_out += [(record.path, 'log.jsonl begins anew after the last epoch') for record in found
                 if headline(told[record.path]) is None]
    found = [record for record in found if headline(told[record.path]) is not None]
    if not numbers:
        histories.need(found, left_out, 'report takes runs, or the number of a table')
    names = dict(zip((record.path for record in found), names_of([record.path for record in found])))
    looks = _Looks(look, devices)
    tables = [build(printed.get(number), found) for number in dict.fromkeys(numbers or _tables(found))]
    groups = _groups(found, [row.name for table in tables for row in table.rows])
    data = {record.data_digest for record in found}
    notes = [f'They are of {len(data)} sets of data: figures of different data are not comparable.'] * (len(data) > 1)
    return Report(tuple(dataclasses.replace(table, left_out=()) for table in tables),
                  tuple(_group(title, group, [dataclasses.replace(told[record.path], name=names[record.path])
                                       for record in group], number, looks)
                        for number, (title, group) in enumerate(zip(_titles(groups, tables, names), groups))),
                  tuple(notes), tuple(left_out))


def rows_in(table: Table) -> int:
    """How many runs are rows of a table."""
    return len({record.path for row in table.rows for record in row.runs})


def network_of(record: Record) -> str:
    """The network's name in the options of a run."""
    options = record.config.to_dict()
    return str(next(options[name] for name in ('backbone', 'network', 'model') if name in options))


def took(runs: Sequence[Record]) -> str:
    """What runs took together, in words."""
    hours, unit = sum(map(checklist.hours, runs)), checklist.unit(runs[0])
    return f'{hours:.3g} {unit}' if hours >= 1 else f'{60 * hours:.2g} {unit.replace("hours", "minutes")}'


def _groups(found: List[Record], rows: List[str]) -> List[List[Record]]:
    """Records that are the same training but for their seeds: in the order of these rows, the others after them."""
    groups: Dict[Any, List[Record]] = {}
    for record in found:
        fields = record.config.fields()
        free = {field.name: field.default for field in fields if field.metadata['free_on_resume']}
        same = record.config.replace(**dict(free, seed=0))
        groups.setdefault((same, record.data_digest), []).append(record)
    return sorted((sorted(group, key=lambda record: record.seed) for group in groups.values()),
                  key=lambda group: min([rows.index(name) for name in group[0].rows if name in rows] + [len(rows)]))


def _tables(found: List[Record]) -> List[str]:
    """The numbers of tables that have a row for each of the runs that are rows: the fewest, by taking the table that
    has most of those that are left."""
    rows = {number: {row.name for group in printed.groups(form).values() for row in group}
            for number, form in printed.TABLES.items()}
    chosen: List[str] = []
    left = [set(record.rows) for record in found]
    while True:
        number = max(rows, key=lambda number: sum(bool(names & rows[number]) for names in left))
        rest = [names for names in left if not names & rows[number]]
        if len(rest) == len(left):
            return [number for number in printed.TABLES if number in chosen]
        chosen, left = chosen + [number], rest


class _Looks:
    """How many groups were looked at, and how many pictures are shown."""

    def __init__(self, everything: bool, devices: Optional[Sequence[Any]]) -> None:
        self.everything, self._devices, self.groups, self.pictures = everything, devices, 0, 0

    @property
    def devices(self) -> Sequence[Any]:
        if self._devices is None:
            from gluon_tricks.distributed.devices import find_devices  # MXNet: a page without images does without
            self._devices = find_devices()
        return self._devices

    def classes(self, record: Record, notes: List[str]) -> Optional[examples.Classes]:
        """The figures of the classes, and what a network confuses; None where a classifier's images are not looked at.
        Why goes to the notes."""
        if record.task == 'classification' and not (self.everything or examples.may_be_demo(record)):
            notes.append('Its validation images were not looked at again: --look does, which takes as long as '
                         '`python -m gluon_tricks evaluate`.')
            return None
        if self.groups >= MOST_LOOKED:
            notes.append(f'Its validation images were not looked at again: a page does for {MOST_LOOKED} groups of '
                         'runs; `python -m gluon_tricks figure classes` does for each.')
            return None
        try:
            found = examples.look(record, self.devices, self.everything)
        except UsageError as error:
            notes.append(f'Its validation images could not be looked at again: {error}.' if record.task != 'detection'
                         else f'The figures of its classes are not known: {error}.')
            return None
        if record.task == 'segmentation' and not self.everything:
            notes.append('Which of its classes are confused is not known without its images: --look has it look at '
                         'them again.')
        self.groups += 1
        return found

    def shown(self, group: Sequence[Record], notes: List[str]) -> List[examples.Shown]:
        """Pictures that lie beside the runs of a detector or a segmentation network."""
        found: List[examples.Shown] = []
        for record in group if group[0].task != 'classification' else ():
            for path in sorted(glob.glob(os.path.join(glob.escape(record.path), 'pictures', '*.png'))):
                if len(found) == _OF_A_GROUP or self.pictures == MOST_PICTURES:
                    return found
                try:
                    found.append(examples.shown(path))
                    self.pictures += 1
                except UsageError as error:
                    notes.append(f'Left out: {error}.')
        return found


def _titles(groups: List[List[Record]], tables: List[Table], names: Dict[str, str]) -> List[str]:
    """Of each group the row that it is, of the tables on the page if it can be, else its network; and its only run, or
    how many they are; with a number where that is another group's title already."""
    shown, found = {row.name for table in tables for row in table.rows}, []
    seen: Dict[str, int] = {}
    for first, *others in groups:
        rows = [name for name in first.rows if name in shown] or list(first.rows) or [network_of(first)]
        title = f'{rows[0]}: {f"{1 + len(others)} seeds" if others else names[first.path]}'
        seen[title] = seen.get(title, 0) + 1
        found.append(title if seen[title] == 1 else f'{title} ({seen[title]})')
    return found


def _group(title: str, group: List[Record], told: List[History], number: int, looks: _Looks) -> Group:
    notes: List[str] = []
    names, told, curves = tuple(history.name for history in told), _by_seed(group, told)[:_SEEDS], None
    if number < MOST_DRAWN:
        curves = draw_curves(told, 'Curves')
        if len(group) > _SEEDS:
            notes.append(f'The curves are of the first {_SEEDS} runs.')
    else:
        notes.append(f'Its curves are not drawn: a page has those of {MOST_DRAWN} groups of runs; `python -m '
                     'gluon_tricks figure curves` draws them.')
    return Group(title, tuple(group), names, compare(told), curves, looks.classes(group[0], notes),
                 tuple(looks.shown(group, notes)), tuple(map(printable, notes)))


def _by_seed(group: List[Record], told: List[History]) -> List[History]:
    """The histories of runs, named by their seeds where those tell them apart."""
    if len(group) == 1 or len({record.seed for record in group}) < len(group):
        return told
    return [dataclasses.replace(history, name=f'seed {record.seed}') for record, history in zip(group, told)]
