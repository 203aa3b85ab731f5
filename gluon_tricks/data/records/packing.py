"""Packing images into record files: in shuffled order, by several processes, going on after a kill.

Records are packed shuffled, because each of several training workers reads a contiguous share, which must be a fair
sample. The images are cut into shards of a few hundred. A process makes a shard in memory, waits until it is
known where the shard before ends, writes them there in the growing record file, and then a file of facts about them,
which says that they are finished. All of that lies in PREFIX.parts (see `parts`), and the four files PREFIX.rec, .lst,
.idx and .certificate.json appear when every byte of them is on the disk, the index last. A kill, or a full disk, at
any point loses at most the shards that were being written; the result is the same to the byte.
"""
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import sys
import time
import warnings
import zlib
from typing import Dict, List, Optional, Tuple

import numpy as np
from tqdm import tqdm

from gluon_tricks.data.prepare import archives
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.images import frame, is_image, size_problem
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.data.records.record_file import index_bytes, list_bytes, record_pieces
from gluon_tricks.data.records.work_directory import parts
from gluon_tricks.errors import UsageError
from gluon_tricks.files import remedy_for, sync, write_whole

SHARD, SHARD_BYTES = 512, 2 ** 28  # images, and bytes of them, at most: a process holds them in memory
_LONGEST = 65500  # pixels of a JPEG's side
_FORMAT = 2  # of the shards and of what they are made from: another number, and they are made anew
_UNKNOWN, _FAILED = -1, -2  # where a shard ends, as long as it is not made
_FILES = ('.rec', '.lst', '.certificate.json', '.idx')  # in the order in which they appear


@dataclasses.dataclass(frozen=True)
class Packing:
    """Everything that decides what is written; the fields are the arguments of `pack`, and the images' sizes."""
    items: List[Tuple]
    sizes: List[int]
    seed: int
    shuffle: bool
    resize: int
    quality: int
    classes: Optional[List]
    source: Dict[str, str]

    def order(self):
        """Places of the images, in the order of their records."""
        number = len(self.items)
        return np.random.RandomState(self.seed).permutation(number) if self.shuffle else np.arange(number)

    def plan(self):
        """Digest of it all. Raises UsageError for a name that the list of the records cannot hold."""
        plan = hashlib.sha256(repr((_FORMAT, SHARD, self.seed, self.shuffle, self.resize, self.quality, self.classes,
                                    sorted(self.source.items()))).encode('utf-8', 'surrogateescape'))
        for (where, label, name), size in zip(self.items, self.sizes):
            if any(character in name for character in '\t\n\r'):
                raise UsageError(f"{name!r} has a tab or a line's end in its name, which the list of the records "
                                 "cannot hold: rename it")
            if isinstance(where, bytes):
                plan.update(where)
            plan.update(b'%s\t%r\t%d\n' % (name.encode('utf-8', 'surrogateescape'), float(label), size))
        return plan.hexdigest()


def pack(items, prefix, seed=0, shuffle=True, processes=1, resize=0, quality=0, classes=None, source=None,
         progress=False):
    """Write PREFIX.rec, .lst, .idx and .certificate.json of `items`; returns the number of records.

    items: list of (where the image is: a path, its bytes, or an `archives` member; label; name). resize: the short
    side that all images are brought to; quality: of the JPEGs that are then written (95), or written anew when it is
    given alone. With neither the bytes are copied as they are. classes: the label map, source: facts about the
    archives, for the certificate. What is there already, of the same items and options, is kept. Raises UsageError for
    an empty list, for a file that is not an image, for a name with a tab or a line's end, or where it cannot be
    written.
    """
    if not items:
        raise UsageError(f'{prefix}.rec would be empty: there is no image to pack')
    try:
        sizes = [_size(where, name) for where, _, name in items]
        packing = Packing(items, sizes, seed, shuffle, resize, quality, classes, source or {})
        plan = packing.plan()
        folder = prefix + '.parts'
        if _is_done(prefix, plan):
            shutil.rmtree(folder, ignore_errors=True)  # a kill may have left some of it
            return len(items)
        with parts(folder, plan, prefix + '.rec'):
            if not os.path.exists(os.path.join(folder, 'whole')):
                _make(packing, prefix, folder, plan, processes, progress)
            _publish(prefix, folder)
    except OSError as error:
        raise UsageError('%s.rec cannot be written (%s): %s; the same command resumes where it stopped'
                         % (prefix, error.strerror or error, remedy_for(error))) from error
    return len(items)


def _size(where, name):
    try:
        return archives.size_of(where)
    except OSError as error:
        raise _unreadable(name, error) from error


