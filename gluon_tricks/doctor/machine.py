"""What the checks ask of the machine, each question once, so that others can answer in its place (a test, a stub).

Standard library only: it works where MXNet does not.
"""
import ctypes
import dataclasses
import glob
import importlib
import os
import platform
import re
import shutil
import sys
from importlib import metadata
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from gluon_tricks.errors import UsageError
from gluon_tricks.files import existing

OPENCV = '>=4.5,<4.12'  # as setup.py has it
# Module, its package in words, the remedy. The first makes the others work beside later versions of NumPy and Python.
_IMPORTED = (('gluon_tricks.compat', 'mxnet', 'set up anew with `make .venv`'),
             ('cv2', 'OpenCV', f"type `pip install 'opencv-python{OPENCV}'`"),
             ('gluoncv.model_zoo', 'gluoncv', 'type `pip install gluoncv==0.10.5.post0`'))
_LIBRARIES = ('type `apt-get install -y libgl1 libglib2.0-0` as root, or `pip uninstall -y opencv-python` and '
              f"`pip install 'opencv-python-headless{OPENCV}'`")
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # of cuda.h's CUdevice_attribute


class Gpu(NamedTuple):
    """One that the process may use. capability: (major, minor); memory: bytes in all."""

    name: str
    capability: Tuple[int, int]
    memory: int


class Gpus(NamedTuple):
    """The answer of NVIDIA's driver. cuda: the newest CUDA version that it knows, (major, minor)."""

    cuda: Tuple[int, int]
    devices: Tuple[Gpu, ...]


def packages() -> Dict[str, str]:
    """{name: version} of the packages that the checks are about and that are installed, by names as PyPI has them."""
    found = {}
    for name in ('gluoncv', 'mxnet', 'numpy', 'onnx', 'opencv-contrib-python', 'opencv-contrib-python-headless',
                 'opencv-python', 'opencv-python-headless', 'protobuf', 'torch'):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    for folder in sys.path:
        for path in glob.glob(os.path.join(folder, 'mxnet_cu*-info')):  # one name for each version of CUDA
            name, version = re.fullmatch(r'(mxnet_cu\d+)-([^-]+).*', os.path.basename(path)).groups()
            found[name.replace('_', '-')] = re.sub(r'\.(dist|egg)$', '', version)
    return found


def needs(package: str) -> List[str]:
    """What an installed package says that it needs, such as 'protobuf>=4.25.1'; [] where it is not installed."""
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []


def gpus(library: str = 'libcuda.so.1') -> Optional[Gpus]:
    """What NVIDIA's driver says of the GPUs that the process may use; None without a driver that answers."""
    try:
        cuda = ctypes.CDLL(library)
        version, number = ctypes.c_int(), ctypes.c_int()
        if cuda.cuDriverGetVersion(ctypes.byref(version)):
            return None
        known = (version.value // 1000, version.value % 1000 // 10)
        if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(number)):
            return Gpus(known, ())
        return Gpus(known, tuple(_gpu(cuda, place) for place in range(number.value)))
    except (OSError, AttributeError):
        return None


def _gpu(cuda, place):
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    numbers = [ctypes.c_int(), ctypes.c_int()]
    cuda.cuDeviceGet(ctypes.byref(device), place)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    for number, attribute in zip(numbers, (_COMPUTE_MAJOR, _COMPUTE_MINOR)):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
    return Gpu(name.value.decode(errors='replace'), (numbers[0].value, numbers[1].value), memory.value)


def import_faults() -> List[str]:
    """A sentence for the first of MXNet, OpenCV and GluonCV that cannot be imported; [] where all can."""
    for name, package, remedy in _IMPORTED:
        try:
            importlib.import_module(name)
        except UsageError as error:
            return [str(error)]
        except Exception as error:  # whatever a broken package raises
            missing = re.search(r'lib\w+\.so', str(error)) and package == 'OpenCV'
            return [f'{package} cannot be imported ({_words(error)}): {_LIBRARIES if missing else remedy}']
    return []


def _words(error):
    """An exception as one line."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:200]


def shared_memory() -> Optional[int]:
    """Free bytes of /dev/shm; None where there is none."""
    return free_disk('/dev/shm') if os.path.isdir('/dev/shm') else None


def open_files() -> Optional[int]:
    """How many files the process may have open; None for no limit, or where it is not known."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def free_disk(path: str) -> int:
    """Free bytes of the disk that a path is on, or would be."""
    return shutil.disk_usage(existing(path)).free


def free_memory() -> Optional[int]:
    """Bytes of the machine's memory that a new program may take, or that its control group leaves; None where it is
    not known."""
    found = []
    try:
        with open('/proc/meminfo') as stream:
            found += [int(line.split()[1]) << 10 for line in stream if line.startswith('MemAvailable:')]
        with open('/sys/fs/cgroup/memory.max') as limit, open('/sys/fs/cgroup/memory.current') as used:
            found.append(int(limit.read()) - int(used.read()))
    except (OSError, ValueError):  # 'max': no limit
        pass
    return min(found) if found else None


@dataclasses.dataclass(frozen=True)
class Machine:
    """The questions, each a function; `dataclasses.replace` puts another answer in."""

    python: Tuple[int, ...] = tuple(sys.version_info[:2])
    system: str = platform.system()
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: os.environ)
    packages: Callable[[], Dict[str, str]] = packages
    needs: Callable[[str], List[str]] = needs
    gpus: Callable[[], Optional[Gpus]] = gpus
    import_faults: Callable[[], List[str]] = import_faults
    shared_memory: Callable[[], Optional[int]] = shared_memory
    open_files: Callable[[], Optional[int]] = open_files
    free_disk: Callable[[str], int] = free_disk
    free_memory: Callable[[], Optional[int]] = free_memory


HERE = Machine()
