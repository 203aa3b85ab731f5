"""Table N: the paper's figures, GluonCV's, timm's, ours with their spread, and a verdict.

    import gluon_tricks as gt
    gt.table(6)                                      # the published figures alone
    gt.table(6, ['runs/mixup-seed0', 'runs/mixup-seed1'])

The headline is a run's last epoch; the best one stands beside it, for it was chosen by the images that it is measured
on. `formats` has a Table as text, Markdown, LaTeX, CSV, JSON and HTML.
"""
import collections
import dataclasses
import math
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from gluon_tricks.config import recipes
from gluon_tricks.config.scales import DEMO
from gluon_tricks.models import published
from gluon_tricks.results import printed
from gluon_tricks.results.records import Path, Record, records
from gluon_tricks.results.verdict import DEVIATION, Comparison, Verdict, compare, seeds_needed, steps_of, verdict


@dataclasses.dataclass(frozen=True)
class Cell:
    """One figure of one row, in percent.

    paper: of the row's own training, None where the paper has none; standard: what it quotes of another one. step: to
    the row above, of the first row to the one below. zoo, log_last, log_best: GluonCV's model zoo, and its training
    log's last and best epoch; timm: timm's evaluation of that network. seeds: of each of the two rows, to find the
    printed step 4 times of 5; known for ImageNet's top-1 alone. values: (seed, last epoch) of our runs; best: the mean
    of their best epochs.
    """

    metric: str
    paper: Optional[float]
    standard: Optional[float]
    step: Optional[float]
    zoo: Optional[float]
    log_last: Optional[float]
    log_best: Optional[float]
    timm: Optional[float]
    seeds: Optional[int]
    values: Tuple[Tuple[int, float], ...]
    best: Optional[float]
    verdict: Verdict

    @property
    def n(self) -> int:
        """How many runs of ours."""
        return len(self.values)

    @property
    def mean(self) -> Optional[float]:
        """Mean of our runs' last epochs."""
        return float(np.mean([value for _, value in self.values])) if self.values else None

    @property
    def sd(self) -> Optional[float]:
        """Their standard deviation (n - 1), None of one."""
        return float(np.std([value for _, value in self.values], ddof=1)) if self.n > 1 else None


@dataclasses.dataclass(frozen=True)
class Row:
    """A recipe in a table: its name, label within the group, cells by metric, other printed figures, and our runs that
    the cells are of. comparable: whether those are on the paper's data."""

    name: str
    group: str
    label: str
    command: str
    config: Any
    cells: Dict[str, Cell]
    also: Dict[str, float]
    runs: Tuple[Record, ...]
    comparable: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper with what others and we measured.

    number, title; rows: in the printed order; steps: (upper row, row, Comparison of the row with the upper one by the
    first metric) where both have runs on equal data; the last row of a group also with the first. footnotes: sentences;
    left_out: (path, why) of what is no record, or is of no row.
    """

    number: str
    title: str
    dataset: str
    metrics: Tuple[str, ...]
    rows: Tuple[Row, ...]
    steps: Tuple[Tuple[Row, Row, Comparison], ...]
    footnotes: Tuple[str, ...]
    left_out: Tuple[Tuple[str, str], ...]

    def to_dict(self) -> Dict[str, Any]:
        """As JSON has it."""
        from gluon_tricks.results import formats
        return formats.as_dict(self)

    def __str__(self) -> str:
        from gluon_tricks.results import formats
        return formats.text(self)

    def _repr_html_(self) -> str:
        from gluon_tricks.results import formats
        return formats.html(self)


def table(number: Any, runs: Iterable[Path] = (), scales: Iterable[Any] = (DEMO,)) -> Table:
    """The Table of a number, 1 to 9, or 'slides'; runs: SAVE_DIRs. Raises UsageError for another number.

    What is no finished run, and what is of no row of this table, is in `left_out`; scales: as `records.records`, beside
    the paper's own that of the demo.

    >>> import gluon_tricks as gt
    >>> row = gt.table(6).rows[4]
    >>> row.label, row.cells['top1'].paper, row.cells['top1'].timm, row.cells['top1'].verdict.word
    ('+ mixup w/o distill', 79.15, 79.08, 'not run')
    """
    form = printed.get(number)
    found, left_out = records(runs, scales)
    return build(form, found, left_out)


def build(form: printed.Printed, found: List[Record], left_out: Iterable[Tuple[str, str]] = ()) -> Table:
    """The Table of a form and of Records."""
    rows: List[Row] = []
    notes: List[str] = []
    for title, group in printed.groups(form).items():
        steps = {metric: _steps(form, group, metric) for metric in form.metrics}
        for place, recipe in enumerate(group):
            runs, others = _chosen(form, [record for record in found if recipe.name in record.rows])
            if others:
                notes.append(f'{printed.called(form, recipe)}: {others} runs on other data are not counted.')
            rows.append(_row(form, title, recipe, runs, {metric: steps[metric][place] for metric in steps}))
    named = {record.path for row in rows for record in row.runs}
    names = {row.name for row in rows}
    strange = [(record.path, f'it is of no row of table {form.number}' + (
        f', but of {", ".join(record.rows)}' if record.rows else ': its options are those of no recipe'))
        for record in found if record.path not in named and not names & set(record.rows)]
    return Table(form.number, form.title, form.dataset, form.metrics, tuple(rows), _between(form, rows),
                 tuple(notes + printed.footnotes(form)), tuple(left_out) + tuple(strange))


def _steps(form, group, metric):
    """Each row's step. The networks of Table 2 stack nothing: there it is to the reference that is printed beside."""
    if form.number == '2':
        return [row.paper[metric] - row.paper['reference_' + metric] if row.paper['reference_' + metric] else None
                for row in group]
    return steps_of([row.paper.get(metric) or row.paper.get('standard_' + metric) for row in group])


