"""Configurations: frozen dataclasses, of which flags, printed command and stored JSON are views.

`config.TrainConfig` is the one of classification; the programs in transfer/ have theirs. Standard library only.
"""
import argparse
import dataclasses
import json
import math
import operator
import os
import shlex
import shutil
import sys
import typing
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Type, TypeVar, Union

from gluon_tricks.errors import Parser, UsageError

DTYPES = ('float32', 'float16', 'bfloat16')
KV_STORES = ('device', 'local', 'nccl')
WORKER_STORES = ('dist_sync', 'dist_device_sync', 'dist_sync_device', 'horovod')  # of several processes


MOST_CLASSES = 1000000
_MOST_SCALE = 2 ** 24
_Config = TypeVar('_Config', bound='Options')


def option(default: Any, help: str, flags: Optional[Sequence[str]] = None, choices: Optional[Sequence[str]] = None,
           type: Optional[Callable[[str], Any]] = None, group: str = 'run', at_least: Optional[float] = None,
           above: Optional[float] = None, at_most: Optional[float] = None, below: Optional[float] = None,
           needs: Union[str, Sequence[str]] = (), free_on_resume: bool = False, origin: str = 'gluoncv') -> Any:
    """A dataclass field that knows all about an option; whatever checks one reads it here.

    flags: its spellings (default: from its name). type: what makes the value from the flag's text. group: its part of
    `--help`, a key of HEADINGS. at_least, above, at_most, below: its range, of each number of a tuple; None is in every
    range. needs: options without which it does nothing, one of which is enough: 'NAME' that is set, or 'NAME=VALUE'.
    free_on_resume: changes no number of a run, so that it may differ when a run is resumed. origin: gluoncv (its script
    has the flag), fixed (its code has the value), here (without a counterpart there).

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config(Options):
    ...     patience: int = option(3, 'epochs to wait', at_least=0)
    >>> Config.flag('patience'), outside(Config.field('patience'), -1)
    ('--patience', '0 or more')
    """
    bounds = dict(at_least=at_least, above=above, at_most=at_most, below=below)
    return dataclasses.field(default=default, metadata=dict(
        help=help, flags=flags, choices=choices, type=type, group=group, bounds=bounds,
        needs=(needs,) if isinstance(needs, str) else needs, free_on_resume=free_on_resume, origin=origin))


def outside(field: dataclasses.Field, value: Any) -> Optional[str]:
    """The range of an option in words, where a value is outside it; None where it is inside."""
    bounds = field.metadata['bounds']
    tests = dict(at_least=operator.ge, above=operator.gt, at_most=operator.le, below=operator.lt)
    numbers = value if isinstance(value, tuple) else () if value is None else (value,)
    if all(tests[name](number, bound) for number in numbers for name, bound in bounds.items() if bound is not None):
        return None
    if bounds == dict(at_least=0, above=None, at_most=None, below=None):
        return '0 or more'
    return ' and '.join(f'{name.replace("_", " ")} {bound}' for name, bound in bounds.items()
                        if bound is not None)


def check_ranges(arguments: argparse.Namespace, cls: Type['Options'], *names: str) -> None:
    """Raise UsageError for a parsed argument of these names that is outside the range of the option of `cls`."""
    for name in names:
        words = outside(cls.field(name), getattr(arguments, name))
        if words:
            raise UsageError(f'--{name.replace("_", "-")} {getattr(arguments, name)} must be {words}')


