"""Answers to the NeurIPS paper checklist from the records of runs: what the error bars are, and what the runs took.

Its questions on the experimental setting, statistical significance and compute; the others are about a paper's text.
"""
from typing import Any, List

from gluon_tricks.results.verdict import LEVEL
from gluon_tricks.tasks.eval_results import protocol


def checklist(table: Any) -> str:
    """The answers as Markdown, for the runs of a Table."""
    rows = [row for row in table.rows if row.runs]
    runs = {record.path: record for row in rows for record in row.runs}
    if not runs:
        return ('No run is given, so there is nothing to answer: `python -m gluon_tricks table '
                f'{table.number} SAVE_DIR... --checklist`.')
    return '\n'.join([f'NeurIPS paper checklist, of {len(runs)} runs of table {table.number}', '']
                     + _setting(rows) + [''] + _significance(rows) + [''] + _compute(rows, list(runs.values()), table))


def command_of(row: Any) -> str:
    """The command that makes a row's runs again: the recipe's, or their own where they are at another scale."""
    return row.command if row.comparable else row.runs[0].config.command()


def _name(row):
    return ', '.join(filter(None, (row.group, row.label)))


def _setting(rows) -> List[str]:
    lines = ['**Experimental setting/details.** Yes. All options of each run are in its `run.json`, and these commands '
             'make them again:', '']
    for row in rows:
        config, images = row.runs[0].config, row.runs[0].num_images
        seeds = ', '.join(str(record.seed) for record in row.runs)
        lines.append(f'- {_name(row)}: `{command_of(row)}`, {config.num_epochs} epochs, seeds {seeds}. '
                     f'{protocol(config)} Of {images} images, each counted once.')
    for digest in sorted({record.data_digest for row in rows for record in row.runs}):
        named = next(record for row in rows for record in row.runs if record.data_digest == digest)
        parts = '; '.join(f'{part}: {facts.get("images")} images, SHA-256 {facts.get("sha256") or facts.get("digest")}'
                          for part, facts in named.data.items())
        lines.append(f'- Data: {named.dataset or named.config.data_dir}. {parts}.')
    return lines


def _significance(rows) -> List[str]:
    several = [row for row in rows if len(row.runs) > 1]
    answer = 'Yes' if len(several) == len(rows) else 'Partly' if several else 'No'
    lines = [f'**Experiment statistical significance.** {answer}.', '']
    if several:
        lines += ['The error bars are standard deviations of a run (n - 1; not standard errors of the mean) over seeds.'
                  ' A seed changes the initial weights, the order of the images and their augmentation together; data, '
                  'split and options are equal. The figure is of the last epoch; none is chosen by the validation '
                  f'images. Intervals are {LEVEL:.0%} prediction intervals of one more run, mean +- t(n - 1) s '
                  'sqrt(1 + 1/n), which assume that runs are normally distributed.', '']
    for row in rows:
        for metric, cell in row.cells.items():
            spread = '' if cell.sd is None else f' +- {cell.sd:.2f}'
            lines.append(f'- {_name(row)}, {metric}: {cell.mean:.2f}{spread}, n = {cell.n}'
                         + (': one run, without an error bar' if cell.n == 1 else ''))
    return lines


def _compute(rows, runs, table) -> List[str]:
    lines = ['**Experiments compute resources.** Yes. Hours are of training and validation, times devices:', '']
    for row in rows:
        took = [hours(record) for record in row.runs]
        lines.append(f'- {_name(row)}: {len(took)} runs, {sum(took) / len(took):.3g} {unit(row.runs[0])} a run '
                     f'({min(took):.3g} to {max(took):.3g}), on {machine(row.runs[0])}')
    units = sorted({unit(record) for record in runs})
    totals = [f'{sum(hours(record) for record in runs if unit(record) == each):.3g} {each}' for each in units]
    lines.append(f'- In total: {" and ".join(totals)} of these runs. What failed or was not given is not in it, nor '
                 f'what was left out ({len(table.left_out)}): say what that took.')
    return lines


def hours(record: Any) -> float:
    """Hours of training and validation, times devices, of a Record."""
    return record.seconds / 3600 * len(record.devices) * record.workers


def unit(record: Any) -> str:
    """What `hours` counts, in words."""
    return 'GPU-hours' if record.devices[0].startswith('gpu') else 'hours of a CPU'


def machine(record: Any) -> str:
    """On what a Record ran: devices, and the versions that its run.json names."""
    known = record.facts.get('environment')
    known = known if isinstance(known, dict) else {}
    facts = ', '.join(f'{name} {known[name]}' for name in ('machine', 'cores', 'python', 'mxnet', 'gluoncv')
                      if name in known)
    where = f'{len(record.devices) * record.workers} x {record.devices[0].split("(")[0]}'
    return f'{where} ({facts})' if facts else where