def _is_done(prefix, plan):
    rec = prefix + '.rec'
    if not os.path.isfile(prefix + '.idx') or not os.path.isfile(rec):
        return False
    facts = certificate.read(rec)
    return bool(facts) and facts['plan'] == plan and facts['bytes'] == os.path.getsize(rec)


def _publish(prefix, folder):
    """Move the whole files to their names; does what is left to do when it was cut short."""
    if os.path.exists(os.path.join(folder, '.rec')):
        for suffix in ('.idx', '.certificate.json', '.lst'):  # they belong to the old records
            if os.path.exists(prefix + suffix):
                os.remove(prefix + suffix)
    for suffix in _FILES:
        if os.path.exists(os.path.join(folder, suffix)):
            os.replace(os.path.join(folder, suffix), prefix + suffix)
    sync(os.path.dirname(prefix))


def _unreadable(name, error):
    return UsageError('%s cannot be read (%s): make it readable, or take it out'
                      % (name, getattr(error, 'strerror', None) or error))


# ---------------------------------------------------------------------------------------------------------------------
# All shards, into one file

def _make(packing, prefix, folder, plan, processes, progress):
    """The four files in the folder, then the mark ``whole``."""
    order = packing.order()
    shards, sha256 = _make_shards(packing, order, prefix, folder, processes, progress)
    sizes = [size for facts in shards for size in facts['sizes']]
    labels = np.array([packing.items[place][1] for place in order], 'float64')
    idx = index_bytes(sizes)
    lst = list_bytes(zip(range(len(order)), labels, (packing.items[place][2] for place in order)))
    num_classes = len(packing.classes) if packing.classes is not None else int(labels.max()) + 1
    facts = {
        'images': len(order), 'num_classes': num_classes,
        'class_counts': np.bincount(labels.astype('int64').clip(0), minlength=num_classes).tolist(),
        'classes': packing.classes, 'classes_sha256': certificate.classes_sha256(packing.classes), 'bytes': sum(sizes),
        'sha256': sha256, 'index_sha256': hashlib.sha256(idx).hexdigest(),
        'list_sha256': hashlib.sha256(lst).hexdigest(), 'resize': packing.resize, 'quality': packing.quality,
        'quirks': {kind: sorted(name for shard in shards for name in shard[kind]) for kind in ('png', 'cmyk')},
        'seed': packing.seed if packing.shuffle else None, 'source': packing.source, 'plan': plan, 'decoder': None,
    }
    write_whole(os.path.join(folder, '.idx'), idx)
    write_whole(os.path.join(folder, '.lst'), lst)
    write_whole(os.path.join(folder, '.certificate.json'), certificate.to_bytes(facts))
    write_whole(os.path.join(folder, 'whole'), b'')


def _make_shards(packing, order, prefix, folder, processes, progress):
    """([facts of each shard], SHA-256 of the records), once the record file in the folder is whole."""
    cuts = _cuts([packing.sizes[place] for place in order])
    shards = {number: _read_shard(folder, number) for number in range(len(cuts) - 1)}
    digest = hashlib.sha256()
    open(_growing(folder), 'ab').close()
    # No buffer: what others have written since would not be seen in it.
    with open(_growing(folder), 'r+b', buffering=0) as stream, tqdm(
            total=len(order), desc=os.path.basename(prefix), unit='img', disable=not progress, file=sys.stderr) as bar:
        for number, facts in shards.items():  # those of an earlier run; a power cut may have taken what they tell of
            if facts and _crc(_blocks(stream, facts)) != facts['crc']:
                shards[number] = None
        _write_ends(folder, shards)
        missing = [number for number in shards if not shards[number]]
        tasks = ((folder, number, [(int(key),) + tuple(packing.items[order[key]])
                                   for key in range(cuts[number], cuts[number + 1])], packing.resize, packing.quality)
                 for number in missing)
        with contextlib.closing(ordered(write_shard, tasks, min(processes, len(missing)))) as made:
            for number in shards:
                shards[number] = shards[number] or next(made)
                for block in _blocks(stream, shards[number]):
                    digest.update(block)
                bar.update(len(shards[number]['sizes']))
        stream.truncate(sum(sum(facts['sizes']) for facts in shards.values()))
        os.fsync(stream.fileno())
    return list(shards.values()), digest.hexdigest()


def _cuts(sizes):
    """The places where shards begin and, last, end, for the sizes of the images in their order."""
    cuts, images, total = [0], 0, 0
    for place, size in enumerate(sizes):
        if images == SHARD or images and total + size > SHARD_BYTES:
            cuts.append(place)
            images = total = 0
        images, total = images + 1, total + size
    return cuts + [len(sizes)]


def _blocks(stream, facts, size=1 << 20):
    """Generator of the bytes of a finished shard."""
    stream.seek(facts['start'])
    left = sum(facts['sizes'])
    while left:
        block = stream.read(min(size, left))
        if not block:
            return
        left -= len(block)
        yield block


