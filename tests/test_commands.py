"""Every line of the command blocks of README.md and docs/ is run, in order, as typed; or a table says why it cannot
be."""
import argparse
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands import train, train_detection, train_segmentation
from gluon_tricks.config import classification as configuration
from gluon_tricks.config import detection as rcnn_config
from gluon_tricks.config import recipes
from gluon_tricks.config import recipes_transfer as tables
from gluon_tricks.config import segmentation as fcn_config
from gluon_tricks.errors import UsageError
from support import ROOT, SLICE
from support.checkout import copy_tree, environment, fenced, output, page_text, python_blocks

PAGES = ['README.md'] + sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md'))

# What is run, by the beginning of its line. The other lines are in the table below.
HERE = ('make demo', 'python -m gluon_tricks recipes', 'python -m gluon_tricks evaluate runs/demo-seed0',
        'python -m gluon_tricks predict runs/demo-seed0', 'python -m gluon_tricks inspect runs/demo-seed0',
        'python -m gluon_tricks figure 3a -o', 'python -m gluon_tricks figure 4', 'python -m gluon_tricks figure c',
        'python -m gluon_tricks compare runs/demo-seed0',
        'python -m gluon_tricks verify runs/demo-data/', 'python -m gluon_tricks verify FILE.rec',
        'python -m gluon_tricks complexity', 'python -m gluon_tricks plan', 'python -m gluon_tricks table 5',
        'python -m gluon_tricks table 6', 'python -m gluon_tricks report runs/demo-seed0', 'python -m gluon_tricks report 6',
        'python -m gluon_tricks doctor  ', 'python -m gluon_tricks doctor demo', 'python -m gluon_tricks published', 'python -m gluon_tricks --help', 'printf ',
        'python -m gluon_tricks launch --slurm', 'python -m gluon_tricks export-log runs/demo-seed0 --to csv',
        'python -m gluon_tricks export-log runs/demo-seed0 --to tensorboard')

FORM = 'the form of a command: the words in capitals stand for others'
ELSEWHERE = [  # the beginning of a line, and why it does not run here
    ('make table', 'minutes: tests/slow/test_ladders.py runs a shorter one'),
    ('python -m gluon_tricks ladder', 'minutes, a folder of images, or GPUs: tests/slow/test_ladders.py'),
    ('make test', 'it runs the tests, of which this is one'),
    ('python train_imagenet.py --mode hybrid', 'ImageNet'),
    ('python train_imagenet.py --recipe table6/', 'ImageNet'),
    ('python train_imagenet.py --recipe gluoncv/', 'ImageNet'),
    ('python train_imagenet.py --data-dir', 'images of your own'),
    ('python -m gluon_tricks predict runs/mine', 'images of your own'),
    ('python transfer/train_faster_rcnn.py', 'VOC'),
    ('python transfer/train_fcn.py', 'ADE20K, or a network trained on it'),
    ('python transfer/matrix.py', 'VOC and ADE20K'),
    ('python -m gluon_tricks prepare', 'the official archives'),
    ('python -m gluon_tricks verify ~/', 'ImageNet'),
    ('python -m gluon_tricks predict --params SAVE_DIR', 'Places365'),
    ('python -m gluon_tricks launch -n WORKERS', FORM),
    ('python -m gluon_tricks launch -n 2', 'ImageNet'),
    ('python -m gluon_tricks table N', FORM),
    ('pip install \'.[onnx,interchange]\'', 'it installs packages'),
    ('python -m gluon_tricks doctor table6', 'ImageNet, and GPUs'),
    ('python -m gluon_tricks doctor --data-dir', 'records of your own'),
    ('python -m gluon_tricks doctor --rec-train', 'the hub, and ImageNet'),
    ('apt-get install', 'it installs packages'),
    ('make .venv', 'it sets up'),
    ('python -m gluon_tricks doctor --gpu-selftest', 'minutes: tests/doctor/test_selftest.py runs it'),
    ('pip install \'.[cpu]\'', 'it installs packages'),
    ('pip install uv', 'it installs packages'),
    ('uv ', 'it installs packages'),
    ('env/bin/python -m gluon_tricks doctor', 'an environment of your own'),
    ('python -m gluon_tricks export ', 'the extra onnx; tests/commands/test_export.py runs it where that is'),
    ('python -m gluon_tricks figure 3a --schedule', 'a log that GluonCV published'),
    ('python -m gluon_tricks compare runs/mine', 'a log that GluonCV published'),
    ('hf download', 'the hub'),
    ('pip install \'.[interchange]\'', 'it installs a package'),
    ('python -m gluon_tricks evaluate model.safetensors', 'the hub, and ImageNet'),
    ('python -m gluon_tricks evaluate resnet50d/', 'the hub, and ImageNet'),
    ('python -m gluon_tricks evaluate --published', 'the hub, and ImageNet'),
    ('python -m gluon_tricks import-weights', 'the hub'),
    ('sbatch', 'Slurm: tests/slow/test_slurm.py runs such files in one'),
    ('python -m gluon_tricks export-log runs/demo-seed0 --to mlflow', 'the extra mlflow: tests/results/test_export_log.py'),
    ('python -m gluon_tricks export-log runs/demo-seed0 --to trackio', 'the extra trackio: tests/results/test_export_log.py'),
    ('ssh', 'a second machine'),
    ('.venv/bin/python -m gluon_tricks launch', 'a second machine, and ImageNet'),
    ('.venv/bin/python -m pip install \'setuptools<70\'', 'Horovod is compiled'),
    ('.venv/bin/python -c "import sysconfig', 'Horovod is compiled'),
    ('HOROVOD_WITH_MXNET', 'Horovod is compiled'),
    ('.venv/bin/horovodrun', 'a second machine, and ImageNet'),
]


