"""A table of runs whose figures are chosen: of ImageNet, though nobody has its images here."""
import dataclasses

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.results import printed
from gluon_tricks.results.records import records
from gluon_tricks.results.table import build
from support.finished import finished


def runs_of(folder, name, values, top5=94.0, **changes):
    """SAVE_DIRs of a recipe's runs, of seeds 0, 1, ..., with these top-1 figures; changes: options."""
    row, first = RECIPES[name], len(list(folder.glob('*')))
    config = row.config.replace(lr=row.lr).replace(**changes)
    return [finished(folder / f'run{first + seed}', config.replace(seed=seed), {'top1': value, 'top5': top5},
                     {'top1': value + 0.05, 'top5': top5}) for seed, value in enumerate(values)]


def imagenet_table(number, paths, dataset='ImageNet'):
    """The Table of these runs, as if their data were certified."""
    found, left_out = records(paths)
    return build(printed.get(number), [dataclasses.replace(record, dataset=dataset) for record in found], left_out)


def row_of(table, name):
    return next(row for row in table.rows if row.name == name)