def _crc(blocks):
    crc = 0
    for block in blocks:
        crc = zlib.crc32(block, crc)
    return crc


# ---------------------------------------------------------------------------------------------------------------------
# One shard

def _growing(folder):
    return os.path.join(folder, '.rec')


def _ends(folder):
    return os.path.join(folder, 'ends.partial')


def _facts_path(folder, number):
    return os.path.join(folder, f'{number:06d}.json')


def _read_shard(folder, number):
    """The facts of a shard that was finished, else None."""
    try:
        with open(_facts_path(folder, number), 'rb') as stream:
            return json.loads(stream.read().decode('utf-8', 'surrogateescape'))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _write_ends(folder, shards):
    """A table, for all of the pool, of where each shard ends, with a zero before it; they fill it (see `_start`)."""
    ends = np.full(len(shards) + 1, _UNKNOWN, 'int64')
    ends[0] = 0
    for number, facts in shards.items():
        if facts:
            ends[number:number + 2] = facts['start'], facts['start'] + sum(facts['sizes'])
    write_whole(_ends(folder), ends.tobytes(), sync=False)


def write_shard(folder, number, items, resize, quality):
    """Write the records of `items` = [(key, where, label, name)], shard `number`, to their place; returns its facts.

    Facts: where it starts, the records' sizes, a checksum, and the names of images that are not what they are called.
    """
    ends = np.memmap(_ends(folder), 'int64', 'r+')
    images, quirks, end = {}, {'png': [], 'cmyk': []}, _FAILED
    try:
        for key, where, _, name in sorted(items, key=lambda item: archives.where(item[1])):  # as they lie on the disk
            images[key] = _image(where, name, resize, quality, quirks)
        made = [record_pieces(key, label, images.pop(key)) for key, _, label, _ in items]
        sizes = [sum(map(len, each)) for each in made]
        start = _start(ends, number)
        if ends[number + 1] not in (_UNKNOWN, start + sum(sizes)):
            raise UsageError(f'an image from {items[0][3]} to {items[-1][3]} has changed since this was begun: remove '
                             f'{folder} and start again')
        end = start + sum(sizes)
    finally:
        ends[number + 1] = end  # the shard behind may be waiting for it, even if there is none
    pieces = [piece for each in made for piece in each]
    with open(_growing(folder), 'r+b') as stream:
        stream.seek(start)
        stream.writelines(pieces)
    facts = dict(quirks, start=start, sizes=sizes, crc=_crc(pieces))
    write_whole(_facts_path(folder, number), json.dumps(facts).encode('utf-8', 'surrogateescape'), sync=False)
    return facts


def _start(ends, number):
    """The place where a shard starts. It may be about to be told by the process that makes the shard before."""
    while ends[number] == _UNKNOWN:
        time.sleep(0.001)
    if ends[number] == _FAILED:
        raise UsageError('an image of the shard before cannot be packed')
    return int(ends[number])


def _image(where, name, resize, quality, quirks):
    """The bytes of an image as they go into its record; notes what is strange about it."""
    try:
        content = archives.read(where)
    except OSError as error:
        raise _unreadable(name, error) from error
    problem = UsageError('%s is %s, not a JPEG or PNG image: replace it, or take it out'
                         % (name, 'empty' if not content else 'another kind of file'))
    if not is_image(content):
        raise problem
    if size_problem(content):
        raise UsageError(f'{name} {size_problem(content)}: scale it down, or take it out')
    if (frame(content) or (0, 0, 0))[2] not in (1, 3):
        from PIL import Image
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of huge sizes and odd tags
                image = Image.open(io.BytesIO(content))
        except Exception as error:  # Pillow has many kinds for a header that is none
            raise problem from error
        if image.format == 'PNG' and not name.lower().endswith('.png'):
            quirks['png'].append(name)
        if image.mode == 'CMYK':
            quirks['cmyk'].append(name)
    return _encode(content, name, resize, quality or 95) if resize or quality else content


def _encode(content, name, resize, quality):
    """The image as a JPEG, its short side brought to `resize`: the bytes that MXNet's im2rec makes."""
    import cv2
    cv2.setNumThreads(1)  # there is a process for each core
    try:
        pixels = cv2.imdecode(np.frombuffer(content, 'uint8'), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UsageError(f'{name} cannot be decoded: replace it, or take it out')
    if resize:
        height, width = (side * resize // min(pixels.shape[:2]) for side in pixels.shape[:2])
        if max(width, height) > _LONGEST:
            raise UsageError(f'{name} would be {width} x {height} pixels, and a JPEG has at most {_LONGEST}: lower '
                             '--resize, or take it out')
        pixels = cv2.resize(pixels, (width, height))
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