def commands(text):
    """The lines of a page's command blocks, which name no language; one that ends with a backslash goes on in the
    next."""
    blocks = [block for _, language, block in fenced(text) if not language]
    return [line.strip() for block in blocks for line in block.replace('\\\n', '').splitlines() if line.strip()]


LINES = [(page, line) for page in PAGES for line in commands(page_text(page))]


def reason(line):
    """Why the line does not run here, or None where it does. Fails for one that is not in exactly one of the tables."""
    found = [None for begin in HERE if line.startswith(begin)]
    found += [why for begin, why in ELSEWHERE if line.startswith(begin)]
    assert len(found) == 1, f'add to HERE or to ELSEWHERE: {line}'
    return found[0]


# ---------------------------------------------------------------------------------------------------------------------
# That each line is in a table, and parses

def test_blocks_are_read_as_typed():
    assert commands('```\na  # b\n\nc \\\n    d\n```\ntext\n1. x\n   ```\n   e\n   ```\n') == ['a  # b', 'c     d', 'e']
    fences = sum(page_text(page).count('```') for page in PAGES)
    assert fences == 2 * sum(len(fenced(page_text(page))) for page in PAGES)


@pytest.mark.parametrize('page, line', LINES, ids=['%s %s' % pair for pair in LINES])
def test_a_line_is_run_or_it_is_said_why_not(page, line):
    reason(line)


def test_no_entry_is_left_of_a_line_that_is_gone():
    for begin in HERE + tuple(begin for begin, _ in ELSEWHERE):
        assert any(line.startswith(begin) for _, line in LINES), begin


class Parsed(BaseException):
    """A program has parsed its flags."""


def programs(line):
    """[(name of the program, its words)] of the programs of this project that a line starts."""
    words, found = shlex.split(line, comments=True), []
    for part in ' \0 '.join(words).split('\0 -- \0'):
        part = part.strip(' \0').split(' \0 ')
        start = next((at for at, word in enumerate(part) if os.path.basename(word) == 'python'), None)
        if start is not None and part[start + 1] != '-c' and part[start + 1:start + 3] != ['-m', 'pip']:
            name = part[start + 1]
            found.append(('gluon_tricks', part[start + 3:]) if name == '-m' else (name, part[start + 2:]))
    return found


