"""Which rows of the paper's tables a run is: the recipes whose configuration is its own, wherever and however fast it
ran."""
from typing import Any, List

from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.models.zoo import default_input_size

# Of a configuration, what changes neither the row of the paper nor, but for noise, the figures: where data and weights
# are, on what and how fast it runs. Batch size and learning rate are compared as totals.
_ELSEWHERE = {'devices', 'num_gpus', 'gpus', 'kv_store', 'seed', 'save_dtype', 'base_params', 'teacher_params',
              'num_training_samples', 'mode', 'batch_size', 'lr', 'loader_processes', 'decode_parts',
              'static_alloc', 'disable_hybridization', 'syncbn'}


def rows_of(config: Any, devices: int) -> List[Any]:
    """Recipes whose configuration is that of a run on this many devices: rows of tables 1 to 9, and the demos.

    config: resolved, as a run stores it.
    """
    rows = list(recipes.RECIPES.values()) + list(recipes_transfer.RECIPES.values())
    return [row for row in rows if type(row.config) is type(config) and _same(row, config, devices)]


def _same(row, config, devices):
    values, wanted = config.to_dict(), row.config.to_dict()
    for name, value in wanted.items():
        field = config.field(name)
        if name in _ELSEWHERE or field.metadata['free_on_resume']:
            continue
        if name == 'total_batch_size' and value is None:
            value = devices
        if name == 'input_size' and value is None:
            value = default_input_size(config.model)
        if value is not None and values[name] != value:  # None: as the data have it
            return False
    if hasattr(row, 'lr'):
        return config.batch_size * devices == row.total_batch_size and abs((config.lr or row.lr) - row.lr) < 1e-9
    return values['lr'] == wanted['lr']
