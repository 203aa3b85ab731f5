import os
import struct
import tempfile
import threading

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import Augmentation, EvalStream, Normalise, TrainStream
from gluon_tricks.data.reader import Reader
from gluon_tricks.data.records.packing import pack
from gluon_tricks.data.records.record_file import MAGIC, read_index, record
from gluon_tricks.errors import UsageError
from support.draws import colours_of, crops_of, make_colours, make_ramps
from support.records import NO_CLASSES, make_jpeg, relabel

CPU = [mx.cpu(0)]
PLAIN = Normalise((0,) * 3, (1,) * 3)
NO_COLOUR = Augmentation(jitter=0, pca_noise=0)
CROP = dict(random_resized_crop=True, min_random_area=0.08, max_random_area=1.0, min_aspect_ratio=0.75,
            max_aspect_ratio=4 / 3, rand_mirror=True, data_shape=(3, 16, 16))


def labels_of(stream, epoch):
    return np.concatenate([batch.shards(CPU)[0][1].asnumpy() for batch in stream.epoch(epoch)])


def packed(folder, images=24):
    """(rec, idx) of images of 4 classes; record k has the label k % 4."""
    pack([(make_jpeg(i % 4, i), i % 4, str(i)) for i in range(images)], str(folder / 'set'), shuffle=False)
    return str(folder / 'set.rec'), str(folder / 'set.idx')


# -- any rows, with draws of their own --------------------------------------------------------------------------------

@pytest.mark.parametrize('piece, threads', [(1, 1), (5, 2), (24, 1), (7, 9)])
def test_pieces_and_threads_change_nothing(piece, threads, tmp_path):
    """An image's pixels come from its record and its own seed."""
    rows = np.random.RandomState(0).permutation(24)
    files = packed(tmp_path)
    (expected, labels), = Reader(*files, **CROP).read(rows, 24, 1, seed=5)
    found = list(Reader(*files, threads=threads, **CROP).read(rows, piece, threads, seed=5))
    assert [len(label) for _, label in found] == [min(piece, 24 - begin) for begin in range(0, 24, piece)]
    assert (np.concatenate([x.asnumpy() for x, _ in found]) == expected.asnumpy()).all()
    assert labels.asnumpy().tolist() == [row % 4 for row in rows]
    assert np.concatenate([y.asnumpy() for _, y in found]).tolist() == labels.asnumpy().tolist()


@pytest.mark.parametrize('first, sizes', [(1, [1, 2, 4, 8, 9]), (5, [5, 9, 9, 1]), (24, [9, 9, 6])])
def test_the_first_pieces_are_small(first, sizes, tmp_path):
    """So that nobody waits long for the first; the bits are the same."""
    reader = Reader(*packed(tmp_path), threads=2, **CROP)
    (expected, _), = reader.read(np.arange(24), 24, 1, seed=5)
    found = [x.asnumpy() for x, _ in reader.read(np.arange(24), 9, 2, seed=5, first=first)]
    assert [len(x) for x in found] == sizes
    assert (np.concatenate(found) == expected.asnumpy()).all()


@pytest.mark.parametrize('side, images', [(8, 256), (112, 256), (224, 64), (448, 16), (4000, 1)])
def test_a_piece_has_few_images_where_they_are_large(side, images, tmp_path):
    assert Reader(*packed(tmp_path), data_shape=(3, side, side)).piece == images


def test_openmp_has_one_thread_where_iterators_are_made(tmp_path, monkeypatch):
    """The threads that compute are others."""
    reader, seen, decode = Reader(*packed(tmp_path), threads=2, **CROP), [], Reader._decode
    monkeypatch.setattr(Reader, '_decode', lambda *words: seen.append(threads_of_openmp()) or decode(*words))
    threads_of_openmp = mx.base._LIB.omp_get_max_threads
    list(reader.read(np.arange(24), 6, 2, seed=5))
    assert seen == [1] * 4


