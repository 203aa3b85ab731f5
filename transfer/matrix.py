"""The transfer matrix: detection and segmentation over each of several classifiers (paper section 6, Tables 8 and 9).

    python transfer/matrix.py --backbones runs/a runs/b/best/net.params resnet50_v1b=FILE --tasks voc,ade20k
    python transfer/matrix.py --backbones ... --voc-args "--recipe table8/mixup" --ade20k-args "--recipe table9/mixup"

A row is a classifier, a cell one run of a training program in OUT/<row>/<task>. The same command resumes where it was
interrupted. Standard library only.
"""
import contextlib
import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # the repository, installed or not

from gluon_tricks.config import detection as rcnn_config  # noqa: E402
from gluon_tricks.config import options  # noqa: E402
from gluon_tricks.config import recipes_transfer as tables  # noqa: E402
from gluon_tricks.config import segmentation as fcn_config  # noqa: E402
from gluon_tricks.errors import Parser, UsageError, exit_code  # noqa: E402
from gluon_tricks.files import Lock, file_digest, remedy_for, unwritable, write_whole  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Task:
    """A program, its columns: (heading, the figure's name in run.json, what makes it percent), and how it reads flags.

    Flags are checked here as the program does it: ``parser()``, then ``from_namespace`` over a recipe of ``config``.
    """

    program: str
    network_flag: str
    columns: tuple
    parser: object
    config: type
    from_namespace: object


_FOLDER = os.path.dirname(os.path.abspath(__file__))
TASKS = {
    'voc': Task(os.path.join(_FOLDER, 'train_faster_rcnn.py'), '--network', (('VOC mAP', 'map_voc07', 1),),
                lambda: options.parser(rcnn_config.RCNNConfig), rcnn_config.RCNNConfig, rcnn_config.from_namespace),
    'ade20k': Task(os.path.join(_FOLDER, 'train_fcn.py'), '--backbone',
                   (('ADE pixAcc', 'pix_acc', 100), ('ADE mIoU', 'miou', 100)), fcn_config.parser,
                   fcn_config.FCNConfig, fcn_config.from_namespace),
}
_OURS = ('save_dir', 'resume', 'base_params', 'network', 'backbone')  # options that the matrix gives
_OTHER = ('print_config', 'eval', 'predict')  # what these programs do instead of training
_PATIENCE = (1, 300)  # seconds that an interrupted program has: until it is told again, then to end its update and save


def main(argv=None):
    """Run the command line; returns the exit code: 0, 1 where a cell failed, 2 for wrong usage, 130 for Ctrl-C."""
    return exit_code(run, sys.argv[1:] if argv is None else list(argv))


def run(words):
    """Run the command line. Raises UsageError for wrong usage; else as `main`."""
    try:
        arguments = _parser().parse_args(_joined(words))
        cells = plan(arguments)
        with _lock(arguments.out, '--out'):
            fill(cells, arguments.out)
    except KeyboardInterrupt:
        print(f'interrupted: resume with python transfer/matrix.py {shlex.join(words)}', flush=True)
        return 130
    print(table(cells), end='', flush=True)
    failed = [cell for cell in cells if cell.status == 'failed']
    for cell in failed:
        print(f'failed: {cell.row.name}, {cell.task}: {cell.reason}', file=sys.stderr)
    return 1 if failed else 0


def _parser():
    parser = Parser(prog='matrix.py', description=__doc__.splitlines()[0])
    parser.add_argument('--backbones', nargs='+', required=True, metavar='FILE', help='the rows: .params files of '
                        'classifiers, timm\'s .safetensors, or the SAVE_DIRs of their trainings; NETWORK=FILE names '
                        'the network')
    parser.add_argument('--tasks', default=','.join(TASKS), help=f'the columns (default: {",".join(TASKS)})')
    parser.add_argument('--out', default='runs/matrix', metavar='DIR', help='runs and tables go here (default: '
                        'runs/matrix)')
    for name, task in TASKS.items():
        parser.add_argument(f'--{name}-args', default='', metavar='"FLAGS"', help='flags of every run of '
                                                                                    f'{os.path.basename(task.program)}')
    return parser


