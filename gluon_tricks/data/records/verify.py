"""``python -m gluon_tricks verify``: every byte of a record file looked at, every image decoded, and a certificate.

The walk finds what is wrong with the index, the records, their labels and their ids. Images are decoded by Pillow,
which does not accept a truncated JPEG; MXNet and OpenCV do, silently. What Pillow accepts in silence, a hole or a cut
that ends as a JPEG should, libjpeg warns of, and OpenCV lets its warnings through: they are a second opinion. A file
that has a certificate is compared to it.
"""
import bisect
import collections
import contextlib
import hashlib
import json
import os
import re
import sys
import tempfile
import threading

import numpy as np
from tqdm import tqdm

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.cores import available_cores
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.images import open_whole
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.data.records.record_file import (
    NO_END,
    find_start,
    head_of,
    label_problem,
    read_index,
    read_record,
    record,
    starts,
    walk,
)
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.files import check_writable, file_digest, unwritable, write_whole

_TASK = 256  # records that a process looks at in one go
_SHOWN = 100  # problems that are printed

_FILES = ('.rec', '.idx', '.lst', '.certificate.json')
# What libjpeg says of codes that are missing or wrong.
_DAMAGE = ('Corrupt JPEG data: ', 'Premature end of JPEG file', 'Inconsistent progression sequence')

Problem = collections.namedtuple('Problem', 'key name offset what')  # None where it is of the whole file
# Of one record: end, where it ends by its own length (None: it has none); warning, what libjpeg said of its image.
Looked = collections.namedtuple('Looked', 'end label key kind problem warning')


def parser():
    result = Parser(prog='python -m gluon_tricks verify', description=__doc__.split('``: ')[1].split('\n\n')[0])
    result.add_argument('rec', metavar='FILE.rec', help='record file; FILE.idx lies beside it, FILE.lst as well if any')
    result.add_argument('--idx', help='its index (default: FILE.idx)')
    result.add_argument('--num-classes', type=int, help='labels are below this (default: the certificate\'s)')
    result.add_argument('--drop', metavar='OUT.rec', help='write a copy without the records that are bad')
    result.add_argument('--processes', type=int, help='processes that decode (default: all cores)')
    result.add_argument('--json', action='store_true', help='print the result as JSON')
    return result


# ---------------------------------------------------------------------------------------------------------------------
# One record

def look(rec, blocks):
    """[Looked] of the records that begin at `begin`, the next one at `following`, for each of the blocks of the file.

    blocks: [(begin, following)]; what a record says of its own length decides where it ends.
    """
    size = os.path.getsize(rec)
    with open(rec, 'rb') as stream, _libjpeg() as warnings_of:
        return [_look(stream, begin, following, size, warnings_of) for begin, following in blocks]


def _look(stream, begin, following, size, warnings_of):
    end = label = key = None
    try:
        content, end = _read(stream, begin, following, size)
        label, key, start = head_of(content)
        kind, warning = _decode(content[start:], warnings_of)
        return Looked(end, label, key, kind, None, warning)
    except ValueError as error:
        if end is not None and end < size and not starts(stream, end):
            return Looked(None, label, key, None, NO_END, None)  # of the two it is the length that explains the other
        return Looked(end, label, key, None, str(error), None)


def _read(stream, begin, following, size):
    """(content, end) of a record, beyond `following` only if no record begins there: a wrong line of the index."""
    try:
        return read_record(stream, begin, following)
    except ValueError:
        if following == size or starts(stream, following):
            raise
        return read_record(stream, begin, size)


def _decode(image, warnings_of):
    """(kind, warning): '', 'png' or 'cmyk', and what libjpeg says that is damaged, or None, of an image that decodes.

    Raises ValueError, with what is wrong.
    """
    opened = open_whole(image)
    kind = 'png' if opened.format == 'PNG' else 'cmyk' if opened.mode == 'CMYK' else ''
    return kind, _damage(warnings_of(image), image)


