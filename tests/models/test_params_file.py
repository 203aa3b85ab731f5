import os
import resource
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import params_file
from support import ROOT

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
TYPES = ('float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64', 'bool', np.dtype([('bfloat16', np.uint16)]))
VALUES = np.arange(6, dtype='<f4').tobytes()


def array(version=V2, storage=0, shape=(2, 3), device=(1, 0), kind=0, values=VALUES):
    """Bytes of an array as the format's description has them; version None: before versions."""
    if version is None:
        head = struct.pack(f'<I{len(shape)}I', len(shape), *shape)
    else:
        head = struct.pack('<I', version) + (struct.pack('<i', storage) if version in (V2, V3) else b'')
        head += struct.pack(f'<i{len(shape)}q', len(shape), *shape)
    return head + struct.pack('<3i', *device, kind) + values


def content(*arrays, names=None, magic=0x112, reserved=0, count=None):
    """Bytes of a file of arrays."""
    names = [b'n%d' % number for number in range(len(arrays))] if names is None else names
    return b''.join([struct.pack('<3Q', magic, reserved, len(arrays) if count is None else count), *arrays,
                     struct.pack('<Q', len(names)), *(struct.pack('<Q', len(name)) + name for name in names)])


def write(tmp_path, data):
    path = tmp_path / 'a.params'
    path.write_bytes(data)
    return str(path)


# ---------------------------------------------------------------------------------------------------------------------
# What MXNet writes is read

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
NAMES = st.text(st.characters(blacklist_characters='\0', blacklist_categories=('Cs',)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES.map(params_file._bare), st.tuples(st.sampled_from(TYPES), SHAPES), min_size=1, max_size=6))
def test_what_mxnet_saves_comes_back(tmp_path_factory, wanted):
    path = str(tmp_path_factory.getbasetemp() / 'round.params')
    saved = {name: mx.nd.array(np.arange(np.prod(shape)).reshape(shape) % 100).astype(kind)
             for name, (kind, shape) in wanted.items()}
    mx.nd.save(path, saved)
    assert params_file.check(path) is False
    loaded = params_file.load(path)
    assert list(loaded) == list(saved)
    for name, value in loaded.items():
        assert value.dtype == saved[name].dtype and value.shape == saved[name].shape
        np.testing.assert_array_equal(value.asnumpy(), saved[name].asnumpy())
    assert_read_as_mxnet_reads(path)


def assert_read_as_mxnet_reads(path):
    """`read_params` gives names, order, types, shapes and bits of `load`; bfloat16, which NumPy lacks, as float32."""
    read, loaded = params_file.read_params(path), params_file.load(path)
    assert list(read) == list(loaded)
    for name, value in loaded.items():
        wide = value.dtype == TYPES[-1]
        wanted = (value.astype('float32') if wide else value).asnumpy()
        assert read[name].dtype == wanted.dtype and read[name].shape == wanted.shape
        assert read[name].tobytes() == wanted.tobytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES[:7]), st.lists(st.integers(0, 3), max_size=4).map(tuple)), min_size=1,
                max_size=5))
def test_numpy_shapes_come_back(tmp_path_factory, wanted):
    """Among them () and those with a 0, which MXNet saves under NumPy's semantics only."""
    path = str(tmp_path_factory.getbasetemp() / 'numpy.params')
    with mx.util.np_shape(True):
        mx.nd.save(path, {str(number): mx.nd.ones(shape, dtype=kind) for number, (kind, shape) in enumerate(wanted)})
    assert params_file.check(path) is True
    loaded = params_file.load(path)
    assert [value.shape for value in loaded.values()] == [shape for _, shape in wanted]
    assert not mx.util.is_np_shape()
    for value in loaded.values():
        assert (value.asnumpy() == 1).all()
    with mx.util.np_shape(True):
        assert_read_as_mxnet_reads(path)


@pytest.mark.parametrize('version', [None, V1, V2, V3])
def test_every_version_is_read(tmp_path, version):
    loaded = params_file.load(write(tmp_path, content(array(version), array(version), names=[b'arg:b', b'aux:a'])))
    assert list(loaded) == ['b', 'a']
    np.testing.assert_array_equal(loaded['a'].asnumpy(), [[0, 1, 2], [3, 4, 5]])
    assert_read_as_mxnet_reads(str(tmp_path / 'a.params'))