def _joined(words):
    """The words with ``--voc-args X`` as ``--voc-args=X``: argparse takes an X such as --aux for another flag."""
    words, flags = list(words), [f'--{name}-args' for name in TASKS]
    for at in reversed(range(len(words) - 1)):
        if words[at] in flags:
            words[at:at + 2] = ['='.join(words[at:at + 2])]
    return words


# ---------------------------------------------------------------------------------------------------------------------
# Rows and cells

@dataclasses.dataclass
class Row:
    """A classifier: ``params`` is its file's whole path."""

    name: str
    network: str
    params: str
    sha256: str


@dataclasses.dataclass
class Cell:
    """One run. status: not run, finished, failed (for a ``reason``) or interrupted; last, best: figures of run.json."""

    row: Row
    task: str
    save_dir: str
    command: list
    status: str = 'not run'
    reason: str = ''
    last: dict = dataclasses.field(default_factory=dict)
    best: dict = dataclasses.field(default_factory=dict)

    @property
    def origin(self):
        """The inputs of a run: kept in its save dir as cell.json."""
        return {'command': shlex.join(self.command), 'sha256': self.row.sha256}

    def begin(self):
        """From here on it is interrupted, unless it fails or finishes."""
        self.status = 'interrupted'

    def fail(self, reason):
        self.status, self.reason = 'failed', reason

    def finish(self, run):
        """Take the figures of a finished run, the content of its run.json."""
        wanted = [figure for _, figure, _ in TASKS[self.task].columns] + ['epoch', 'num_images']
        self.last, self.best = ({name: part[name] for name in wanted if name in part}
                                for part in (run.get('result') or {}, run.get('best') or {}))
        self.status = 'finished'


def plan(arguments):
    """The cells, row by row, with the figures of those that are finished. Raises UsageError before anything runs."""
    names = list(dict.fromkeys(name.strip() for name in arguments.tasks.split(',')))
    for name in names:
        if name not in TASKS:
            raise UsageError(f'--tasks {arguments.tasks}: {name!r} is not a task; name some of {",".join(TASKS)}')
    extra = {name: _extra(name, getattr(arguments, name + '_args'), name in names) for name in TASKS}
    rows = {}
    for text in arguments.backbones:
        row = find_backbone(text)
        if row.name in rows:
            raise UsageError(f'--backbones: {rows[row.name].params} and {row.params} are both called {row.name}, '
                             'after network and directory; link one of them from a directory of another name')
        rows[row.name] = row
    cells = []
    for row in rows.values():
        for name in names:
            task, save_dir = TASKS[name], os.path.join(arguments.out, row.name, name)
            words = [task.network_flag, row.network, '--base-params', row.params, '--save-dir', save_dir,
                     '--resume', 'auto'] + extra[name]
            _check(name, words, extra[name])
            cells.append(Cell(row, name, save_dir, [sys.executable, task.program] + words))
            if _read(os.path.join(save_dir, 'cell.json')) == cells[-1].origin:
                take_figures(cells[-1])
    return cells


def _extra(name, text, used):
    """The words of --voc-args or --ade20k-args."""
    if text and not used:
        raise UsageError(f'--{name}-args does nothing without {name} among --tasks: add it, or drop --{name}-args')
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f'--{name}-args {text}: {error}; close every quote') from error


def _check(name, words, extra):
    """Raise UsageError, before hours of work, for flags that the program would refuse or that are the matrix's."""
    task = TASKS[name]
    try:
        typed = vars(task.parser().parse_args(extra))
        for each in _OURS + _OTHER:
            if typed.get(each):
                raise UsageError('--%s %s: drop it' % (each.replace('_', '-'), 'is the matrix\'s to give'
                                                       if each in _OURS else 'does not train'))
        namespace = task.parser().parse_args(words)
        task.from_namespace(namespace, tables.get(namespace.recipe, task.config) if namespace.recipe else None)
    except UsageError as error:
        raise UsageError(f'--{name}-args "{shlex.join(extra)}": {error}') from error


