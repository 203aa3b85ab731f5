"""The versions that `make .venv` installs: every package, for every Python."""
import os
import re
import runpy
import subprocess
import sys
import types

import pytest
from packaging.requirements import Requirement

from support import ROOT

FOLDER = ROOT / '.ci' / 'constraints'
VERSIONS = re.search(r'^VERSIONS = (.+)$', (ROOT / 'Makefile').read_text(), re.M).group(1).split()


@pytest.fixture
def given(monkeypatch):
    """The arguments that setup.py gives to setuptools."""
    found = {}
    stand_in = types.SimpleNamespace(setup=found.update, find_packages=lambda **words: [])
    monkeypatch.setitem(sys.modules, 'setuptools', stand_in)
    runpy.run_path(str(ROOT / 'setup.py'))
    return found


def constraints(version):
    """{name: version} of the file of a Python; each line is `name==version` and nothing else."""
    lines = (FOLDER / f'py{version.replace(".", "")}.txt').read_text().splitlines()
    assert lines.pop(0) == '# What `make .venv` installs; written by `make constraints`.'
    pairs = [re.fullmatch(r'([a-z0-9-]+)==([0-9][0-9a-z.]*)', line).groups() for line in lines]
    assert pairs == sorted(pairs) and len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_every_python_has_its_file(given):
    assert {path.name for path in FOLDER.iterdir()} == {f'py{version.replace(".", "")}.txt' for version in VERSIONS}
    minors = [int(version.split('.')[1]) for version in VERSIONS]
    assert given['python_requires'] == f'>=3.{min(minors)},<3.{max(minors) + 1}'


@pytest.mark.parametrize('version', VERSIONS)
def test_every_requirement_is_named_with_a_version_that_setup_py_permits(version, given):
    fixed = constraints(version)
    wanted = given['install_requires'] + sum(given['extras_require'].values(), [])
    assert len(wanted) > 20
    for requirement in map(Requirement, wanted):
        if requirement.marker and not requirement.marker.evaluate({'python_version': version}):
            continue
        name = re.sub('[-_.]+', '-', requirement.name).lower()
        assert fixed[name] in requirement.specifier, requirement
    assert {'pip', 'setuptools', 'wheel'} <= set(fixed)


def test_all_that_is_installed_by_make_is_renewed_too(given):
    program = runpy.run_path(str(ROOT / '.ci' / 'renew_constraints.py'))
    assert sorted(program['EXTRAS'].split(',')) == sorted(given['extras_require'])


def test_set_up_compiles_what_is_imported_wherever_it_is(tmp_path):
    """Also inside functions, and where Python was told to write no byte code."""
    script = ROOT / '.ci' / 'compile_imported.py'
    for name in ('__init__', 'inner', 'deep', 'other'):
        (tmp_path / 'outer').mkdir(exist_ok=True)
        (tmp_path / 'outer' / f'{name}.py').write_text('')
    code = ('import runpy; program = runpy.run_path(%r); program["import_all"](program["imported_by"]("import absent\\n'
            'def f():\\n  from outer import inner\\n  import outer.deep"))' % str(script))
    subprocess.run([sys.executable, '-c', code], cwd=str(tmp_path), check=True, env={
        **{name: value for name, value in os.environ.items() if name != 'PYTHONPYCACHEPREFIX'},
        'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONPATH': str(tmp_path)})
    compiled = {path.name.split('.')[0] for path in (tmp_path / 'outer' / '__pycache__').iterdir()}
    assert compiled == {'__init__', 'inner', 'deep'}
