"""MXNet's ``.params`` files: read with NumPy alone (`read_params`), or by MXNet's C++ loader (`load`), which sees no
byte before the headers were checked against the file's size.

    file    u64 0x112, u64 0, u64 number of arrays, the arrays, u64 number of names, the names
    array   u32 version, i32 storage, i32 dimensions, i64 each of them, i32 device, i32 its number, i32 type, values
    name    u64 length, UTF-8

Numbers are little-endian. The loader believes them: a damaged count has it ask for any amount of memory, and bytes
after the last name go unnoticed. Version 1 of an array has no storage; before it the version was the number of
dimensions, and each was a u32. MXNet is imported by `load` and `save` only.
"""
import errno
import math
import os
import re
import struct
from typing import Dict, Union

import numpy as np

from gluon_tricks.errors import UsageError

_MAGIC = 0x112
_VERSION_1, _VERSION_2, _VERSION_3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # 3: as 2, but a dimension may be 0
_BFLOAT16 = 12
# By MXNet's numbers of types.
_DTYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: 'u1', 4: '<i4', 5: 'i1', 6: '<i8', 7: '?', _BFLOAT16: '<u2'}
_DEVICES = (1, 2, 3, 5)  # CPU, GPU, CPU memory for a GPU's or for other processes' use
_MOST_ARRAYS, _MOST_DIMENSIONS = 100000, 32  # networks have less than 5,000 and 8; an empty array costs memory as well


def load(path):
    """{name: NDArray} of a ``.params`` file, in the file's order, without the ``arg:`` and ``aux:`` of an export.

    The arrays are on the device they were saved from, where it exists. Raises UsageError as `check`.
    """
    from gluon_tricks.compat import mx
    numpy_shapes = check(path)
    try:
        with mx.util.np_shape(numpy_shapes):
            arrays = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise _damaged(path, str(error).strip().splitlines()[-1]) from error
    return {_bare(name): array for name, array in arrays.items()}


def read_params(path: Union[str, 'os.PathLike[str]']) -> Dict[str, np.ndarray]:
    """{name: array} of a ``.params`` file, in the file's order, without the ``arg:`` and ``aux:`` of an export.

    MXNet is not imported. bfloat16 values, which NumPy does not have, become float32. Raises UsageError for a file that
    is missing, damaged, or has no names.

    >>> import gluon_tricks as gt
    >>> gt.read_params('runs/demo-seed0/best/net.params')['fc.weight'].shape
    (10, 128)
    """
    headers = []
    check(path, headers)
    try:
        with open(path, 'rb') as stream:
            return {name: _values(stream, *header) for name, *header in headers}
    except OSError as error:
        raise _unreadable(path, error) from error
    except _Fault as error:  # it was cut short meanwhile
        raise _damaged(path, error) from error


def widened(bits):
    """float32 array of an array of bfloat16's bits: they are the upper half of a float32's."""
    return (bits.astype('uint32') << 16).view('float32')


def _values(stream, shape, item, place):
    stream.seek(place)
    count = int(np.prod(shape, dtype='int64'))
    values = np.fromfile(stream, _DTYPES[item], count)
    if values.size < count:
        raise _Fault(f'it ends at byte {stream.tell()}')
    return (widened(values) if item == _BFLOAT16 else values).reshape(shape)


def save(path, arrays):
    """Write {name: NDArray} to a file, and see that it is whole. Raises OSError where it is not.

    MXNet says nothing when a disk has no room for the last 4096 bytes, which it writes while it closes the file.
    """
    from gluon_tricks.compat import mx
    try:
        mx.nd.save(str(path), arrays)
    except mx.MXNetError as error:
        raise OSError(errno.EIO, str(error).strip().splitlines()[-1]) from error
    try:
        check(path)
    except UsageError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise OSError(errno.EIO, 'it was cut short while it was written, as on a full disk') from error


def check(path, headers=None):
    """Read the headers of a ``.params`` file, not its values; returns whether its shapes are NumPy's (version 3).

    headers: a list that takes (name, shape, type number, place of the values) of each array. Raises UsageError for what
    the loader must not see: files that are missing, cut short or longer than their headers say, and sparse, nameless or
    very many arrays. Values cannot be checked: there is no digest in such a file.
    """
    if not os.path.isfile(path):
        raise UsageError(f'{path}: no such file; give the path of a .params file')
    try:
        with open(path, 'rb') as stream:
            if stream.read(8) != struct.pack('<Q', _MAGIC):
                raise UsageError(f'{path}: not a .params file (it begins with other bytes); give one written by '
                                 'MXNet, GluonCV or this project')
            names, arrays, numpy_shapes = _check_arrays(_Headers(stream))
    except OSError as error:
        raise _unreadable(path, error) from error
    except _Fault as error:
        raise _damaged(path, error) from error
    if not names:
        raise UsageError(f'{path}: the file has no named arrays; give a .params file of a network')
    if headers is not None:
        headers += [(name, *array) for name, array in zip(names, arrays)]
    return numpy_shapes


