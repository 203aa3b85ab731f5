import argparse
import dataclasses
import os
import shlex
import sys

import pytest

from gluon_tricks.config import options
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.options import Options, option
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Bread(Options):
    """The options of a task that nobody has."""

    flour: str = option('rye', 'kind', choices=('rye', 'wheat'), group='dough')
    grams: tuple = option((500.0, 10.0), 'flour and salt', type=options.floats, group='dough')
    crust: bool = option(False, 'with a crust', group='oven', flags=('--with-crust', '--crust'))
    minutes: int = option(None, 'in the oven', type=int, group='oven')
    save_dir: str = option('loaves', 'where they go')

    PROGRAM = 'bakery/bake.py'
    REFUSED = {'--microwave': 'an oven is needed: drop --microwave'}
    REFUSED_VALUES = {('--flour', 'oat'): '--flour oat does not rise: take rye'}


def parse(*words):
    return Bread(**options.typed_options(Bread, options.parser(Bread).parse_args(list(words))))


def test_own_options_come_first_and_shared_ones_once():
    names = [field.name for field in Bread.fields()]
    assert names[:4] == ['flour', 'grams', 'crust', 'minutes'] and len(set(names)) == len(names)
    assert list(Bread().to_dict()) == names and set(names) > {field.name for field in dataclasses.fields(Options)}
    assert Bread().save_dir == 'loaves'


def test_flags_command_and_json_are_views_of_it():
    config = parse('--flour', 'wheat', '--grams=-1,2.5', '--with-crust', '--minutes', '40', '--seed', '3')
    assert config == Bread(flour='wheat', grams=(-1.0, 2.5), crust=True, minutes=40, seed=3)
    assert config.command() == ('python bakery/bake.py --flour wheat --grams=-1.0,2.5 --crust --minutes 40 --seed 3')
    assert parse(*config.arguments()) == config == Bread.from_dict(config.to_dict())
    assert parse() == Bread() and Bread().arguments() == []


@pytest.mark.parametrize('words, parts', [
    (['--flour', 'corn'], ['--flour corn', 'rye, wheat']), (['--flour', 'oat'], ['does not rise']),
    (['--microwave'], ['an oven is needed']), (['--grams', 'a,b'], ['numbers separated by commas']),
    (['--grams', '1,nan'], ['finite']), (['--seed', '-1'], ['--seed -1', 'at least 0']),
    (['--save-dir', ''], ['a directory']), (['--logging-file', 'a/b'], ['without a directory']),
    (['--loss-scale', '0'], ['positive']), (['--kv-store', 'x'], ['device, local']), (['--cru'], ['--help'])])
def test_wrong_values_are_one_sentence(words, parts):
    with pytest.raises(UsageError) as error:
        parse(*words)
    assert all(part in str(error.value) for part in parts)


def test_a_stored_option_of_another_version_is_named():
    with pytest.raises(UsageError, match='yeast'):
        Bread.from_dict({'yeast': 1})


@pytest.mark.parametrize('values', [None, [], 'x', {'seed': '1'}, {'seed': None}, {'seed': 1.5}, {'seed': True},
                                    {'save_dir': 1}, {'save_dir': ['x']}, {'tensorboard': 1}, {'tensorboard': None},
                                    {'loss_scale': 10 ** 400}, {'dtype': {}}, {'devices': [[]]}])
def test_a_stored_option_of_another_type_is_named(values):
    with pytest.raises(UsageError, match='stored configuration'):
        Bread.from_dict(values)