def test_the_seed_counts_up_with_the_rows(tmp_path):
    reader = Reader(*packed(tmp_path), **CROP)
    (x, _), = reader.read(np.arange(24), 24, 1, seed=100)
    (y, _), = reader.read(np.arange(10, 24), 14, 1, seed=110)
    (z, _), = reader.read(np.arange(10, 24), 14, 1, seed=111)
    assert (y.asnumpy() == x.asnumpy()[10:]).all() and (z.asnumpy() != y.asnumpy()).any()


@pytest.mark.parametrize('threads', [2, 16, 64])
@pytest.mark.parametrize('sizes', [[(160, 160)], [(150, 200), (200, 150), (200, 200), (90, 130)]], ids=['one', 'many'])
def test_every_image_of_a_batch_has_draws_of_its_own(sizes, threads, tmp_path):
    """Of 128 images at least 126 crop windows differ, and as many colours: 8 bits tell two of them apart."""
    ramps = TrainStream(*make_ramps(tmp_path, 256, sizes), 128, 64, 0, threads, NO_COLOUR, PLAIN)
    colours = TrainStream(*make_colours(tmp_path, 256, sizes), 128, 16, 0, threads, normalise=PLAIN)
    for batch in ramps.epoch(0):
        assert len(set(map(tuple, crops_of(batch)[:, :4]))) >= 126
    for batch in colours.epoch(0):
        assert len(set(map(tuple, colours_of(batch)))) >= 126


def test_images_and_draws_are_paired_anew_in_each_epoch(tmp_path):
    """No draw of a run comes back, neither with the image that it had nor with another one."""
    stream = TrainStream(*make_ramps(tmp_path, 128, [(64, 64)]), 128, 64, 3, 2, NO_COLOUR, PLAIN)
    found = np.concatenate([crops_of(batch)[:, :4] for epoch in range(8) for batch in stream.epoch(epoch)])
    assert len(set(map(tuple, found))) >= len(found) - 8


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    os.mkdir(str(tmp_path / 'tmp'))
    reader = Reader(*packed(tmp_path), threads=3, **CROP)

    def open_files():
        return len(os.listdir('/proc/self/fd'))
    before, threads = open_files(), threading.active_count()
    for stop in (None, 1):
        for number, _ in enumerate(reader.read(np.arange(24), 4, 3, seed=0), 1):
            assert os.listdir(str(tmp_path / 'tmp')) and open_files() >= before + 6
            if number == stop:
                break
    assert os.listdir(str(tmp_path / 'tmp')) == [] and open_files() == before and threading.active_count() == threads


def test_a_python_without_files_in_memory(tmp_path, monkeypatch):
    """As conda builds it, for an old glibc."""
    reader = Reader(*packed(tmp_path), **CROP)
    (expected, _), = reader.read(np.arange(24), 24, 1, seed=0)
    monkeypatch.delattr(os, 'memfd_create')
    found = [x.asnumpy() for x, _ in reader.read(np.arange(24), 5, 1, seed=0)]
    assert (np.concatenate(found) == expected.asnumpy()).all()


def test_without_a_place_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'gone'))
    with pytest.raises(UsageError, match='set TMPDIR'):
        list(Reader(*packed(tmp_path), **CROP).read(np.arange(4), 4, 1))


# -- records that are damaged -----------------------------------------------------------------------------------------

def damaged(folder, row, images=24):
    """A file whose record `row` begins as a JPEG and is none; (files, offset of the record)."""
    pack([(make_jpeg(i % 4, i), i, str(i)) for i in range(images)], str(folder / 'bad'))
    files = str(folder / 'bad.rec'), str(folder / 'bad.idx')
    offsets = read_index(files[1])[1]
    with open(files[0], 'r+b') as stream:
        stream.seek(int(offsets[row]) + 34)
        stream.write(bytes(int(offsets[row + 1] - offsets[row]) - 34))
    return files, offsets[row]


