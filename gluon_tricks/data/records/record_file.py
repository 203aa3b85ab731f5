"""Record files, byte by byte, and checking them before MXNet reads them (paper section 2.1).

A record file NAME.rec has an index NAME.idx (``key <tab> offset``) and a list NAME.lst (``key <tab> label <tab>
name``), as MXNet's im2rec writes them; `packing` writes them here. MXNet kills the process on most damages of a record
file, so `check_records` looks for them first, in Python; `verify` looks at every byte.
"""
import collections
import concurrent.futures
import io
import os
import struct
import sys
from typing import Iterator, Optional, Tuple

import numpy as np
from tqdm import tqdm

from gluon_tricks.config.options import MOST_CLASSES
from gluon_tricks.cores import available_cores
from gluon_tricks.data.records.images import frame, is_image, size_problem
from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file

MAGIC = 0xced7230a
_MAGIC = struct.pack('<I', MAGIC)
CHECK_ALL = 20000  # with more records than this, only a spread sample of them is opened
_SLOW = 5000  # from this number of records on, a progress bar is shown
NO_END = 'does not end where the next one begins, or the file ends'
_HEAD, _LONG_HEAD = 4096, 1 << 18  # bytes of a record in which its label and its image's size stand; nearly always
_BLOCK, _DIGITS = 1 << 22, 18  # bytes of an index that are read at once; of a number in it, so that an int64 holds it

Head = collections.namedtuple('Head', 'label key start')  # a record's label, its id, and where its image starts
Index = collections.namedtuple('Index', 'keys begins ends')  # of the records in the order of the file, int64 arrays


# ---------------------------------------------------------------------------------------------------------------------
# Records

def record_pieces(key, label, image):
    """The bytes of one record as a list of bytes: magic, length, header of 24 bytes; image; zeros up to a multiple of
    4.

    As MXNet's own writer does, a content that holds the magic number at a multiple of 4 is split there; the upper three
    bits of the length say of a piece that it is the whole (0), the first (1), one between (2) or the last (3).
    """
    header = struct.pack('<IfQQ', 0, label, key, 0)
    if _MAGIC not in image:
        length = len(header) + len(image)
        return [_MAGIC + struct.pack('<I', length) + header, image, b'\0' * (-length % 4)]
    content, pieces, start = header + image, [], 0
    cuts = [place for place in range(0, len(content) - 3, 4) if content[place:place + 4] == _MAGIC]
    for cut in cuts + [len(content)]:
        pieces.append(content[start:cut])
        start = cut + 4
    flags = [0] if len(pieces) == 1 else [1] + [2] * (len(pieces) - 2) + [3]
    return [part for flag, piece in zip(flags, pieces)
            for part in (_MAGIC + struct.pack('<I', flag << 29 | len(piece)), piece, b'\0' * (-len(piece) % 4))]


def record(key, label, image):
    """The bytes of one record (see `record_pieces`)."""
    return b''.join(record_pieces(key, label, image))


# ---------------------------------------------------------------------------------------------------------------------
# Checking

def read_index(idx):
    """(keys, offsets) of an index as int64 arrays, in the file's order. Raises UsageError naming a bad line.

    Block by block, and by NumPy where the lines are as they should be: of ten million lines as Python's objects the
    memory would be ten times that of the file.
    """
    found, number, rest = [], 0, b''
    try:
        with open(idx, 'rb') as stream:
            while True:
                block = stream.read(_BLOCK)
                whole, newline, rest = (rest + block).rpartition(b'\n') if block else (rest, b'', b'')
                if whole + newline:
                    lines = _plain_lines(whole + b'\n')
                    found.append(_any_lines(whole + newline, idx, number) if lines is None else lines)
                    number += len(found[-1])
                if not block:
                    break
    except OSError as error:
        raise UsageError(f'{idx} cannot be read ({error.strerror}): give the index of the records') from error
    if not found:
        raise UsageError(f'{idx} is empty: pack the records again')
    keys, offsets = (np.concatenate([lines[:, column] for lines in found]) for column in (0, 1))
    return keys, offsets


