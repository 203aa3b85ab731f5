"""safetensors files (Hugging Face), read and written by the package of that name.

    file    u64 length of the header (little-endian), the header, the values
    header  JSON: {name: {"dtype", "shape", "data_offsets": [begin, end]}}, and texts under "__metadata__"

The package checks every offset against the file's size before a value is read. What it does not see is checked here,
before: a header too large for a network, a name that is listed twice, a type that NumPy lacks.
"""
import json
import os
from typing import Any, Dict, Optional

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file
from gluon_tricks.models.params_file import widened

_MOST_HEADER = 1 << 22  # bytes; a network of 5,000 arrays has 600,000
_FLOATS = ('F64', 'F32', 'F16', 'BF16')
COUNTER = '.num_batches_tracked'  # PyTorch's count of BatchNorm's updates, I64; nothing here has it


def read(path: str) -> Dict[str, np.ndarray]:
    """{name: array} of a safetensors file in float64, float32 or float16, in the file's order; int64 for counters.

    bfloat16, which NumPy does not have, becomes float32. Raises UsageError for a file that is missing, damaged, not of
    a network's weights, or holds a value that is not a finite number; and where the package is not installed.
    """
    safetensors = package(path)
    try:
        with open_file(path) as stream:
            start, header = _header(path, stream)
        with safetensors.safe_open(str(path), framework='np') as opened:
            arrays = {name: _bfloat16(path, start, facts) if facts['dtype'] == 'BF16' else opened.get_tensor(name)
                      for name, facts in header.items()}
    except OSError as error:
        raise UsageError(f'{path}: cannot be read ({error.strerror or error}); give a safetensors file') from error
    except safetensors.SafetensorError as error:
        raise _damaged(path, ' '.join(str(error).split())) from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UsageError(f'{path}: {name} holds values that are not finite numbers; the weights are of a training '
                             'that diverged, or damaged: give another file')
    return arrays


def content(path: str, arrays: Dict[str, np.ndarray], metadata: Optional[Dict[str, str]] = None) -> bytes:
    """The bytes of a safetensors file of {name: array}, for `files.write_whole`.

    path: for the sentence of the UsageError where the package is not installed.
    """
    return package(path).numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata)


def package(path: str) -> Any:
    """The package safetensors, for the file `path`. Raises UsageError where it is not installed."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise UsageError(f"{path}: safetensors files need a package that is not installed: type `pip install "
                         "'.[interchange]'`, or `pip install safetensors`") from error
    return safetensors


def _damaged(path, fault):
    return UsageError(f'{path}: the file is damaged or cut short, or not a safetensors file ({fault[:160]}); copy it '
                      'again')


def _header(path, stream) -> Any:
    """(place of the first value, {name: its entry}) of an open file, as far as the package does not check it."""
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(8), 'little')
    if not 2 <= length <= min(size - 8, _MOST_HEADER):
        raise _damaged(path, f'it has {size} bytes, and a header of {length}')
    twice = []

    def once(pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice.append(next(name for name in names if names.count(name) > 1))
        return found
    try:
        header = json.loads(stream.read(length).decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f'its header is not JSON: {error}') from error
    if twice:
        raise _damaged(path, f'{twice[0]!r:.80} is listed twice')
    if not isinstance(header, dict):
        raise _damaged(path, 'its header is not an object')
    header.pop('__metadata__', None)
    for name, facts in header.items():
        kind = facts.get('dtype') if isinstance(facts, dict) else None
        if kind not in _FLOATS and not (kind == 'I64' and name.endswith(COUNTER)):
            raise UsageError(f'{path}: {name!r:.80} has the type {kind!r:.40}, and weights are one of '
                             f'{", ".join(_FLOATS)}; give a file of a network that is not quantised')
    if not header:
        raise UsageError(f'{path}: the file has no arrays; give one of a network')
    return 8 + length, header


def _bfloat16(path, start, facts):
    begin, end = facts['data_offsets']
    return widened(np.fromfile(path, '<u2', (end - begin) // 2, offset=start + begin)).reshape(facts['shape'])