def find_backbone(text):
    """The Row of a file of weights, a SAVE_DIR (its best) or a checkpoint's directory, or of NETWORK=FILE.

    The network is the one that a manifest.json or run.json beside the file tells, else the one in the file's name. The
    row is called after it and the run's directory, whatever other rows there are: so a finished cell is found again
    when rows are added. Raises UsageError.
    """
    named = None if os.path.exists(os.path.expanduser(text)) else re.match(r'([\w.]+)=(.+)$', text)
    network, path = named.groups() if named else (None, text)
    path = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(path):
        inside = [os.path.join(path, *parts) for parts in (('best', 'net.params'), ('net.params',),
                                                           ('model.safetensors',))]
        path = next(filter(os.path.isfile, inside), inside[0])
    folder = os.path.dirname(path)
    run = os.path.dirname(folder) if re.match(r'(best|latest|epoch-\d+)$', os.path.basename(folder)) else folder
    records = [_read(os.path.join(*parts)) for parts in ((folder, 'manifest.json'), (run, 'run.json'))]
    sha256 = _digest(text, path)
    in_name = re.search(r'(?:^|-)(resnet\d+_\w+)(?=-|\.(?:params|safetensors)$)', os.path.basename(path))
    found = [record['config'].get('model') for record in records if isinstance(record.get('config'), dict)]
    found = [name for name in found if isinstance(name, str) and re.fullmatch(r'[\w.]+', name)]
    network = network or next(iter(found + ([in_name.group(1)] if in_name else [])), None)
    if not network:
        raise UsageError(f'--backbones {text}: neither its name nor a manifest.json or run.json beside it tells the '
                         f'network; write NETWORK=FILE, such as resnet50_v1d={text}')
    network, place = network.lower(), os.path.basename(run)
    return Row(place if place.startswith(network) else f'{network}-{place}', network, path, sha256)


def _digest(text, path):
    try:
        return file_digest(path)
    except OSError as error:
        raise UsageError(f'--backbones {text}: {path} cannot be read ({error.strerror}); give the .params file of a '
                         'classifier, or the SAVE_DIR of its training') from error


def _read(path):
    """The object in a JSON file, {} where there is none."""
    try:
        with open(path, encoding='utf-8') as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _lock(folder, flag):
    """A directory for this process alone; UsageError where another has it, or it cannot be written."""
    try:
        return Lock(folder, f'{flag} {folder}', 'wait for its end, or give another --out')
    except OSError as error:
        raise unwritable(folder, error, f'{remedy_for(error)} with --out') from error


def _write(path, content):
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        write_whole(path, content.encode())
    except OSError as error:
        raise unwritable(path, error, f'{remedy_for(error)} with --out') from error


# ---------------------------------------------------------------------------------------------------------------------
# Training

def fill(cells, out):
    """Train every cell that is not finished, and write OUT/matrix.json and matrix.txt after each."""
    write(cells, out)
    for number, cell in enumerate(cells, 1):
        print('%d of %d: %s, %s: %s' % (number, len(cells), cell.row.name, cell.task, 'finished before'
                                        if cell.status == 'finished' else cell.origin['command']), flush=True)
        if cell.status != 'finished':
            try:
                train(cell)
            finally:
                write(cells, out)


def train(cell):
    """Carry out a cell's run, from its beginning or where it stopped, and take its figures or the reason it failed.

    Whether the options are those of the run that is there, the program judges. It cannot see other weights under the
    same name: here they are refused.
    """
    path = os.path.join(cell.save_dir, 'cell.json')
    origin = json.dumps(cell.origin, indent=1) + '\n'
    try:
        with _lock(cell.save_dir, 'the run in'):  # a program that an earlier matrix began may still run there
            if not os.path.lexists(os.path.join(cell.save_dir, 'latest')):
                _write(path, origin)
            elif _read(path).get('sha256', cell.row.sha256) != cell.row.sha256:
                raise UsageError(f'{cell.save_dir} was begun with other weights than {cell.row.params} has now: '
                                 'remove it, or give another --out')
    except UsageError as error:
        cell.fail(str(error))
        return
    cell.begin()
    code, error = watch(cell.command)
    if code in (129, 130, 143):
        raise KeyboardInterrupt
    if code == 0 and take_figures(cell):
        _write(path, origin)
        return
    if code == 3:  # diverged: run.json tells where
        error = _read(os.path.join(cell.save_dir, 'run.json')).get('reason', error)
    cell.fail(error or f'exit code {code} and no finished run in {cell.save_dir}: its output tells why')