def _plain_lines(block):
    """(N, 2) int64 of lines that are all KEY<tab>OFFSET<newline>, None where one is anything else."""
    text = np.frombuffer(block, 'uint8')
    marks = np.flatnonzero(text - 48 > 9)  # bytes that are no digit; below the digits the difference wraps around
    digits = np.diff(marks, prepend=-1) - 1
    if len(marks) % 2 or digits.min() < 1 or digits.max() > _DIGITS or \
            (text[marks[::2]] != ord('\t')).any() or (text[marks[1::2]] != ord('\n')).any():
        return None
    return np.fromstring(block, 'int64', sep=' ').reshape(-1, 2)


def _any_lines(block, idx, before):
    """The same of any lines, `before` of the file's in front of them. Raises UsageError that names a bad one."""
    found = []
    for number, line in enumerate(block.splitlines(), before + 1):
        words = line.split()
        if len(words) != 2 or not (words[0].isdigit() and words[1].isdigit()) or max(map(len, words)) > _DIGITS:
            raise UsageError(f'{idx} line {number} is {repr(line[:40].decode("latin-1"))}, not KEY<tab>OFFSET: give '
                             'the index of the records, or pack them again')
        found.append((int(words[0]), int(words[1])))
    return np.array(found, 'int64')


def index_bytes(sizes):
    """NAME.idx of records of these sizes, one behind the other, with keys from 0 on."""
    lines, place = [], 0
    for key, size in enumerate(sizes):
        lines.append(f'{key}\t{place}\n')
        place += size
    return ''.join(lines).encode()


def list_bytes(entries):
    """NAME.lst of [(key, label, name)]."""
    return ''.join('%d\t%f\t%s\n' % entry for entry in entries).encode('utf-8', 'surrogateescape')


def label_problem(label, num_classes):
    """The fault of a label that is not a class below `num_classes` (None: any number) in words, or None."""
    if label != int(label) or label < 0:
        return f'has the label {label:.9g}, which is not a class'
    if label >= (num_classes or MOST_CLASSES):
        return 'has the label %d, beyond %d classes' % (label, num_classes or MOST_CLASSES)
    return None


def check_records(rec, idx, num_classes=None):
    """The number of records of a file that `checked_index` passes."""
    return len(checked_index(rec, idx, num_classes).keys)


def checked_index(rec, idx, num_classes=None):
    """The Index of a record file; UsageError where MXNet would crash on it, or quietly misread it.

    Looks at the whole index, at the size of the file, at the start and the end of every record (of a spread sample with
    more than 20,000), and decodes the first image. num_classes: the labels of the records that are opened must be
    classes, 0 to num_classes - 1. The sentence names the file, the record and the remedy. A damage inside an image is
    seen only when it is decoded, a wrong label outside the sample only when it is read (see `reader`).
    """
    for path in (rec, idx):
        if not os.path.isfile(path):
            raise UsageError(f'{path} is missing: give the record file and its index')
    try:
        return _check(rec, idx, num_classes)
    except OSError as error:
        raise UsageError('%s cannot be read (%s): make it readable' % (rec, error.strerror or error)) from error


def in_file_order(rec, idx):
    """The Index of a record file, which is not looked at but for its size. Raises UsageError."""
    keys, offsets = read_index(idx)
    if (offsets[1:] < offsets[:-1]).any():
        order = np.argsort(offsets, kind='stable')
        keys, offsets = keys[order], offsets[order]
    bounds = np.append(offsets, os.path.getsize(rec))
    return Index(keys, bounds[:-1], bounds[1:])


def _check(rec, idx, num_classes):
    size = os.path.getsize(rec)
    if size == 0:
        raise UsageError(f'{rec} is empty: copy or pack it again')
    index = keys, offsets, ends = in_file_order(rec, idx)
    if (keys[1:] <= keys[:-1]).any() and len(np.unique(keys)) != len(keys):
        twice = collections.Counter(keys.tolist()).most_common(1)[0][0]
        raise UsageError(f'{idx}: key {twice} is listed twice; pack the records again')
    for wrong, what in ((offsets + 8 > size, f'begins beyond the end of the file ({size} bytes)'),
                        (offsets % 4 != 0, 'does not begin at a multiple of 4'),
                        (ends - offsets < 8, 'is listed twice in the index')):
        if wrong.any():
            raise damaged(rec, keys, offsets, int(np.flatnonzero(wrong)[0]), what)
    sample = range(len(keys))
    if len(keys) > CHECK_ALL:
        sample = np.unique(np.linspace(0, len(keys) - 1, CHECK_ALL).astype('int64'))
    with open(rec, 'rb') as stream:
        for row in sample:
            problem, label = _problem(stream, int(offsets[row]), int(ends[row]))
            if problem:
                raise damaged(rec, keys, offsets, row, problem)
            if num_classes and label_problem(label, num_classes):
                raise mislabelled(rec, keys, offsets, row, label, num_classes)
        problem = decode_problem(stream, int(offsets[0]), int(ends[0]))
    if problem:
        raise damaged(rec, keys, offsets, 0, problem)
    return index


