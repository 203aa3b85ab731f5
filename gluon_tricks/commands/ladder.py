"""``python -m gluon_tricks ladder``: Run what a table needs and does not have yet: each row, each seed."""
import dataclasses
import fnmatch
import os
from typing import Any, Sequence, Tuple

from gluon_tricks.commands.report import ready, write
from gluon_tricks.config import scales
from gluon_tricks.config.recipes import Recipe
from gluon_tricks.cores import available_cores
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet

_MOST_SEEDS = 1000


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks ladder', description=__doc__.split('``: ')[1], epilog='The same '
                    'command resumes, after a kill too, and runs nothing twice: a run that several rows are is one '
                    'run, and several ladders may work on one directory. `plan` tells beforehand what it costs.')
    add_arguments(result)
    result.add_argument('--report', metavar='FILE', help='also write the page of the table and of these runs, as '
                        '`report` does')
    result.add_argument('--jobs', type=int, metavar='J', help='runs at once, each with its share of the cores '
                        '(default: with --scale demo a run a core, else 1)')
    return result


def add_arguments(parser: Parser) -> None:
    """The arguments that say what is run, for `plan` as well."""
    parser.add_argument('table', metavar='N', help='the table: 1 to 7, or slides')
    parser.add_argument('--scale', nargs='+', default=['full'], metavar=('full|demo|folder', 'DIR'),
                        help='full: the paper\'s (default); demo: small networks on digits, minutes on a CPU; folder '
                        'DIR: the paper\'s networks on DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG')
    parser.add_argument('--seeds', type=int, default=1, metavar='K', help='of each row: 0 to K - 1 (default: 1)')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='these rows alone: names of recipes, or patterns such '
                        'as "*/resnet50_v1d/*" (default: all of the table)')
    parser.add_argument('--out', metavar='DIR', help='the runs are DIR/ROW-seedK (default: runs/ladder-SCALE)')
    parser.add_argument('--split', type=int, default=0, metavar='K', help='with --scale demo: the number that draws '
                        'the digits to train (default: 0)')
    parser.add_argument('--epochs', type=int, metavar='E', help='for the paper\'s 120, all others in proportion '
                        '(default: 40 with --scale demo, else 120)')
    parser.add_argument('--batch-size', type=int, metavar='B', help='images of an update for the paper\'s 1024, all '
                        'others in proportion (default: 20 with --scale demo, else 1024)')


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What the arguments say: rows of the table, their scale, the directory of the runs, and that of the data ('': as
    the recipes say)."""

    rows: Tuple[Recipe, ...]
    scale: scales.Scale
    out: str
    data: str = ''


def choose(arguments: Any) -> Chosen:
    """What the arguments say. Raises UsageError."""
    if not 1 <= arguments.seeds <= _MOST_SEEDS:
        raise UsageError(f'--seeds {arguments.seeds} must be 1 to {_MOST_SEEDS}')
    kind, *folder = arguments.scale
    if kind not in ('full', 'demo', 'folder') or len(folder) != (kind == 'folder'):
        raise UsageError(f'--scale {" ".join(arguments.scale)} must be full, demo, or folder and a directory; the '
                         'table comes before it')
    for name, holds in (('split', kind == 'demo'), ('epochs', kind != 'full'), ('batch_size', kind != 'full')):
        if getattr(arguments, name) and not holds:
            raise UsageError(f'--{name.replace("_", "-")} {getattr(arguments, name)} does not go with --scale {kind}: '
                             'drop one of them')
    rows = _rows(arguments.table, arguments.rows)
    out = os.path.expanduser(arguments.out or 'runs/ladder-' + kind + (
        f'-split{arguments.split}' if arguments.split else ''))
    scale, data = scales.FULL, ''
    if kind == 'demo':
        scale = scales.DEMO
        data = os.path.join(os.path.dirname(out), f'demo-data-{scales.TRAIN_PER_CLASS}-split-{arguments.split}')
    elif kind == 'folder':
        data = os.path.expanduser(folder[0])
        scale = scales.Scale('folder', classes=_classes(data))
    given = {name: getattr(arguments, name) for name in ('epochs', 'batch_size')}
    changes = {name: value for name, value in given.items() if value is not None}
    if data:
        changes['options'] = scale.options + (('data_dir', data),)
    return Chosen(tuple(rows), dataclasses.replace(scale, **changes), out, data)


def _rows(table, patterns):
    rows = scales.rows_of_table(table)
    if patterns is None:
        return rows
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(row.name, pattern) for row in rows):
            raise UsageError(f'--rows {pattern} is no row of table {table}: it has {rows[0].name} to {rows[-1].name}')
    return [row for row in rows if any(fnmatch.fnmatchcase(row.name, pattern) for pattern in patterns)]


def _classes(folder):
    from gluon_tricks.data.prepare.folder import list_folder
    train = os.path.join(folder, 'train')
    if not os.path.isdir(train):
        raise UsageError(f'--scale folder {folder}: {train} is not a directory: give the folder that holds train/CLASS '
                         'and val/CLASS')
    return len(list_folder(train)[1])


@quiet()
def main(argv: Sequence[str]) -> int:
    """Run what is missing, and print the table; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.jobs is not None and not 1 <= arguments.jobs <= 256:
        raise UsageError(f'--jobs {arguments.jobs} must be 1 to 256')
    chosen = choose(arguments)
    page = ready(arguments.report, '--report') if arguments.report else ''
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.results.jobs import Jobs
    from gluon_tricks.results.ladder import finished, runs_of
    from gluon_tricks.results.table import table
    gpus = sum(device.device_type == 'gpu' for device in find_devices())
    if chosen.scale == scales.FULL:
        from gluon_tricks.commands.plan import text
        from gluon_tricks.results.plan import GPUS, Plan, paper_speed
        runs = runs_of(chosen.rows, chosen.scale, arguments.seeds, chosen.out, gpus or GPUS)
        print(text(Plan(chosen.rows, chosen.scale, arguments.seeds, runs, paper_speed()), arguments.table), flush=True)
        if not gpus:
            raise UsageError('--scale full trains on GPUs, and MXNet sees none here: type it on a machine that has '
                             'some (`make .venv EXTRA=cu112`), or take --scale demo')
    runs = runs_of(chosen.rows, chosen.scale, arguments.seeds, chosen.out, gpus)
    if not runs:
        raise UsageError(f'table {arguments.table} has no row at --scale {chosen.scale.name}: its networks, or data, '
                         'have no counterpart there')
    jobs = arguments.jobs or (available_cores() if chosen.scale.name == 'demo' else 1)
    # The demo's small layers gain nothing from more threads; and with one its figures are the same for any --jobs.
    threads = 1 if chosen.scale.name == 'demo' else max(1, available_cores() // jobs)
    prepare(chosen, arguments.split)
    print(f'{len(runs)} runs, {jobs} at once with {threads} threads each, in {chosen.out}', flush=True)
    by_folder = {run.config.save_dir: run for run in runs}

    def result(job):
        record = finished(by_folder[job.folder])
        return None if record is None else f'top-1 {record.last["top1"]:.2f} %'
    work = Jobs(chosen.out, jobs, threads, result, lambda line: print(line, flush=True))
    code = work.work([run.job(threads) for run in runs])
    if code < 128:  # not stopped
        print(f'\n{table(arguments.table, [run.config.save_dir for run in runs if run.rows], [chosen.scale])}')
        if page:
            from gluon_tricks.results.report import report
            found = report([run.config.save_dir for run in runs], [arguments.table], scales=[chosen.scale])
            print('\n'.join(write(page, found, ['ladder', *argv])))
    return code


def prepare(chosen: Chosen, split: int) -> None:
    """Make the records of the data, once, whoever asks at the same time. Raises UsageError."""
    if not chosen.data:
        return
    from gluon_tricks.data.prepare import demo_digits, folder
    from gluon_tricks.results.jobs import wait_for_claim
    if chosen.scale.name == 'demo':
        with wait_for_claim(*os.path.split(chosen.data)):
            demo_digits.write_digits(chosen.data, train_per_class=scales.TRAIN_PER_CLASS, split=split)
    else:
        with wait_for_claim(chosen.out, 'data'):
            folder.pack_folder(chosen.data, processes=available_cores())
