"""``python -m gluon_tricks verify``: every byte of a record file looked at, every image decoded, and a certificate.

The walk finds what is wrong with the index, the records, their labels and their ids. Images are decoded by Pillow,
which does not accept a truncated JPEG; MXNet and OpenCV do, silently. A file that has a certificate is compared to it.
"""
import collections
import hashlib
import io
import json
import os
import sys
import threading
import warnings

import numpy as np
from tqdm import tqdm

from gluon_tricks.cores import available_cores
from gluon_tricks.data import certificate
from gluon_tricks.data.records import content_of, head_of, read_index, record
from gluon_tricks.data.workers import ordered
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.files import write_whole

_TASK = 256  # records that a process looks at in one go
_SHOWN = 100  # problems that are printed
_MANY_CLASSES = 10000000  # a label beyond this is no class, whatever the others are

Problem = collections.namedtuple('Problem', 'key name offset what')  # None where it is of the whole file
Looked = collections.namedtuple('Looked', 'label key kind problem')  # of one record


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
    """[Looked] of the records that fill the blocks [(begin, end)] of the file."""
    with open(rec, 'rb') as stream:
        results = []
        for begin, end in blocks:
            stream.seek(begin)
            results.append(_look(stream.read(end - begin)))
        return results


def _look(block):
    try:
        content = content_of(block)
        head = head_of(content)
    except ValueError as error:
        return Looked(None, None, None, str(error))
    try:
        kind = _decode(content[head.start:])
    except ValueError as error:
        return Looked(head.label, head.key, None, str(error))
    return Looked(head.label, head.key, kind, None)


def _decode(image):
    """'', 'png' or 'cmyk', the kind of an image that decodes without a fault. Raises ValueError, with what is wrong."""
    from PIL import Image, ImageFile
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # GluonCV switches it on for everyone
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of huge sizes and odd tags
            opened = Image.open(io.BytesIO(image))
            kind = 'png' if opened.format == 'PNG' else 'cmyk' if opened.mode == 'CMYK' else ''
            opened.load()
            return kind
    except Exception as error:  # a damaged file raises whatever the decoder ran into
        raise ValueError('is an image that cannot be decoded (%s)' % (str(error) or type(error).__name__)) from error


def decoder():
    """What decodes, with its version."""
    import PIL
    from PIL import features
    return 'Pillow %s, libjpeg %s' % (PIL.__version__, features.version('libjpeg_turbo') or features.version('jpg'))


# ---------------------------------------------------------------------------------------------------------------------
# The file

def verify(rec, idx=None, num_classes=None, processes=1, drop=None, progress=False):
    """(problems, facts of the certificate) of a record file; writes the certificate when there is no problem.

    Without NAME.lst one is written as well: with it, a label that changes later has a name. drop: also write the
    records without a problem to this file, with keys from 0 on and a certificate. Raises UsageError for a file that
    is missing or cannot be read or written.
    """
    idx = idx or os.path.splitext(rec)[0] + '.idx'
    for path in (rec, idx):
        if not os.path.isfile(path):
            raise UsageError('%s is missing: give the record file; its index lies beside it' % path)
    if drop and os.path.exists(drop):
        raise UsageError('--drop %s is there already: choose a new name' % drop)
    try:
        return _verify(rec, idx, num_classes, processes, drop, progress)
    except OSError as error:
        raise UsageError('%s cannot be read, or what is made of it written (%s)'
                         % (rec, error.strerror or error)) from error


def _verify(rec, idx, num_classes, processes, drop, progress):
    old = certificate.read(rec)
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
    begins = offsets[rows]
    ends = np.append(begins[1:], size)
    if len(rows) and begins[0] != 0:
        problems.append(Problem(None, None, 0, 'the first record is not in the index'))
    digests = {}
    hashing = threading.Thread(target=_digest_file, args=(rec, digests))
    hashing.start()
    tasks = [(rec, list(zip(begins[at:at + _TASK].tolist(), ends[at:at + _TASK].tolist())))
             for at in range(0, len(rows), _TASK)]
    looked = []
    with tqdm(total=len(rows), desc=os.path.basename(rec), unit='img', disable=not progress, file=sys.stderr) as bar:
        for results in ordered(look, tasks, min(processes, len(tasks))):
            looked += results
            bar.update(len(results))
    hashing.join()
    if 'error' in digests:
        raise digests['error']

    good = []
    num_classes = num_classes or (old or {}).get('num_classes') or None
    ids_are_keys = bool(old) or 2 * sum(each.key == keys[row] for row, each in zip(rows, looked)) > len(rows)
    for row, each in zip(rows, looked):
        what = each.problem or _label_problem(each, int(keys[row]), num_classes, listed, ids_are_keys)
        if what:
            add(row, what)
        else:
            good.append((int(row), each))
    counts = _count_classes(good, num_classes, problems)
    index_digest = _digest(idx)
    if old:
        _compare(old, digests['sha256'], index_digest, list_digest, len(rows), problems, rec)

    facts = dict(old or {'resize': None, 'quality': None, 'seed': None, 'source': {}, 'plan': None, 'classes': None,
                         'classes_sha256': None})
    facts.update(images=len(good), num_classes=len(counts), class_counts=counts, bytes=size, sha256=digests['sha256'],
                 index_sha256=index_digest, list_sha256=list_digest, decoder=decoder(), quirks={
                     'png': _named(good, keys, names, lambda name, each: each.kind == 'png' and not
                                   name.lower().endswith('.png')),
                     'cmyk': _named(good, keys, names, lambda name, each: each.kind == 'cmyk')})
    if drop:
        _drop(rec, [(int(offsets[row]), names.get(int(keys[row]), 'record%d' % keys[row]), each) for row, each in good],
              dict(zip(begins.tolist(), ends.tolist())), drop, facts)
    if problems:
        return sorted(problems, key=lambda problem: (problem.offset is None, problem.offset or 0)), facts
    if list_digest is None:
        facts['list_sha256'] = _write_list(rec, [(int(keys[row]), each.label, 'record%d' % keys[row])
                                                 for row, each in good])
    write_whole(certificate.path_of(rec), certificate.to_bytes(facts))
    return [], facts


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


