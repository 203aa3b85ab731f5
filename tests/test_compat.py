"""What is set before MXNet is imported, and the sentences where it cannot be."""
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks import compat, cores
from gluon_tricks.errors import UsageError
from support import ROOT
from support.fresh_python import run


def stand_in(folder, source):
    """A folder whose ``mxnet`` is this source, without a library, to be put before the real one."""
    (folder / 'mxnet.py').write_text(f'{source}\nimport types\nbase = types.SimpleNamespace(_LIB=None)\n')
    return f'import sys; sys.path.insert(0, {str(folder)!r})\n'


def sentence(stderr):
    """The last line of a traceback, which must be a UsageError's, less the exception's name."""
    last = stderr.strip().splitlines()[-1]
    assert last.startswith('gluon_tricks.errors.UsageError: '), stderr
    return last.split(': ', 1)[1]


SHOW = ('import os; print(os.environ["OMP_NUM_THREADS"], os.environ["MXNET_SAFE_ACCUMULATION"], '
        'hasattr(__import__("numpy"), "float"))\n')


# -- environment variables --------------------------------------------------------------------------------------------

def test_everything_is_set_before_mxnet_is_imported(tmp_path):
    code, out, err = run(stand_in(tmp_path, SHOW) + 'import gluon_tricks.compat')
    assert code == 0, err
    assert out.split() == [str(cores.available_cores()), '1', 'True']


def test_the_users_choices_stay(tmp_path):
    code, out, err = run(stand_in(tmp_path, SHOW) + 'import gluon_tricks.compat', OMP_NUM_THREADS='3',
                         MXNET_SAFE_ACCUMULATION='0')
    assert code == 0, err
    assert out.split()[:2] == ['3', '0']


@pytest.mark.parametrize('threads', ['', '0', '-1', '4,2', 'many', ' 2'])
def test_threads_that_mxnet_cannot_take_are_refused(tmp_path, threads):
    """MXNet aborts on '4,2', which OpenMP knows, and takes a number of its own for 0."""
    code, _, err = run(stand_in(tmp_path, '') + 'import gluon_tricks.compat', OMP_NUM_THREADS=threads)
    assert code == 1
    assert sentence(err).startswith(f'OMP_NUM_THREADS (={threads!r}) must be a whole number')


def test_safe_accumulation_is_on():
    """Without it a float16 softmax sums in float16, whose ones stop at 2048: 4 / 8192 instead of 1 / 8192."""
    assert os.environ['MXNET_SAFE_ACCUMULATION'] == '1'
    softmax = compat.mx.nd.zeros((1, 8192), dtype='float16').softmax()
    assert float(softmax[0, 0].asscalar()) * 8192 == 1


def test_the_real_mxnet_takes_the_threads():
    code, out, err = run('from gluon_tricks.compat import environment; print(environment()["threads"])',
                         OMP_NUM_THREADS='1')
    assert code == 0, err
    assert out.split()[-1] == '1'


@pytest.mark.parametrize('engine, importing', [('', '1'), ('ThreadedEnginePerDevice', '1'), ('NaiveEngine', '3')])
def test_the_thread_that_asks_the_engine_has_no_threads_of_openmp(engine, importing):
    """With the naive engine it computes itself."""
    script = ('from gluon_tricks.compat import mx; import threading; threads = mx.base._LIB.omp_get_max_threads; '
              'seen = [threads()]; other = threading.Thread(target=lambda: seen.append(threads())); other.start(); '
              'other.join(); print(*seen)')
    code, out, err = run(script, OMP_NUM_THREADS='3', **({'MXNET_ENGINE_TYPE': engine} if engine else {}))
    assert code == 0, err
    assert out.split()[-2:] == [importing, '3']


def test_environment_names_what_a_run_depends_on():
    environment = compat.environment()
    assert environment['mxnet'] == '1.9.1'
    assert environment['numpy'] == np.__version__
    assert environment['threads'] >= 1 and environment['cores'] >= 1
    assert {'python', 'gluoncv', 'machine', 'gpus'} <= set(environment)


# -- NumPy and distutils ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, value', [('bool', bool), ('int', int), ('float', float), ('object', object),
                                         ('str', str), ('complex', complex)])
