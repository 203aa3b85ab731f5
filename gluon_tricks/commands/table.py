"""``python -m gluon_tricks table``: A table of the paper beside what GluonCV, timm and your runs measured."""
import os
import sys

from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet
from gluon_tricks.results import printed

FORMATS = ('text', 'markdown', 'latex', 'csv', 'json')


def parser():
    result = Parser(prog='python -m gluon_tricks table', description=__doc__.split('``: ')[1],
                    usage='%(prog)s [options] N [RUN ...]',
                    epilog='docs/tables.md says what the verdicts mean.')
    result.add_argument('number', metavar='N', choices=list(printed.TABLES), help='1 to 9, or slides')
    result.add_argument('runs', nargs='*', metavar='RUN', help='SAVE_DIRs of finished runs, of any of its rows')
    result.add_argument('--format', choices=FORMATS, default='text', help='form of the table (default: text)')
    result.add_argument('--checklist', action='store_true',
                        help='answers to the NeurIPS checklist instead: error bars and compute of the runs')
    result.add_argument('--eval-results', metavar='DIR',
                        help='also write DIR/ROW/.eval_results/*.yaml of each row that has runs, for Hugging Face')
    return result


@quiet()
def main(argv):
    """Print the table; returns the exit code."""
    arguments = parser().parse_intermixed_args(argv)
    if arguments.eval_results and not arguments.runs:
        raise UsageError(f'--eval-results {arguments.eval_results} needs runs: give their SAVE_DIRs')
    from gluon_tricks.results import checklist, formats
    from gluon_tricks.results.eval_files import write
    from gluon_tricks.results.table import table
    found = table(arguments.number, arguments.runs)
    if arguments.eval_results:
        for path in write(found, os.path.expanduser(arguments.eval_results)):
            print(f'written: {path}', file=sys.stderr)
    if arguments.format not in ('text', 'markdown', 'json'):  # which say it themselves
        for path, why in found.left_out:
            print(f'left out: {path}: {why}', file=sys.stderr)
    print(checklist.checklist(found) if arguments.checklist else formats.FORMATS[arguments.format](found))
    return 0
