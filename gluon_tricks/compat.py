"""Makes ``import mxnet`` work, and work well: every module takes ``mx`` from here.

MXNet 1.9.1 is the last release, from 2022. Before its import this module

* chooses the number of CPU threads, all cores (MXNet takes half of them by itself), unless ``OMP_NUM_THREADS`` is set;
  models/threads.py takes fewer for very small networks;
* bounds the arenas of glibc's malloc: each of the threads that come and go while records are read would get its own,
  and memory would grow for hours;
* switches safe accumulation on, so that sums of float16 values are formed in float32;
* gives back the NumPy aliases (``np.bool`` and others) and ``distutils.version``, which later versions of NumPy and
  Python removed and which MXNet and GluonCV still name;
* lets GluonCV be imported beside PyTorch 2, which it refuses (`_check_gluoncv`);
* keeps MXNet from importing what it can do without and nothing here needs: scikit-learn, SciPy, setuptools, together
  more than half of its import (docs/benchmarks.md). Its sparse arrays then neither take nor give SciPy's matrices, and
  its quantization has no calibration by entropy;
* loads the CUDA libraries from their wheels where ``mxnet-cu112`` was installed with them.

The number of threads changes the order of sums and so the last bits of a result: a run records it (`environment`).
"""
import contextlib
import ctypes
import glob
import importlib.machinery
import importlib.util
import os
import platform
import re
import sys
import types
import warnings

from gluon_tricks.cores import available_cores
from gluon_tricks.errors import UsageError

try:
    import numpy as np
except ModuleNotFoundError:
    np = None  # then MXNet is not there either, and its import says so


_M_ARENA_MAX = -8  # of glibc's malloc.h


THREADS_GIVEN = 'OMP_NUM_THREADS' in os.environ  # by the user, or by a launcher that shares out the cores


def _set_environment():
    threads = os.environ.setdefault('OMP_NUM_THREADS', str(available_cores()))
    if not re.fullmatch(r'[1-9]\d*', threads):  # MXNet would abort, or take another number than the run records
        raise UsageError(f'OMP_NUM_THREADS (={threads!r}) must be a whole number of at least 1: unset it, or give the '
                         'number of threads')
    os.environ.setdefault('MXNET_SAFE_ACCUMULATION', '1')


