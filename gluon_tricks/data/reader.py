"""Any records of a file, in any order, decoded by MXNet's ImageRecordIter, each with augmentation draws of its own.

It is taken in its 8-bit form, ImageRecordUInt8Iter: images without mean and deviation, in a quarter of the memory.
ImageRecordIter reads a file from front to back, on half the cores at most, and a thread of it draws every augmentation
from one stream, which begins alike in every iterator. So here each iterator reads one piece: the records of some
images, copied into memory one behind the other. Its ``seed_aug`` has the k-th image draw from a generator with the seed
``seed_aug + k``. An image's pixels then depend on its record and its own seed alone, however the images are cut into
pieces, and however many threads decode pieces side by side.

The copy is also where each record is looked at before MXNet sees it: its length, its label, its image's first bytes.
"""
import contextlib
import io
import os
import queue
import shutil
import struct
import tempfile

import numpy as np

from gluon_tricks.compat import mx, one_thread
from gluon_tricks.data.records.images import is_image, size_problem
from gluon_tricks.data.records.pool import in_threads, keep_memory
from gluon_tricks.data.records.record_file import (
    MAGIC,
    content_of,
    damaged,
    decode_problem,
    head_of,
    in_file_order,
    label_problem,
    mislabelled,
    undecodable,
)
from gluon_tricks.errors import UsageError

# Images that an iterator decodes at most, and pixels: setting one up takes 2 ms of CPU time, as long as decoding one of
# ImageNet's images, or twenty of 32 x 32.
PIECE, PIECE_PIXELS = 256, 64 * 224 * 224


