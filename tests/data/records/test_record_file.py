import os
import struct

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.records import packing, verify
from gluon_tricks.data.records import record_file as records
from gluon_tricks.errors import UsageError
from support.records import HUGE, change, make_jpeg, relabel


@pytest.mark.parametrize('place', [None, 0, 4, 8, 11, 12])
def test_a_record_is_written_as_mxnet_writes_it(place, tmp_path):
    """Also one whose bytes hold the magic number, which is split where it stands at a multiple of 4."""
    image = b'\xff\xd8' + bytes(range(1, 31))
    if place is not None:
        image = image[:place] + struct.pack('<I', records.MAGIC) + image[place:]
    writer = mx.recordio.MXRecordIO(str(tmp_path / 'theirs.rec'), 'w')
    content = mx.recordio.pack(mx.recordio.IRHeader(0, 3.0, 7, 0), image)
    writer.write(content)
    writer.close()
    block = (tmp_path / 'theirs.rec').read_bytes()
    assert records.record(7, 3.0, image) == block
    assert records.content_of(block) == content
    if place != 0:
        assert records.head_of(content) == (3.0, 7, 24)


# -- checking ---------------------------------------------------------------------------------------------------------

def damage(rec, idx, kind):
    """Damage a file in place. Most of these kill a process that gives them to MXNet."""
    data, lines = bytearray(open(rec, 'rb').read()), open(idx).read().splitlines()
    offsets = sorted(int(line.split()[1]) for line in lines)
    if kind == 'empty rec':
        data = b''
    elif kind == 'cut inside':
        data = data[:offsets[7] + 40]
    elif kind == 'cut at a record':
        data = data[:offsets[7]]
    elif kind == 'cut unaligned':
        data = data[:-3]
    elif kind == 'longer':
        data += b'\0' * 8
    elif kind == 'random bytes':
        data = np.random.RandomState(0).bytes(len(data))
    elif kind == 'magic':
        data[offsets[5]] ^= 1
    elif kind == 'length':
        data[offsets[5] + 4:offsets[5] + 8] = struct.pack('<I', (1 << 29) - 1)
    elif kind == 'split without end':
        data[offsets[5] + 7] |= 1 << 5
    elif kind == 'many labels':
        data[offsets[5] + 8:offsets[5] + 12] = struct.pack('<I', 1000)
    elif kind == 'label nan':
        data[offsets[5] + 12:offsets[5] + 16] = struct.pack('<f', float('nan'))
    elif kind == 'zeros for an image':
        data[offsets[5] + 32:offsets[6]] = bytes(offsets[6] - offsets[5] - 32)
    elif kind == 'first image':
        data[offsets[0] + 36:offsets[1] - 4] = bytes(offsets[1] - offsets[0] - 40)
    elif kind == 'empty idx':
        lines = []
    elif kind == 'words':
        lines[4] = 'some words'
    elif kind == 'three columns':
        lines[4] += '\t1'
    elif kind == 'negative':
        lines[4] = '4\t-8'
    elif kind == 'enormous':
        lines[4] = f'4\t{10 ** 30}'
    elif kind == 'beyond the end':
        lines[4] = f'4\t{len(data) + 400}'
    elif kind == 'misaligned':
        lines[4] = f'4\t{offsets[4] + 2}'
    elif kind == 'shifted':
        lines[4] = f'4\t{offsets[4] + 4}'
    elif kind == 'twice':
        lines[4] = f'4\t{offsets[5]}'
    elif kind == 'key twice':
        lines[4] = f'5\t{offsets[4]}'
    elif kind == 'line missing':
        del lines[4]
    open(rec, 'wb').write(data)
    open(idx, 'w').write(''.join(line + '\n' for line in lines))
    if kind == 'binary idx':
        open(idx, 'wb').write(b'\xff\xfe\0\x80' * 9)


@pytest.mark.parametrize('kind, parts', [
    ('empty rec', ['.rec', 'empty']), ('cut inside', ['record 8', 'beyond the end']),
    ('cut at a record', ['record 7', 'beyond the end']), ('cut unaligned', ['record 11', 'or the file ends']),
    ('longer', ['record 11', 'or the file ends']), ('random bytes', ['record 0', 'offset 0']),
    ('magic', ['record 5', 'does not begin as a record']), ('length', ['record 5', 'does not end']),
    ('split without end', ['record 5']), ('many labels', ['record 5', 'one label']),
    ('label nan', ['record 5', 'one label']), ('zeros for an image', ['record 5', 'not a JPEG']),
    ('first image', ['record 0', 'cannot be decoded']), ('empty idx', ['.idx', 'empty']),
    ('binary idx', ['.idx line 1']), ('words', ['.idx line 5', 'some words']), ('three columns', ['.idx line 5']),
    ('negative', ['.idx line 5']), ('enormous', ['.idx line 5']), ('beyond the end', ['record 4', 'beyond the end']),
    ('misaligned', ['record 4', 'multiple of 4']), ('shifted', ['record 3', 'does not end']),
    ('twice', ['is listed twice in the index']), ('key twice', ['key 5']),
    ('line missing', ['record 3', 'does not end'])])