def _label_problem(each, key, num_classes, listed, ids_are_keys):
    if each.label != int(each.label) or each.label < 0:
        return 'has the label %g, which is no class' % each.label
    if each.label >= (num_classes or _MANY_CLASSES):
        return 'has the label %d, beyond %d classes' % (each.label, num_classes or _MANY_CLASSES)
    if ids_are_keys and each.key != key:
        return 'has the id %d: the index points to another record, or the id was changed' % each.key
    if key in listed and listed[key] != each.label:
        return 'has the label %d, its list says %g' % (each.label, listed[key])
    return None


def _count_classes(good, num_classes, problems):
    """Images of each class; a class without any is a problem."""
    labels = np.array([int(each.label) for _, each in good], 'int64')
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


def _named(good, keys, names, wanted):
    named = ((names.get(int(keys[row]), 'record%d' % keys[row]), each) for row, each in good)
    return sorted(name for name, each in named if wanted(name, each))


def _write_list(rec, entries):
    """NAME.lst of [(key, label, name)]; returns its digest."""
    content = ''.join('%d\t%f\t%s\n' % entry for entry in entries).encode('utf-8', 'surrogateescape')
    write_whole(os.path.splitext(rec)[0] + '.lst', content)
    return hashlib.sha256(content).hexdigest()


def _digest(path):
    found = {}
    _digest_file(path, found)
    if 'error' in found:
        raise found['error']
    return found['sha256']


def _digest_file(path, found):
    digest = hashlib.sha256()
    try:
        with open(path, 'rb') as stream:
            for block in iter(lambda: stream.read(2 ** 20), b''):
                digest.update(block)
        found['sha256'] = digest.hexdigest()
    except OSError as error:
        found['error'] = error


def _drop(rec, entries, ends, out, facts):
    """OUT.rec, .idx, .lst and, when no class is empty, .certificate.json of entries [(offset, name, Looked)]."""
    stem, digest, place = os.path.splitext(out)[0], hashlib.sha256(), 0
    index = []
    with open(rec, 'rb') as stream, open(out + '.partial', 'wb') as copy:
        for key, (offset, _, each) in enumerate(entries):
            stream.seek(offset)
            content = content_of(stream.read(ends[offset] - offset))
            block = record(key, each.label, content[head_of(content).start:])
            copy.write(block)
            digest.update(block)
            index.append('%d\t%d\n' % (key, place))
            place += len(block)
        copy.flush()
        os.fsync(copy.fileno())
    list_digest = _write_list(out, [(key, each.label, name) for key, (_, name, each) in enumerate(entries)])
    index = ''.join(index).encode()
    os.replace(out + '.partial', out)
    if entries and min(facts['class_counts']) > 0:
        write_whole(certificate.path_of(out), certificate.to_bytes(dict(
            facts, bytes=place, sha256=digest.hexdigest(), list_sha256=list_digest, plan=None,
            index_sha256=hashlib.sha256(index).hexdigest())))
    write_whole(stem + '.idx', index)


# ---------------------------------------------------------------------------------------------------------------------
# The command

def main(argv):
    """Verify, print what is wrong; returns the exit code: 0, or 1 where anything is wrong."""
    arguments = parser().parse_args(argv)
    for name in ('processes', 'num_classes'):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UsageError('--%s %d must be at least 1' % (name.replace('_', '-'), getattr(arguments, name)))
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
        return problem.what if problem.offset is None else 'offset %d: %s' % (problem.offset, problem.what)
    return 'record %d%s at offset %d %s' % (problem.key, ' (%s)' % problem.name if problem.name else '',
                                           problem.offset, problem.what)