@pytest.mark.parametrize('row', [0, 5, 20])
def test_a_damaged_image_is_named_in_training(row, tmp_path):
    files, offset = damaged(tmp_path, row)
    stream = TrainStream(*files, worker_batch_size=4, input_size=16, seed=0, threads=2)
    for _ in range(2):
        with pytest.raises(UsageError, match=f'record {row} at offset {offset} .*cannot be decoded'):
            list(stream.epoch(0))


def test_a_failure_without_a_damaged_record(tmp_path, monkeypatch):
    def fail(**options):
        raise mx.MXNetError('a stack\nof lines\nand the reason\n')
    monkeypatch.setattr(mx.io, 'ImageRecordUInt8Iter', fail)
    with pytest.raises(UsageError, match=r'each of them decodes \(and the reason\)'):
        list(TrainStream(*packed(tmp_path), worker_batch_size=7, input_size=16, seed=0).epoch(0))


def test_a_file_that_became_shorter(tmp_path):
    pack([(make_jpeg(i % 4, i), i, str(i)) for i in range(24)], str(tmp_path / 'set'))
    files = str(tmp_path / 'set.rec'), str(tmp_path / 'set.idx')
    stream = EvalStream(*files, worker_batch_size=4, input_size=16)
    offsets = read_index(files[1])[1]
    with open(files[0], 'r+b') as handle:
        handle.truncate(int(offsets[20]))
    with pytest.raises(UsageError, match=f'record 20 at offset {offsets[20]} does not begin as a record'):
        list(stream.batches())


def test_a_file_that_was_removed(tmp_path):
    """It is open: a run that has begun to read it goes on."""
    files = packed(tmp_path)
    stream = TrainStream(*files, worker_batch_size=12, input_size=16, seed=0)
    expected = labels_of(stream, 1)
    for path in files:
        os.remove(path)
    assert (labels_of(stream, 1) == expected).all()


@pytest.mark.parametrize('label', NO_CLASSES + (-0.25, float('inf'), float('nan')))
def test_a_label_that_is_no_class_is_named(label, tmp_path):
    files = packed(tmp_path)
    relabel(files[0], 5, label)
    sentence = 'record 5 at offset .* (has the label .*|does not have one label)'
    with pytest.raises(UsageError, match=sentence):
        list(TrainStream(*files, worker_batch_size=4, input_size=16, seed=0, num_classes=4).epoch(0))
    with pytest.raises(UsageError, match=sentence):
        list(EvalStream(*files, worker_batch_size=4, input_size=16, num_classes=4).batches())


def test_a_label_list_of_im2rec(tmp_path):
    """``im2rec --pack-label`` writes the label behind the header; a content with the magic number is in pieces."""
    jpeg = make_jpeg(0, 0)
    content = struct.pack('<IfQQf', 1, 0.0, 7, 0, 3.0) + jpeg
    odd = jpeg[:2] + b'\xff\xfe' + struct.pack('>H', 2 + 4 * 3) + b'\0' * 4 + struct.pack('<I', MAGIC) + b'\0' * 4 \
        + jpeg[2:]
    blocks = [struct.pack('<II', MAGIC, len(content)) + content + b'\0' * (-len(content) % 4), record(8, 2.0, odd),
              record(9, 1.0, jpeg)]
    begins = np.cumsum([0] + [len(block) for block in blocks])
    (tmp_path / 'set.rec').write_bytes(b''.join(blocks))
    (tmp_path / 'set.idx').write_text(''.join('%d\t%d\n' % entry for entry in zip((7, 8, 9), begins)))
    stream = EvalStream(str(tmp_path / 'set.rec'), str(tmp_path / 'set.idx'), 3, 16, num_classes=4)
    (batch, valid), = stream.batches()
    x, labels = (array.asnumpy() for array in batch.shards(CPU)[0])
    assert labels.tolist() == [3, 2, 1] and (x == x[0]).all()
