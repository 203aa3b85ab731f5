"""safetensors files: read as the package of that name reads them; what is damaged or hostile is one sentence."""
import collections
import json
import os
import random
import struct
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.models import safetensors_file
from support import ROOT

package = pytest.importorskip('safetensors.numpy', reason='needs the package safetensors')

VALUES = np.arange(6, dtype='float32').reshape(2, 3)
ARRAYS = {'b': VALUES, 'a.running_var': np.ones(3, 'float16'), 'a.num_batches_tracked': np.array(7),
          'c': np.array([[1e300]])}
BFLOAT16 = (np.array([1.0, -2.5, 3e38], 'float32').view('uint32') >> 16).astype('uint16')


def content(header, values=b'', length=None):
    """Bytes of a file with any header, an object or bytes."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(header) if length is None else length) + header + values


def entry(dtype='F32', shape=(2, 3), begin=0, end=24):
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': [begin, end]}


def write(tmp_path, data):
    path = tmp_path / 'a.safetensors'
    path.write_bytes(data)
    return str(path)


def test_what_the_package_writes_is_read(tmp_path):
    path = str(tmp_path / 'a.safetensors')
    package.save_file(ARRAYS, path, {'format': 'pt'})
    found, wanted = safetensors_file.read(path), package.load_file(path)
    assert set(found) == set(wanted) == set(ARRAYS)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_what_is_written_the_package_reads(tmp_path):
    turned = VALUES.T  # its memory is in another order
    path = write(tmp_path, safetensors_file.content('x', {'a': turned, 'b': VALUES}, {'format': 'pt'}))
    found = package.load_file(path)
    np.testing.assert_array_equal(found['a'], turned)
    np.testing.assert_array_equal(found['b'], VALUES)
    assert json.loads(open(path, 'rb').read()[8:].split(b'}')[0] + b'}}')['__metadata__'] == {'format': 'pt'}


def test_bfloat16_becomes_float32(tmp_path):
    path = write(tmp_path, content({'x': entry(end=24), 'h': entry('BF16', (3, 1), 24, 30)},
                                   VALUES.tobytes() + BFLOAT16.tobytes()))
    found = safetensors_file.read(path)
    assert found['h'].dtype == np.float32 and found['h'].shape == (3, 1)
    np.testing.assert_array_equal(found['h'][:2, 0], [1, -2.5])
    assert found['h'][2, 0] == pytest.approx(3e38, rel=0.01)


@pytest.mark.parametrize('data, words', [
    (b'', 'has 0 bytes'),
    (b'1234567', 'has 7 bytes'),
    (content({'x': entry()}, length=2 ** 60), 'a header of 1152921504606846976'),
    (content({'x': entry()}, length=10 ** 6), 'a header of 1000000'),
    (content(b'{{'), 'not JSON'),
    (content(b'[' * 100000), 'not JSON'),
    (content(b'{"\xff": 1}'), 'not JSON'),
    (content(b'[1]'), 'not an object'),
    (content(b'{"x": 1}'), "'x' has the type None"),
    (content({}), 'no arrays'),
    (content({'__metadata__': {'format': 'pt'}}), 'no arrays'),
    (content({'x': entry()}, VALUES.tobytes()[:-1]), 'damaged'),
    (content({'x': entry()}, VALUES.tobytes() + b'1'), 'damaged'),
    (content({'x': entry(), 'y': entry(begin=12, end=36)}, VALUES.tobytes() * 2), 'damaged'),
    (content({'x': entry(), 'y': entry(begin=36, end=60)}, VALUES.tobytes() * 3), 'damaged'),
    (content({'x': entry(begin=24, end=0)}, VALUES.tobytes()), 'damaged'),
    (content({'x': entry(begin=-24, end=0)}, VALUES.tobytes()), 'damaged'),
    (content({'x': entry(shape=(2, 4))}, VALUES.tobytes()), 'damaged'),
    (content({'x': entry(shape=(2 ** 62, 2 ** 62))}, VALUES.tobytes()), 'damaged'),
    (content({'x': entry(shape=(-2, -3))}, VALUES.tobytes()), 'damaged'),
    (content({'x': {'dtype': 'F32'}}, VALUES.tobytes()), 'damaged'),
    (content({'x': entry('BF16', (2, 3))}, VALUES.tobytes()), 'damaged'),
    (content({'x': entry('I8', (24,))}, VALUES.tobytes()), "has the type 'I8'"),
    (content({'x': entry('F8_E4M3', (24,))}, VALUES.tobytes()), "has the type 'F8_E4M3'"),
    (content({'x': entry('I64', (3,))}, VALUES.tobytes()), "has the type 'I64'"),
    (content({'x': entry(['F32'])}, VALUES.tobytes()), "has the type ['F32']"),
    (content(b'{"x": %s, "x": %s}' % ((json.dumps(entry()).encode(),) * 2), VALUES.tobytes()), "'x' is listed twice"),
    (content({'x': entry()}, np.full(6, np.nan, 'float32').tobytes()), 'not finite'),
    (content({'x': entry('F16', (12,))}, np.full(12, np.inf, 'float16').tobytes()), 'not finite'),
    (content({'x': entry('BF16', (12,))}, b'\xff' * 24), 'not finite'),
], ids=lambda value: value if isinstance(value, str) else '')
def test_what_is_wrong_is_named(tmp_path, data, words):
    path = write(tmp_path, data)
    with pytest.raises(UsageError) as caught:
        safetensors_file.read(path)
    sentence = str(caught.value)
    assert sentence.startswith(path + ': ') and words in sentence and '\n' not in sentence and '; ' in sentence


def test_what_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / 'none', '/dev/zero'):
        with pytest.raises(UsageError, match='cannot be read'):
            safetensors_file.read(str(path))


def test_without_the_package_a_sentence_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    for call in (lambda: safetensors_file.read('x.safetensors'), lambda: safetensors_file.content('x', {'a': VALUES})):
        with pytest.raises(UsageError, match='pip install'):
            call()


# ---------------------------------------------------------------------------------------------------------------------
# 500 damaged and hostile files, in a process that may ask for little memory

READ = r'''
import resource, sys
from gluon_tricks.errors import UsageError
from gluon_tricks.models import safetensors_file
folder, number = sys.argv[1], int(sys.argv[2])
safetensors_file.read(f'{folder}/whole.safetensors')  # what the package takes once
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), used + (32 << 20)))
for seed in range(number):
    try:
        arrays = safetensors_file.read(f'{folder}/{seed}.safetensors')
        print('read', sum(array.nbytes for array in arrays.values()), flush=True)
    except UsageError as error:
        print('refused' if str(error).count('\n') == 0 else 'lines', flush=True)
'''
ODD = (-1, 0, 1, 7, 2 ** 31, 2 ** 40, 2 ** 53, 2 ** 62, 2 ** 63, 2 ** 64 - 1, 2 ** 64, 1.5, None, 'x', True, [1], {})


def hostile(rng):
    """Bytes of a file with one to three faults: in its header as an object, in its length, or anywhere."""
    header = {'a.weight': entry(), 'b': entry('F16', (4,), 24, 32), 'c': entry('BF16', (2, 2), 32, 40),
              'd.num_batches_tracked': entry('I64', (), 40, 48), '__metadata__': {'format': 'pt'}}
    values, length = bytearray(VALUES.tobytes() + bytes(24)), None
    for _ in range(rng.choice((1, 1, 2, 3))):
        name, kind = rng.choice(['a.weight', 'b', 'c', 'd.num_batches_tracked']), rng.randrange(9)
        facts = header.get(name)
        if kind == 0 and isinstance(facts, dict):
            facts['data_offsets'] = rng.choice([[rng.choice(ODD), rng.choice(ODD)], [0, 24], [8, 4], rng.choice(ODD)])
        elif kind == 1 and isinstance(facts, dict):
            facts['shape'] = rng.choice([[rng.choice(ODD)], [rng.choice(ODD)] * 3, rng.choice(ODD), [0] * 40])
        elif kind == 2 and isinstance(facts, dict):
            facts['dtype'] = rng.choice(['F64', 'F32', 'BF16', 'U8', 'BOOL', 'F8_E5M2', 'C64', 'f32'] + list(ODD))
        elif kind == 3:
            header[rng.choice([name, '', 'x' * 5000, '\0', '__metadata__'])] = rng.choice(list(ODD) + [entry()])
        elif kind == 4:
            values = values[:rng.randrange(len(values) + 1)] + bytes(rng.choice((0, 0, 1, 1000)))
        elif kind == 5:
            length = rng.choice([0, 1, 2, 8, 2 ** 20, 2 ** 31, 2 ** 60, 2 ** 63, 2 ** 64 - 1])
        elif kind == 6 and values:
            values[rng.randrange(len(values))] = 0xff
            values += b'\xff' * 4 if rng.random() < 0.3 else b''
    text = json.dumps(header).encode()
    if rng.random() < 0.2:
        text = text.replace(b'"b"', b'"a.weight"')
    if rng.random() < 0.1:
        text = text.replace(b'24', rng.choice([b'NaN', b'1e400', b'-0', b'2' * 5000, b'[' * 3000]))
    data = bytearray(content(text, bytes(values), length))
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data[:rng.randrange(len(data))] if rng.random() < 0.1 else data)


def test_500_hostile_files(tmp_path):
    package.save_file(ARRAYS, str(tmp_path / 'whole.safetensors'))
    for seed in range(500):
        (tmp_path / f'{seed}.safetensors').write_bytes(hostile(random.Random(seed)))
    done = subprocess.run([sys.executable, '-c', READ, str(tmp_path), '500'], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT)))
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 500, (len(lines), done.stderr[-2000:])
    count = collections.Counter(line.split()[0] for line in lines)
    assert count['refused'] > 400 and count['read'] > 10 and not count['lines'], count
    sizes = [os.path.getsize(tmp_path / f'{seed}.safetensors') for seed in range(500)]
    assert all(int(line.split()[1]) <= 2 * size for line, size in zip(lines, sizes) if line.startswith('read'))