def test_damages_are_named(kind, parts, packed):
    damage(packed + '.rec', packed + '.idx', kind)
    with pytest.raises(UsageError) as error:
        records.check_records(packed + '.rec', packed + '.idx')
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert '\n' not in message and packed in message
    assert 'again' in message  # the remedy: copy or pack it again


@pytest.mark.parametrize('suffix', ['.rec', '.idx'])
def test_a_missing_file_is_named(suffix, packed):
    os.remove(packed + suffix)
    with pytest.raises(UsageError, match=f'set{suffix.replace(".", "[.]")} is missing'):
        records.check_records(packed + '.rec', packed + '.idx')
    os.mkdir(packed + suffix)
    with pytest.raises(UsageError, match='is missing'):
        records.check_records(packed + '.rec', packed + '.idx')


def test_an_index_may_be_in_any_order_and_written_on_windows(packed):
    lines = open(packed + '.idx').read().splitlines()
    open(packed + '.idx', 'w', newline='').write(''.join(f'{line}\r\n' for line in reversed(lines)))
    assert records.check_records(packed + '.rec', packed + '.idx') == 12


@pytest.mark.parametrize('block', [1, 7, 64, 1 << 22])
@pytest.mark.parametrize('newline, end', [('\n', '\n'), ('\n', ''), ('\r\n', '\r\n'), (' \n', '')])
def test_an_index_is_read_whole_whatever_the_blocks(block, newline, end, tmp_path, monkeypatch):
    monkeypatch.setattr(records, '_BLOCK', block)
    pairs = [(7, 0), (10 ** 18 - 1, 10 ** 18 - 1), (0, 1234567890123), *((key, 8 * key) for key in range(20)), (5, 16)]
    text = newline.join('%d\t%d' % pair for pair in pairs) + end
    (tmp_path / 'a.idx').write_bytes(text.encode())
    keys, offsets = records.read_index(str(tmp_path / 'a.idx'))
    assert list(zip(keys.tolist(), offsets.tolist())) == pairs
    assert keys.dtype == offsets.dtype == np.int64 and keys.flags.c_contiguous


@pytest.mark.parametrize('block', [1, 64, 1 << 22])
@pytest.mark.parametrize('bad', ['9 ', '\t9', '9\t', '9\t-9', '9\t9\t9', '9\t9.5', '9\t' + '9' * 19, '', '9\t0x9', '9:9'])
def test_the_bad_line_of_an_index_is_counted_over_blocks(bad, block, tmp_path, monkeypatch):
    monkeypatch.setattr(records, '_BLOCK', block)
    lines = [f'{key}\t{8 * key}' for key in range(30)]
    (tmp_path / 'a.idx').write_text('\n'.join(lines[:20] + [bad] + lines[20:]) + '\n')
    with pytest.raises(UsageError, match='a.idx line 21 is '):
        records.read_index(str(tmp_path / 'a.idx'))


def test_records_of_im2rec_pass(tmp_path):
    """With --pack-label the label is a list of one number."""
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / 'a.idx'), str(tmp_path / 'a.rec'), 'w')
    for key in range(3):
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, [float(key)], key, 0), make_jpeg(key, key)))
    writer.close()
    assert records.check_records(str(tmp_path / 'a.rec'), str(tmp_path / 'a.idx')) == 3


@pytest.mark.parametrize('label', [float, lambda key: [float(key)]], ids=['number', 'list'])
def test_records_are_read_as_mxnet_reads_them(tmp_path, label):
    """Among them one that holds the magic number, which MXNet cuts out; the list of keys may have any order."""
    path = str(tmp_path / 'a')
    writer = mx.recordio.MXIndexedRecordIO(path + '.idx', path + '.rec', 'w')
    magic = struct.pack('<I', records.MAGIC)
    for key in (5, 3, 8):
        image = make_jpeg(key, key) + b'\0' * (-len(make_jpeg(key, key)) % 4) + magic * (key % 3)
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label(key), key, 0), image))
    writer.close()
    found = list(records.read_records(path + '.rec'))
    assert [key for key, _, _ in found] == [5, 3, 8]
    reader = mx.recordio.MXIndexedRecordIO(path + '.idx', path + '.rec', 'r')
    for key, label, image in found:
        header, content = mx.recordio.unpack(reader.read_idx(key))
        assert image == content and label == header.label
    assert list(records.read_records(path + '.rec', path + '.idx')) == found


def test_reading_names_what_is_damaged(packed):
    offset = sorted(records.read_index(packed + '.idx')[1])[3]
    change(packed + '.rec', offset, b'nonsense')
    reading = records.read_records(packed + '.rec')
    assert [next(reading)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UsageError, match='record 3 at offset %d does not begin as a record does' % offset):
        next(reading)
    os.remove(packed + '.idx')
    for path in (packed + '.rec', packed + '.none', '/dev/zero'):
        with pytest.raises(UsageError, match='cannot be read'):
            next(records.read_records(path))


