"""Who may import whom, what runs on the standard library alone, and that the tests mirror the package."""
import ast
import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'gluon_tricks'

# The rooms, from the lowest: a module imports the rooms below its own, and its own room. A file of the package itself
# is a room too.
ROOMS = [
    ('errors', 'cores'), ('files', 'noise'), ('compat',),                # the ground
    ('losses', 'tricks'), ('config',), ('models', 'data'), ('distributed',), ('training',),
    ('tasks', 'pictures'), ('doctor',), ('api',), ('exchange', 'results'), ('commands',), ('__main__',),
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}

# Narrower: all of the package that these import.
ONLY = {
    'tricks': {'compat', 'errors'},
    'training.schedule': {'tricks.warmup', 'tricks.cosine_decay', 'errors'},
    'config.recipes': {'config.classification', 'errors', 'tricks.linear_scaling'},
}
# Rooms whose modules stand each for itself.
APART = {'tricks'}

STDLIB_ONLY = ['gluon_tricks', 'gluon_tricks.errors', 'gluon_tricks.files', 'gluon_tricks.doctor', 'gluon_tricks.doctor.findings',
               'gluon_tricks.doctor.machine', 'gluon_tricks.doctor.versions', 'gluon_tricks.doctor.gpus',
               'gluon_tricks.doctor.limits', 'gluon_tricks.training.schedule', 'gluon_tricks.tricks',
               'gluon_tricks.tricks.warmup', 'gluon_tricks.tricks.cosine_decay', 'gluon_tricks.tricks.linear_scaling']


def dotted(path):
    """The name a file is imported by: gluon_tricks/tricks/__init__.py is gluon_tricks.tricks."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def short(name):
    return name[len('gluon_tricks.'):]


def room(name):
    """The first part of a module's name below the package's: gluon_tricks.data.records.verify is of `data`."""
    return name.split('.')[1] if '.' in name else ''


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob('*.py'))


MODULES = {dotted(path): path for path in sources('gluon_tricks')}
STDLIB_ONLY += sorted(name for name in MODULES if name.split('.')[1:2] == ['config'])
OUTSIDE = [path for path in sources('transfer') + [ROOT / 'train_imagenet.py'] if path.exists()]


def imports(source, name, is_package=False, known=()):
    """Dotted names that a module's source imports, anywhere in it; ``from a import b`` is a.b where that is in known.

    ``name`` is the module's own, which its relative imports start from.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = name.split('.')[:len(name.split('.')) - node.level + is_package] if node.level else []
            base = '.'.join(up + ([node.module] if node.module else []))
            names = {f'{base}.{alias.name}' for alias in node.names}
            found.update(names & set(known))
            if names - set(known):
                found.add(base)
    return found


def imports_of(path):
    return imports(path.read_text(encoding='utf-8'), dotted(path), path.name == '__init__.py', MODULES)


def own(names):
    """Those of the names that are this package's."""
    return {name for name in names if name.split('.')[0] == 'gluon_tricks'}


def faults(name, imported):
    """Sentences on what a module imports against the rules above."""
    imported = imported - {'gluon_tricks', name}
    if name == 'gluon_tricks':
        return [f'gluon_tricks may not import {other}' for other in sorted(imported)]
    if room(name) not in LEVEL:
        return [f'{name} is in no room of ROOMS']
    found = []
    for other in sorted(imported):
        only = ONLY.get(short(name), ONLY.get(room(name)))
        if room(other) not in LEVEL:
            found.append(f'{name} imports {other}, which is in no room of ROOMS')
        elif room(other) == room(name):
            if room(name) in APART:
                found.append(f'{name} may not import {other}: each stands for itself')
        elif LEVEL[room(other)] >= LEVEL[room(name)]:
            found.append(f'{name} may not import {other}, which is not below it')
        elif only and short(other) not in only:
            found.append(f'{name} may import only {", ".join(sorted(only))}, not {short(other)}')
    return found


def test_no_room_is_a_ghost():
    there = {room(name) for name in MODULES} - {''}
    assert set(LEVEL) == there
    assert all(any(short(name) == key or room(name) == key for name in MODULES if '.' in name) for key in ONLY)
    assert APART <= there and set(STDLIB_ONLY) <= set(MODULES)


