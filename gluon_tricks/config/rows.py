"""Any row of the paper's tables by its name: those of tables 1 to 7, and of tables 8 and 9. Standard library only."""
from typing import Union

from gluon_tricks.config import recipes, recipes_transfer


def recipe(name: str) -> Union[recipes.Recipe, recipes_transfer.Recipe]:
    """The row of a table, such as table6/resnet50_v1d/mixup or table8/mixup: its `config`, `paper` and more.

    Raises UsageError with the closest names for an unknown one.

    >>> import gluon_tricks as gt
    >>> row = gt.recipe('table6/resnet50_v1d/mixup')
    >>> row.paper['top1'], row.gluoncv['top1'], row.config.mixup
    (79.15, 79.15, True)
    """
    return recipes_transfer.RECIPES.get(name) or recipes.get(name)