def test_numpy_aliases(name, value):
    assert getattr(np, name) is value


VERSIONS = ['0.9', '1.9.0', '1.9.0rc1', '1.9.1', '1.10', '1.10.0', '1.17', '1.26.4', '2.0.0b1', '2.0.0', '10.0']


def below(a, b, version):
    """a < b, with the five other comparisons and a plain string on the right checked against it."""
    less, equal = version(a) < version(b), version(a) == version(b)
    assert (version(a) < b) == less and (version(a) == b) == equal
    assert (version(a) <= version(b)) == (less or equal)
    assert (version(a) > version(b)) == (not less and not equal)
    assert (version(a) >= version(b)) == (not less)
    assert (version(a) != version(b)) == (not equal)
    return less


def test_stub_versions_compare_as_releases_do():
    ordered = ['0.9', '1.0.0', '1.0.1', '1.9.0', '1.9.1', '1.10.0', '1.17.0', '1.26.4', '2.0.0', '10.0.0']
    for i, a in enumerate(ordered):
        for j, b in enumerate(ordered):
            assert below(a, b, compat._Version) == (i < j)
    # Words of pre-releases: below the release, in the order of the alphabet.
    ordered = ['1.8.9', '1.9.0a2', '1.9.0b1', '1.9.0rc1', '1.9.0rc2', '1.9.0', '1.9.0.1', '1.9.1.dev3', '1.9.1']
    for i, a in enumerate(ordered):
        for j, b in enumerate(ordered):
            assert below(a, b, compat._Version) == (i < j)


@pytest.mark.filterwarnings('ignore')
def test_stub_versions_compare_as_distutils_do():
    """With StrictVersion, which knows pre-releases, for versions it can read; LooseVersion puts them last."""
    strict = pytest.importorskip('distutils.version').StrictVersion
    if strict is compat._Version:
        pytest.skip('this Python has no distutils; the stub stands in')
    for a in [v for v in VERSIONS if 'rc' not in v]:
        for b in [v for v in VERSIONS if 'rc' not in v]:
            if {a, b} != {'1.10', '1.10.0'}:  # one release by StrictVersion, two by LooseVersion and here
                assert (compat._Version(a) < compat._Version(b)) == (strict(a) < strict(b)), (a, b)
                assert (compat._Version(a) == compat._Version(b)) == (strict(a) == strict(b)), (a, b)


def test_stub_stands_in_where_distutils_is_gone():
    script = ('import sys; sys.modules["distutils"] = sys.modules["distutils.version"] = None\n'
              'from gluon_tricks.compat import mx\n'
              'from distutils.version import LooseVersion, StrictVersion\n'
              'import gluoncv\n'
              'print(LooseVersion(mx.__version__) < "1.10", StrictVersion.__module__)')
    code, out, err = run(script)
    assert code == 0, err
    assert out.split() == ['True', 'gluon_tricks.compat']


# -- GluonCV beside PyTorch -------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', [pytest.param('1.13.1', marks=pytest.mark.slow), '2.13.0'])
def test_gluoncv_beside_pytorch(tmp_path, version):
    """GluonCV raises RuntimeError for PyTorch 2, and warns of 1; here PyTorch is not even imported."""
    (tmp_path / 'torch.py').write_text(f'__version__ = {version!r}\nprint("PyTorch is imported")')
    code, out, err = run('import sys, warnings; warnings.simplefilter("error", UserWarning)\nsys.path.insert(0, '
                         f'{str(tmp_path)!r})\nfrom gluon_tricks.models.zoo import '
                         'get_model\nprint(type(get_model("mobilenet0.25", classes=10)).__module__, "torch" in '
                         'sys.modules)')
    assert code == 0, err
    assert out.split() == ['gluoncv.model_zoo.mobilenet', 'False'] and 'Both' not in err


# -- where MXNet does not load ----------------------------------------------------------------------------------------

def blocked(name):
    """A script that imports compat where ``name`` is not installed."""
    return ('import sys\nclass Block:\n    def find_spec(self, name, path=None, target=None):\n        if name == '
            f'{name!r}: raise ModuleNotFoundError("No module named %r" % name, name=name)\nsys.meta_path.insert(0, '
            'Block())\nimport gluon_tricks.compat')


