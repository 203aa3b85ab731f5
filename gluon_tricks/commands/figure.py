"""``python -m gluon_tricks figure``: The paper's Figures 3 and 4, and curves and confusions of runs, as SVG and PNG."""
import argparse
from typing import Any, Callable, List, NamedTuple, Set, Tuple

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet
from gluon_tricks.pictures.picture import files
from gluon_tricks.tricks.warmup import FORMS


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks figure', description=__doc__.split('``: ')[1], epilog='3a: the '
                    'schedules. 3b: top-1 of runs over the epochs. 4a: the gap of label smoothing. 4b: its '
                    'distribution over the validation data of runs. curves: loss, accuracy, learning rate, throughput '
                    'and waiting for data. classes: accuracy of each class (average precision of a detector, IoU of '
                    'segments) and the most confused pairs.')
    result.add_argument('which', metavar='WHICH', help=f'one of {", ".join(FIGURES)}')
    result.add_argument('runs', metavar='RUN', nargs='*', help='SAVE_DIRs of runs: for 3b, 4b, curves and classes')
    result.add_argument('--log', metavar='FILE', action='append', default=[],
                        help='a training log of GluonCV, to be drawn too; may be repeated: for 3a, 3b and curves')
    result.add_argument('--schedule', choices=FORMS, help='whose formula, as in training (default: paper): for 3a')
    result.add_argument('--classes', type=int, help='K (default: 1000): for 4a')
    result.add_argument('--unfinished', action='store_true',
                        help='draw runs that have not ended as far as they are: for curves')
    result.add_argument('--num-gpus', type=int, help='GPUs, 0 for the CPU (default: all visible, else the CPU): for 4b '
                        'and classes')
    result.add_argument('-o', '--out', metavar='PATH', help='writes PATH.svg and PATH.png, or the one that PATH names '
                        '(default: figure-WHICH)')
    return result


@quiet()
def main(argv: List[str]) -> int:
    """Draw one figure and print where it is; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.which not in FIGURES:
        raise UsageError(f'{arguments.which!r} is not a figure; the figures are: {", ".join(FIGURES)}')
    figure = FIGURES[arguments.which]
    for name, value in vars(arguments).items():
        if name not in {'which', 'out', *figure.takes} and not (value is None or value is False or value == []):
            flag = 'RUN' if name == 'runs' else '--' + name.replace('_', '-')
            raise UsageError(f'{flag} does nothing for figure {arguments.which}: drop it')
    check_ranges(arguments, TrainConfig, 'num_gpus')
    out = arguments.out or f'figure-{arguments.which}'
    files(out)  # before minutes of work
    picture, lines = figure.draw(arguments)
    print('\n'.join(lines + picture.save(out)))
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# Each returns (Picture, lines to print)

def _figure_3a(arguments: argparse.Namespace) -> Tuple[Any, List[str]]:
    from gluon_tricks.results import figures, histories
    logs, left_out = histories.read_logs(arguments.log, 'classification')
    logs, others = histories.with_rates(logs)
    return figures.figure_3a(arguments.schedule or 'paper', logs), histories.told(left_out + others)


def _figure_3b(arguments: argparse.Namespace) -> Tuple[Any, List[str]]:
    from gluon_tricks.results import figures, histories
    runs, left_out = histories.read_classifiers(arguments.runs)
    logs, others = histories.read_logs(arguments.log, 'classification')
    histories.need([*runs, *logs], left_out + others, 'figure 3b takes runs or logs of classifiers')
    picture = figures.figure_3b(runs, logs)
    told = histories.told(left_out + others) + histories.mixed([*(history for _, history in runs), *logs])
    return picture, told + picture.text.split('; ')


def _figure_4a(arguments: argparse.Namespace) -> Tuple[Any, List[str]]:
    from gluon_tricks.results import figures
    picture = figures.figure_4a(1000 if arguments.classes is None else arguments.classes)
    return picture, [picture.text]


def _figure_4b(arguments: argparse.Namespace) -> Tuple[Any, List[str]]:
    from gluon_tricks.results import figures, histories
    from gluon_tricks.tasks.classification.trained import validation
    found, left_out = _answers(arguments, histories.read_classifiers, 'figure 4b takes runs of classifiers',
                               lambda record, devices: validation(record.path, devices))
    picture = figures.figure_4b([(history.name, record.config, answers['gaps']) for record, history, answers in found])
    told = histories.told(left_out) + histories.mixed([history for _, history, _ in found])
    return picture, told + picture.text.split('; ')


def _curves(arguments: argparse.Namespace) -> Tuple[Any, List[str]]:
    from gluon_tricks.pictures.curves import draw_curves
    from gluon_tricks.results import histories
    found, left_out = histories.read_histories(arguments.runs, arguments.unfinished)
    logs, others = histories.read_logs(arguments.log)
    left_out += others
    both = [*found, *logs]
    histories.need(both, left_out, 'figure curves takes runs or logs')
    return draw_curves(both), histories.told(left_out) + histories.mixed(both)


def _classes(arguments: argparse.Namespace) -> Tuple[Any, List[str]]:
    from gluon_tricks.results import class_figures, classes, histories
    if len(arguments.runs) != 1:
        raise UsageError(f'figure classes takes one RUN, and {len(arguments.runs)} are given')
    ((_, history, found),), left_out = _answers(arguments, histories.read_runs, 'figure classes takes a run',
                                                class_figures.of_run)
    picture = classes.draw_classes(history.name, found)
    return picture, histories.told(left_out) + picture.text.split('; ')


def _answers(arguments: argparse.Namespace, read: Callable[[List[str]], Any], what: str,
             look: Callable[[Any, List[Any]], Any]) -> Tuple[List[Tuple[Any, Any, Any]], Any]:
    """([(Record, History, what the network says of the validation data)], what is left out).

    read: of `histories`; look: of a Record and devices.
    """
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.results import histories
    devices = find_devices('', arguments.num_gpus)
    runs, left_out = read(arguments.runs)
    found = []
    for record, history in runs:
        try:
            found.append((record, history, look(record, devices)))
        except UsageError as error:
            left_out.append((record.path, str(error)))
    histories.need(found, left_out, what)
    return found, left_out


class Figure(NamedTuple):
    """How a figure is drawn, and which arguments it takes."""

    draw: Callable[[argparse.Namespace], Tuple[Any, List[str]]]
    takes: Set[str]


FIGURES = {'3a': Figure(_figure_3a, {'log', 'schedule'}), '3b': Figure(_figure_3b, {'runs', 'log'}),
           '4a': Figure(_figure_4a, {'classes'}), '4b': Figure(_figure_4b, {'runs', 'num_gpus'}),
           'curves': Figure(_curves, {'runs', 'log', 'unfinished'}), 'classes': Figure(_classes, {'runs', 'num_gpus'})}
