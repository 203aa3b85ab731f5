"""MXNet's ``.params`` files, their headers checked against the file's size before MXNet's C++ loader reads a byte.

    file    u64 0x112, u64 0, u64 number of arrays, the arrays, u64 number of names, the names
    array   u32 version, i32 storage, i32 dimensions, i64 each of them, i32 device, i32 its number, i32 type, values
    name    u64 length, UTF-8

Numbers are little-endian. The loader believes them: a damaged count has it ask for any amount of memory, and bytes
after the last name go unnoticed. Version 1 of an array has no storage; before it the version was the number of
dimensions, and each was a u32.
"""
import errno
import os
import re
import struct

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

_MAGIC = 0x112
_VERSION_1, _VERSION_2, _VERSION_3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # 3: as 2, but a dimension may be 0
_ITEM_BYTES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}  # of MXNet's type numbers; 12 is bfloat16
_DEVICES = (1, 2, 3, 5)  # CPU, GPU, CPU memory for a GPU's or for other processes' use
_MOST_ARRAYS, _MOST_DIMENSIONS = 100000, 32  # networks have less than 5,000 and 8; an empty array costs memory as well


def load(path):
    """{name: NDArray} of a ``.params`` file, in the file's order, without the ``arg:`` and ``aux:`` of an export.

    The arrays are on the device they were saved from, where it exists. Raises UsageError as `check`.
    """
    numpy_shapes = check(path)
    try:
        with mx.util.np_shape(numpy_shapes):
            arrays = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise _damaged(path, str(error).strip().splitlines()[-1]) from error
    return {_bare(name): array for name, array in arrays.items()}


def save(path, arrays):
    """Write {name: NDArray} to a file, and see that it is whole. Raises OSError where it is not.

    MXNet says nothing when a disk has no room for the last 4096 bytes, which it writes while it closes the file.
    """
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


def check(path):
    """Read the headers of a ``.params`` file, not its values; returns whether its shapes are NumPy's (version 3).

    Raises UsageError for what the loader must not see: files that are missing, cut short or longer than their headers
    say, and sparse, nameless or very many arrays. Values cannot be checked: there is no digest in such a file.
    """
    if not os.path.isfile(path):
        raise UsageError(f'{path}: no such file; give the path of a .params file')
    try:
        with open(path, 'rb') as stream:
            if stream.read(8) != struct.pack('<Q', _MAGIC):
                raise UsageError(f'{path}: not a .params file (it begins with other bytes); give one written by '
                                 'MXNet, GluonCV or this project')
            names, numpy_shapes = _check_arrays(_Headers(stream))
    except OSError as error:
        raise UsageError(f'{path}: cannot be read ({error.strerror}); give a file you may read') from error
    except _Fault as error:
        raise _damaged(path, error) from error
    if not names:
        raise UsageError(f'{path}: the file has no named arrays; give a .params file of a network')
    return numpy_shapes


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
    """(number of named arrays, whether they are of version 3), after a walk over all headers."""
    reserved, count = headers.take('QQ')
    if reserved or count > _MOST_ARRAYS:
        raise _Fault(f'its header says {count} arrays')
    versions = set()
    for number in range(count):
        try:
            version, length = _version_and_length(headers)
            headers.skip(length)
        except _Fault as error:
            raise _Fault(f'array {number + 1} of {count}: {error}') from error
        versions.add(version)
    if _VERSION_3 in versions and len(versions) > 1:  # MXNet reads either under NumPy's shapes, or without
        raise _Fault('arrays of version 3 stand beside others')
    names, = headers.take('Q')
    if names not in (0, count):
        raise _Fault(f'{names} names for {count} arrays')
    _check_names(headers, names)
    if headers.left:
        raise _Fault(f'{headers.left} bytes follow the last name')
    return names, _VERSION_3 in versions


def _version_and_length(headers):
    """(version, number of bytes of the values) of an array, from its header."""
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
    if item not in _ITEM_BYTES:
        raise _Fault(f'type {item} of its values is unknown')
    total = _ITEM_BYTES[item]
    for length in shape:
        total *= length
    return version, total


def _check_names(headers, count):
    seen = set()
    for _ in range(count):
        try:
            name = _bare(headers.bytes(headers.take('Q')[0]).decode())
        except UnicodeDecodeError:
            raise _Fault('a name is not UTF-8') from None
        if '\0' in name:  # the loader would end it there
            raise _Fault(f'the name {name!r}')
        if name in seen:
            raise _Fault(f'two arrays are called {name!r}')
        seen.add(name)
