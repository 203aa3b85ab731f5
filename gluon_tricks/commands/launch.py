"""``python -m gluon_tricks launch``: several workers of one training (`distributed/launch.py`), or, with --slurm, a
file for sbatch (`distributed/slurm.py`)."""
import os
import re
import shlex
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from gluon_tricks.commands import ladder
from gluon_tricks.config import classification, detection, options, recipes, recipes_transfer, scales, segmentation
from gluon_tricks.distributed import launch
from gluon_tricks.distributed.slurm import Batch, script
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.files import unwritable, write_whole

_TRAINS = {'train': classification.TrainConfig, 'train-detection': detection.RCNNConfig,
           'train-segmentation': segmentation.FCNConfig}
_MOST = 100000  # nodes, devices and cores


class _Work(NamedTuple):
    """What a command is, as far as a job must know. name: for the job; more: words to add to it; tasks: those of a job
    array; gpus: of a node, that it takes; store: the key-value store of several nodes."""

    name: str
    command: Tuple[str, ...]
    tasks: Tuple[Tuple[str, ...], ...] = ()
    gpus: Optional[int] = None
    store: str = 'device'


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks launch --slurm', usage='%(prog)s [options] -- COMMAND...',
                    description='Write a file for sbatch that trains by COMMAND: a job that saves and ends before its '
                    'time limit, and is queued again until the training has finished.', epilog='COMMAND is a training '
                    'program with its flags, or a ladder, of which each row becomes a task of a job array. With '
                    '--nodes, --kv-store in COMMAND says how they train together: dist_sync by `launch`, or horovod.')
    result.add_argument('--slurm', action='store_true', required=True, help='write the file')
    result.add_argument('-o', dest='out', metavar='FILE', help='the file (default: the name of the job and .sbatch)')
    result.add_argument('--job-name', metavar='NAME', help='of the job (default: by SAVE_DIR or the table)')
    result.add_argument('--nodes', type=int, metavar='N', default=1, help='each has one worker (default: 1)')
    result.add_argument('--gpus', type=int, metavar='G', help='of each node (default: as many as COMMAND says)')
    result.add_argument('--cpus', type=int, metavar='C', help="cores of each node (default: Slurm's, often one)")
    result.add_argument('--time', metavar='T', help='the limit, such as 12:00:00 (default: that of the partition)')
    result.add_argument('--lead', type=int, metavar='SECONDS', default=180, help='from the signal to the limit: longer '
                        'than an update, an evaluation and a save (default: 180)')
    result.add_argument('--restarts', type=int, metavar='K', default=100, help='the job is queued again at most K '
                        'times (default: 100)')
    result.add_argument('--at-once', type=int, metavar='J', help='with a ladder: at most J tasks run at a time')
    for name, what in (('partition', 'P'), ('account', 'A'), ('qos', 'Q')):
        result.add_argument(f'--{name}', metavar=what, help='as for sbatch')
    result.add_argument('--sbatch', action='append', default=[], metavar='OPTION', help='another option of sbatch, '
                        'such as --sbatch=--constraint=v100; may be repeated')
    return result


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit code of the launcher, or 0 for a file that was written."""
    split = list(argv).index('--') if '--' in argv else len(argv)
    return _write(argv[:split], argv[split + 1:]) if '--slurm' in argv[:split] else launch.main(argv)


def _write(flags, command):
    arguments = parser().parse_args(flags)
    for name, least, most in (('nodes', 1, _MOST), ('gpus', 0, _MOST), ('cpus', 1, _MOST), ('lead', 1, 65535),
                              ('restarts', 0, _MOST), ('at_once', 1, _MOST)):
        value = getattr(arguments, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f'--{name.replace("_", "-")} {value} must be {least} to {most}')
    others = [f'--{name}={value}' for name, value in vars(arguments).items()
              if name in ('partition', 'account', 'qos') and value is not None] + arguments.sbatch
    for name, form, value in [('sbatch', r'--[^\s#]+', word) for word in others] + [
            ('job-name', r'[^\s#/]+', arguments.job_name)]:
        if value is not None and not re.fullmatch(form, value):
            raise UsageError(f'--{name} {value!r:.60} cannot stand in a line of sbatch: options begin with two dashes, '
                             'as in --sbatch=--constraint=v100, and neither they nor names hold spaces')
    work = _work(list(command), arguments)
    name = arguments.job_name or re.sub(r'[^\w.+-]+', '_', work.name)
    path = os.path.expanduser(arguments.out or f'{name}.sbatch')
    batch = Batch(name, os.getcwd(), work.command, command[0] if 'python' in command[0] else options.interpreter(),
                  work.tasks, arguments.at_once, arguments.nodes, work.store,
                  work.gpus if arguments.gpus is None else arguments.gpus, arguments.cpus, arguments.time,
                  arguments.lead, arguments.restarts, tuple(others))
    try:
        write_whole(path, script(batch).encode())
    except OSError as error:
        raise unwritable(path, error, 'give another -o FILE') from error
    tasks = f', an array of {len(work.tasks)} tasks' if work.tasks else ''
    print(f'{path} is written{tasks}. Submit it:\n\n    sbatch {shlex.quote(path)}\n')
    if arguments.cpus is None:
        print('Without --cpus a job has what the partition gives, often one core; decoding takes several for each GPU.')
    return 0


def _work(command, arguments):
    """The _Work of the words of a command. Raises UsageError for one that no job of ours resumes by."""
    name, words = _program(command)
    if name == 'ladder':
        if arguments.nodes > 1:
            raise UsageError(f'--nodes {arguments.nodes}: the runs of a ladder train on one node each; drop --nodes')
        return _ladder(command, words, arguments.gpus)
    if arguments.at_once is not None:
        raise UsageError(f'--at-once {arguments.at_once} is for a ladder, whose rows are tasks: drop it')
    config = _config(name, words)
    if config.resume not in ('', 'auto'):
        raise UsageError(f'--resume {config.resume} would go back there each time that the job is queued again: write '
                         '--resume auto, or leave it out')
    return _Work(os.path.basename(os.path.normpath(config.save_dir)),
                 tuple(command + [] if config.resume else command + ['--resume', 'auto']),
                 gpus=_gpus(config, arguments.gpus), store=_store(config, arguments.nodes))


def _program(command: List[str]) -> Tuple[str, List[str]]:
    """(which of our commands the words start, its own words). Raises UsageError for others."""
    programs: Dict[str, str] = {os.path.basename(cls.PROGRAM): name for name, cls in _TRAINS.items()}
    for place, word in enumerate(command):
        if os.path.basename(word) in programs:
            return programs[os.path.basename(word)], command[place + 1:]
        if word == 'gluon_tricks' and command[place - 1] == '-m' or os.path.basename(word) == 'gluon-tricks':
            name = (command + [''])[place + 1]
            if name in (*_TRAINS, 'ladder'):
                return name, command[place + 2:]
    raise UsageError('%s: write it after two dashes, such as `launch --slurm -- python train_imagenet.py --recipe '
                     'table6/resnet50_v1d/mixup`; it may be a training program, or `python -m gluon_tricks` train, '
                     'train-detection, train-segmentation or ladder' % (
                         f'{shlex.join(command)!r:.60} is no COMMAND that resumes' if command else 'no COMMAND'))


def _config(name, words):
    """The configuration that a training program's flags give. Raises UsageError as the program would."""
    cls = _TRAINS[name]
    if name == 'train':
        given = classification.parser().parse_args(words)
        return classification.from_namespace(given, recipes.get(given.recipe).config if given.recipe else None)
    module: Any = detection if name == 'train-detection' else segmentation
    given = segmentation.parser().parse_args(words) if module is segmentation else options.parser(cls).parse_args(words)
    for purpose in ('eval', 'predict'):
        if getattr(given, purpose, None):
            raise UsageError(f'--{purpose} trains nothing: type the command without `launch --slurm`')
    return module.from_namespace(given, recipes_transfer.get(given.recipe, cls) if given.recipe else None)