def damaged(rec, keys, offsets, row, what):
    """The UsageError for a record that is not one."""
    return UsageError(f'{rec}: record {keys[row]} at offset {offsets[row]} {what}; the file is damaged, or the index '
                      'belongs to another one: copy or pack it again')


def undecodable(rec, keys, offsets, row, what):
    """The UsageError for a record whose image is wrong."""
    return UsageError(f'{rec}: record {keys[row]} at offset {offsets[row]} {what}; `python -m gluon_tricks verify '
                      f'{rec} --drop OUT.rec` lists all that are damaged, and writes a copy without them')


def mislabelled(rec, keys, offsets, row, label, num_classes):
    """The UsageError for a record whose label is not a class."""
    return UsageError(f'{rec}: record {keys[row]} at offset {offsets[row]} {label_problem(label, num_classes)}: put '
                      'its label right and pack again, or give the --num-classes of these records')


def _problem(stream, begin, end):
    """(what is wrong with the record from `begin` to `end`, as far as its first bytes and its length tell, or None; its
    label)."""
    heads, own_end = [], begin
    try:
        for place, length, own_end in _pieces(stream, begin, end):
            stream.seek(place)
            heads.append(stream.read(min(length, _HEAD)))
            if len(heads) == 1:
                first = place, min(length, _LONG_HEAD)
        if own_end != end:
            return NO_END, None
        head = head_of(_MAGIC.join(heads))
        if not frame(heads[0][head.start:]):  # it stands behind a comment, or a small picture of the image
            stream.seek(first[0])
            heads[0] = stream.read(first[1])
        return size_problem(heads[0][head.start:]), head.label
    except ValueError as error:
        return str(error), None


def _flag_and_length(header):
    word = struct.unpack('<I', header[4:8])[0]
    return word >> 29, word & ((1 << 29) - 1)


def content_of(block):
    """The content of the record that fills `block`, its pieces joined by the magic number that was cut out.

    Raises ValueError, with what is wrong.
    """
    return read_exactly(io.BytesIO(block), 0, len(block))


def read_record(stream, begin, limit):
    """(content, end) of the record at byte `begin` of an open file: its pieces joined, and where it says it ends.

    Never reads beyond byte `limit`, nor more than the record says it has, however far the next one may be. Raises
    ValueError, with what is wrong, also for a record that would end beyond `limit`.
    """
    pieces, place = [], begin
    for piece, length, place in _pieces(stream, begin, limit):
        stream.seek(piece)
        pieces.append(stream.read(length))
    return pieces[0] if len(pieces) == 1 else _MAGIC.join(pieces), place


def read_records(rec: str, idx: Optional[str] = None) -> Iterator[Tuple[int, float, bytes]]:
    """Generator of (key, label, image) of a file's records, in its order; the image is the bytes of a JPEG or PNG.

    idx: the index (default: NAME.idx beside it). One record at a time is in memory, and MXNet is not imported. Raises
    UsageError that names the record which is damaged, or does not have one label.

    >>> import gluon_tricks as gt
    >>> key, label, image = next(gt.read_records('runs/demo-data/.gluon_tricks/val.rec'))
    >>> label < 10, image[:2]
    (True, b'\\xff\\xd8')
    """
    rec = os.fspath(rec)
    try:
        with open_file(rec) as stream:
            keys, begins, ends = in_file_order(rec, idx or os.path.splitext(rec)[0] + '.idx')
            for row, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist())):
                try:
                    content = read_exactly(stream, begin, end)
                    head = head_of(content)
                except ValueError as error:
                    raise damaged(rec, keys, begins, row, error) from error
                yield int(keys[row]), head.label, content[head.start:]
    except OSError as error:
        raise UsageError(f'{rec} cannot be read ({error.strerror or error}): give a record file') from error


def read_exactly(stream, begin, end):
    """The content of the record that reaches from byte `begin` of an open file to `end`.

    Raises ValueError, with what is wrong.
    """
    content, own_end = read_record(stream, begin, end)
    if own_end != end:
        raise ValueError(NO_END)
    return content


