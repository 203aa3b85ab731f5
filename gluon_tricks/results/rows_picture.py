"""The rows of a table that were run, as a picture: each run a dot, so that a step is seen beside the noise."""
import collections
import math
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from scipy import special

from gluon_tricks.pictures.picture import WIDTH, Canvas, Picture, look, shown, style, width_of
from gluon_tricks.results import formats, printed
from gluon_tricks.results.table import Row, Table
from gluon_tricks.results.verdict import LEVEL

_ROW, _RIGHT = 5.0, 4.0  # mm of a row, and beside it


def draw_rows(table: Table) -> Optional[Picture]:
    """A Picture of the rows by the table's first figure: runs, their mean, and its 95 % interval by Student's t, which
    one run has not.

    Rows on other data than most are left out; None for fewer than two rows.
    """
    rows, metric = _comparable(table), table.metrics[0]
    if len(rows) < 2:
        return None
    several = len({row.group for row in rows}) > 1
    names = [shown(f'{row.group}, {row.label}' if several and row.group else row.label, 30) for row in rows]
    words: List[str] = []
    with style():
        left = width_of(names) + 4
        canvas = Canvas([_ROW * len(rows)], left=left, right=_RIGHT)
        (axes,) = canvas.axes
        for place, row in enumerate(rows):
            values = np.array([value for _, value in row.cells[metric].values])
            axes.plot(values, np.full(len(values), float(place)), 'o', markersize=3, alpha=0.6, color=look(0)['color'],
                      markeredgewidth=0)
            axes.plot([values.mean()], [place], marker='|', markersize=9, color=look(1)['color'], markeredgewidth=1.4)
            half = _half(values)
            if half is not None:
                axes.plot([values.mean() - half, values.mean() + half], [place, place], linewidth=1,
                          color=look(1)['color'], zorder=1)
            words.append(f'{row.label}: {values.mean():.2f}' + (f' ± {half:.2f}, n = {len(values)}' if half is not None
                                                                else ', one seed: its noise is not known'))
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels(names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(left=False)
        canvas.share_x(f'{printed.NAMES[metric]} (%)')
        axes.set_title(_legend(rows, metric), x=(2 - left) / (WIDTH - left - _RIGHT))
    return canvas.done(f'{formats.title(table)}: runs', '; '.join(words))


def _legend(rows: Sequence[Row], metric: str) -> str:
    if all(row.cells[metric].n == 1 for row in rows):
        return 'dots: one seed a row, which tells nothing of the noise'
    return 'dots: runs; line: mean, its 95 % interval'


def _comparable(table: Table) -> List[Row]:
    """The rows with runs on the data that most of them are on."""
    found: Dict[Any, List[Row]] = collections.defaultdict(list)
    for row in table.rows:
        if row.runs:
            found[frozenset(record.data_digest for record in row.runs)].append(row)
    return max(found.values(), key=len, default=[])


def _half(values: np.ndarray) -> Optional[float]:
    """Half of the interval of a mean, None of one run."""
    n = len(values)
    return float(special.stdtrit(n - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else None