def _gpus(config, given):
    """The GPUs of a node that a configuration takes, None for all. Raises UsageError where there are less."""
    devices = getattr(config, 'num_gpus', None)
    numbers = re.findall(r'gpu\((\d+)\)', config.devices) or re.findall(r'\d+', getattr(config, 'gpus', ''))
    if numbers:
        devices = max(map(int, numbers)) + 1
    if None not in (devices, given) and devices > given:
        raise UsageError(f'--gpus {given}: COMMAND trains on {devices} GPUs of a node; give --gpus {devices}, or have '
                         'COMMAND take less with --num-gpus')
    return devices


def _store(config, nodes):
    """The key-value store of a configuration. Raises UsageError where it does not go with the number of nodes."""
    several = config.kv_store in options.WORKER_STORES
    if several and nodes == 1:
        raise UsageError(f'--kv-store {config.kv_store} is for several nodes: give --nodes, or drop it')
    if nodes > 1 and not several:
        raise UsageError(f'--nodes {nodes} needs a COMMAND whose workers train together: add --kv-store dist_sync, or '
                         'horovod' if isinstance(config, classification.TrainConfig) else
                         f'--nodes {nodes}: detection and segmentation train on one node; drop --nodes')
    return config.kv_store


def _ladder(command, words, gpus):
    given = ladder.parser().parse_args(words)
    chosen = ladder.choose(given)
    if chosen.scale == scales.FULL and not gpus:
        raise UsageError('a ladder at --scale full trains on GPUs: give --gpus G, those of a node')
    start = command[:len(command) - len(words)]
    kept, skip = [], False
    for word in words:  # the rows are the tasks'
        skip = word == '--rows' or skip and not word.startswith('--')
        kept += [] if skip or word.startswith('--rows=') else [word]
    tasks = tuple(('--rows', *rows) for rows in scales.apart(chosen.rows, chosen.scale))
    return _Work(f'ladder-{given.table}', tuple(start + kept), tasks)
