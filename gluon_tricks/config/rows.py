"""Any row of the paper's tables by its name: those of tables 1 to 7, and of tables 8 and 9. Standard library only."""
from gluon_tricks.config import recipes, recipes_transfer


def recipe(name):
    """The row of a table, such as table6/resnet50_v1d/mixup or table8/mixup: its `config`, `paper` and more.

    Raises UsageError with the closest names for an unknown one.
    """
    return recipes_transfer.RECIPES.get(name) or recipes.get(name)
