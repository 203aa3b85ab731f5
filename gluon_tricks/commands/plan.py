"""``python -m gluon_tricks plan``: What a table costs, and which of its steps so many seeds can see."""
import json
import math
import textwrap
from typing import Any, Dict, List, Sequence

from gluon_tricks.commands.ladder import add_arguments, choose
from gluon_tricks.config.scales import FULL
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet
from gluon_tricks.results import plan as planning
from gluon_tricks.results.ladder import runs_of
from gluon_tricks.results.records import records
from gluon_tricks.results.verdict import DEVIATION, SOURCE


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks plan', description=__doc__.split('``: ')[1])
    add_arguments(result)
    result.add_argument('--gpus', type=int, metavar='G', help='GPUs that share a run (default: '
                        f'{planning.GPUS}, as the paper)')
    result.add_argument('--images-per-second', type=float, metavar='X', help='of the table\'s first network, on all '
                        'GPUs together (default: the paper\'s speed, Table 3)')
    result.add_argument('--speed-from', nargs='+', metavar='RUN', help='SAVE_DIRs of runs on GPUs that the speed '
                        'is measured by')
    result.add_argument('--sigma', type=float, metavar='S', help='standard deviation of top-1 '
                        f'between seeds, in points (default: {DEVIATION:.2f}, see the output)')
    result.add_argument('--json', action='store_true', help='print the plan as JSON')
    return result


@quiet()
def main(argv: Sequence[str]) -> int:
    """Print the plan; returns the exit code."""
    arguments = parser().parse_args(argv)
    _check(arguments)
    chosen = choose(arguments)
    gpus = planning.GPUS if arguments.gpus is None else arguments.gpus
    runs = runs_of(chosen.rows, chosen.scale, arguments.seeds, chosen.out, gpus)
    plan = planning.Plan(chosen.rows, chosen.scale, arguments.seeds, runs, _speed(arguments, chosen, gpus),
                         arguments.sigma or DEVIATION)
    print(json.dumps(as_dict(plan), indent=1) if arguments.json else text(plan, arguments.table))
    return 0


def _check(arguments):
    """Raise UsageError for an option that is out of range, or of no use at the scale."""
    for name in ('gpus', 'images_per_second', 'speed_from', 'sigma'):
        value, flag = getattr(arguments, name), '--' + name.replace('_', '-')
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
            raise UsageError(f'{flag} {value:g} must be above 0')
        if value is not None and arguments.scale[0] != 'full' and (name, arguments.scale[0]) != ('gpus', 'folder'):
            raise UsageError(f'{flag} is for the paper\'s data and does not go with --scale {arguments.scale[0]}: '
                             'drop it')
    if arguments.images_per_second and arguments.speed_from:
        raise UsageError('--images-per-second and --speed-from both give the speed: drop one of them')


def _speed(arguments, chosen, gpus):
    if arguments.speed_from:
        found, left_out = records(arguments.speed_from)
        speed = planning.measured_speed(found)
        if speed is None:
            reason = left_out[0][1] if left_out else 'it is no classification on a GPU'
            raise UsageError(f'--speed-from {arguments.speed_from[0]}: {reason}; give finished classification runs on '
                             'GPUs')
        return speed
    if arguments.images_per_second:
        return planning.given_speed(arguments.images_per_second, gpus, chosen.rows[0])
    return planning.paper_speed() if chosen.scale == FULL else None


def as_dict(plan: planning.Plan) -> Dict[str, Any]:
    """The plan as JSON has it."""
    runs = [dict(run=run.name, seed=run.config.seed, rows=plan.shared(run), teacher=not run.rows,
                 command=run.config.command(), finished=run.config.save_dir in plan.done, **vars(plan.cost(run)))
            for run in plan.runs]
    return dict(scale=plan.scale.name, seeds=plan.seeds, left_out=plan.left_out, runs=runs, sigma=plan.sigma,
                speed=plan.speed and plan.speed.source, seconds_per_epoch=plan.seconds, steps=plan.steps())