def test_reading_needs_no_mxnet(tmp_path, packed):
    path = write(tmp_path, content(array(), names=[b'arg:a']))
    code = ('import sys; sys.modules["mxnet"] = None; import gluon_tricks as gt; '
            f'print(gt.read_params({path!r})["a"].sum(), sum(1 for _ in gt.read_records({packed + ".rec"!r})))')
    done = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), capture_output=True, text=True)
    assert done.stdout == '15.0 12\n', done.stderr


def test_an_array_of_a_gpu_comes_to_the_cpu_where_there_is_none(tmp_path):
    if not mx.context.num_gpus():
        loaded = params_file.load(write(tmp_path, content(array(device=(2, 3)))))
        assert loaded['n0'].context.device_type == 'cpu' and loaded['n0'].asnumpy().sum() == 15


def test_only_headers_are_read(tmp_path):
    """Of a terabyte of values, here a hole in the file, none."""
    path = write(tmp_path, content())
    head = struct.pack('<3Q', 0x112, 0, 1) + array(shape=(2 ** 20, 2 ** 18), values=b'')
    with open(path, 'wb') as stream:
        stream.write(head)
        try:
            stream.seek(2 ** 40, os.SEEK_CUR)
            stream.write(struct.pack('<QQ', 1, 1) + b'a')
        except OSError:
            pytest.skip('this file system has no files of a terabyte')
    tracemalloc.start()
    params_file.check(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize('length', [3, 1000])
def test_a_file_that_could_not_be_written_to_its_end_is_an_error(tmp_path, length):
    """mx.nd.save returns without a word where the last bytes, which it writes at the end, find no room."""
    path, arrays = str(tmp_path / 'a.params'), {'a': mx.nd.ones(length), 'b': mx.nd.ones(length)}
    params_file.save(path, arrays)
    whole, soft = os.path.getsize(path), resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in [*range(0, whole, 1 + whole // 100), whole - 1]:
        os.remove(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, soft[1]))
        try:
            with pytest.raises((OSError, mx.MXNetError)):
                params_file.save(path, arrays)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft)


# ---------------------------------------------------------------------------------------------------------------------
# What it does not write is refused

@pytest.mark.parametrize('data, words', [
    (content(array(), magic=0x113), 'not a .params file'),
    (content(array(), reserved=1), 'says 1 arrays'),
    (content(array(), count=2 ** 63), '9223372036854775808 arrays'),
    (content(array(), count=100001), '100001 arrays'),
    (content(array(), count=2), 'array 2 of 2'),
    (content(array(version=0xF993FACB)), 'dimensions'),
    (content(array(version=33, shape=())), '33 dimensions'),
    (content(array(shape=(), values=VALUES[:4])), 'array 1 of 1: 0 dimensions'),
    (content(array(version=None, shape=())), '0 dimensions'),
    (content(array(shape=(1,) * 33, values=VALUES[:4])), '33 dimensions'),
    (struct.pack('<3QIii', 0x112, 0, 1, V2, 0, -1), '-1 dimensions'),
    (content(array(shape=(0, 3), values=b'')), 'shape (0, 3)'),
    (content(array(shape=(-2, -3))), 'shape (-2, -3)'),
    (content(array(V3, shape=(-1, 3))), 'shape (-1, 3)'),
    (content(array(V3, shape=(2 ** 62, 0), values=b'')), 'shape (4611686018427387904, 0)'),
    (content(array(shape=(2 ** 30, 2 ** 30))), '4611686018427387'),
    (content(array(shape=(2, 40))), 'missing'),
    (content(array(storage=1)), 'sparse'),
    (content(array(storage=2)), 'sparse'),
    (content(array(storage=3)), 'storage type 3'),
    (content(array(storage=-1)), 'storage type -1'),
    (content(array(kind=8)), 'type 8'),
    (content(array(kind=-1)), 'type -1'),
    (content(array(device=(7, 0))), 'device 0 of type 7'),
    (content(array(device=(1, -1))), 'device -1 of type 1'),
    (content(array(), array(V3)), 'version 3'),
    (content(array(), array(), names=[b'a']), '1 names for 2 arrays'),
    (content(array(), array(), names=[b'a', b'a']), "two arrays are called 'a'"),
    (content(array(), array(), names=[b'arg:a', b'aux:a']), "two arrays are called 'a'"),
    (content(array(), names=[b'\xff']), 'not UTF-8'),
    (content(array(), names=[b'a\0b']), r"the name 'a\x00b'"),
    (content(array()) + b'\0', '1 bytes follow'),
    (content(array(), names=[]), 'no named arrays'),
    (content(), 'no named arrays'),
    (content(array())[:-10] + struct.pack('<Q', 2 ** 63) + b'n0', 'are missing'),
])
def test_what_is_wrong_is_named(tmp_path, data, words):
    path = write(tmp_path, data)
    for function in (params_file.check, params_file.load, params_file.read_params):
        with pytest.raises(UsageError) as caught:
            function(path)
        sentence = str(caught.value)
        assert sentence.startswith(path + ': ') and words in sentence and '\n' not in sentence and '; ' in sentence


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = content(array(), array(kind=2, values=VALUES[:12]), array(None))
    params_file.load(write(tmp_path, whole))
    for length in range(len(whole)):
        path = write(tmp_path, whole[:length])
        with pytest.raises(UsageError):
            params_file.load(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(str(tmp_path / 'pipe'))
    for path in (tmp_path, tmp_path / 'none', tmp_path / 'pipe', '/dev/zero'):
        with pytest.raises(UsageError, match='no such file'):
            params_file.load(str(path))


# ---------------------------------------------------------------------------------------------------------------------
# Damages by chance, in a process of their own that may ask for little memory

FUZZ = r'''
import resource, random, struct, sys
from gluon_tricks.models import params_file
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
number, sources = int(sys.argv[1]), sys.argv[2:]
ODD = [0, 1, 2, 7, 12, 33, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 40, 2 ** 62, 2 ** 63, 2 ** 64 - 1, 0xF993FAC8,
       0xF993FAC9, 0xF993FACA]

def damaged(source, rng):
    data = bytearray(open(source, 'rb').read())
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, length = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 40))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at:at + 8] = struct.pack('<Q', rng.choice(ODD))
        elif kind == 3:
            data[at:at + 4] = struct.pack('<I', rng.choice(ODD) & 0xFFFFFFFF)
        elif kind == 4:
            data[at:at + length] = bytes(length) if rng.random() < 0.5 else b''
        elif kind == 5:
            other = rng.randrange(len(data))
            data[at:at] = data[other:other + length]
        else:
            del data[max(at, 8):]
        data = data or bytearray(1)
    return bytes(data)

def attempt(source, data):
    with open(source + '.damaged', 'wb') as stream:
        stream.write(data)
    try:
        arrays = params_file.load(source + '.damaged')
    except UsageError:
        return 'refused'
    with mx.util.np_shape(True):
        read = params_file.read_params(source + '.damaged')
        assert [value.shape for value in read.values()] == [value.shape for value in arrays.values()]
        return 'loaded', sum(value.asnumpy().size for value in arrays.values())

for source in sources:
    attempt(source, open(source, 'rb').read())  # what MXNet takes once
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), used + (16 << 20)))
for seed in range(number):
    source = sources[seed % len(sources)]
    print(seed, source, attempt(source, damaged(source, random.Random(seed))), flush=True)
'''


def fuzz(tmp_path, files, number):
    """Count of 'refused' and 'loaded' of so many damages; fails where the process dies or another error comes."""
    paths = [str(tmp_path / (f'{place}.params')) for place in range(len(files))]
    for path, data in zip(paths, files):
        with open(path, 'wb') as stream:
            stream.write(data)
    root = str(ROOT)
    done = subprocess.run([sys.executable, '-c', FUZZ, str(number)] + paths, capture_output=True,
                          text=True, env=dict(os.environ, PYTHONPATH=root))
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == number, (lines[-1:], done.returncode, done.stderr[-2000:])
    return Counter('refused' if 'refused' in line else 'loaded' for line in lines)


def samples():
    """Files of all versions, with many headers and few values."""
    half = array(kind=2, shape=(3,), values=VALUES[:6])
    return [content(array(), half, array(kind=12, shape=(1, 1, 3, 1), values=VALUES[:6]), names=[b'a.b', b'c', b'arg:d']),
            content(array(V3, shape=(), values=VALUES[:4]), array(V3, shape=(0, 3), values=b''), array(V3)),
            content(array(None), array(V1), array(V1, device=(2, 0), kind=3, values=VALUES[:6]))]


def test_damages_by_chance(tmp_path):
    count = fuzz(tmp_path, samples(), 1000)
    assert count['refused'] > 500 and count['loaded'] > 100, count


@pytest.mark.slow
def test_many_damages_by_chance(tmp_path):
    mx.nd.save(str(tmp_path / 'net'), {f'layer{number}.weight': mx.nd.ones((number + 1, 3)) for number in range(40)})
    fuzz(tmp_path, samples() + [(tmp_path / 'net').read_bytes()], 40000)
