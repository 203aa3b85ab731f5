"""``python -m gluon_tricks export-log``: The figures of a run's log for TensorBoard, as CSV, for MLflow or Trackio."""
import os
from typing import Sequence

from gluon_tricks.errors import Parser


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks export-log', description=__doc__.split('``: ')[1], epilog='It reads '
                    'log.jsonl and run.json and changes nothing; also beside the training. Each tool has an extra: '
                    "`pip install '.[tensorboard]'`, '.[mlflow]', '.[trackio]'; csv needs none.")
    result.add_argument('run', metavar='RUN', help='its SAVE_DIR')
    result.add_argument('--to', required=True, choices=('tensorboard', 'csv', 'mlflow', 'trackio'), metavar='TOOL',
                        help='tensorboard, csv, mlflow or trackio')
    result.add_argument('--out', metavar='PLACE', help='tensorboard, csv: an empty directory (default: '
                        'RUN/exported/TOOL); mlflow: a tracking URI (default: MLFLOW_TRACKING_URI, else '
                        'sqlite:///mlflow.db); trackio: its directory (default: TRACKIO_DIR, else its own)')
    return result


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    arguments = parser().parse_args(argv)
    from gluon_tricks.results.export_log import TOOLS, read_log
    folder, tool = os.path.expanduser(arguments.run), TOOLS[arguments.to]
    out = tool.place(folder) if arguments.out is None else os.path.expanduser(arguments.out)
    log = read_log(folder)
    where = tool.write(log, out)
    print(f'{sum(len(event.numbers) for event in log.events)} figures of {log.name}: {where}')
    if tool.look(out):
        print(f'Look at them with: {tool.look(out)}')
    return 0
