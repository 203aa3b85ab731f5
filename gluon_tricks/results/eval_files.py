"""A table's figures of ours as Hugging Face reads them: DIR/ROW/.eval_results/TASK.yaml, a folder for each row."""
import os
from typing import Any, List

from gluon_tricks.errors import UsageError
from gluon_tricks.files import remedy_for, unwritable, write_whole
from gluon_tricks.results.records import FIGURES
from gluon_tricks.tasks.eval_results import protocol, yaml


def write(table: Any, folder: str) -> List[str]:
    """Write the files of the rows that have runs, each whole; returns their paths. Raises UsageError."""
    written = []
    for row in table.rows:
        for name, text in texts(row).items():
            path = os.path.join(folder, *row.name.split('/'), '.eval_results', name)
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write_whole(path, text.encode('utf-8', 'surrogateescape'))
            except OSError as error:
                raise unwritable(path, error, remedy_for(error)) from error
            written.append(path)
    if not written:
        raise UsageError(f'none of the runs is of a row of table {table.number}: there are no figures to write to '
                         f'{folder}')
    return written


def texts(row: Any) -> dict:
    """{file name: text} of a row's means, {} where it has no runs. Values are as the run counts them."""
    if not row.runs:
        return {}
    first, cells = row.runs[0], row.cells
    task = first.task
    spread = '; '.join(f'{name} {cell.sd / FIGURES[task][name]:.4g}' for name, cell in cells.items()
                       if cell.sd is not None)
    seeds = ', '.join(str(record.seed) for record in row.runs)
    notes = (f'mean of {len(row.runs)} runs (seeds {seeds}) after the last epoch, of {first.num_images} images each'
             + (f'; standard deviation (n - 1): {spread}' if spread else '')
             + f'. {protocol(first.config)}')
    date = max(str(record.facts.get('ended') or record.facts.get('started') or '')[:10] for record in row.runs)
    dataset = first.dataset or os.path.basename(os.path.normpath(first.config.data_dir))
    return yaml(task, dataset, {name: cell.mean / FIGURES[task][name] for name, cell in cells.items()}, date, notes)
