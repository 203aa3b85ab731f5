import argparse
import dataclasses
import math
import os
import shlex
import sys

import pytest

from gluon_tricks.config import options
from gluon_tricks.config.options import Options, option
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
    (['--grams', '1,nan'], ['finite']), (['--seed', '-1'], ['--seed -1', '0 or more']),
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


def test_epochs():
    assert options.epochs('14, 20') == (14, 20) and options.epochs('') == ()
    with pytest.raises(UsageError, match='such as 30,60,90'):
        options.epochs('a')


@pytest.mark.parametrize('name', sorted(options.RANGES))
def test_both_ends_of_a_range_are_in_it(name):
    least, greatest = options.RANGES[name]
    assert all(options.range_problem(name, value) is None for value in (None, least, greatest))
    assert all(options.range_problem(name, value) == 'at least %s and at most %s' % (least, greatest)
               for value in (least - 1, greatest + 1, -math.inf, math.inf, math.nan))


def test_an_argument_outside_its_range_is_named():
    options.check_ranges(argparse.Namespace(input_size=None, crop_ratio=0.5), 'input_size', 'crop_ratio')
    with pytest.raises(UsageError, match='--input-size -5 must be at least 8 and at most 2048'):
        options.check_ranges(argparse.Namespace(input_size=-5), 'input_size')


def test_the_command_that_goes_on_starts_this_interpreter(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    monkeypatch.setenv('PATH', str(tmp_path))
    words = shlex.split(Bread(seed=3).going_on())
    assert os.path.abspath(words[0]) == os.path.abspath(sys.executable)
    assert words[1:] == ['bakery/bake.py', '--seed', '3', '--resume', 'auto']
    monkeypatch.setattr(sys, 'argv', ['/a b/bake.py', '--crust'])
    assert shlex.split(Bread().going_on())[1] == '/a b/bake.py'
    (tmp_path / 'python').symlink_to(sys.executable)
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
    assert options.interpreter() == 'python'
