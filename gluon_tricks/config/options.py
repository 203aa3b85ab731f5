"""What a configuration is: a frozen dataclass, of which flags, printed command and stored JSON are views.

`config.TrainConfig` is the one of classification; the programs in transfer/ have theirs. Standard library only.
"""
import argparse
import dataclasses
import json
import math
import os
import shlex
import shutil
import sys

from gluon_tricks.errors import Parser, UsageError

DTYPES = ('float32', 'float16', 'bfloat16')
KV_STORES = ('device', 'local', 'nccl')
WORKER_STORES = ('dist_sync', 'dist_device_sync', 'dist_sync_device', 'horovod')  # of several processes


# Ranges of what several commands take, both ends allowed. A greater value would take the machine's memory, or its time,
# before anything is computed; a smaller image is less than one pixel in every network's last stage, and a smaller share
# of the short side would enlarge each image to hundreds of times what the network sees.
RANGES = {'input_size': (8, 2048), 'crop_ratio': (0.25, 1), 'batch_size': (1, 65536), 'num_classes': (1, 1000000),
          'num_workers': (1, 1024), 'num_gpus': (0, 64), 'num_epochs': (1, 1000000), 'side': (8, 4096),
          'loss_scale': (1, 2 ** 24), 'cpu': (0, 63), 'processes': (1, 64), 'loaders': (0, 64)}


def range_problem(name, value):
    """What a value of `RANGES` must be, in words, or None where it is, or is None: not given."""
    least, greatest = RANGES[name]
    return None if value is None or least <= value <= greatest else 'at least %s and at most %s' % (least, greatest)


def check_ranges(arguments, *names):
    """Raise UsageError for a parsed argument of these names that is outside its range."""
    for name in names:
        problem = range_problem(name, getattr(arguments, name))
        if problem:
            raise UsageError('--%s %s must be %s' % (name.replace('_', '-'), getattr(arguments, name), problem))


def option(default, help, flags=None, choices=None, type=None, group='run'):
    """A dataclass field that knows its flag. ``type``: what makes the value from the flag's text."""
    return dataclasses.field(default=default, metadata=dict(help=help, flags=flags, choices=choices, type=type,
                                                            group=group))


