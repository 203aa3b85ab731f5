"""The rows of the tables at another scale: fewer images, shorter, smaller, in the paper's proportions.

A table's argument is the difference between its rows. At a scale each row keeps what it changes in the row above it,
and all rows share the rest: 120 epochs become `epochs`, and 5, 30, 60, 90 and 200 as many in proportion; a total batch
size of 1024 becomes `batch_size`, and 256 a quarter of it; the learning rate follows the batch size. Standard library
only.
"""
import collections
import dataclasses
import re
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.recipes import RECIPES, Recipe
from gluon_tricks.errors import UsageError

EPOCHS, BATCH_SIZE, LR = 120, 1024, 0.4  # of the paper's efficient setting
FEWEST_EPOCHS = 4  # of which warmup and the three drops of step decay each get one
_TEACHER = re.compile(r'runs/(.+)/best/net\.params')


@dataclasses.dataclass(frozen=True)
class Scale:
    """epochs: for the paper's 120; batch_size: the total for its 1024; lr: for its 0.4, None for linear scaling.

    classes: of the data in ImageNet's place, None where the paper's data stay; models: (the paper's network, the one in
    its place), empty where all stay; options: those of every row. Raises UsageError for a number that is too small.
    """

    name: str
    epochs: int = EPOCHS
    batch_size: int = BATCH_SIZE
    lr: Optional[float] = None
    classes: Optional[int] = None
    models: Tuple[Tuple[str, str], ...] = ()
    options: Tuple[Tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.epochs < FEWEST_EPOCHS:
            raise UsageError(f'--epochs {self.epochs} must be at least {FEWEST_EPOCHS}: with fewer, the drops of step '
                             'decay fall together')
        if self.batch_size < 4:
            raise UsageError(f'--batch-size {self.batch_size} must be at least 4: Table 4 has a quarter of it too')

    def config(self, row: Recipe) -> Optional[TrainConfig]:
        """The row's configuration at this scale, on one device; None where its network or Places365 has no place.

        SAVE_DIR is nobody's, and a teacher's weights are still named as in the recipe.
        """
        config, models = row.config, dict(self.models)
        if self.classes and config.data_dir != TrainConfig().data_dir:
            return None
        if any(models and name not in models for name in (config.model, config.teacher or config.model)):
            return None
        changes: Dict[str, Any] = dict(
            model=models.get(config.model, config.model), teacher=models.get(config.teacher, config.teacher),
            num_epochs=self._epochs(config.num_epochs), warmup_epochs=self._epochs(config.warmup_epochs),
            lr_decay_epoch=','.join(str(self._epochs(epoch)) for epoch in config.decay_epochs),
            batch_size=max(1, round(row.total_batch_size * self.batch_size / BATCH_SIZE)), num_gpus=None,
            save_frequency=0, save_dir='params')
        if self.lr is not None:
            changes['lr'] = self.lr * changes['batch_size'] / self.batch_size
        if self.classes:
            changes['num_classes'] = self.classes
        changes.update(self.options)
        if config.cutout and 'input_size' in changes:
            changes['cutout'] = round(config.cutout * changes['input_size'] / 224)
        return config.replace(**changes)

    def _epochs(self, number: int) -> int:
        """As many epochs in proportion; one at least, where the row has any."""
        return max(1, round(number * self.epochs / EPOCHS)) if number else 0


FULL = Scale('full')
TRAIN_PER_CLASS = 20  # digits of a class to train at demo scale; all others validate
_DEMO = {name: getattr(RECIPES['demo'].config, name) for name in ('input_size', 'no_mirror', 'min_area')}
# 200 images, 10 updates an epoch. Linear scaling from ImageNet's 0.4 would give 0.008, too little for 400 updates.
DEMO = Scale('demo', epochs=40, batch_size=20, lr=0.05, classes=10, models=(
    ('resnet50_v1', 'resnet10_v1b_demo'), ('resnet50_v1b', 'resnet10_v1b_demo'), ('resnet50_v1c', 'resnet10_v1c_demo'),
    ('resnet50_v1d', 'resnet10_v1d_demo'), ('resnet152_v1d', 'resnet18_v1d_demo')),
    options=tuple(dict(_DEMO, num_gpus=0, log_interval=10).items()))


def rows_of_table(table: str) -> List[Recipe]:
    """The rows of a table, `1` to `7` or `slides`, in its order. Raises UsageError."""
    begin = f'{table}/' if table == 'slides' else f'table{table}/'
    rows = [row for row in RECIPES.values() if row.name.startswith(begin)]
    if table in ('8', '9'):
        raise UsageError(f'table {table} is of networks over those of the other tables: train them by ladder 6, then '
                         'transfer/matrix.py')
    if not rows or '/' in table:
        raise UsageError(f'table {table!r:.20} must be 1 to 7, or slides')
    return rows


def names_of_runs(scale: Scale) -> Dict[str, str]:
    """{name of a recipe: name of its run}: the first recipe with the same configuration at this scale, so that rows
    that are the same training share one."""
    first: Dict[TrainConfig, str] = {}
    found = collections.OrderedDict()
    for name, row in RECIPES.items():
        config = scale.config(row) if name != 'demo' else None
        if config is not None:
            found[name] = first.setdefault(config, name)
    return found


def teacher_of(config: TrainConfig) -> str:
    """The recipe that trains a configuration's teacher, '' without one."""
    found = _TEACHER.fullmatch(config.teacher_params)
    return found.group(1) if found else ''


def apart(rows: Sequence[Recipe], scale: Scale) -> List[Tuple[str, ...]]:
    """The names of rows in groups that share no run, a teacher's included, so that none waits for another's."""
    names = names_of_runs(scale)
    groups: List[Tuple[Set[str], Tuple[str, ...]]] = []  # (runs, rows)
    for row in rows:
        if row.name not in names:
            continue
        teacher = teacher_of(row.config)
        runs = {names[row.name]} | ({names[teacher]} if teacher else set())
        shared = [group for group in groups if group[0] & runs]
        groups = [group for group in groups if group not in shared]
        groups.append((runs.union(*(group[0] for group in shared)),
                       tuple(name for group in shared for name in group[1]) + (row.name,)))
    return [group[1] for group in groups]