@pytest.mark.parametrize('name', sorted(MODULES))
def test_a_module_imports_only_lower_levels(name):
    assert not faults(name, own(imports_of(MODULES[name])))


@pytest.mark.parametrize('name, source', [
    ('gluon_tricks.tricks.mixup', 'from gluon_tricks.tricks.cutmix import cutmix'),
    ('gluon_tricks.tricks.mixup', 'from . import cutmix'),
    ('gluon_tricks.tricks.mixup', 'def f():\n    from gluon_tricks.config import options'),
    ('gluon_tricks.config.options', 'import gluon_tricks.training.schedule'),
    ('gluon_tricks.models.zoo', 'from gluon_tricks.data.records import packing'),
    ('gluon_tricks.training.schedule', 'from gluon_tricks.config.classification import TrainConfig'),
    ('gluon_tricks.training.loop', 'from gluon_tricks.tasks.classification.task import Classification'),
    ('gluon_tricks.tasks.detection.pictures', 'from gluon_tricks.commands import predict'),
    ('gluon_tricks.errors', 'from gluon_tricks.compat import mx'),
    ('gluon_tricks.compat', 'from gluon_tricks.config.classification import TrainConfig'),
    ('gluon_tricks.newcomer', ''),
    ('gluon_tricks', 'from gluon_tricks.compat import mx'),
])
def test_the_rules_catch_what_they_forbid(name, source):
    assert len(faults(name, own(imports(source, name, False, set(MODULES))))) == 1


@pytest.mark.parametrize('name', sorted(MODULES))
def test_the_package_never_imports_its_programs(name):
    assert not {other.split('.')[0] for other in imports_of(MODULES[name])} & {'train_imagenet', 'transfer', 'tests'}


def lines_of_imports(path):
    """[(line, name)] of what a file imports, in the order of its lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.lineno, node.module))
    return sorted(found)


@pytest.mark.parametrize('path', list(MODULES.values()) + OUTSIDE, ids=dotted)
def test_mxnet_comes_from_compat_alone(path):
    """So that threads and aliases are set before, and GluonCV is told that there is no PyTorch; parts of MXNet that
    ``mx`` does not name may follow compat's import."""
    found = lines_of_imports(path)
    if dotted(path) != 'gluon_tricks.compat':
        assert 'mxnet' not in [name for _, name in found], 'take mx from gluon_tricks.compat'
        first = min([line for line, name in found if name == 'gluon_tricks.compat'], default=math.inf)
        for line, name in found:
            if name.split('.')[0] in ('mxnet', 'gluoncv'):
                assert first < line, f'line {line}: import gluon_tricks.compat before mxnet.* and gluoncv'


# What runs code that a file holds, or trusts every number in it. Weights have one loader, which checks a file before.
DANGEROUS = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal', 'runpy', 'load_states',
             'eval', 'exec', 'compile', '__import__', 'allow_pickle', 'load_parameters', 'load_frombuffer', 'load_dict',
             'load_checkpoint', 'imports'}