@pytest.mark.parametrize('cls', [TrainConfig, RCNNConfig, FCNConfig])
def test_the_help_begins_with_one_line_and_ends_with_the_advanced(cls, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    lines = options.parser(cls, 'Bread.').format_help().splitlines()
    assert lines[:4] == [f'usage: {cls.PROGRAM.split("/")[-1]} [options]', '', 'Bread.', '']
    headings = [line[:-1] for line in lines if line.endswith(':') and not line.startswith(' ')]
    assert headings[1:] == list(cls.HEADINGS.values()) and list(cls.HEADINGS)[-1] == 'advanced'
    assert {field.metadata['group'] for field in cls.fields()} == set(cls.HEADINGS)
    assert all(len(line) <= 80 for line in lines if '{' not in line)


def test_epochs():
    assert options.epochs('14, 20') == (14, 20) and options.epochs('') == ()
    with pytest.raises(UsageError, match='such as 30,60,90'):
        options.epochs('a')


CONFIGS = [TrainConfig, RCNNConfig, FCNConfig]
BOUNDED = [(cls, field) for cls in CONFIGS for field in cls.fields()
           if any(bound is not None for bound in field.metadata['bounds'].values())]


def ends(field):
    """[(bound, inside it, outside it)] of an option's range."""
    bounds, step = field.metadata['bounds'], 1 if field.type is int else 1e-6
    places = {'at_least': (0, -step), 'above': (step, 0), 'at_most': (0, step), 'below': (-step, 0)}
    return [(bound + inside, bound + outside) for name, (inside, outside) in places.items()
            for bound in [bounds[name]] if bound is not None]


@pytest.mark.parametrize('cls, field', BOUNDED, ids=lambda value: getattr(value, 'name', None))
def test_a_value_outside_its_range_is_refused_by_flag_and_value(cls, field):
    for inside, outside in ends(field):
        values = [(value,) * len(field.default) if field.type is tuple else value for value in (inside, outside)]
        assert options.outside(field, values[0]) is None
        with pytest.raises(UsageError) as error:
            cls(**{field.name: values[1]})
        assert str(error.value).startswith(f'{cls.flag(field.name)} {values[1]} must be ')


@pytest.mark.parametrize('cls', CONFIGS)
def test_a_number_has_a_range(cls):
    without = {field.name for field in cls.fields() if field.type in (int, float)} - {
        field.name for owner, field in BOUNDED if owner is cls}
    assert without <= {'divergence_factor', 'lr_warmup'}  # 0, or above 1; 0 or less is none


@pytest.mark.parametrize('cls', CONFIGS)
def test_what_a_resume_may_change(cls):
    """Nothing that changes a number: places, files, how often something is written or looked at, and threads."""
    free = {field.name for field in cls.fields() if field.metadata['free_on_resume']}
    assert free - {'rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx', 'use_rec', 'decode_threads',
                   'loader_processes'} == {
        'resume', 'save_dir', 'save_frequency', 'log_interval', 'logging_file', 'tensorboard', 'data_dir',
        'checkpoint_minutes', 'stall_minutes', 'divergence_factor', 'on_divergence', 'max_rewinds'}


@pytest.mark.parametrize('cls', CONFIGS)
def test_needs_name_options_and_values_that_exist(cls):
    for field in cls.fields():
        assert field.metadata['origin'] in ('gluoncv', 'fixed', 'here')
        for need in field.metadata['needs']:
            name, _, value = need.partition('=')
            needed = cls.field(name)
            assert not value or value in needed.metadata['choices']
            assert not cls().has(need)


@pytest.mark.parametrize('cls, name, value, part', [
    (TrainConfig, 'mixup_alpha', 0.5, '--mixup-alpha does nothing without --mixup: add it, or drop --mixup-alpha'),
    (TrainConfig, 'mixup_pairs', 'reverse', '--mixup-pairs does nothing without --mixup or --cutmix: add'),
    (TrainConfig, 'hard_weight', 0.3, '--hard-weight does nothing without --distill-loss gluoncv: add'),
    (RCNNConfig, 'loss_scale', '8', '--loss-scale does nothing without --dtype float16: add'),
    (FCNConfig, 'aux_weight', 0.3, '--aux-weight does nothing without --aux: add')])
def test_an_option_that_does_nothing_is_refused(cls, name, value, part):
    with pytest.raises(UsageError) as error:
        cls(**{name: value}).check_typed({name: value})
    assert part in str(error.value)


def test_a_need_is_not_enough_without_its_own():
    config = TrainConfig(distill_loss='gluoncv', hard_weight=0.3)
    assert not config.has('distill_loss=gluoncv')
    TrainConfig(distill_loss='gluoncv', hard_weight=0.3, teacher='x', teacher_params='y').check_typed(
        ['distill_loss', 'hard_weight'])


def test_an_argument_outside_its_range_is_named():
    options.check_ranges(argparse.Namespace(input_size=None, crop_ratio=0.5), TrainConfig, 'input_size', 'crop_ratio')
    with pytest.raises(UsageError, match='--input-size -5 must be at least 8 and at most 2048'):
        options.check_ranges(argparse.Namespace(input_size=-5), TrainConfig, 'input_size')


@pytest.mark.parametrize('cls, stored, now', [
    (TrainConfig, {'num_workers': 7, 'wd': 0.1}, {'decode_threads': 7, 'wd': 0.1}),
    (RCNNConfig, {'num_workers': 7, 'batch_size': 3}, {'loader_processes': 7, 'total_batch_size': 3}),
    (FCNConfig, {'workers': 7, 'batch_size': 3, 'weight_decay': 0.1},
     {'decode_threads': 7, 'total_batch_size': 3, 'wd': 0.1})])
def test_names_that_older_versions_stored(cls, stored, now):
    assert set(cls.RENAMED) <= set(stored)
    assert cls.from_dict(stored) == cls(**now)
    with pytest.raises(UsageError, match='unknown to this version'):  # the old name beside the new one
        cls.from_dict(dict(cls().to_dict(), **stored))


def test_the_command_that_goes_on_starts_this_interpreter(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    monkeypatch.setenv('PATH', str(tmp_path))
    words = shlex.split(Bread(seed=3).resume_command())
    assert os.path.abspath(words[0]) == os.path.abspath(sys.executable)
    assert words[1:] == ['bakery/bake.py', '--seed', '3', '--resume', 'auto']
    monkeypatch.setattr(sys, 'argv', ['/a b/bake.py', '--crust'])
    assert shlex.split(Bread().resume_command())[1] == '/a b/bake.py'
    (tmp_path / 'python').symlink_to(sys.executable)
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
    assert options.interpreter() == 'python'
