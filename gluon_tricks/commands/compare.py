"""``python -m gluon_tricks compare``: Runs beside each other and beside published logs, epoch by epoch."""
import json
import textwrap
from typing import List

from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet
from gluon_tricks.pictures.picture import files


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks compare', description=__doc__.split('``: ')[1], epilog='A published '
                    'log is one run: how far another may lie from it by chance is not known, so nothing here judges.')
    result.add_argument('runs', metavar='RUN', nargs='*', help='SAVE_DIRs of runs; the first is what the others differ '
                        'from')
    result.add_argument('--log', metavar='FILE', action='append', default=[],
                        help='a training log of GluonCV\'s train_imagenet.py or train_faster_rcnn.py; may be repeated')
    result.add_argument('--unfinished', action='store_true', help='runs that have not ended count as far as they are')
    result.add_argument('--every', type=int, default=1, metavar='N', help='print each N-th epoch (default: 1)')
    result.add_argument('-o', '--out', metavar='PATH',
                        help='also draw PATH.svg and PATH.png, or the one that PATH names')
    result.add_argument('--json', action='store_true', help='print JSON')
    return result


@quiet()
def main(argv: List[str]) -> int:
    """Compare and print; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.every < 1:
        raise UsageError(f'--every {arguments.every} must be at least 1')
    if arguments.out:
        files(arguments.out)
    from gluon_tricks.results import histories
    from gluon_tricks.results.comparison import compare, draw_comparison
    found, left_out = histories.read_histories(arguments.runs, arguments.unfinished)
    logs, others = histories.read_logs(arguments.log)
    found, foreign = histories.of_one_kind([*found, *logs])
    left_out += others + foreign
    histories.need(found, left_out, 'compare takes runs or logs')
    comparison, mixed = compare(found), histories.mixed(found)
    paths = draw_comparison(comparison).save(arguments.out) if arguments.out else []
    if arguments.json:
        print(json.dumps(dict(comparison.to_dict(), left_out=left_out, notes=mixed, pictures=paths), indent=1))
    else:
        notes = [part for line in histories.told(left_out) + mixed
                 for part in textwrap.wrap(line, 80, subsequent_indent='  ', break_long_words=False,
                                           break_on_hyphens=False)]
        print('\n'.join(notes + comparison.lines(arguments.every) + paths))
    return 0