class Reader:
    """The records of an open file, by their row in it.

    rec, idx: files that `record_file.checked_index` has passed; the file stays open, so that a run survives its
    removal. index: what it gave (None: it is read again). num_classes: labels are whole numbers below it (None: not
    checked). threads: pieces decoded side by side. steps: ImageRecordIter's keywords. Raises UsageError, here and in
    `read`, with a sentence that names the record.
    """

    def __init__(self, rec, idx, num_classes=None, threads=1, index=None, **steps):
        self.rec, self.num_classes, self.threads = rec, num_classes, threads
        try:
            self._file = open(rec, 'rb', buffering=0)
        except OSError as error:
            raise UsageError(f'{rec} cannot be read ({error.strerror}): make it readable') from error
        self.keys, self.begins, self.ends = index or in_file_order(rec, idx)
        # MXNet ignores keywords that it does not know: these, and those of the streams, are all known. Without
        # device_id it takes page-locked memory, anew for each iterator.
        self.steps = dict(steps, preprocess_threads=1, prefetch_buffer=1, round_batch=False, verbose=False,
                          device_id=-1)

    def __len__(self):
        return len(self.keys)

    def image(self, row):
        """The bytes of a row's image, a JPEG or PNG that is not decoded. Raises UsageError."""
        return bytes(self._check(row, self._bytes(row))[1])

    def labels(self):
        """(N,) the labels in the order of the rows, as float64; of the usual record nothing else is read. Raises
        UsageError."""
        found = np.empty(len(self))
        for row, size in enumerate((self.ends - self.begins).tolist()):
            usual = _usual_head(self._bytes(row, 36), size)
            found[row] = (usual or self._check(row, self._bytes(row)))[0]
        return found

    def _bytes(self, row, most=None):
        """The bytes of a record, the first `most` of them."""
        size = int(self.ends[row] - self.begins[row])
        try:
            return os.pread(self._file.fileno(), min(size, most or size), int(self.begins[row]))
        except OSError as error:
            raise self._unreadable(row, error) from error

    def _unreadable(self, row, error):
        return UsageError(f'{self.rec}: record {self.keys[row]} cannot be read ({error.strerror}): check the disk, or '
                          'copy the file')

    def undecodable(self, row, what):
        """The UsageError for a row whose image is wrong; what: in words, such as "is cut short"."""
        return undecodable(self.rec, self.keys, self.begins, row, what)

    @property
    def piece(self):
        """Images that a piece should have, unless a batch has fewer."""
        _, height, width = self.steps['data_shape']
        return max(1, min(PIECE, PIECE_PIXELS // (height * width)))

    def read(self, rows, piece, ahead, seed=None, first=None):
        """Generator of (images, labels) of `rows` in their order, `piece` rows at a time: NDArrays on the CPU, uint8
        and float32.

        rows: int array; ahead: pieces that are decoded before they are asked for. seed: of the first row's draws, the
        next row's is one more; None: the steps draw nothing. first: rows of the first piece, if they are fewer; of each
        one after it twice as many, so that nobody waits long for the first.
        """
        keep_memory()
        with contextlib.ExitStack() as stack:
            slots, folder = queue.SimpleQueue(), stack.enter_context(_temporary_folder())
            for number in range(self.threads):
                slots.put(stack.enter_context(_Slot(os.path.join(folder, str(number)))))
            tasks = ((slots, rows[begin:end], None if seed is None else seed + begin)
                     for begin, end in _cuts(len(rows), first or piece, piece))
            with contextlib.closing(in_threads(self._decode, tasks, self.threads, ahead, one_thread)) as pieces:
                yield from pieces

    def _decode(self, slots, rows, seed):
        slot = slots.get()
        try:
            slot.fill(self._copy(slot, rows))
            try:
                return self._iterate(slot, len(rows), {} if seed is None else {'seed_aug': int(seed % _SEEDS)})
            except mx.MXNetError as error:
                raise self._undecodable(rows, error) from error
        finally:
            slots.put(slot)

    def _iterate(self, slot, number, draws):
        """(images, labels) of the piece in a slot, which the iterator no longer needs."""
        iterator = mx.io.ImageRecordUInt8Iter(path_imgrec=slot.rec, path_imgidx=slot.idx, batch_size=number,
                                              **dict(self.steps, **draws))
        batch = iterator.next()
        with contextlib.suppress(StopIteration):
            iterator.next()  # an iterator that is not drained keeps its last batch for ever
            raise RuntimeError(f'MXNet found more than {number} images in a piece')
        return batch.data[0], batch.label[0]

    def _copy(self, slot, rows):
        """Copy the records of `rows` into the slot's buffer; returns where each begins there, and last, the end."""
        sizes = (self.ends[rows] - self.begins[rows]).tolist()
        places = [0] + np.cumsum(sizes).tolist()
        buffer = slot.room(places[-1])
        for row, place, size in zip(rows.tolist(), places, sizes):
            view = buffer[place:place + size]
            try:
                found = os.preadv(self._file.fileno(), [view], int(self.begins[row]))
            except OSError as error:
                raise self._unreadable(row, error) from error
            self._check(row, view[:found])
        return places

    def _check(self, row, view):
        """(label, image) in `view`, the bytes of a record; UsageError where it is not one, or has no class or a huge
        image."""
        place = self.rec, self.keys, self.begins, row
        try:
            label, image = self._usual(view) or self._unusual(view)
        except ValueError as error:
            raise damaged(*place, error) from error
        if self.num_classes and label_problem(label, self.num_classes):
            raise mislabelled(*place, label, self.num_classes)
        if size_problem(image):
            raise self.undecodable(row, size_problem(image))
        return label, image

    @staticmethod
    def _usual(view):
        """(label, image) of a record in one piece with its label in the header, as nearly all are; else None."""
        found = _usual_head(view, len(view))
        return found and (found[0], view[32:found[1]])

    @staticmethod
    def _unusual(view):
        """The same of any record. Raises ValueError, with what is wrong."""
        content = content_of(bytes(view))
        head = head_of(content)
        return head.label, content[head.start:]

    def _undecodable(self, rows, error):
        for row in rows.tolist():
            size = int(self.ends[row] - self.begins[row])
            wrong = decode_problem(io.BytesIO(os.pread(self._file.fileno(), size, int(self.begins[row]))), 0, size)
            if wrong:
                return self.undecodable(row, wrong)
        reason = str(error).strip().splitlines()[-1].strip()
        return UsageError(f'{self.rec}: {len(rows)} images cannot be read by MXNet, although each of them decodes '
                          f'({reason}): check that nothing else writes the file')


def _cuts(number, first, most):
    """Generator of (begin, end) of pieces of `number` rows: `first` of them, twice as many, and so on up to `most`."""
    begin, size = 0, min(first, most)
    while begin < number:
        yield begin, min(begin + size, number)
        begin, size = begin + size, min(2 * size, most)


_SEEDS = 2 ** 31 - 2 ** 20  # MXNet's seed is an int, to which it adds an image's place in its piece


def _usual_head(head, size):
    """(label, end of its image) of a record of `size` bytes whose first 36 say that it is in one piece, with its label
    in the header; else None."""
    if len(head) >= 36:
        magic, length, flag, label = struct.unpack_from('<IIIf', head)
        if magic == MAGIC and 8 + length + -length % 4 == size and not flag and abs(label) < 1e9 and \
                is_image(bytes(head[32:36])):
            return label, 8 + length
    return None


@contextlib.contextmanager
def _temporary_folder():
    try:
        folder = tempfile.mkdtemp(prefix='gluon_tricks-')
    except OSError as error:
        raise UsageError(f'no temporary directory can be made ({error.strerror}): set TMPDIR to one that can be '
                         'written') from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory_file(path):
    """A handle of a new file in memory that has the name `path`; of one on disk for a Python built without memfd."""
    if not hasattr(os, 'memfd_create'):
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    handle = os.memfd_create(os.path.basename(path))
    os.symlink(f'/proc/self/fd/{handle}', path)
    return handle


class _Slot:
    """One piece at a time in memory, under two names in `folder` for MXNet, which takes files only."""

    def __init__(self, folder):
        self.rec, self.idx = (os.path.join(folder, 'piece.' + name) for name in ('rec', 'idx'))
        self._buffer = memoryview(b'')
        os.mkdir(folder)
        self._handles = [_memory_file(path) for path in (self.rec, self.idx)]

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        for handle in self._handles:
            os.close(handle)

    def room(self, size):
        """A writable view of at least `size` bytes, the same from piece to piece."""
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size + size // 4))
        return self._buffer

    def fill(self, places):
        """Write the first bytes of the buffer, and their index, to the files. places: of the records, last the end."""
        index = ''.join('%d\t%d\n' % entry for entry in enumerate(places[:-1])).encode()
        for handle, content in zip(self._handles, (self._buffer[:places[-1]], index)):
            os.ftruncate(handle, 0)
            written = 0
            while written < len(content):
                written += os.pwrite(handle, content[written:], written)