def _unreadable(path, error):
    return UsageError(f'{path}: cannot be read ({error.strerror}); give a file you may read')


def _damaged(path, fault):
    return UsageError(f'{path}: the file is damaged or cut short, or not of a network ({fault}); copy it again')


def _bare(name):
    return re.sub('^(arg|aux):', '', name)


class _Fault(Exception):
    """The fault of a file in words, without its name."""


class _Headers:
    """Numbers and names out of an open file, no further than its end."""

    def __init__(self, stream):
        self.stream = stream
        self.left = os.fstat(stream.fileno()).st_size - stream.tell()

    def take(self, kinds):
        """The numbers of a struct format."""
        return struct.unpack('<' + kinds, self.bytes(struct.calcsize('<' + kinds)))

    def bytes(self, length):
        content = self.stream.read(self._within(length))
        if len(content) < length:
            raise _Fault(f'it ends at byte {self.stream.tell()}')
        return content

    def skip(self, length):
        self.stream.seek(self._within(length), os.SEEK_CUR)

    def _within(self, length):
        if length > self.left:
            raise _Fault(f'{length - self.left} bytes are missing at its end')
        self.left -= length
        return length


def _check_arrays(headers):
    """(names, [(shape, type number, place of the values)], whether they are of version 3), after a walk over all
    headers."""
    reserved, count = headers.take('QQ')
    if reserved or count > _MOST_ARRAYS:
        raise _Fault(f'its header says {count} arrays')
    versions, arrays = set(), []
    for number in range(count):
        try:
            version, shape, item = _array_header(headers)
            arrays.append((shape, item, headers.stream.tell()))
            headers.skip(math.prod(shape) * np.dtype(_DTYPES[item]).itemsize)
        except _Fault as error:
            raise _Fault(f'array {number + 1} of {count}: {error}') from error
        versions.add(version)
    if _VERSION_3 in versions and len(versions) > 1:  # MXNet reads either under NumPy's shapes, or without
        raise _Fault('arrays of version 3 stand beside others')
    number, = headers.take('Q')
    if number not in (0, count):
        raise _Fault(f'{number} names for {count} arrays')
    names = _read_names(headers, number)
    if headers.left:
        raise _Fault(f'{headers.left} bytes follow the last name')
    return names, arrays, _VERSION_3 in versions


def _array_header(headers):
    """(version, shape, type number) of an array."""
    version, = headers.take('I')
    if version in (_VERSION_2, _VERSION_3):
        storage, = headers.take('i')
        if storage != 0:
            raise _Fault('it is sparse' if storage in (1, 2) else f'storage type {storage} is unknown')
    dimensions, kind = (headers.take('i')[0], 'q') if version >= _VERSION_1 else (version, 'I')
    lowest = 0 if version == _VERSION_3 else 1  # without version 3 a 0 says that nothing is known
    if version > _VERSION_3 or not lowest <= dimensions <= _MOST_DIMENSIONS:
        raise _Fault(f'{dimensions} dimensions')
    shape = headers.take(f'{dimensions}{kind}')
    if not all(lowest <= length < 2 ** 31 for length in shape):
        raise _Fault(f'shape {shape}')
    device, device_number, item = headers.take('iii')
    if device not in _DEVICES or not 0 <= device_number < 1024:
        raise _Fault(f'device {device_number} of type {device}')
    if item not in _DTYPES:
        raise _Fault(f'type {item} of its values is unknown')
    return version, shape, item


def _read_names(headers, count):
    """The names, bare, a dict's keys in their order."""
    seen = {}
    for _ in range(count):
        try:
            name = _bare(headers.bytes(headers.take('Q')[0]).decode())
        except UnicodeDecodeError:
            raise _Fault('a name is not UTF-8') from None
        if '\0' in name:  # the loader would end it there
            raise _Fault(f'the name {name!r}')
        if name in seen:
            raise _Fault(f'two arrays are called {name!r}')
        seen[name] = True
    return seen
