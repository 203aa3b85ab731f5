"""The wheel alone suffices: in an empty environment, outside any checkout, it trains, evaluates, predicts, inspects."""
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support import ROOT
from support.checkout import copy_tree, environment, output, page_text, python_blocks

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The path of the wheel, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp('wheel')
    tree = copy_tree(folder / 'tree')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--wheel-dir', str(folder), tree], check=True)
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def user(wheel, tmp_path_factory):
    """Runs a line in bash for a user who has the wheel, an empty directory and the demo's data, and returns what it
    prints; `user.folder` is that directory. The interpreter's version is the one that runs the test."""
    folder = tmp_path_factory.mktemp('user')
    subprocess.run([sys.executable, '-m', 'venv', str(folder / 'env')], check=True)
    variables = environment(folder / 'env' / 'bin')
    (folder / 'home').mkdir()

    def run(line):
        return output(['bash', '-c', line], folder / 'home', variables)

    run(f"pip install '{wheel}[cpu,demo]'")
    run('gluon-tricks prepare demo --out runs/demo-data')
    run.folder = folder / 'home'
    return run


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(str(wheel)) as archive:
        names = archive.namelist()
    package = [path for path in (ROOT / 'gluon_tricks').rglob('*') if path.is_file() and path.suffix != '.pyc']
    inside = {name for name in names if '.dist-info/' not in name}
    assert inside == {path.relative_to(ROOT).as_posix() for path in package}
    assert 'gluon_tricks/py.typed' in inside


def test_what_is_imported_is_the_installed_one_and_its_requirements_are_there(user):
    where = Path(user('python -c "import gluon_tricks; print(gluon_tricks.__file__)"').strip())
    assert user.folder.parent / 'env' in where.parents and (where.parent / 'py.typed').is_file()
    user('pip check')
    assert not set(os.listdir(str(user.folder))) & {'gluon_tricks', 'train_imagenet.py', 'setup.py'}


def test_the_notebook_of_the_readme(user):
    (block,) = python_blocks(page_text('README.md'))
    assert 'gt.train(' in block and 'gt.predict(' in block
    (user.folder / 'notebook.py').write_text(block + 'print(gt.evaluate(run))\n')
    figures = re.search(r"^\{.*'num_images': 364\b.*\}$", user('python notebook.py'), re.M).group(0)
    best = json.loads((user.folder / 'runs' / 'mine' / 'run.json').read_text())['best']
    assert best['top1'] > 80 and f"'top1': {best['top1']}," in figures


def test_the_commands(user):
    train = 'gluon-tricks train --recipe demo --num-epochs 2 --save-dir runs/commands'
    user(train)
    assert 'top-1 ' in user(train + ' --resume auto')
    best = json.loads((user.folder / 'runs' / 'commands' / 'run.json').read_text())['best']
    assert f'top-1 {best["top1"]:.3f} %' in user('gluon-tricks evaluate runs/commands')
    (found,) = json.loads(user('gluon-tricks predict runs/commands runs/demo-data/val/7/digit_0007.JPEG --json'))
    assert len(found['classes']) == 5
    assert 'epoch-0001' in user('gluon-tricks inspect runs/commands')
    (row,) = json.loads(user('gluon-tricks recipes demo --json'))
    assert row['name'] == 'demo'


@pytest.mark.parametrize('command', ['train', 'train-detection', 'train-segmentation'])
def test_the_options_of_the_trainings(command, user):
    assert '--recipe' in user(f'gluon-tricks {command} --help')