# ---------------------------------------------------------------------------------------------------------------------
# As text

def text(plan: planning.Plan, table: str) -> str:
    """The plan in lines of at most 120 columns."""
    teachers = sum(not run.rows for run in plan.runs)
    number = f'{len(plan.runs)} runs' + (f', {teachers} of them teachers' if teachers else '')
    lines = [f'table {table} at --scale {plan.scale.name}: {len(plan.rows) - len(plan.left_out)} rows, seeds 0 to '
             f'{plan.seeds - 1}: {number}; {len(plan.done)} are finished']
    if plan.left_out:
        lines.append(f'no counterpart at this scale: {", ".join(plan.left_out)}')
    lines += [''] + _runs(plan) + [''] + _notes(plan)
    return '\n'.join(lines + ([''] + _steps(plan) if plan.steps() else []))


def _runs(plan):
    """A line for each training, whatever its seed."""
    groups: Dict[str, List[Any]] = {}
    for run in plan.runs:
        groups.setdefault(run.name, []).append(run)
    lines = [f'{"run":37s} {"seeds":>5} {"epochs":>6} {"GPU-hours":>9} {"disk, GB":>8}  is also']
    total = {'hours': 0.0, 'disk': 0}
    for name, runs in groups.items():
        cost, others = plan.cost(runs[0]), [row for row in plan.shared(runs[0]) if row != name]
        hours = None if cost.gpu_hours is None else cost.gpu_hours * len(runs)
        total['hours'] += hours or 0
        total['disk'] += cost.checkpoints * len(runs)
        also = ', '.join(others[:1]) + (f', and {len(others) - 1} more' if len(others) > 1 else '')
        lines.append(f'{name:37s} {len(runs):5d} {cost.epochs:6d} {_hours(hours, cost.known):>9} '
                     f'{cost.checkpoints * len(runs) / 1e9:8.2f}  {also}'.rstrip())
    return lines + [f'{"all":37s} {len(plan.runs):5d} {"":6} '
                    f'{_hours(total["hours"] if plan.speed else None, True):>9} {total["disk"] / 1e9:8.2f}']


def _hours(hours, known):
    return '-' if hours is None else ('' if known else '~') + (f'{hours:,.0f}' if hours >= 10 else f'{hours:.1f}')


def _notes(plan):
    lines = []
    if plan.speed:
        lines.append(f'GPU-hours: training alone; speed: {plan.speed.source}; ~: from that by multiply-adds')
    elif plan.seconds:
        left = sum(run.config.num_epochs for run in plan.runs if run.config.save_dir not in plan.done)
        lines.append(f'time: {plan.seconds:.2f} s an epoch, the mean of the runs that are finished; '
                     f'{plan.seconds * left / 60:.0f} minutes are left, one run at a time')
    else:
        lines.append('time: not known before a run is finished here')
    largest = max(plan.cost(run).weights for run in plan.runs)
    return lines + [f'disk: at most 3 checkpoints a run; beside them up to {largest / 1e6:.0f} MB for each epoch that '
                    'is the best so far (GluonCV\'s files)']


def _steps(plan):
    sigma = SOURCE if plan.sigma == DEVIATION else 'as given'
    lines = [f'the paper\'s steps of top-1, and whether {plan.seeds} seeds see them (5 %, two-sided, power 80 %, sigma '
             f'{plan.sigma:.2f})'] + textwrap.wrap(f'sigma: {sigma}', 118) + [
             '', f'{"step":37s} {"from":37s} {"points":>6} {"seeds":>6} {"power":>6}']
    steps = plan.steps()
    for step in steps:
        needed = '-' if step['seeds'] is None else step['seeds']
        lines.append(f'{step["row"]:37s} {step["than"]:37s} {step["points"]:+6.2f} {needed:>6} '
                     f'{100 * step["power"]:4.0f} %  {"seen" if step["seen"] else "not seen"}')
    seen = sum(step['seen'] for step in steps)
    return lines + [f'{plan.seeds} seeds see {seen} of {len(steps)} steps']