def flags_of(field: dataclasses.Field) -> Tuple[str, ...]:
    return field.metadata['flags'] or ('--' + field.name.replace('_', '-'),)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that every training run has, and what can be done with a configuration.

    A subclass adds its own; `PROGRAM` is the command. Raises UsageError for a value outside its range.
    """

    dtype: str = option('float32', 'precision: float16 keeps float32 master weights', choices=DTYPES, group='training')
    loss_scale: str = option('dynamic', 'float16: dynamic, or a fixed positive number', group='advanced',
                            needs='dtype=float16', origin='fixed')
    devices: str = option('', 'devices by name, such as "gpu(0),gpu(2)" or "cpu(0),cpu(1)"',
                         group='training', origin='here')
    kv_store: str = option('device', 'how gradients of several devices are added', choices=KV_STORES,
                          group='advanced', origin='fixed')
    seed: int = option(0, 'seed of the initial weights, the order of the data and all draws', at_least=0,
                       below=2 ** 31, origin='here')
    save_dir: str = option('params', 'everything the run writes goes here', free_on_resume=True)
    save_dtype: str = option('float32', 'precision of the exported .params', choices=('float32', 'float16'),
                             origin='here', group='advanced')
    resume: str = option('', 'auto: resume from the newest whole checkpoint in SAVE_DIR, if there is one; or the '
                         'directory of a checkpoint',
                         free_on_resume=True, origin='here')
    checkpoint_minutes: float = option(0.0, 'save inside an epoch too, when the last checkpoint is X minutes old (0: '
                                       'after each epoch only)', at_least=0, free_on_resume=True, origin='here')
    stall_minutes: float = option(60.0, 'end the run after this long without progress (0: never)',
                                  at_least=0, free_on_resume=True, origin='here', group='advanced')
    divergence_factor: float = option(3.0, 'a loss above X times its running median for 50 updates is a divergence '
                                      '(0: only a loss that is not finite)', group='advanced', free_on_resume=True,
                                      origin='here')
    on_divergence: str = option('stop', 'stop; or rewind: resume from the last checkpoint, with other draws',
                                choices=('stop', 'rewind'), free_on_resume=True, origin='here', group='advanced')
    max_rewinds: int = option(3, 'rewinds after which the run stops all the same', at_least=0, group='advanced',
                             free_on_resume=True, origin='here')
    log_interval: int = option(50, 'batches between two log lines', at_least=0, free_on_resume=True)
    logging_file: str = option('train.log', 'name of the log, in SAVE_DIR', free_on_resume=True, group='advanced')
    tensorboard: bool = option(False, 'write TensorBoard events to SAVE_DIR/tensorboard (needs tensorboardX)',
                               free_on_resume=True, origin='here')

    TASK = ''  # what is trained
    PROGRAM = 'train.py'
    REFUSED: typing.ClassVar[dict] = {}  # flags that have no meaning here: what to do instead
    REFUSED_VALUES: typing.ClassVar[dict] = {}  # (flag, value): the same
    RENAMED: typing.ClassVar[dict] = {}  # names that older versions stored: the option's name now
    HEADINGS: typing.ClassVar[dict] = {}  # groups of options in the order of --help: their headings (default: the name)

    def __post_init__(self) -> None:
        for field in self.fields():
            value, choices = getattr(self, field.name), field.metadata['choices']
            if choices:
                self.rule(field.name, value in choices, f'one of: {", ".join(choices)}')
            numbers = value if isinstance(value, tuple) else (value,)
            self.rule(field.name, all(math.isfinite(n) for n in numbers if isinstance(n, float)),
                      'finite: inf and nan are refused')
            words = outside(field, value)
            self.rule(field.name, not words, words)
        self.rule('divergence_factor', self.divergence_factor == 0 or self.divergence_factor > 1, '0, or above 1')
        scale = 1.0 if self.loss_scale == 'dynamic' else _number(self.loss_scale)
        self.rule('loss_scale', 1 <= scale <= _MOST_SCALE,
                  f'dynamic, or a positive number, at least 1 and at most {_MOST_SCALE}')
        self.rule('logging_file', self.logging_file and '/' not in self.logging_file,
                  'a file name without a directory: the log goes to SAVE_DIR')
        self.rule('save_dir', bool(self.save_dir), 'a directory, such as params')

    @classmethod
    def fields(cls) -> List[dataclasses.Field]:
        """The dataclass's fields: those of the subclass, in its order, then those of every run."""
        shared = {field.name for field in dataclasses.fields(Options)}
        return sorted(dataclasses.fields(cls), key=lambda field: field.name in shared)

    def rule(self, name: str, holds: Any, rule: Optional[str]) -> None:
        """Raise UsageError, naming the flag of option `name` and its value, unless it holds."""
        if not holds:
            raise UsageError(f'{self.flag(name)} {getattr(self, name)} must be {rule}')

    @classmethod
    def field(cls, name: str) -> dataclasses.Field:
        """The dataclass's field of an option."""
        return next(field for field in cls.fields() if field.name == name)

    @classmethod
    def flag(cls, name: str) -> str:
        """The flag of an option, its usual spelling."""
        return flags_of(cls.field(name))[-1]

    def has(self, need: str) -> bool:
        """Whether a need holds: 'NAME' that is set, 'NAME=VALUE'; and what that option needs itself."""
        name, _, value = need.partition('=')
        needs = self.field(name).metadata['needs']
        return (getattr(self, name) == value if value else bool(getattr(self, name))) and (
            not needs or any(map(self.has, needs)))

    def check_typed(self, typed: Iterable[str]) -> None:
        """Raise UsageError for a typed option that does nothing in this configuration."""
        for name in typed:
            needs = self.field(name).metadata['needs']
            if needs and not any(map(self.has, needs)):
                words = ' or '.join(' '.join([self.flag(need.split('=')[0])] + need.split('=')[1:]) for need in needs)
                raise UsageError(f'{self.flag(name)} does nothing without {words}: add it, or drop {self.flag(name)}')

    def replace(self: _Config, **changes: Any) -> _Config:
        """A copy with some options changed; an unknown name is a TypeError, a value out of range a UsageError.

        >>> import gluon_tricks as gt
        >>> gt.TrainConfig().replace(mixup=True, num_epochs=200).num_epochs
        200
        """
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> Dict[str, Any]:
        """Plain dict in the order of the fields; tuples become lists, as JSON has them; `from_dict` reads it.

        >>> import gluon_tricks as gt
        >>> config = gt.TrainConfig(mixup=True)
        >>> config.to_dict()['mixup'], gt.TrainConfig.from_dict(config.to_dict()) == config
        (True, True)
        """
        values = {field.name: getattr(self, field.name) for field in self.fields()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def arguments(self) -> List[str]:
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
            text = ','.join(f'{part!r}' for part in value) if isinstance(value, tuple) else str(value)
            # argparse takes a separate word that starts with a dash for a flag
            words += [f'{flag}={text}'] if text.startswith('-') else [flag, text]
        return words

    def command(self, start: Optional[str] = None) -> str:
        """The plain command of this run, as a user would type it; start: other words for `python PROGRAM`."""
        return ' '.join([start or 'python ' + self.PROGRAM] + [shlex.quote(word) for word in self.arguments()])

    def resume_command(self) -> str:
        """The command that resumes this run from its last checkpoint, with the interpreter and the program that run."""
        typed = sys.argv[0] if os.path.basename(sys.argv[0]) == os.path.basename(self.PROGRAM) else self.PROGRAM
        return self.replace(resume='auto').command(f'{interpreter()} {shlex.quote(typed)}')

    @classmethod
    def from_dict(cls: Type[_Config], values: Any) -> _Config:
        """From `to_dict`, of this version or an older one: what is not stored has its default.

        Raises UsageError for a name that this version does not know, and for a value of another type.
        """
        if not isinstance(values, dict):
            raise UsageError('the stored configuration is not a table of options: use a checkpoint that is whole')
        known = {field.name: field for field in dataclasses.fields(cls)}
        found: Dict[str, Any] = {}
        for stored, value in values.items():
            name, value = cls.RENAMED.get(stored, stored), tuple(value) if isinstance(value, list) else value
            if name not in known or name in found:
                raise UsageError(f'option {stored!r:.50} of the stored configuration is unknown to this version of '
                                 'gluon_tricks: use the version that wrote it')
            if not _is_of_type(value, known[name]):
                raise UsageError(f'option {name!r} of the stored configuration cannot be {value!r:.50}: use a '
                                 'checkpoint that is whole')
            found[name] = value
        return cls(**found)


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
        raise argparse.ArgumentTypeError(f'{text!r} must be numbers separated by commas') from None


def epochs(text):
    """Tuple of the epochs between commas, for ``--lr-decay-epoch``."""
    try:
        return tuple(int(part) for part in text.split(',') if part.strip())
    except ValueError:
        raise UsageError(f'--lr-decay-epoch {text!r} must be epochs separated by commas, such as 30,60,90') from None


# ---------------------------------------------------------------------------------------------------------------------
# Flags

_METAVARS = {int: 'N', float: 'X', tuple: 'X,...'}


def add_arguments(parser, cls):
    """Add one flag per option of a configuration class to an argparse parser; absent flags leave no attribute.

    Returns {group of options: its part of the help}.
    """
    names = dict.fromkeys([*cls.HEADINGS, *(field.metadata['group'] for field in cls.fields())])
    groups = {name: parser.add_argument_group(cls.HEADINGS.get(name, name)) for name in names}
    for field in cls.fields():
        meta = field.metadata
        arguments = dict(dest=field.name, default=argparse.SUPPRESS, help=meta['help'].replace('%', '%%'))
        if isinstance(field.default, bool):
            arguments['action'] = 'store_true'
        else:
            arguments['type'] = meta['type'] or type(field.default)
            arguments['metavar'] = '{%s}' % ','.join(meta['choices']) if meta['choices'] else _METAVARS.get(
                field.type, field.name.upper())
            if field.default not in (None, ''):
                shown = ','.join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
                if shown != 0 or '(0: ' not in arguments['help']:
                    arguments['help'] += f' (default: {shown})'
        groups[meta['group']].add_argument(*flags_of(field), **arguments)

    class Refuse(argparse.Action):
        def __call__(self, parser, namespace, values, option_string=None):
            raise UsageError(cls.REFUSED[option_string])
    for flag in cls.REFUSED:
        parser.add_argument(flag, nargs='?', action=Refuse, help=argparse.SUPPRESS)
    return groups


def parser(cls, description=None):
    """The parser of a training command: every option, and ``--recipe`` and ``--print-config``."""
    result = Parser(prog=cls.PROGRAM.split('/')[-1], description=description)
    result.add_argument('--recipe', metavar='NAME', help='start from this recipe; other flags override it '
                        '(`python -m gluon_tricks recipes` lists them)')
    result.add_argument('--print-config', action='store_true', help='print the resolved configuration as JSON and end')
    result.groups = add_arguments(result, cls)
    return result


def typed_options(cls, namespace):
    """{option: value} that the flags gave. Raises UsageError for a value that has no meaning here."""
    names = {field.name for field in dataclasses.fields(cls)}
    typed = {name: value for name, value in vars(namespace).items() if name in names}
    for (flag, value), sentence in cls.REFUSED_VALUES.items():
        if typed.get(flag[2:].replace('-', '_')) == value:
            raise UsageError(sentence)
    return typed
