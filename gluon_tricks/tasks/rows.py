"""Which rows of the paper's tables a run is: the recipes whose configuration is its own, wherever and however fast it
ran."""
import functools
from typing import Any, List, Optional

from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.models.names import default_input_size
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr

# Of a configuration, what changes neither the row of the paper nor, but for noise, the figures: where data and weights
# are, on what and how fast it runs. Batch size and learning rate are compared as totals. --base-params belongs to each
# row of tables 8 and 9, and to none of a classifier.
_ELSEWHERE = {'devices', 'num_gpus', 'gpus', 'kv_store', 'seed', 'save_dtype', 'teacher_params',
              'num_training_samples', 'mode', 'batch_size', 'lr', 'static_alloc', 'disable_hybridization',
              'syncbn'}


def rows_of(config: Any, devices: int, scale: Optional[Any] = None) -> List[Any]:
    """Recipes whose configuration is that of a run on this many devices: rows of tables 1 to 9, and the demos.

    config: resolved, as a run stores it. scale: one whose ``config(row)`` is what stands for a row of tables 1 to 7
    there, None where the row has no place; without one the rows as the paper has them.
    """
    found = []
    for row in list(recipes.RECIPES.values()) + ([] if scale else list(recipes_transfer.RECIPES.values())):
        wanted = scale.config(row) if scale else row.config
        if wanted is not None and type(wanted) is type(config) and _same(config, wanted, devices):
            found.append(row)
    return found


@functools.lru_cache(maxsize=None)
def _options(cls):
    """Names of the options of a configuration that must be a row's."""
    return [field.name for field in cls.fields() if field.name not in _ELSEWHERE and
            not field.metadata['free_on_resume'] and (field.name != 'base_params' or cls.TASK == 'classification')]


def _same(config, wanted, devices):
    for name in _options(type(config)):
        value = getattr(wanted, name)
        if name == 'total_batch_size' and value is None:
            value = devices
        if name == 'input_size' and value is None:
            value = default_input_size(config.model)
        if value is not None and getattr(config, name) != value:  # None: as the data have it
            return False
    if config.TASK != 'classification':
        return config.lr == wanted.lr
    total = wanted.batch_size * max(1, wanted.num_gpus or 1)
    lr = linear_scaling_lr(total) if wanted.lr is None else wanted.lr
    return config.batch_size * devices == total and abs((config.lr or lr) - lr) < 1e-9
