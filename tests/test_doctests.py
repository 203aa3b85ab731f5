"""The examples of the public docstrings, run in a directory with the demo's data and a run of it, both made small."""
import doctest
import importlib

import pytest

import gluon_tricks as gt
from support.records import make_jpeg, make_records

MODULES = sorted({'gluon_tricks.' + module for module in gt._NAMES.values()} | {
    'gluon_tricks.config.options', 'gluon_tricks.losses', 'gluon_tricks.results.verdict'} | {
        'gluon_tricks.tricks.' + module for module in importlib.import_module('gluon_tricks.tricks')._NAMES.values()})
EXAMPLES = [test for module in MODULES for test in doctest.DocTestFinder(exclude_empty=True).find(
    importlib.import_module(module)) if test.examples]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A directory that holds runs/demo-data, with few images, and runs/demo-seed0, trained on them."""
    folder = tmp_path_factory.mktemp('examples')
    data = make_records(folder / 'runs' / 'demo-data', train=64, val=27, classes=10)
    (data / 'val' / '7').mkdir(parents=True)
    (data / 'val' / '7' / 'digit_0007.JPEG').write_bytes(make_jpeg(7, 0))
    gt.train(gt.recipe('demo').config.replace(
        data_dir=str(data), num_epochs=1, warmup_epochs=0, num_gpus=0, log_interval=1,
        save_dir=str(folder / 'runs' / 'demo-seed0')))
    (data / '.gluon_tricks').symlink_to('rec')  # where records made of a folder lie
    return folder


@pytest.mark.parametrize('example', EXAMPLES, ids=lambda example: example.name[len('gluon_tricks.'):])
def test_an_example_gives_what_it_says(example, folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = []
    found = doctest.DocTestRunner(verbose=False).run(example, out=lines.append, clear_globs=False)
    assert found.failed == 0 and found.attempted == len(example.examples), ''.join(lines)


@pytest.mark.parametrize('of', [gt, gt.tricks], ids=['gluon_tricks', 'tricks'])
def test_every_public_name_has_an_example_and_its_types(of):
    with_example = {example.name for example in EXAMPLES}
    for name in set(of.__all__) - {'tricks'}:
        value = getattr(of, name)
        assert f'{value.__module__}.{value.__qualname__}' in with_example, \
            f'{name}: add an example (>>>) to its docstring'
        if not isinstance(value, type):
            hints, code = value.__annotations__, value.__code__
            names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
            assert set(names) | {'return'} <= set(hints), f'{name}: give its parameters and its result types'