def dangers(source):
    """What of `DANGEROUS` a module's source imports or calls, and every ``load`` but json's and params_file's."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(part for name in [getattr(node, 'module', None) or ''] + [alias.name for alias in node.names]
                         for part in name.split('.'))
        elif isinstance(node, ast.Call):
            found.update(keyword.arg for keyword in node.keywords)
            if isinstance(node.func, ast.Name):
                found.add(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                of = getattr(node.func.value, 'id', '')
                if node.func.attr in ('load', 'loads') and node.args and of not in ('json', 'params_file'):
                    found.add('load_parameters')
                if (of, node.func.attr) != ('re', 'compile'):
                    found.add(node.func.attr)
    return found & DANGEROUS


@pytest.mark.parametrize('path', list(MODULES.values()) + OUTSIDE, ids=dotted)
def test_no_file_runs_code_and_weights_have_one_loader(path):
    allowed = {'load_parameters'} if dotted(path) == 'gluon_tricks.models.params_file' else set()
    assert dangers(path.read_text(encoding='utf-8')) <= allowed


@pytest.mark.parametrize('source', [
    'import pickle', 'from pickle import loads', 'trainer.load_states(path)', 'eval(text)', 'np.load(path)',
    'f(path, allow_pickle=True)', 'net.load_parameters(path)', 'def f():\n    mx.nd.load(path)', 'exec(text)'])
def test_what_runs_or_loads_a_file_is_seen(source):
    assert dangers(source)
    assert not dangers('re.compile(x), json.load(stream), params_file.load(path), task.evaluate()')


def test_stdlib_only_modules_import_without_site_packages():
    script = 'import importlib, sys; sys.path.insert(0, %r); [importlib.import_module(name) for name in %r]' % (
        str(ROOT), STDLIB_ONLY)
    done = subprocess.run([sys.executable, '-I', '-S', '-c', script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('name', STDLIB_ONLY)
def test_stdlib_only_modules_name_nothing_else(name):
    """Nor inside a function, which the import above does not reach."""
    imported = imports_of(MODULES[name])
    assert own(imported) <= set(STDLIB_ONLY)
    for top in {other.split('.')[0] for other in imported} - {'gluon_tricks'}:
        spec = importlib.util.find_spec(top)
        assert spec is not None and 'site-packages' not in (spec.origin or ''), top


def test_every_folder_is_a_package():
    """Without an __init__.py a folder would be left out of the installed package."""
    folders = {path.parent for path in MODULES.values()}
    assert not [str(folder) for folder in sorted(folders) if not (folder / '__init__.py').exists()]


def mirror(path):
    """tests/tricks/test_mixup.py for gluon_tricks/tricks/mixup.py, tests/transfer/test_X.py for transfer/X.py."""
    inside = path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT)
    return ROOT / 'tests' / inside.parent / (f'test_{inside.stem}.py')


# Whole runs through its command test these; and the command's tests are those of its program.
BY_COMMANDS = {'gluon_tricks.tasks.classification.trained': 'evaluate',
               'gluon_tricks.tasks.detection.trained': 'train_detection',
               'gluon_tricks.tasks.segmentation.trained': 'train_segmentation', 'gluon_tricks.data.open': 'train', 'gluon_tricks.tasks.classification.assembly': 'train',
               'gluon_tricks.tasks.detection.assembly': 'train_detection',
               'gluon_tricks.tasks.segmentation.assembly': 'train_segmentation', 'train_imagenet': 'train',
               'transfer.train_faster_rcnn': 'train_detection', 'transfer.train_fcn': 'train_segmentation'}


@pytest.mark.parametrize('path', [path for path in list(MODULES.values()) + OUTSIDE
                                  if not path.name.startswith('__')],
                         ids=dotted)
def test_each_module_has_its_test_file(path):
    test = mirror(path)
    if dotted(path) in BY_COMMANDS:
        test = ROOT / 'tests' / 'commands' / (f'test_{BY_COMMANDS[dotted(path)]}.py')
    assert test.exists(), f'missing: {test.relative_to(ROOT)}'


def test_each_test_file_in_a_folder_has_its_module():
    mirrored = {mirror(path) for path in list(MODULES.values()) + OUTSIDE}
    whole_runs = (ROOT / 'tests', ROOT / 'tests' / 'slow')  # these are of no module alone
    nested = [path for path in sources('tests') if path.name.startswith('test_') and path.parent not in whole_runs]
    assert not [str(path.relative_to(ROOT)) for path in nested if path not in mirrored]


def test_the_paper_s_tricks_are_listed_by_its_sections():
    """Those whose card names a section of the paper, in the order of the sections; the others are beyond the paper."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / 'tricks' / '__init__.py').read_text(encoding='utf-8')))
    listed = [(section, name) for section, names in re.findall(r'^\* (\d\.\d) (.*)$', docstring, re.M)
              for name in re.findall(r'``(\w+)``', names)]
    cards = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))).splitlines()[0]
             for path in sources('gluon_tricks/tricks') if path.stem != '__init__'}
    sections = {name: re.search(r'\(paper section (\d\.\d)', card) for name, card in cards.items()}
    assert sorted(listed) == sorted((found.group(1), name) for name, found in sections.items() if found)
    assert [section for section, _ in listed] == sorted(section for section, _ in listed)
    assert all('beyond the paper' in cards[name] for name, found in sections.items() if not found)