def test_of_many_records_a_sample_is_opened(packed, monkeypatch):
    """The first and the last are always in it."""
    seen = []
    problem = records._problem
    monkeypatch.setattr(records, 'CHECK_ALL', 4)
    monkeypatch.setattr(records, '_problem', lambda *where: seen.append(where[1]) or problem(*where))
    assert records.check_records(packed + '.rec', packed + '.idx') == 12
    offsets = sorted(records.read_index(packed + '.idx')[1])
    assert len(seen) == 4 and seen[0] == offsets[0] and seen[-1] == offsets[-1]


@pytest.mark.parametrize('label', [12, -1, 1e9, 3.5, 3.0000002, -0.5])
def test_a_label_that_is_no_class_is_named(label, packed, monkeypatch):
    """Before MXNet reads it; that of a record which is not opened here, `reader` names."""
    assert records.check_records(packed + '.rec', packed + '.idx', 12) == 12
    relabel(packed + '.rec', 9, label)
    with pytest.raises(UsageError, match='record 9 at offset .* has the label '):
        records.check_records(packed + '.rec', packed + '.idx', 12)
    assert records.check_records(packed + '.rec', packed + '.idx') == 12  # a test set's labels are not asked
    monkeypatch.setattr(records, 'CHECK_ALL', 2)
    assert records.check_records(packed + '.rec', packed + '.idx', 12) == 12


def test_the_damaged_record_is_found(packed):
    assert records.find_bad_record(packed + '.rec', packed + '.idx') is None
    offsets = records.read_index(packed + '.idx')[1]
    with open(packed + '.rec', 'r+b') as stream:  # the image still begins as a JPEG does
        stream.seek(int(offsets[9]) + 8 + 24 + 2)
        stream.write(bytes(int(offsets[10] - offsets[9]) - 8 - 24 - 2))
    assert records.check_records(packed + '.rec', packed + '.idx') == 12
    sentence = records.find_bad_record(packed + '.rec', packed + '.idx')
    assert f'record 9 at offset {offsets[9]}' in sentence and 'cannot be decoded' in sentence


def test_a_record_is_read_up_to_its_own_end(packed):
    """However far the next line of the index leads, and however much room there is."""
    lines = open(packed + '.idx').read().splitlines(True)
    offsets = records.read_index(packed + '.idx')[1].tolist()
    size = os.path.getsize(packed + '.rec')
    with open(packed + '.rec', 'rb') as stream:
        content, end = records.read_record(stream, offsets[3], size)
        assert end == offsets[4] and records.head_of(content).key == 3
        with pytest.raises(ValueError, match='does not end where the next one begins'):
            records.read_record(stream, offsets[3], offsets[4] - 4)
        assert records.walk(stream, offsets[3], size) == (list(zip(offsets[3:], offsets[4:] + [size])), size)
        assert records.walk(stream, offsets[3], offsets[5] + 40) == (list(zip(offsets[3:5], offsets[4:6])), offsets[5])
        assert records.find_start(stream, offsets[3] + 4, size) == offsets[4]
        assert records.find_start(stream, offsets[11] + 4, size) == size
    open(packed + '.idx', 'w').write(''.join(lines[:3] + lines[5:]))
    sentence = records.find_bad_record(packed + '.rec', packed + '.idx')
    assert 'record 2 at offset %d is followed by %d bytes that are not in the index' % (
        offsets[2], offsets[5] - offsets[3]) in sentence


@pytest.mark.parametrize('kind', sorted(HUGE))
def test_an_image_of_too_many_pixels_is_named(kind, tmp_path):
    """Before MXNet takes gigabytes for it; of a record that was not opened, by the search."""
    prefix, content = str(tmp_path / 'huge'), HUGE[kind]()
    with pytest.raises(UsageError, match='b.jpg is an image of .* more than 90 million: scale it down'):
        packing.pack([(make_jpeg(0, 0), 0, 'a.jpg'), (content, 1, 'b.jpg')], prefix)
    blocks = [records.record(key, 0, image) for key, image in enumerate([make_jpeg(0, 0), content, make_jpeg(0, 1)])]
    (tmp_path / 'x.rec').write_bytes(b''.join(blocks))
    (tmp_path / 'x.idx').write_text(f'0\t0\n1\t{len(blocks[0])}\n2\t{len(blocks[0] + blocks[1])}\n')
    files = str(tmp_path / 'x.rec'), str(tmp_path / 'x.idx')
    with pytest.raises(UsageError, match='record 1 at offset .* is an image of .* more than 90 million'):
        records.check_records(*files)
    assert f'record 1 at offset {len(blocks[0])} is an image of' in records.find_bad_record(*files)
    problems, _ = verify.verify(*files)
    assert [(problem.key, 'more than 90 million' in problem.what) for problem in problems] == [(1, True)]


def test_a_file_that_is_gone_is_told(packed):
    os.remove(packed + '.rec')
    assert 'cannot be read any more' in records.find_bad_record(packed + '.rec', packed + '.idx')