def walk(stream, begin, limit):
    """([(begin, end)], place): the records that follow each other from `begin` on by their own lengths, below `limit`.

    place: the end of the last of them, below `limit` where something else follows. Reads their lengths alone.
    """
    found, place = [], begin
    try:
        while place < limit:
            *_, (_, _, end) = _pieces(stream, place, limit)
            found.append((place, end))
            place = end
    except ValueError:
        pass
    return found, place


def starts(stream, place):
    """Whether the bytes at `place` of an open file begin as a record does."""
    stream.seek(place)
    return stream.read(4) == _MAGIC


def find_start(stream, place, limit):
    """The first multiple of 4 from `place` on where a whole record begins, else `limit`."""
    place += -place % 4
    while place < limit:
        stream.seek(place)
        block = stream.read(min(2 ** 20, limit - place))
        at = block.find(_MAGIC)
        while at >= 0:
            if at % 4 == 0 and walk(stream, place + at, limit)[0]:
                return place + at
            at = block.find(_MAGIC, at + 1)
        place += 2 ** 20
    return limit


def _pieces(stream, begin, limit):
    """Generator of (place of the bytes, how many, end with its padding) of a record's pieces. Raises ValueError."""
    flag, place, number = 1, begin, 0
    while flag in (1, 2):
        stream.seek(place)
        header = stream.read(8) if place + 8 <= limit else b''
        if header[:4] != _MAGIC:
            raise ValueError('has a piece that is not of a record' if number else 'does not begin as a record does')
        flag, length = _flag_and_length(header)
        if flag not in ((2, 3) if number else (0, 1)):
            raise ValueError('has pieces in a wrong order')
        place += 8
        if place + length + (-length % 4) > limit:
            raise ValueError(NO_END)
        yield place, length, place + length + (-length % 4)
        place += length + (-length % 4)
        number += 1


def head_of(content):
    """The Head of a record's content. Raises ValueError, with what is wrong, unless it has one label and an image."""
    if len(content) < 24:
        raise ValueError('is too short for a label')
    flag, label, key = struct.unpack('<IfQ', content[:16])
    if flag == 1 and len(content) >= 28:  # im2rec --pack-label: a list of one label, after the header
        label = struct.unpack('<f', content[24:28])[0]
    if flag > 1 or not np.isfinite(label):
        raise ValueError('does not have one label')
    start = 24 + 4 * flag
    if not is_image(content[start:start + 4]):
        raise ValueError('is not a JPEG or PNG image')
    return Head(label, key, start)


def decode_problem(stream, begin, end):
    """The fault in words of the record from `begin` to `end`, its label or its image as OpenCV decodes it, or None."""
    import cv2
    try:
        content, own_end = read_record(stream, begin, end)
        image = content[head_of(content).start:]
    except ValueError as error:
        return str(error)
    if own_end != end:
        return f'is followed by {end - own_end} bytes that are not in the index'
    if size_problem(image):
        return size_problem(image)
    try:
        pixels = cv2.imdecode(np.frombuffer(image, 'uint8'), cv2.IMREAD_REDUCED_COLOR_8)
    except cv2.error:
        pixels = None
    return None if pixels is not None else 'is an image that cannot be decoded'


def find_bad_record(rec, idx):
    """A sentence that names the first record that cannot be decoded, or the file that cannot be read; None where all
    can. Reads the whole file. Raises UsageError for the index."""
    try:
        return _find_bad_record(rec, idx)
    except OSError as error:
        return '%s cannot be read any more (%s): put it back, and start the same command again' % (
            rec, error.strerror or error)


def _find_bad_record(rec, idx):
    keys, offsets, ends = in_file_order(rec, idx)

    def problem(row):
        with open(rec, 'rb') as stream:
            return decode_problem(stream, int(offsets[row]), int(ends[row]))
    with concurrent.futures.ThreadPoolExecutor(available_cores()) as threads:
        for begin in tqdm(range(0, len(keys), 256), desc='looking for the damaged record', unit='x256 img',
                          file=sys.stderr, disable=len(keys) < _SLOW):
            for row, found in enumerate(threads.map(problem, range(begin, min(begin + 256, len(keys)))), begin):
                if found:
                    return str(undecodable(rec, keys, offsets, row, found))
    return None