def _bound_arenas():
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # glibc's
    if mallopt and 'MALLOC_ARENA_MAX' not in os.environ:
        mallopt(_M_ARENA_MAX, max(2, available_cores() // 8))


def _restore_numpy_aliases():
    aliases = {'bool': bool, 'int': int, 'float': float, 'object': object, 'str': str, 'complex': complex}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for name, value in aliases.items():
            if not hasattr(np, name):
                setattr(np, name, value)


class _Version:
    """As much of ``distutils.version`` as MXNet and GluonCV use: comparison, number by number; a word is below any."""

    def __init__(self, text):
        self.vstring = str(text)
        self.version = [int(part) if part.isdigit() else part for part in re.findall(r'\d+|[a-z]+', self.vstring)]

    def _key(self):
        # 1.9.1 ends in (1, 0), so that 1.9.1rc1 < 1.9.1 < 1.9.1.1.
        return [(2, part) if isinstance(part, int) else (0, part) for part in self.version] + [(1, 0)]

    def __lt__(self, other):
        return self._key() < _Version(getattr(other, 'vstring', other))._key()

    def __eq__(self, other):
        return self._key() == _Version(getattr(other, 'vstring', other))._key()

    def __le__(self, other):
        return self < other or self == other

    def __gt__(self, other):
        return not self <= other

    def __ge__(self, other):
        return not self < other

    def __hash__(self):
        return hash(self.vstring)


def _own_distutils():
    """{name: module} that stand in for ``distutils`` and its ``version``."""
    package, module = types.ModuleType('distutils'), types.ModuleType('distutils.version')
    module.LooseVersion = module.StrictVersion = _Version
    package.version = module
    return {'distutils': package, 'distutils.version': module}


def _restore_distutils():
    """Where the standard library has no ``distutils``, and nothing else stands in for it, put ours there to stay."""
    if importlib.machinery.PathFinder.find_spec('distutils') and sys.modules.get('distutils', sys):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            import distutils.version  # noqa: F401
    except ImportError:
        sys.modules.update(_own_distutils())


def _check_gluoncv():
    """Stand in for ``gluoncv.check``, before GluonCV is imported: PyTorch is not looked for.

    GluonCV needs it for nothing that is used here. It would raise RuntimeError for version 2 and later, and import and
    warn of any other.
    """
    def no_pytorch(*versions):
        raise ImportError('gluon_tricks uses GluonCV without PyTorch')

    check = types.ModuleType('gluoncv.check')
    check._require_pytorch_version = no_pytorch
    check._require_mxnet_version = check._deprecate_python2 = lambda *versions: None  # setup.py asks for both
    sys.modules.setdefault('gluoncv.check', check)


_CUDA_LIBRARIES = ('libcudart.so.11.0', 'libnvToolsExt.so.1', 'libnvrtc.so.11.2', 'libcublasLt.so.11',
                   'libcublas.so.11', 'libcufft.so.10', 'libcurand.so.10', 'libcusparse.so.11', 'libcusolver.so.11',
                   'libnccl.so.2', 'libcudnn.so.8')


def _load_cuda_wheels():
    """Load the libraries that ``mxnet-cu112`` needs from ``site-packages/nvidia``, in the order of their needs.

    Nothing is loaded for MXNet's CPU build: CUDA wheels beside it belong to another package.
    """
    if not any(glob.glob(os.path.join(folder, 'mxnet_cu*-info')) for folder in sys.path):
        return
    found = {}
    for folder in sys.path:
        for path in glob.glob(os.path.join(folder, 'nvidia', '*', 'lib', '*.so*')):
            found.setdefault(os.path.basename(path), path)
    for name in _CUDA_LIBRARIES:
        if name in found:
            try:
                ctypes.CDLL(found[name], mode=ctypes.RTLD_GLOBAL)
            except OSError:
                pass  # MXNet's own import names what is missing, below


def _library_remedy(error):
    """The remedy when MXNet's library does not load, from the loader's words."""
    if 'libcuda.so' in error:
        return "install the NVIDIA driver, or type `make .venv EXTRA=cpu` for MXNet's CPU build"
    if any(name in error for name in _CUDA_LIBRARIES):
        return "type `make .venv EXTRA=cu112`, or `pip install '.[cu112]'`"
    return 'type `apt-get install -y libgomp1 libquadmath0` as root'


@contextlib.contextmanager
def _in_place_of(modules):
    """While it is entered, {name: module} stand in for those of these names; None: it cannot be imported."""
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)


def _import_mxnet():
    try:
        # MXNet compares two versions by distutils; its import is that of setuptools, where that is installed.
        with _in_place_of({'sklearn': None, 'scipy': None, **_own_distutils()}):
            import mxnet
    except ModuleNotFoundError as error:
        if error.name not in ('mxnet', 'numpy'):
            raise
        raise UsageError(f"{error.name} is not installed for {sys.executable}: type `make .venv` in a checkout and run "
                         ".venv/bin/python, or install the extra, such as `pip install 'DIST.whl[cpu]'` (GPUs: "
                         "EXTRA=cu112, [cu112])") from error
    except OSError as error:
        raise UsageError(f'mxnet cannot load a system library ({error}): {_library_remedy(str(error))}') from error
    return mxnet


_set_environment()
_bound_arenas()
if np is not None:
    _restore_numpy_aliases()
_restore_distutils()
_check_gluoncv()
_load_cuda_wheels()
mx = _import_mxnet()
_threads = int(os.environ['OMP_NUM_THREADS'])
if not THREADS_GIVEN:
    del os.environ['OMP_NUM_THREADS']  # MXNet has read it; to a process that is started here nobody has given it


_omp_set_num_threads = getattr(mx.base._LIB, 'omp_set_num_threads', None)  # libgomp's, which MXNet's library loads


def one_thread():
    """In this thread OpenMP's parallel regions have one thread: for threads that call MXNet, whose engine computes.

    Each thread that enters a parallel region has OpenMP threads of its own. Once a process has more of them than cores
    all of them sleep at the end of a region, those of the engine too, which then computes a small network half as fast.
    Whoever makes an ImageRecordIter enters one, only to ask for the number of cores.
    """
    if _omp_set_num_threads and os.environ.get('MXNET_ENGINE_TYPE') != 'NaiveEngine':  # it computes in this thread
        _omp_set_num_threads(1)


one_thread()


class _Context(ctypes.Structure):
    """MXNet's ``Context``: a device, for its library."""

    _fields_ = [('kind', ctypes.c_int32), ('number', ctypes.c_int32)]


def compute_with(threads, devices):
    """From now on MXNet computes with this many OpenMP threads on each of these CPU devices (list of contexts).

    MXNet has no call for it: its engine reads ``OMP_NUM_THREADS`` once. OpenMP takes the number from each thread that
    computes, so that the engine's thread of each device is made to set its own.
    """
    global _threads
    push = getattr(mx.base._LIB, 'MXEnginePushSync', None)
    if push and _omp_set_num_threads:
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: _omp_set_num_threads(threads))
        for device in devices:
            context = _Context(device.device_typeid, device.device_id)
            mx.base.check_call(push(work, None, None, ctypes.byref(context), None, 0, None, 0, None, 0, b'threads'))
        mx.nd.waitall()
        _threads = threads


def _gluoncv_version():
    """What ``gluoncv.__version__`` is, without the import of all that it has."""
    with open(importlib.util.find_spec('gluoncv').origin, encoding='utf-8') as stream:
        return re.search(r"^__version__ = '(.+)'$", stream.read(), re.M).group(1)


def environment():
    """Versions and settings, which decide the last bits of a result with the configuration: a dict for ``run.json``."""
    return {'python': platform.python_version(), 'mxnet': mx.__version__, 'gluoncv': _gluoncv_version(),
            'numpy': np.__version__, 'threads': _threads, 'cores': available_cores(),
            'machine': platform.machine(), 'gpus': mx.context.num_gpus()}
