"""Record files: packing images without touching their bytes, and checking them before MXNet reads (paper section 2.1).

A record file NAME.rec has an index NAME.idx (``key <tab> offset``) and a list NAME.lst (``key <tab> label <tab>
name``), as MXNet's im2rec writes them. Records are packed in shuffled order: the training pipeline reads contiguous
parts side by side, and each part must be a fair sample.

MXNet kills the process on most damages of a record file, so `check_records` looks for them first, in Python.
"""
import collections
import hashlib
import json
import os
import struct
import sys

import numpy as np
from tqdm import tqdm

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

MAGIC = 0xced7230a
SUFFIXES = ('.jpeg', '.jpg', '.png')
_SIGNATURES = (b'\xff\xd8', b'\x89PNG')  # the first bytes of a JPEG and of a PNG file
_CHECK_ALL = 20000  # with more records than this, only a spread sample of them is opened
_SLOW = 5000  # from this number of records on, a progress bar is shown
_HEAD = 64  # bytes of a record that are enough to see its label and the image's signature

Packed = collections.namedtuple('Packed', 'files classes')


# ---------------------------------------------------------------------------------------------------------------------
# Packing

def pack(items, prefix, seed=0, shuffle=True, progress=False):
    """Write PREFIX.rec, PREFIX.lst and PREFIX.idx of `items`; returns the number of records.

    items: list of (path of a JPEG or PNG file, or its bytes; label; name). The image bytes are copied as they are.
    Each file is written under another name, flushed to disk and renamed when it is whole, the index last, so that a
    kill leaves nothing that looks finished. Raises UsageError for an empty list, for a file that is no image, or where
    it cannot be written.
    """
    if not items:
        raise UsageError('%s.rec would be empty: there is no image to pack' % prefix)
    order = np.random.RandomState(seed).permutation(len(items)) if shuffle else np.arange(len(items))
    partial = {suffix: '%s%s.partial-%d' % (prefix, suffix, os.getpid()) for suffix in ('.rec', '.lst', '.idx')}
    try:
        with open(partial['.rec'], 'wb') as rec, open(partial['.idx'], 'w') as idx, \
                open(partial['.lst'], 'w', encoding='utf-8', errors='surrogateescape') as lst:
            for key, place in enumerate(tqdm(order, desc=os.path.basename(prefix), unit='img', disable=not progress,
                                             file=sys.stderr)):
                source, label, name = items[place]
                idx.write('%d\t%d\n' % (key, rec.tell()))
                lst.write('%d\t%f\t%s\n' % (key, label, name))
                header = mx.recordio.IRHeader(0, float(label), key, 0)
                rec.write(_record(mx.recordio.pack(header, _image_bytes(source, name))))
            for stream in (rec, lst, idx):
                stream.flush()
                os.fsync(stream.fileno())
        if os.path.exists(prefix + '.idx'):
            os.remove(prefix + '.idx')  # it belongs to the old records
        for suffix in ('.rec', '.lst', '.idx'):
            os.replace(partial[suffix], prefix + suffix)
    except OSError as error:
        raise UsageError('%s.rec cannot be written (%s): free space, or choose another place'
                         % (prefix, error.strerror or error)) from error
    finally:
        for path in partial.values():
            if os.path.exists(path):
                os.remove(path)
    return len(items)


def _image_bytes(source, name):
    """The bytes of an item; UsageError where they cannot be read or do not begin as an image does."""
    if not isinstance(source, bytes):
        try:
            with open(source, 'rb') as stream:
                source = stream.read()
        except OSError as error:
            raise UsageError('%s cannot be read (%s): make it readable, or take it out of the folder'
                             % (name, error.strerror)) from error
    if not source.startswith(_SIGNATURES):
        raise UsageError('%s is %s, not a JPEG or PNG image: replace it, or take it out of the folder'
                         % (name, 'empty' if not source else 'another kind of file'))
    return source


def _record(content):
    """One record of RecordIO: magic, length, content, zeros up to a multiple of 4.

    As MXNet's own writer does, a content that holds the magic number at a multiple of 4 is split there; the upper three
    bits of the length say of a piece that it is the whole (0), the first (1), one between (2) or the last (3).
    """
    magic = struct.pack('<I', MAGIC)
    cuts = []
    if magic in content:
        cuts = [place for place in range(0, len(content) - 3, 4) if content[place:place + 4] == magic]
    pieces, start = [], 0
    for cut in cuts + [len(content)]:
        pieces.append(content[start:cut])
        start = cut + 4
    flags = [0] if len(pieces) == 1 else [1] + [2] * (len(pieces) - 2) + [3]
    return b''.join(magic + struct.pack('<I', flag << 29 | len(piece)) + piece + b'\0' * (-len(piece) % 4)
                    for flag, piece in zip(flags, pieces))