def take_figures(cell):
    """Whether the run in a cell's save dir is finished; if so the cell is, with the run's figures."""
    run = _read(os.path.join(cell.save_dir, 'run.json'))
    if run.get('status') != 'finished':
        return False
    cell.finish(run)
    return True


def watch(command):
    """(exit code, the `error:` sentence on stderr or '') of a program whose output is shown as it comes.

    A terminal is left to the program, for its progress bar; then the sentence is only there.
    """
    piped, errors = not sys.stderr.isatty(), []
    child = subprocess.Popen(command, stderr=subprocess.PIPE if piped else None, universal_newlines=True,
                             errors='replace')

    def show():
        for line in child.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            errors.extend([line[len('error:'):].strip()] if line.startswith('error:') else [])
    reader = threading.Thread(target=show, daemon=True)
    if piped:
        reader.start()
    try:
        code = child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise
    finally:
        if piped:
            reader.join(5)  # a worker of the program may hold the pipe open
    return code, errors[-1] if errors else ''


def _end(child):
    """End an interrupted program: a signal to this process alone is passed on. Ctrl-C, which the program has had,
    changes nothing when it comes again so soon (guard.py); the user's next one ends both."""
    try:
        for seconds in _PATIENCE:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
                break
            child.send_signal(signal.SIGINT)
    finally:
        child.kill()


# ---------------------------------------------------------------------------------------------------------------------
# The table

def write(cells, out):
    """Write OUT/matrix.json and OUT/matrix.txt. The JSON has run.json's figures: mAP in percent, the others 0 to 1."""
    rows = {}
    for cell in cells:
        row = rows.setdefault(cell.row.name, dict(dataclasses.asdict(cell.row), tasks={}))
        row['tasks'][cell.task] = dict(
            {name: getattr(cell, name) for name in ('status', 'reason', 'last', 'best', 'save_dir')},
            command=shlex.join(cell.command))
    _write(os.path.join(out, 'matrix.json'), json.dumps({'rows': list(rows.values())}, indent=1) + '\n')
    _write(os.path.join(out, 'matrix.txt'), table(cells))


def table(cells):
    """The matrix as text, at most 80 columns: a name that is too long has a line of its own."""
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    heads = [heading for name in tasks for heading, _, _ in TASKS[name].columns]
    lines = [['classifier'] + heads, [''] + ['last / best'] * len(heads)]
    for name in dict.fromkeys(cell.row.name for cell in cells):
        lines.append([name] + [text for cell in cells if cell.row.name == name for text in _texts(cell)])
    widths = [max(len(line[column]) for line in lines) for column in range(1, len(heads) + 1)]
    room = 80 - sum(width + 2 for width in widths)
    first = min(room, max(len(line[0]) for line in lines))
    text = ''
    for name, *rest in lines:
        text += name + '\n' + ' ' * first if len(name) > room else name.ljust(first)
        text += ''.join('  ' + part.ljust(width) for part, width in zip(rest, widths)).rstrip() + '\n'
    return text + 'Percent, after the last and the best epoch (by mAP, by mIoU) of each run.\n'


def _texts(cell):
    """The text of each column of a cell."""
    columns = TASKS[cell.task].columns
    if cell.status != 'finished':
        return [cell.status] * len(columns)
    return [' / '.join(f'{factor * float(part[name]):.2f}' if name in part else '-'
                       for part in (cell.last, cell.best)) for _, name, factor in columns]


if __name__ == '__main__':
    for number in (signal.SIGTERM, signal.SIGHUP):  # these end the training as well
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    sys.exit(main())