def check(name, words, monkeypatch):
    """Raise UsageError where a program does not take the words; its flags alone are looked at."""
    def parse(parser, given=None, namespace=None):
        error = Parsed()
        error.flags = parse_args(parser, given, namespace)
        raise error

    parse_args = argparse.ArgumentParser.parse_args
    assert name == 'gluon_tricks' or (ROOT / name).is_file()
    modules = {'train_imagenet.py': (train, configuration, lambda recipe: recipes.get(recipe).config)}
    for command, module, kind in ((train_segmentation, fcn_config, fcn_config.FCNConfig),
                                  (train_detection, rcnn_config, rcnn_config.RCNNConfig)):
        modules[kind.PROGRAM] = (command, module, lambda recipe, kind=kind: tables.get(recipe, kind))
    modules['transfer/matrix.py'] = (importlib.import_module('transfer.matrix'), None, None)
    program, config, recipe = modules.get(name, (None, None, None))
    with monkeypatch.context() as patch:
        for name in ('parse_args', 'parse_intermixed_args'):
            patch.setattr(argparse.ArgumentParser, name, parse)
        with pytest.raises(Parsed) as caught:
            (main if program is None else program.run)(words)
    flags = caught.value.flags
    if config:
        config.from_namespace(flags, recipe(flags.recipe) if flags.recipe else None)


@pytest.mark.parametrize('page, line', LINES, ids=['%s %s' % pair for pair in LINES])
def test_a_line_parses(page, line, monkeypatch):
    assert subprocess.run(['bash', '-n', '-c', line], stderr=subprocess.PIPE).stderr == b''
    for target in re.findall(r'^make (\S+)', line):
        assert re.search(f'^{target}:', (ROOT / 'Makefile').read_text(), re.M)
    for name, words in programs(line):
        if not (reason(line) == FORM or words in ([], ['--help'])):
            check(name, words + (['--', 'true'] if words[0] == 'launch' else []), monkeypatch)
    for recipe in re.findall(r'--recipe ([\w/-]+)', line):
        assert recipe in recipes.RECIPES or recipe in tables.RECIPES


@pytest.mark.parametrize('line', [
    'python train_imagenet.py --mode hybird', 'python train_imagenet.py --recipe table6/resnet50_v1d/mixupp',
    'python train_imagenet.py --epsilon 0.1', '.venv/bin/python -m gluon_tricks evaluate --no-such x',
    'python -m gluon_tricks launch -n 2 -s 1 -- python train_imagenet.py --kv-stor dist_sync',
    'python transfer/train_fcn.py --recipe table8/mixup', 'python transfer/matrix.py --tasks voc'])
def test_a_line_that_does_not_parse_is_seen(line, monkeypatch):
    with pytest.raises((UsageError, AssertionError, pytest.fail.Exception)):
        for name, words in programs(line):
            check(name, words + (['--', 'true'] if words[0] == 'launch' else []), monkeypatch)


# ---------------------------------------------------------------------------------------------------------------------
# That each line that can be run here is right

@pytest.mark.slow
def test_every_line_that_can_run_here_runs_in_order_as_typed(tmp_path):
    """From a fresh copy of the tree: `make demo` downloads the packages. A quarter of an hour, half of it for the demos of
    detection and segmentation, which SLICE leaves out."""
    tree = Path(copy_tree(tmp_path / 'tree'))
    variables = environment(tree / '.venv' / 'bin', os.path.dirname(os.path.realpath(sys.executable)))
    told = {}
    for _page, line in LINES:
        if reason(line) is None and not (SLICE and line.startswith('make demo-')):
            if 'FILE.rec' in line:  # a stand-in for the reader's file
                for suffix in ('.rec', '.idx'):
                    shutil.copy(str(tree / 'runs' / 'demo-data' / '.gluon_tricks' / ('val' + suffix)),
                                str(tree / ('FILE' + suffix)))
            told[line.partition(' #')[0].strip()] = output(['bash', '-c', line], tree, variables)
    best = json.loads((tree / 'runs' / 'demo-seed0' / 'run.json').read_text())['best']
    assert f'top-1 {best["top1"]:.3f} %  top-5 {best["top5"]:.3f} %' in \
        told['python -m gluon_tricks evaluate runs/demo-seed0']
    for name in PAGES:  # docs/extending.md's blocks are parts of files: tests/test_extending.py
        for block in python_blocks(page_text(name)) if name != 'docs/extending.md' else []:
            output(['python', '-c', block], tree, variables)