def list_folder(folder, classes=None):
    """(items, class names) of FOLDER/CLASS/IMAGE: class index by sorted name; images in sorted order.

    classes: the names that stand for 0, 1, ... instead of the folder's own. Raises UsageError for another class.
    """
    found = sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))
    classes = found if classes is None else classes
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise UsageError('%s is a class of its own, which the training images do not have: remove it, or add it there'
                         % os.path.join(folder, unknown[0]))
    labels = {name: label for label, name in enumerate(classes)}
    items = [(os.path.join(folder, name, image), labels[name], '%s/%s' % (name, image)) for name in found
             for image in sorted(os.listdir(os.path.join(folder, name))) if image.lower().endswith(SUFFIXES)]
    return items, classes


def pack_folder(data_dir, cache_dir=None):
    """Pack DATA_DIR/train/CLASS/*.JPEG and DATA_DIR/val/CLASS/*.JPEG once; returns Packed(files, classes).

    files: {'train': (rec, idx), 'val': (rec, idx)} in CACHE_DIR, DATA_DIR/.gluon_tricks by default; classes: their
    names in the order of the labels. They are packed again when the listing (names, sizes) has changed. Raises
    UsageError for a tree without images, with a class in val that train lacks, or where the cache cannot be written.
    """
    cache_dir = cache_dir or os.path.join(data_dir, '.gluon_tricks')
    items, classes = {}, None
    for part in ('train', 'val'):
        folder = os.path.join(data_dir, part)
        if not os.path.isdir(folder):
            raise UsageError('%s is missing: a folder of images needs %s/train/CLASS/*.JPEG and %s/val/CLASS/*.JPEG'
                             % (folder, data_dir, data_dir))
        items[part], classes = list_folder(folder, classes)
        if not items[part]:
            raise UsageError('%s holds no images in class folders: put them in %s/CLASS/*.JPEG' % (folder, folder))
    return Packed({part: _pack_once(items[part], classes, os.path.join(cache_dir, part), data_dir)
                   for part in ('train', 'val')}, classes)


def _pack_once(items, classes, prefix, data_dir):
    """(rec, idx) of the items, packed unless PREFIX.json says that they are."""
    listing = hashlib.sha256()
    for path, label, name in items:
        listing.update(b'%s\t%d\t%d\n' % (os.fsencode(name), label, os.path.getsize(path)))
    facts = {'listing': listing.hexdigest(), 'classes': classes, 'num_images': len(items)}
    files, note = (prefix + '.rec', prefix + '.idx'), prefix + '.json'
    try:
        with open(note) as stream:
            if json.load(stream) == facts and all(os.path.isfile(name) for name in files):
                return files
    except (OSError, ValueError):
        pass  # not packed yet
    try:
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        if os.path.exists(note):
            os.remove(note)
        pack(items, prefix, progress=len(items) >= _SLOW)
        partial = '%s.partial-%d' % (note, os.getpid())
        with open(partial, 'w') as stream:
            json.dump(facts, stream)
        os.replace(partial, note)
    except OSError as error:
        raise UsageError('%s cannot be written (%s): the records of %s are packed there; make it writable, or pack '
                         'elsewhere with `python -m gluon_tricks prepare folder %s --out OTHER`'
                         % (os.path.dirname(prefix), error.strerror or error, data_dir, data_dir)) from error
    return files


# ---------------------------------------------------------------------------------------------------------------------
# Checking

def read_index(idx):
    """(keys, offsets) of an index as int64 arrays, in the file's order. Raises UsageError naming a bad line."""
    keys, offsets = [], []
    try:
        with open(idx, 'rb') as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise UsageError('%s cannot be read (%s): give the index of the records' % (idx, error.strerror)) from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) != 2 or not (words[0].isdigit() and words[1].isdigit()) or max(map(len, words)) > 18:
            raise UsageError('%s line %d is %s, not KEY<tab>OFFSET: give the index of the records, or pack them again'
                             % (idx, number, repr(line[:40].decode('latin-1'))))
        keys.append(int(words[0]))
        offsets.append(int(words[1]))
    if not keys:
        raise UsageError('%s is empty: pack the records again' % idx)
    return np.array(keys, 'int64'), np.array(offsets, 'int64')


def count(idx):
    """Number of records in an index."""
    return len(read_index(idx)[0])


def check_records(rec, idx):
    """Raise UsageError where MXNet would crash on, or quietly misread, a record file; returns the number of records.

    Looks at the whole index, at the size of the file, at the start and the end of every record (of a spread sample with
    more than 20,000), and decodes the first image. The sentence names the file, the record and the remedy. A damage
    inside an image is seen only when it is decoded (see `find_bad_record`).
    """
    for path in (rec, idx):
        if not os.path.isfile(path):
            raise UsageError('%s is missing: give the record file and its index' % path)
    try:
        return _check(rec, idx)
    except OSError as error:
        raise UsageError('%s cannot be read (%s): make it readable' % (rec, error.strerror or error)) from error