def test_mxnet_not_installed():
    code, _, err = run(blocked('mxnet'))
    assert code == 1
    assert re.match(r'mxnet is not installed for \S+: type `make .venv`', sentence(err))


def test_numpy_not_installed():
    """As for a Python with nothing installed at all."""
    script = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import gluon_tricks.compat'
    done = subprocess.run([sys.executable, '-I', '-S', '-c', script], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert re.match(r'(mxnet|numpy) is not installed for \S+: type `make .venv`', sentence(done.stderr))


def test_what_mxnet_itself_misses_is_not_hidden(tmp_path):
    code, _, err = run(stand_in(tmp_path, 'import nothing_of_this_name') + 'import gluon_tricks.compat')
    assert code == 1
    assert err.strip().endswith("No module named 'nothing_of_this_name'") and 'UsageError' not in err


@pytest.mark.parametrize('library, remedy', [
    ('libgomp.so.1', 'apt-get install -y libgomp1 libquadmath0'),
    ('libquadmath.so.0', 'apt-get install -y libgomp1 libquadmath0'),
    ('libcuda.so.1', 'install the NVIDIA driver'),
    ('libcudnn.so.8', "pip install '.[cu112]'"),
])
def test_a_missing_library_is_named_with_its_remedy(tmp_path, library, remedy):
    words = f'{library}: cannot open shared object file: No such file or directory'
    code, _, err = run(stand_in(tmp_path, 'raise OSError(%r)' % words) + 'import gluon_tricks.compat')
    assert code == 1
    assert library in sentence(err) and remedy in sentence(err)


def test_the_sentence_is_a_usage_error(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mxnet', None)
    with pytest.raises(UsageError, match='mxnet is not installed for'):
        compat._import_mxnet()


# -- CUDA libraries from wheels ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('build, loaded', [('mxnet_cu112-1.9.1.dist-info', ['libcudart.so.11.0', 'libcudnn.so.8']),
                                           ('mxnet-1.9.1.dist-info', [])])
def test_cuda_wheels_are_loaded_for_the_cuda_build_alone(tmp_path, monkeypatch, build, loaded):
    (tmp_path / build).mkdir()
    for folder, name in (('cudnn', 'libcudnn.so.8'), ('cudnn', 'libcudnn_ops_infer.so.8'),
                         ('cuda_runtime', 'libcudart.so.11.0')):
        (tmp_path / 'nvidia' / folder / 'lib').mkdir(parents=True, exist_ok=True)
        (tmp_path / 'nvidia' / folder / 'lib' / name).write_text('')
    seen = []
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    monkeypatch.setattr(compat.ctypes, 'CDLL', lambda path, mode: seen.append((os.path.basename(path), mode)))
    compat._load_cuda_wheels()
    assert seen == [(name, compat.ctypes.RTLD_GLOBAL) for name in loaded]


@pytest.mark.parametrize('before', ['', 'import scipy.special, distutils.version; '])
def test_what_mxnet_can_do_without_is_not_imported_and_can_be_afterwards(before):
    """Nor where some of it is there already. In Python 3.12 distutils is another's: it is left as it was."""
    if before and sys.version_info >= (3, 12):
        before = 'import scipy.special; '
    code = (before + 'import sys; known = set(sys.modules); import gluon_tricks.compat as compat; '
            'new = {name for name in set(sys.modules) - known}; '
            'assert not {name for name in new if name.split(".")[0] in ("sklearn", "scipy", "setuptools")}, new; '
            'assert compat.mx.nd.sparse.spsp is None and None not in sys.modules.values(); '
            'from sklearn.base import BaseEstimator; from scipy import stats; import scipy.sparse; '
            'from distutils.version import LooseVersion; print(LooseVersion.__module__)')
    exit_code, out, err = run(code)
    assert exit_code == 0, err
    assert out.split() == ['distutils.version' if sys.version_info < (3, 12) else out.strip()]


def test_gluoncv_s_version_is_its_own_word():
    import gluoncv
    assert compat.environment()['gluoncv'] == gluoncv.__version__
