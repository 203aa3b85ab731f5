"""``python -m gluon_tricks report``: One HTML file: tables with verdicts, runs, their curves, and what they confuse."""
import os
from typing import Any, List, Sequence

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.errors import Parser
from gluon_tricks.files import check_writable, remedy_for, unwritable, write_whole
from gluon_tricks.noise import quiet


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks report', description=__doc__.split('``: ')[1],
                    usage='%(prog)s [options] RUN|TABLE ...', epilog='What is no finished run is named on the page and '
                    'left out. The page needs no network and runs no script.')
    result.add_argument('words', metavar='RUN|TABLE', nargs='+', help='SAVE_DIRs of finished runs, and numbers of '
                        'tables, 1 to 9 or slides (default: the tables that the runs are rows of)')
    result.add_argument('--look', action='store_true', help='classifiers look at their validation images again, '
                        'whatever the data are (default: at the demo\'s), and segmentation networks: confused classes')
    result.add_argument('--num-gpus', type=int, help='GPUs for that, 0 for the CPU (default: all visible, else the '
                        'CPU)')
    result.add_argument('-o', '--out', metavar='FILE', default='report.html', help='(default: report.html)')
    return result


@quiet()
def main(argv: List[str]) -> int:
    """Write the page and print where it is; returns the exit code."""
    arguments = parser().parse_intermixed_args(argv)
    check_ranges(arguments, TrainConfig, 'num_gpus')
    out = ready(arguments.out, '-o')
    from gluon_tricks.results import printed
    from gluon_tricks.results.report import report
    numbers = [word for word in arguments.words if word in printed.TABLES]
    devices = None
    if arguments.num_gpus is not None:
        from gluon_tricks.distributed.devices import find_devices
        devices = find_devices('', arguments.num_gpus)
    found = report([word for word in arguments.words if word not in printed.TABLES], numbers, arguments.look, devices)
    print('\n'.join(write(out, found, ['report', *argv])))
    return 0


def ready(out: str, flag: str) -> str:
    """The path of a page that can be written, as `write` takes it. Raises UsageError before minutes of work, where it
    cannot, or where a package is missing."""
    from gluon_tricks.results import page
    page.engine()
    out = os.path.expanduser(out)
    remedy = f'give {flag} a file in a directory that can be written'
    try:
        os.makedirs(os.path.dirname(out) or '.', exist_ok=True)
    except OSError as error:
        raise unwritable(out, error, remedy) from error
    check_writable(out, remedy)
    return out


def write(out: str, found: Any, words: Sequence[str]) -> List[str]:
    """Write a Report's page; the lines that say where it is. words: of the command that makes it again."""
    from gluon_tricks.results import histories, page
    try:
        write_whole(out, page.page(found, words))
    except OSError as error:
        raise unwritable(out, error, remedy_for(error)) from error
    return [*histories.told(list(found.left_out)), f'{out}: {found.title}']
