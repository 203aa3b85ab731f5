import dataclasses
import resource
import shutil
import subprocess
import sys

import pytest

from gluon_tricks.doctor import machine
from gluon_tricks.doctor.machine import HERE, Gpu, Gpus
from gluon_tricks.errors import UsageError

DRIVER = r'''
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device ? "B" : "A", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)16 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 + device : attribute == 76 ? 6 - 6 * device : -1;
    return 0;
}
'''


@pytest.mark.parametrize('init, devices', [(0, (Gpu('A', (8, 6), 16 << 30), Gpu('B', (9, 0), 16 << 30))), (100, ())])
def test_a_driver_is_asked(tmp_path, init, devices):
    """A library with the driver's functions, as cuda.h declares them."""
    if not shutil.which('cc'):
        pytest.skip('needs a C compiler')
    (tmp_path / 'driver.c').write_text(DRIVER)
    library = str(tmp_path / 'libcuda.so')
    subprocess.run(['cc', '-shared', '-fPIC', f'-DINIT={init}', '-o', library, str(tmp_path / 'driver.c')], check=True)
    assert machine.gpus(library) == Gpus((12, 4), devices)


def test_without_a_driver():
    assert machine.gpus('libno-such-library.so.1') is None
    assert machine.gpus('libc.so.6') is None  # a library without its functions


def test_packages_are_those_that_are_installed(tmp_path, monkeypatch):
    import numpy
    found = machine.packages()
    assert found['numpy'] == numpy.__version__ and found['mxnet'] == '1.9.1'
    assert 'mxnet-cu112' not in found
    (tmp_path / 'mxnet_cu112-1.9.1.dist-info').mkdir()
    monkeypatch.setattr(sys, 'path', sys.path + [str(tmp_path)])
    assert machine.packages()['mxnet-cu112'] == '1.9.1'


def test_what_a_package_needs():
    assert any(need.startswith('numpy') for need in machine.needs('mxnet'))
    assert machine.needs('no-such-package') == []


def test_imports(monkeypatch):
    assert machine.import_faults() == []

    def broken(error):
        def fail(name):
            raise error
        return fail

    for error, words in ((UsageError('mxnet is not installed'), 'mxnet is not installed'),
                         (AttributeError('np.PZERO\nwas removed'), 'mxnet cannot be imported (AttributeError: np.PZERO was '
                                                                   'removed): set up anew with `make .venv`')):
        monkeypatch.setattr(machine.importlib, 'import_module', broken(error))
        assert machine.import_faults() == [words]


@pytest.mark.parametrize('broken, error, words', [
    ('cv2', ImportError('libGL.so.1: cannot open shared object file'), 'apt-get install -y libgl1 libglib2.0-0'),
    ('cv2', ImportError('libGL.so.1: cannot open shared object file'), "pip install 'opencv-python-headless>=4.5,<4.12'"),
    ('cv2', ModuleNotFoundError("No module named 'cv2'"), "pip install 'opencv-python>=4.5,<4.12'"),
    ('gluoncv.model_zoo', ModuleNotFoundError("No module named 'gluoncv'"), 'pip install gluoncv==0.10.5.post0')])
def test_what_else_cannot_be_imported(monkeypatch, broken, error, words):
    def import_module(name):
        if name == broken:
            raise error

    monkeypatch.setattr(machine.importlib, 'import_module', import_module)
    sentence, = machine.import_faults()
    assert words in sentence and str(error) in sentence


def test_what_the_machine_has(tmp_path):
    assert HERE.free_disk(str(tmp_path / 'not' / 'there')) == pytest.approx(shutil.disk_usage(str(tmp_path)).free, rel=0.05)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert HERE.open_files() == (None if limit == resource.RLIM_INFINITY else limit)
    assert HERE.free_memory() > 1 << 20
    assert HERE.shared_memory() is None or HERE.shared_memory() >= 0
    assert dataclasses.replace(HERE, open_files=lambda: 3).open_files() == 3
