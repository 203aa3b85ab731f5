"""The paper's tables as they are printed: which recipes are their rows, which figures stand in them, and where the
paper contradicts itself.

A recipe has the figures; here is the form alone. A row's figures are those of its own training, but for Table 1, which
quotes others for its rivals, trained as usual ("standard").
"""
import dataclasses
from typing import Any, Dict, List, Tuple

from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.errors import UsageError

NAMES = {'top1': 'top-1', 'top5': 'top-5', 'map_voc07': 'mAP', 'pix_acc': 'pixAcc', 'miou': 'mIoU'}
# What else a table prints: heading and unit.
ALSO = {'gmacs': 'FLOPs, G', 'params_millions': 'parameters, M', 'minutes_per_epoch': 'minutes an epoch',
        'reference_top1': 'reference top-1', 'reference_top5': 'reference top-5', 'test_top1': 'test top-1',
        'test_top5': 'test top-5', 'base_top1': 'base network\'s top-1'}


@dataclasses.dataclass(frozen=True)
class Printed:
    """A table's form.

    number: 1 to 9, or slides; dataset: what its runs must be on, as `records.Record.dataset` names it; metrics: of each
    row, the first one the most telling. by: the part of a recipe that divides the rows into groups whose rows stack.
    """

    number: str
    title: str
    dataset: str = 'ImageNet'
    metrics: Tuple[str, ...] = ('top1', 'top5')
    by: str = 'column'


TABLES = {table.number: table for table in (
    Printed('1', 'Computational costs and validation accuracy of various models'),
    Printed('2', 'Validation accuracy of reference implementations and the baseline'),
    Printed('3', 'Training time and validation accuracy: baseline and a more efficient setting', by='heading'),
    Printed('4', 'The effect of each training heuristic on ResNet-50'),
    Printed('5', 'ResNet-50 and three model tweaks: size, FLOPs and accuracy'),
    Printed('6', 'Training refinements, stacked one by one'),
    Printed('7', 'MIT Places365', dataset='Places365'),
    Printed('8', 'Faster-RCNN over various base networks, on Pascal VOC', 'VOC', ('map_voc07',)),
    Printed('9', 'FCN over various base networks, on ADE20K', 'ADE20K', ('pix_acc', 'miou')),
    Printed('slides', 'Mixup, Cutout and CutMix', metrics=('top1',)),
)}


def get(number: Any) -> Printed:
    """The form of a table by its number, 1 to 9, or slides. Raises UsageError."""
    if str(number) not in TABLES:
        raise UsageError(f'table {str(number)!r:.40} must be one of {", ".join(TABLES)}')
    return TABLES[str(number)]


def groups(table: Printed) -> Dict[str, List[Any]]:
    """{title of a group: its recipes, in the printed order}; one group '' where there is one."""
    start = table.number + '/' if table.number == 'slides' else f'table{table.number}/'
    found: Dict[str, List[Any]] = {}
    for name, row in list(recipes.RECIPES.items()) + list(recipes_transfer.RECIPES.items()):
        if name.startswith(start):
            found.setdefault(getattr(row, table.by, ''), []).append(row)
    if table.number == '1':  # the rivals, whose figures are quoted, then the row that beats them
        for rows in found.values():
            rows.sort(key=lambda row: row.paper.get('standard_top1') is None)
    return found if len(found) > 1 else {'': sum(found.values(), [])}


def label(table: Printed, row: Any) -> str:
    """A row's heading within its group."""
    return row.heading if table.by == 'column' else row.column


def figures(row: Any) -> Dict[str, float]:
    """All figures that a table prints in a row: of the row's own training by their metric, ``standard_`` before those
    of another, and those of ALSO."""
    found = dict(row.paper)
    if isinstance(row, recipes_transfer.Recipe):
        found['base_top1'] = found.pop('top1')
    return {name: value for name, value in found.items() if value is not None}


# ---------------------------------------------------------------------------------------------------------------------
# Where the paper contradicts itself, and what else must be known of a row

def footnotes(table: Printed) -> List[str]:
    """Sentences on the rows of a table: the paper's inconsistencies, and the recipes' notes."""
    rows = [row for rows in groups(table).values() for row in rows]
    found = [f'{called(table, row)}: {sentence}' for row in rows for sentence in _contradictions(row) + _base(row)]
    notes: Dict[str, List[str]] = {}
    for row in rows:
        notes.setdefault(getattr(row, 'note', ''), []).append(called(table, row))
    return found + _of_the_text(table.number) + [
        f'{"; ".join(names) if len(names) < len(rows) else "All rows"}: {note}'
        for note, names in notes.items() if note]


def called(table: Printed, row: Any) -> str:
    """A row's heading with its group's."""
    group = next(title for title, rows in groups(table).items() if row in rows)
    return f'{group}, {label(table, row)}' if group else label(table, row)


def _contradictions(row):
    """Where another table prints another figure for the same run, or for the same network."""
    found = []
    for other in recipes.RECIPES.values():
        if not isinstance(row, recipes.Recipe) or other.table == row.table:
            continue
        keys = ['gmacs'] if other.config.model == row.config.model else []
        keys += ['top1', 'top5'] if other.config == row.config else []
        for key in keys:
            ours, theirs = row.paper.get(key), other.paper.get(key)
            if None not in (ours, theirs) and ours != theirs:
                name = ALSO[key].split(',')[0] if key in ALSO else NAMES[key]
                found.append(f'{name} {ours} in {row.table}, {theirs} in {other.table}.')
    return list(dict.fromkeys(found))


def _base(row):
    """Where tables 8 and 9 print another figure for a base network than the table that it is from."""
    if not isinstance(row, recipes_transfer.Recipe):
        return []
    base = recipes.RECIPES[row.base]
    if base.table.startswith('Tables'):
        return [f'its base network, top-1 {base.paper["top1"]}, is in no earlier table. {base.note}']
    if base.paper['top1'] == row.paper['top1']:
        return []
    return [f'its base network\'s top-1 is {row.paper["top1"]} here, {base.paper["top1"]} in {base.table}.']


def _of_the_text(number):
    """Where the paper's text and its table differ, and published figures of other trainings than a table's."""
    def top1(name):
        return recipes.RECIPES[name].paper['top1']

    if number == '2':
        log = recipes.RECIPES['table2/resnet50_v1'].gluoncv
        return [f'ResNet-50: GluonCV\'s {log["source"]}, ends at {log["top1"]}.']
    if number == '4':
        fall = top1('table4/bs256/linear_scaling') - top1('table4/bs1024/linear_scaling')
        return [f'The text says that linear scaling alone loses 0.9 %; the table says {fall:.2f}.']
    if number == '8':
        rows = [row for row in recipes_transfer.RECIPES.values() if row.name.startswith('table8/')]
        gain = rows[-1].paper['map_voc07'] - rows[0].paper['map_voc07']
        return [f'The text says that the best model outperforms the standard one by 4 %; the table says {gain:.2f}.',
                'GluonCV published one run, over a ResNet-50-B of its own time: 78.31 at its best epoch of 20.']
    if number == '9':
        return ['The paper does not say whether it evaluates at one scale or at several. GluonCV\'s published network '
                'has another base, a ResNet-50 with a wider stem: pixAcc 79.0 and mIoU 39.5 on its page, 76.92 and '
                '33.39 as imgclsmob evaluated it.']
    if number == 'slides':
        return ['The slide has localisation and detection too, for which there is no recipe.']
    return []