def _check(rec, idx):
    size = os.path.getsize(rec)
    if size == 0:
        raise UsageError('%s is empty: copy or pack it again' % rec)
    keys, offsets = read_index(idx)
    if len(np.unique(keys)) != len(keys):
        twice = collections.Counter(keys.tolist()).most_common(1)[0][0]
        raise UsageError('%s: key %d stands there twice; pack the records again' % (idx, twice))
    order = np.argsort(offsets, kind='stable')  # as MXNet reads them
    keys, offsets = keys[order], offsets[order]
    ends = np.append(offsets[1:], size)
    for wrong, what in ((offsets + 8 > size, 'begins beyond the end of the file (%d bytes)' % size),
                        (offsets % 4 != 0, 'does not begin at a multiple of 4'),
                        (ends - offsets < 8, 'stands in the index twice')):
        if wrong.any():
            raise _damaged(rec, keys, offsets, int(np.flatnonzero(wrong)[0]), what)
    sample = range(len(keys))
    if len(keys) > _CHECK_ALL:
        sample = np.unique(np.linspace(0, len(keys) - 1, _CHECK_ALL).astype('int64'))
    with open(rec, 'rb') as stream:
        for row in sample:
            problem = _problem(stream, int(offsets[row]), int(ends[row]))
            if problem:
                raise _damaged(rec, keys, offsets, row, problem)
    problem = _decode_problem(_read(rec, offsets[0]))
    if problem:
        raise _damaged(rec, keys, offsets, 0, problem)
    return len(keys)


def _damaged(rec, keys, offsets, row, what):
    return UsageError('%s: record %d at offset %d %s; the file is damaged, or the index belongs to another one: copy '
                      'or pack it again' % (rec, keys[row], offsets[row], what))


def _problem(stream, begin, end):
    """What is wrong with the record from `begin` to `end`, as far as its first bytes and its length tell, or None."""
    place, flag, head = begin, 1, b''
    while flag in (1, 2):
        stream.seek(place)
        start = stream.read(8 + _HEAD)
        if len(start) < 8 or struct.unpack('<I', start[:4])[0] != MAGIC:
            return 'does not begin as a record does' if place == begin else 'has a piece that is none of a record'
        flag, length = _flag_and_length(start)
        head += start[8:8 + length] + (b'' if flag in (0, 3) else struct.pack('<I', MAGIC))
        place += 8 + length + (-length % 4)
    if place != end:
        return 'does not end where the next one begins, or the file ends'
    return _head_problem(head)


def _flag_and_length(header):
    word = struct.unpack('<I', header[4:8])[0]
    return word >> 29, word & ((1 << 29) - 1)


def _head_problem(content):
    """What is wrong with the label, or with the first bytes of the image, of a record's content, or None."""
    if len(content) < 24:
        return 'is too short for a label'
    flag, label = struct.unpack('<If', content[:8])
    if flag == 1 and len(content) >= 28:  # im2rec --pack-label: a list of one label, after the header
        label = struct.unpack('<f', content[24:28])[0]
    if flag > 1 or not np.isfinite(label):
        return 'does not have one label'
    return None if content[24 + 4 * flag:].startswith(_SIGNATURES) else 'is not a JPEG or PNG image'


def _read(rec, offset):
    """Content of the record at `offset`, its pieces joined by the magic number that was cut out."""
    pieces, flag = [], 1
    with open(rec, 'rb') as stream:
        stream.seek(int(offset))
        while flag in (1, 2):
            flag, length = _flag_and_length(stream.read(8))
            pieces.append(stream.read(length + (-length % 4))[:length])
    return struct.pack('<I', MAGIC).join(pieces)


def _decode_problem(content):
    """What is wrong with a record's label or image, or None."""
    import cv2
    problem = _head_problem(content)
    if problem:
        return problem
    pixels = cv2.imdecode(np.frombuffer(mx.recordio.unpack(content)[1], 'uint8'), cv2.IMREAD_COLOR)
    return None if pixels is not None else 'is an image that cannot be decoded'


def find_bad_record(rec, idx):
    """A sentence that names the first record that cannot be decoded; None where all can. Reads the whole file."""
    keys, offsets = read_index(idx)
    for row, offset in enumerate(tqdm(offsets, desc='looking for the damaged record', unit='img', file=sys.stderr,
                                      disable=len(offsets) < _SLOW)):
        try:
            problem = _decode_problem(_read(rec, offset))
        except (struct.error, OSError):
            problem = 'cannot be read'
        if problem:
            return '%s: record %d at offset %d %s: replace the image and pack the records again' % (
                rec, keys[row], offset, problem)
    return None