@contextlib.contextmanager
def _libjpeg():
    """Gives a function: the lines that libjpeg, in OpenCV, writes to stderr when it decodes an image (bytes).

    Pillow has its libjpeg say nothing. Raises ValueError for an image that OpenCV, and so MXNet, cannot decode. While
    this is open, stderr of the whole process goes to a file without a name. libjpeg tells an image's first warning.
    """
    import cv2

    def warnings_of(image):
        said.seek(0)
        said.truncate()
        try:  # every code of the image is read; to make an eighth of its pixels is enough for that
            pixels = cv2.imdecode(np.frombuffer(image, 'uint8'), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except cv2.error:  # of more pixels than OpenCV allows, for one
            pixels = None
        if pixels is None:
            raise ValueError('is an image that Pillow decodes, but OpenCV, and so MXNet, cannot')
        said.seek(0)
        return said.read().decode('utf-8', 'replace').splitlines()

    with tempfile.TemporaryFile() as said:
        if sys.stderr:
            sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield warnings_of
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _damage(lines, image):
    """The warning of libjpeg that tells of damage, None where there is none.

    Other warnings, such as of an unknown JFIF revision, change no pixel. Nor do bytes too many in front of a marker of
    the head, or one value repeated behind the last code, with which some cameras fill up; anything else there is what
    is left over when codes were lost.
    """
    for line in lines:
        if line.startswith(_DAMAGE):
            extra = re.match(r'Corrupt JPEG data: (\d+) extraneous bytes before marker 0x(\w\w)', line)
            if not extra or not _harmless(image, int(extra.group(1)), int(extra.group(2), 16)):
                return line
    return None


def _harmless(image, number, marker):
    if marker == 0xd9:
        end = image.rfind(b'\xff\xd9')
        return len(set(image[max(end - number, 0):end])) <= 1
    # Restarts and scans have codes in front of them; so have the tables (0xc4) of a progressive JPEG (0xc2).
    return not 0xd0 <= marker <= 0xda and (marker != 0xc4 or b'\xff\xc2' not in image)


def _strict():
    """Whether this OpenCV tells libjpeg's warnings: tried with a JPEG that is cut, and ends as it should."""
    import cv2
    pixels = np.arange(64 * 64, dtype='uint8').reshape(64, 64) ** 2
    image = cv2.imencode('.jpg', pixels)[1].tobytes()
    with _libjpeg() as warnings_of:
        return bool(_damage(warnings_of(image[:len(image) * 3 // 4] + b'\xff\xd9'), image))


def decoder():
    """What decodes, with its version; OpenCV only where libjpeg's warnings can be had from it."""
    import cv2
    import PIL
    from PIL import features
    pillow = 'Pillow %s, libjpeg %s' % (PIL.__version__,
                                        features.version('libjpeg_turbo') or features.version('jpg'))
    return pillow + (', warnings by OpenCV %s' % cv2.__version__ if _strict() else '')


# ---------------------------------------------------------------------------------------------------------------------
# The file

def verify(rec, idx=None, num_classes=None, processes=1, drop=None, progress=False):
    """(problems, facts of the certificate) of a record file; writes the certificate when there is no problem.

    Without NAME.lst one is written as well: with it, a label that changes later has a name. drop: also write the
    records without a problem to this file, with keys from 0 on and a certificate. Raises UsageError for a file that
    is missing or cannot be read or written.
    """
    stem = os.path.splitext(rec)[0]
    idx = idx or stem + '.idx'
    for path in (rec, idx):
        if not os.path.isfile(path):
            raise UsageError('%s is missing: give the record file; its index lies beside it' % path)
    check_writable(certificate.path_of(rec), 'make the directory writable, or link to the records and their index from '
                                             'one that is')
    if drop:
        _check_drop(drop, (stem, os.path.splitext(idx)[0]))
    try:
        return _verify(rec, idx, num_classes, processes, drop, progress)
    except OSError as error:
        raise UsageError('%s cannot be read (%s): make it readable, or copy it to another disk'
                         % (error.filename or rec, error.strerror or error)) from error


def _check_drop(out, stems):
    """Raise UsageError unless OUT.rec and what lies beside it are all new, and not what is read."""
    stem = os.path.splitext(out)[0]
    if not out.endswith('.rec') or out == '.rec':
        raise UsageError('--drop %s must end with .rec: the index, the list and the certificate lie beside it' % out)
    for path in (stem + suffix for suffix in _FILES):
        if os.path.lexists(path):
            raise UsageError('--drop %s: %s is there already: choose a new name' % (out, path))
    if os.path.realpath(stem) in map(os.path.realpath, stems):
        raise UsageError('--drop %s would lie beside the records that are read, by their name: choose a new one' % out)
    check_writable(out, 'give --drop a file in a directory that is there and can be written')


def _verify(rec, idx, num_classes, processes, drop, progress):
    old = certificate.read(rec)
    if old and num_classes and num_classes != old['num_classes']:
        raise UsageError('--num-classes %d: the certificate of %s says %d; leave it out, or remove %s'
                         % (num_classes, rec, old['num_classes'], certificate.path_of(rec)))
    problems, size = [], os.path.getsize(rec)
    names, listed, list_digest = _read_list(os.path.splitext(rec)[0] + '.lst', problems)
    try:
        keys, offsets = read_index(idx)
    except UsageError as error:
        return [Problem(None, None, None, str(error))], None

    def add(row, what):
        key = int(keys[row])
        problems.append(Problem(key, names.get(key), int(offsets[row]), what))

    rows = _usable_rows(keys, offsets, size, add)
    with _hashing(rec) as digest_of_rec:
        with tqdm(total=len(rows), desc=os.path.basename(rec), unit='img', disable=not progress,
                  file=sys.stderr) as bar:
            begins = offsets[rows].tolist()
            looked = _look_at(rec, list(zip(begins, begins[1:] + [size])), processes, bar)
            strays, rests = _strays(rec, looked, size)
            bar.total += len(strays)
            strays = _look_at(rec, strays, processes, bar)
        digest = digest_of_rec()

    # An image that libjpeg warns of is damaged, unless this is byte for byte what was packed from published archives.
    published = bool(old) and old['sha256'] == digest and any(old['source'].values())
    num_classes = num_classes or (old or {}).get('num_classes') or None
    ids_are_keys = bool(old) or 2 * sum(looked[int(offsets[row])].key == keys[row] for row in rows) > len(rows)
    good = []  # [(offset, key, name, Looked)]
    for row in rows:
        key, offset = int(keys[row]), int(offsets[row])
        each = looked[offset]
        what = _image_problem(each, published) or _label_problem(each, key, num_classes, listed, ids_are_keys)
        if what:
            add(row, what)
        else:
            good.append((offset, key, names.get(key, 'record%d' % key), each))
    for offset, each in strays.items():
        key = each.key if ids_are_keys and each.key is not None else None
        name = names.get(key) or (None if key is None else 'record%d' % key)
        what = _image_problem(each, published) or _label_problem(each, key, num_classes, listed, False)
        problems.append(Problem(None, name, offset, 'a record at offset %d is not in the index%s%s' % (
            offset, ' (%s)' % name if name else '', ', and ' + what if what else '')))
        if not what:
            good.append((offset, key, name or 'at%d' % offset, each))
    problems += [Problem(None, None, place, 'the %d bytes at offset %d are no record' % (number, place))
                 for place, number in rests]
    good.sort(key=lambda entry: entry[0])

    counts = _count_classes(good, num_classes, problems)
    index_digest = file_digest(idx)
    if old:
        _compare(old, digest, index_digest, list_digest, len(rows), problems, rec)
    facts = dict(old or {'resize': None, 'quality': None, 'seed': None, 'source': {}, 'plan': None, 'classes': None,
                         'classes_sha256': None})
    facts.update(images=len(good), num_classes=len(counts), class_counts=counts, bytes=size, sha256=digest,
                 index_sha256=index_digest, list_sha256=list_digest, decoder=decoder(), quirks=_quirks(old, good))
    if drop:
        _drop(rec, good, drop, facts)
    if problems:
        return sorted(problems, key=lambda problem: (problem.offset is None, problem.offset or 0)), facts
    try:
        if list_digest is None:
            facts['list_sha256'] = _write_list(rec, [(key, each.label, name) for _, key, name, each in good])
        write_whole(certificate.path_of(rec), certificate.to_bytes(facts))
    except OSError as error:
        raise unwritable(certificate.path_of(rec), error, 'free space, and start the same command again') from error
    return [], facts


def _look_at(rec, blocks, processes, bar):
    """{begin: Looked} of the records in blocks [(begin, following)], in their order."""
    tasks = [(rec, blocks[at:at + _TASK]) for at in range(0, len(blocks), _TASK)]
    looked = []
    for results in ordered(look, tasks, min(processes, len(tasks))):
        looked += results
        bar.update(len(results))
    return {begin: each for (begin, _), each in zip(blocks, looked)}


def _strays(rec, looked, size):
    """([(begin, end)], [(place, number)]): records that no line of the index leads to, and bytes that are no record.

    They are looked for in the gaps that the records of `looked` leave, and follow each other by their own lengths;
    behind bytes that are no record the next magic number is where one may begin.
    """
    gaps, place = [], 0
    for begin, end in [(begin, each.end) for begin, each in looked.items() if each.end is not None] + [(size, size)]:
        if begin > place:
            gaps.append((place, begin))
        place = max(place, end)
    begins, strays, rests = list(looked), [], []
    with open(rec, 'rb') as stream:
        for place, end in gaps:
            while place < end:
                found, rest = walk(stream, place, end)
                strays += [each for each in found if each[0] not in looked]
                place = find_start(stream, rest + 4, end) if rest < end else end
                # Where a line of the index leads to, something was said already.
                named = bisect.bisect_left(begins, rest) < bisect.bisect_left(begins, place) or \
                    (found and found[-1][0] in looked)
                if rest < place and not named:
                    rests.append((rest, place - rest))
    return strays, rests


def _usable_rows(keys, offsets, size, add):
    """Rows of the index that can be followed, in the order of the file; says what is wrong with the others."""
    usable, seen_keys, seen_offsets = [], set(), set()
    for row in np.argsort(offsets, kind='stable').tolist():
        key, offset = int(keys[row]), int(offsets[row])
        what = ('begins beyond the end of the file (%d bytes)' % size if offset + 8 > size else
                'does not begin at a multiple of 4' if offset % 4 else
                'has a place in the index that another record has' if offset in seen_offsets else
                'has a key that stands in the index twice' if key in seen_keys else None)
        seen_keys.add(key)
        seen_offsets.add(offset)
        if what:
            add(row, what)
        if not what or what.startswith('has a key'):
            usable.append(row)
    return np.array(usable, 'int64')


def _image_problem(each, published):
    if each.warning and not published:
        return 'is an image that libjpeg finds damaged (%s)' % each.warning
    return each.problem


def _label_problem(each, key, num_classes, listed, ids_are_keys):
    if label_problem(each.label, num_classes):
        return label_problem(each.label, num_classes)
    if ids_are_keys and each.key != key:
        return 'has the id %d: the index points to another record, or the id was changed' % each.key
    if key in listed and listed[key] != each.label:
        return 'has the label %d, its list says %g' % (each.label, listed[key])
    return None


def _count_classes(good, num_classes, problems):
    """Images of each class; a class without any is a problem."""
    labels = np.array([int(each.label) for *_, each in good], 'int64')
    counts = np.bincount(labels, minlength=num_classes or 0).tolist()
    empty = [label for label, number in enumerate(counts) if not number]
    if empty:
        problems.append(Problem(None, None, None, '%d of %d classes have no images: %s%s' % (
            len(empty), len(counts), ', '.join(map(str, empty[:10])), ', ...' if len(empty) > 10 else '')))
    return counts


def _compare(old, digest, index_digest, list_digest, images, problems, rec):
    """What differs from the certificate and has no name yet."""
    if old['images'] != images:
        problems.append(Problem(None, None, None, 'the index has %d records, the certificate %d'
                                % (images, old['images'])))
    for what, field, found in (('records', 'sha256', digest), ('index', 'index_sha256', index_digest),
                               ('list', 'list_sha256', list_digest)):
        if old.get(field) and found and old[field] != found:
            problems.append(Problem(None, None, None, 'the bytes of the %s are not those that were certified (SHA-256 '
                                    '%s, not %s); if they were made anew, remove %s'
                                    % (what, found[:12], old[field][:12], certificate.path_of(rec))))


# ---------------------------------------------------------------------------------------------------------------------
# Files beside the records

def _read_list(path, problems):
    """({key: name}, {key: label}, digest) of NAME.lst; all empty without one."""
    names, labels = {}, {}
    try:
        with open(path, 'rb') as stream:
            content = stream.read()
    except FileNotFoundError:
        return names, labels, None
    for number, line in enumerate(content.decode('utf-8', 'surrogateescape').split('\n')[:-1], 1):
        words = line.split('\t')
        try:
            if len(words) == 3:
                names[int(words[0])], labels[int(words[0])] = words[2], float(words[1])
                continue
        except ValueError:
            pass
        problems.append(Problem(None, None, None, '%s line %d is not KEY<tab>LABEL<tab>NAME' % (path, number)))
        break
    return names, labels, hashlib.sha256(content).hexdigest()


def _quirks(old, good):
    """What is strange about the images of `good`: {'png': [name], 'cmyk': [name]}, and 'warned' where libjpeg warns.

    Of images that were encoded anew, `prepare` noted what their sources were.
    """
    if old and (old['resize'] or old['quality']):
        names = {name for _, _, name, _ in good}
        return {kind: [name for name in found if name in names] for kind, found in old['quirks'].items()}
    quirks = {'png': sorted(name for _, _, name, each in good
                            if each.kind == 'png' and not name.lower().endswith('.png')),
              'cmyk': sorted(name for _, _, name, each in good if each.kind == 'cmyk')}
    warned = sorted('%s: %s' % (name, each.warning) for _, _, name, each in good if each.warning)
    return dict(quirks, warned=warned) if warned else quirks


def _write_list(rec, entries):
    """NAME.lst of [(key, label, name)]; returns its digest."""
    content = ''.join('%d\t%f\t%s\n' % entry for entry in entries).encode('utf-8', 'surrogateescape')
    write_whole(os.path.splitext(rec)[0] + '.lst', content)
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _hashing(path):
    """Gives a function that waits for a file's SHA-256, which a thread reads meanwhile; leaving ends the thread."""
    found, stop = {}, threading.Event()

    def run():
        try:
            found['sha256'] = file_digest(path, stop)
        except OSError as error:
            found['error'] = error

    def result():
        thread.join()
        if 'error' in found:
            raise found['error']
        return found['sha256']

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        stop.set()


def _drop(rec, entries, out, facts):
    """OUT.rec, .idx, .lst and, when no class is empty, .certificate.json of entries [(offset, key, name, Looked)].

    What was written of them is removed when that fails (UsageError) or is interrupted.
    """
    stem = os.path.splitext(out)[0]
    partial = '%s.%d.partial' % (out, os.getpid())
    try:
        index, facts = _copy(rec, entries, partial, facts)
        facts['list_sha256'] = _write_list(out, [(key, each.label, name)
                                                 for key, (_, _, name, each) in enumerate(entries)])
        os.replace(partial, out)
        if entries and min(facts['class_counts']) > 0:
            write_whole(certificate.path_of(out), certificate.to_bytes(facts))
        write_whole(stem + '.idx', index)
    except BaseException as error:
        for path in [partial] + [stem + suffix for suffix in _FILES]:  # none of them was there before
            if os.path.exists(path):
                os.remove(path)
        if isinstance(error, OSError):
            raise unwritable(out, error, 'free space, or give --drop a file on another disk') from error
        raise


def _copy(rec, entries, path, facts):
    """(index, facts of the certificate) of the records that are written to `path`, with keys from 0 on."""
    index, digest, place = [], hashlib.sha256(), 0
    with open(rec, 'rb') as stream, open(path, 'wb') as copy:
        for key, (offset, _, _, each) in enumerate(entries):
            content, _ = read_record(stream, offset, each.end)
            block = record(key, each.label, content[head_of(content).start:])
            copy.write(block)
            digest.update(block)
            index.append('%d\t%d\n' % (key, place))
            place += len(block)
        copy.flush()
        os.fsync(copy.fileno())
    index = ''.join(index).encode()
    return index, dict(facts, bytes=place, sha256=digest.hexdigest(), plan=None,
                       index_sha256=hashlib.sha256(index).hexdigest())


# ---------------------------------------------------------------------------------------------------------------------
# The command

def main(argv):
    """Verify, print what is wrong; returns the exit code: 0, or 1 where anything is wrong."""
    arguments = parser().parse_args(argv)
    check_ranges(arguments, TrainConfig, 'num_classes')
    if arguments.processes is not None and arguments.processes < 1:
        raise UsageError('--processes %d must be at least 1' % arguments.processes)
    problems, facts = verify(arguments.rec, arguments.idx, arguments.num_classes,
                             arguments.processes or available_cores(), arguments.drop, progress=True)
    if arguments.json:
        print(json.dumps({'problems': [problem._asdict() for problem in problems], 'certificate': facts}, indent=1))
    else:
        for problem in problems[:_SHOWN]:
            print(_text(problem))
        if len(problems) > _SHOWN:
            print('... and %d more (--json lists all)' % (len(problems) - _SHOWN))
        print('%s: %d problems; no certificate' % (arguments.rec, len(problems)) if problems
              else certificate.summary(arguments.rec))
        if arguments.drop and facts:
            print('%s: the %d records without a problem' % (arguments.drop, facts['images']))
    return 1 if problems else 0


def _text(problem):
    if problem.key is None:
        return problem.what
    return 'record %d%s at offset %d %s' % (problem.key, ' (%s)' % problem.name if problem.name else '',
                                           problem.offset, problem.what)