def _chosen(form, runs):
    """(the runs of a row that are counted, number of others): those on the paper's data, else the most on equal ones.
    """
    groups = collections.defaultdict(list)
    for record in runs:
        groups['' if record.dataset == form.dataset else record.data_digest].append(record)
    chosen = groups.get('') or max(groups.values(), key=len, default=[])
    return sorted(chosen, key=lambda record: record.seed), len(runs) - len(chosen)


def _row(form, title, recipe, runs, steps):
    comparable = all(record.dataset == form.dataset for record in runs)
    others = _published(recipe)
    cells = {}
    for metric in form.metrics:
        paper, values = recipe.paper.get(metric), tuple((record.seed, record.last[metric]) for record in runs)
        known, step = _known(form, metric), steps[metric]
        cells[metric] = Cell(
            metric, paper, recipe.paper.get('standard_' + metric), step, values=values,
            seeds=seeds_needed(step, math.sqrt(2) * known, exact=False) if known and step else None,
            best=float(np.mean([record.best[metric] for record in runs])) if runs else None,
            verdict=verdict(paper, [value for _, value in values], step, known, comparable),
            **{name: others.get((name, metric)) for name in ('zoo', 'log_last', 'log_best', 'timm')})
    own = set(form.metrics) | {'standard_' + metric for metric in form.metrics}
    also = {name: value for name, value in printed.figures(recipe).items() if name not in own}
    return Row(recipe.name, title, printed.label(form, recipe),
               f'python {recipe.config.PROGRAM} --recipe {recipe.name}', recipe.config, cells, also, tuple(runs),
               comparable)


def _known(form, metric):
    """The deviation between seeds that others published, None for a figure without one."""
    return DEVIATION if metric == 'top1' and form.dataset == 'ImageNet' else None


def _published(recipe):
    """{(whose, metric): figure} of the published network that is a row's run, by GluonCV's digest."""
    sha1, found = getattr(recipe, 'gluoncv', {}).get('hash'), {}
    if sha1:
        found.update({('zoo', metric): recipe.gluoncv[metric] for metric in ('top1', 'top5')})
        for other in recipes.RECIPES.values():
            if other.gluoncv.get('hash') == sha1:
                found.update({(which, metric): other.gluoncv[f'{which}_{metric}'] for metric in ('top1', 'top5')
                              for which in ('log_last', 'log_best') if f'{which}_{metric}' in other.gluoncv})
    for network in published.table():
        if sha1 and network.sha1 == sha1 or not network.sha1 and recipe.name in network.rows:
            found.update(zip((('timm', 'top1'), ('timm', 'top5')), network.timm))
    return found


def _between(form, rows):
    """Comparisons of each row that was run with the next one above it in its group that was, and of the last with the
    first."""
    found, groups = [], collections.defaultdict(list)
    for row in rows:
        if row.runs:
            groups[row.group].append(row)
    for group in groups.values():
        for upper, row in list(zip(group, group[1:])) + [(group[0], group[-1])] * (len(group) > 2):
            comparison = _compared(form, upper, row)
            if comparison:
                found.append((upper, row, comparison))
    return tuple(found)


def _compared(form, upper, row):
    digests, paths = ([{getattr(record, name) for record in each.runs} for each in (upper, row)]
                      for name in ('data_digest', 'path'))
    if digests[0] != digests[1] or paths[0] & paths[1]:  # other data, or the same runs
        return None
    metric = form.metrics[0]
    return compare(row.cells[metric].values, upper.cells[metric].values,
                   _known(form, metric) if row.comparable else None)