def flags_of(field):
    return field.metadata['flags'] or ('--' + field.name.replace('_', '-'),)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that every training run has, and what can be done with a configuration.

    A subclass adds its own; `PROGRAM` is the command. Raises UsageError for a value outside its range.
    """

    dtype: str = option('float32', 'precision: float16 keeps float32 master weights', choices=DTYPES, group='training')
    loss_scale: str = option('dynamic', 'float16: dynamic, or a fixed positive number', group='training')
    devices: str = option('', 'devices by name, such as "gpu(0),gpu(2)" or "cpu(0),cpu(1)"',
                         group='training')
    kv_store: str = option('device', 'how gradients of several devices are added', choices=KV_STORES,
                          group='training')
    seed: int = option(0, 'seed of the initial weights, the order of the data and all draws')
    save_dir: str = option('params', 'everything the run writes goes here')
    save_dtype: str = option('float32', 'precision of the exported .params', choices=('float32', 'float16'))
    resume: str = option('', 'auto: go on from SAVE_DIR/latest if there is one; or a checkpoint\'s directory')
    checkpoint_minutes: float = option(0.0, 'also save inside an epoch, when the last checkpoint is so old (0: after '
                                       'each epoch only)')
    stall_minutes: float = option(60.0, 'end the run when nothing was done for so long (0: wait for ever)')
    divergence_factor: float = option(3.0, 'a loss that is so many times its running median for 50 updates is a '
                                      'divergence (0: a loss that is not finite only)')
    on_divergence: str = option('stop', 'stop; or rewind: go back to the last checkpoint, with other draws',
                                choices=('stop', 'rewind'))
    max_rewinds: int = option(3, 'rewind at most so many times')
    log_interval: int = option(50, 'batches between two log lines')
    logging_file: str = option('train.log', 'name of the log, in SAVE_DIR')
    tensorboard: bool = option(False, 'write TensorBoard events to SAVE_DIR/tensorboard (needs tensorboardX)')

    PROGRAM = 'train.py'
    REFUSED = {}  # flags that have no meaning here: what to do instead
    REFUSED_VALUES = {}  # (flag, value): the same

    def __post_init__(self):
        for field in self.fields():
            value, choices = getattr(self, field.name), field.metadata['choices']
            if choices:
                self.rule(field.name, value in choices, 'one of: %s' % ', '.join(choices))
            numbers = value if isinstance(value, tuple) else (value,)
            self.rule(field.name, all(math.isfinite(n) for n in numbers if isinstance(n, float)),
                      'finite: inf and nan are no values')
        self.rule('seed', 0 <= self.seed < 2 ** 31, '0 or more, and below 2147483648')
        for name in ('checkpoint_minutes', 'stall_minutes', 'max_rewinds'):
            self.rule(name, getattr(self, name) >= 0, '0 or more')
        self.rule('divergence_factor', self.divergence_factor == 0 or self.divergence_factor > 1, '0, or above 1')
        self.rule('log_interval', self.log_interval >= 0, '0 or more')
        scale = 1.0 if self.loss_scale == 'dynamic' else _number(self.loss_scale)
        self.rule('loss_scale', not range_problem('loss_scale', scale),
                  'dynamic, or a positive number, at least %d and at most %d' % RANGES['loss_scale'])
        self.rule('logging_file', self.logging_file and '/' not in self.logging_file,
                  'a file name without a directory: the log goes to SAVE_DIR')
        self.rule('save_dir', bool(self.save_dir), 'a directory, such as params')

    @classmethod
    def fields(cls):
        """The dataclass's fields: those of the subclass, in its order, then those of every run."""
        shared = {field.name for field in dataclasses.fields(Options)}
        return sorted(dataclasses.fields(cls), key=lambda field: field.name in shared)

    def rule(self, name, holds, rule):
        """Raise UsageError, naming the flag of option `name` and its value, unless it holds."""
        if not holds:
            field = next(each for each in self.fields() if each.name == name)
            raise UsageError('%s %s must be %s' % (flags_of(field)[-1], getattr(self, name), rule))

    def in_range(self, name, kind=None):
        """Raise UsageError, as `rule`, unless option `name` is within `RANGES`, where it goes by the name `kind`."""
        problem = range_problem(kind or name, getattr(self, name))
        self.rule(name, not problem, problem)

    def replace(self, **changes):
        """A copy with some options changed; an unknown name is a TypeError."""
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        """Plain dict in the order of the fields; tuples become lists, as JSON has them."""
        values = {field.name: getattr(self, field.name) for field in self.fields()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def to_json(self):
        return json.dumps(self.to_dict(), indent=2)

    def arguments(self):
        """The flags that make this configuration, as a list; options at their default are left out."""
        words = []
        for field in self.fields():
            value = getattr(self, field.name)
            if value == field.default:
                continue
            flag = flags_of(field)[-1]
            if isinstance(value, bool):
                words.append(flag)
                continue
            text = ','.join('%r' % part for part in value) if isinstance(value, tuple) else str(value)
            # argparse takes a separate word that starts with a dash for a flag
            words += ['%s=%s' % (flag, text)] if text.startswith('-') else [flag, text]
        return words

    def command(self, start=None):
        """The plain command of this run, as a user would type it; start: other words for `python PROGRAM`."""
        return ' '.join([start or 'python ' + self.PROGRAM] + [shlex.quote(word) for word in self.arguments()])

    def going_on(self):
        """The command that goes on after this run's last checkpoint, with the interpreter and the program that run."""
        typed = sys.argv[0] if os.path.basename(sys.argv[0]) == os.path.basename(self.PROGRAM) else self.PROGRAM
        return self.replace(resume='auto').command('%s %s' % (interpreter(), shlex.quote(typed)))

    @classmethod
    def from_dict(cls, values):
        """From `to_dict`; raises UsageError for a name this version does not know, and a value of another type."""
        if not isinstance(values, dict):
            raise UsageError('the stored configuration is no table of options: use a checkpoint that is whole')
        known = {field.name: field for field in dataclasses.fields(cls)}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        for name, value in values.items():
            if name not in known:
                raise UsageError('option %r of the stored configuration is unknown to this version of gluon_tricks: '
                                 'use the version that wrote it' % name)
            if not _is_of_type(value, known[name]):
                raise UsageError('option %r of the stored configuration cannot be %.50r: use a checkpoint that is '
                                 'whole' % (name, value))
        return cls(**values)


def _is_of_type(value, field):
    if value is None or isinstance(value, bool):
        return value is field.default or field.type is bool and value is not None
    if isinstance(value, tuple):
        return field.type is tuple and all(type(part) in (int, float) for part in value)
    return isinstance(value, (int, float) if field.type is float else field.type)


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan


def interpreter():
    """The Python that runs, as it is typed: by its name where that starts it, else by its path."""
    for name in ('python', os.path.basename(sys.executable)):
        if shutil.which(name) == sys.executable:
            return name
    inside = os.path.relpath(sys.executable)
    return shlex.quote(sys.executable if inside.startswith(os.pardir) else inside)


# ---------------------------------------------------------------------------------------------------------------------
# Values from text

def floats(text):
    """Tuple of the numbers between commas."""
    try:
        return tuple(float(part) for part in text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError('%r must be numbers separated by commas' % text) from None


def epochs(text):
    """Tuple of the epochs between commas, for ``--lr-decay-epoch``."""
    try:
        return tuple(int(part) for part in text.split(',') if part.strip())
    except ValueError:
        raise UsageError('--lr-decay-epoch %r must be epochs separated by commas, such as 30,60,90' % text) from None


# ---------------------------------------------------------------------------------------------------------------------
# Flags

def add_arguments(parser, cls):
    """Add one flag per option of a configuration class to an argparse parser; absent flags leave no attribute."""
    groups = {}
    for field in cls.fields():
        meta = field.metadata
        if meta['group'] not in groups:
            groups[meta['group']] = parser.add_argument_group(meta['group'])
        arguments = dict(dest=field.name, default=argparse.SUPPRESS, help=meta['help'].replace('%', '%%'))
        if isinstance(field.default, bool):
            arguments['action'] = 'store_true'
        else:
            arguments['type'] = meta['type'] or type(field.default)
            arguments['metavar'] = '{%s}' % ','.join(meta['choices']) if meta['choices'] else field.name.upper()
            if field.default not in (None, ''):
                shown = ','.join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
                arguments['help'] += ' (default: %s)' % shown
        groups[meta['group']].add_argument(*flags_of(field), **arguments)

    class Refuse(argparse.Action):
        def __call__(self, parser, namespace, values, option_string=None):
            raise UsageError(cls.REFUSED[option_string])
    for flag in cls.REFUSED:
        parser.add_argument(flag, nargs='?', action=Refuse, help=argparse.SUPPRESS)


def parser(cls, description=None):
    """The parser of a training command: every option, and ``--recipe`` and ``--print-config``."""
    result = Parser(prog=cls.PROGRAM.split('/')[-1], description=description)
    result.add_argument('--recipe', metavar='NAME', help='start from this recipe; other flags override it '
                        '(`python -m gluon_tricks recipes` lists them)')
    result.add_argument('--print-config', action='store_true', help='print the resolved configuration as JSON and end')
    add_arguments(result, cls)
    return result


def typed_options(cls, namespace):
    """{option: value} that the flags gave. Raises UsageError for a value that has no meaning here."""
    names = {field.name for field in dataclasses.fields(cls)}
    typed = {name: value for name, value in vars(namespace).items() if name in names}
    for (flag, value), sentence in cls.REFUSED_VALUES.items():
        if typed.get(flag[2:].replace('-', '_')) == value:
            raise UsageError(sentence)
    return typed
