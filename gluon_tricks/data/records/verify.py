"""``python -m gluon_tricks verify``: Check every byte of a record file, decode every image, and write a certificate.

The walk finds what is wrong with the index, the records, their labels and their ids; `verify_record` looks at each
record. A file that has a certificate is compared to it. `clean_copy` writes the copy that --drop asks for.
"""
import bisect
import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import threading
from typing import Dict, List, Optional, Tuple

import numpy as np
from tqdm import tqdm

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.cores import available_cores
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.clean_copy import check_new, write_copy
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.data.records.record_file import find_start, label_problem, list_bytes, read_index, walk
from gluon_tricks.data.records.verify_record import Looked, decoder, look
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.files import check_writable, file_digest, unwritable, write_whole

_TASK = 256  # records that a process looks at in one go
_SHOWN = 100  # problems that are printed

Problem = collections.namedtuple('Problem', 'key name offset what')  # None where it is of the whole file
Record = collections.namedtuple('Record', 'offset key name looked')  # one without a problem


@dataclasses.dataclass(frozen=True)
class Listed:
    """NAME.lst: {key: name}, {key: label} and the file's SHA-256; empty, and None, without one."""
    names: Dict[int, str]
    labels: Dict[int, float]
    sha256: Optional[str]


@dataclasses.dataclass(frozen=True)
class Found:
    """All that lies in a record file: what the index leads to, records that it does not lead to, and other bytes."""
    indexed: Dict[int, Looked]  # by where they begin
    strays: Dict[int, Looked]
    rests: List[Tuple[int, int]]  # (place, number of bytes) that are no record
    sha256: str


@dataclasses.dataclass(frozen=True)
class Rules:
    """The facts that a record is compared with.

    published: the file is byte for byte what was packed from published archives, so what libjpeg warns of is no
    damage. labels: of the list. ids_are_keys: each record's id is its key in the index.
    """
    published: bool
    num_classes: Optional[int]
    labels: Dict[int, float]
    ids_are_keys: bool

    def problem(self, looked, key, has_line=True):
        """The fault of a record, or None. has_line: it has a line in the index, which gave the key."""
        if looked.warning and not self.published:
            return f'is an image that libjpeg finds damaged ({looked.warning})'
        if looked.problem:
            return looked.problem
        if label_problem(looked.label, self.num_classes):
            return label_problem(looked.label, self.num_classes)
        if has_line and self.ids_are_keys and looked.key != key:
            return f'has the id {looked.key}: the index points to another record, or the id was changed'
        if key in self.labels and self.labels[key] != looked.label:
            return f'has the label {looked.label}, its list says {self.labels[key]:g}'
        return None


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
            raise UsageError(f'{path} is missing: give the record file; its index lies beside it')
    check_writable(certificate.path_of(rec), 'make the directory writable, or link to the records and their index from '
                                             'one that is')
    if drop:
        check_new(drop, (stem, os.path.splitext(idx)[0]))
    try:
        return _verify(rec, idx, num_classes, processes, drop, progress)
    except OSError as error:
        raise UsageError('%s cannot be read (%s): make it readable, or copy it to another disk'
                         % (error.filename or rec, error.strerror or error)) from error


def _verify(rec, idx, num_classes, processes, drop, progress):
    old = certificate.read(rec)
    if old and num_classes and num_classes != old['num_classes']:
        raise UsageError(f'--num-classes {num_classes}: the certificate of {rec} says {old["num_classes"]}; leave it '
                         f'out, or remove {certificate.path_of(rec)}')
    problems, size = [], os.path.getsize(rec)
    listed = _read_list(os.path.splitext(rec)[0] + '.lst', problems)
    try:
        keys, offsets = read_index(idx)
    except UsageError as error:
        return [Problem(None, None, None, str(error))], None
    lines = _usable_lines(keys, offsets, size, listed.names, problems)
    found = _find_all(rec, [offset for _, offset in lines], size, processes, progress)
    rules = _rules(old, num_classes, listed, lines, found)
    records = _whole_records(lines, found, rules, listed.names, problems)

    counts = _count_classes(records, rules.num_classes, problems)
    digests = {'sha256': found.sha256, 'index_sha256': file_digest(idx), 'list_sha256': listed.sha256}
    if old:
        _compare(old, digests, len(lines), problems, rec)
    facts = dict(old or {'resize': None, 'quality': None, 'seed': None, 'source': {}, 'plan': None, 'classes': None,
                         'classes_sha256': None})
    facts.update(images=len(records), num_classes=len(counts), class_counts=counts, bytes=size, **digests,
                 decoder=decoder(), quirks=_quirks(old, records))
    if drop:
        write_copy(rec, records, drop, facts)
    if problems:
        return sorted(problems, key=lambda problem: (problem.offset is None, problem.offset or 0)), facts
    return [], _certify(rec, records, facts)


def _find_all(rec, begins, size, processes, progress):
    """The `Found` of a record file; begins: where the lines of the index lead to, in the order of the file."""
    with _hashing(rec) as digest_of_rec, tqdm(total=len(begins), desc=os.path.basename(rec), unit='img',
                                              disable=not progress, file=sys.stderr) as bar:
        indexed = _look_at(rec, list(zip(begins, begins[1:] + [size])), processes, bar)
        strays, rests = _strays(rec, indexed, size)
        bar.total += len(strays)
        return Found(indexed, _look_at(rec, strays, processes, bar), rests, digest_of_rec())


def _rules(old, num_classes, listed, lines, found):
    """The `Rules` for the records of a file; old: its certificate, or None."""
    published = bool(old) and old['sha256'] == found.sha256 and any(old['source'].values())
    same = sum(found.indexed[offset].key == key for key, offset in lines)
    return Rules(published, num_classes or (old or {}).get('num_classes') or None, listed.labels,
                 bool(old) or 2 * same > len(lines))


def _whole_records(lines, found, rules, names, problems):
    """The `Record`s without a problem, in the order of the file; the others' problems are added to `problems`."""
    records = []
    for key, offset in lines:
        looked = found.indexed[offset]
        what = rules.problem(looked, key)
        if what:
            problems.append(Problem(key, names.get(key), offset, what))
        else:
            records.append(Record(offset, key, names.get(key, f'record{key}'), looked))
    for offset, looked in found.strays.items():
        key = looked.key if rules.ids_are_keys and looked.key is not None else None
        name = names.get(key) or (None if key is None else f'record{key}')
        what = rules.problem(looked, key, has_line=False)
        problems.append(Problem(None, name, offset, 'a record at offset %d is not in the index%s%s' % (
            offset, f' ({name})' if name else '', ', and ' + what if what else '')))
        if not what:
            records.append(Record(offset, key, name or f'at{offset}', looked))
    problems += [Problem(None, None, place, f'the {number} bytes at offset {place} are not a record')
                 for place, number in found.rests]
    return sorted(records, key=lambda each: each.offset)


def _certify(rec, records, facts):
    """Write the certificate, and NAME.lst where there is none; returns the facts of the certificate."""
    try:
        if facts['list_sha256'] is None:
            content = list_bytes([(each.key, each.looked.label, each.name) for each in records])
            write_whole(os.path.splitext(rec)[0] + '.lst', content)
            facts = dict(facts, list_sha256=hashlib.sha256(content).hexdigest())
        write_whole(certificate.path_of(rec), certificate.to_bytes(facts))
    except OSError as error:
        raise unwritable(certificate.path_of(rec), error, 'free space, and start the same command again') from error
    return facts


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


def _usable_lines(keys, offsets, size, names, problems):
    """[(key, offset)] of the index that can be followed, in the order of the file; says what is wrong with others."""
    usable, seen_keys, seen_offsets = [], set(), set()
    for row in np.argsort(offsets, kind='stable').tolist():
        key, offset = int(keys[row]), int(offsets[row])
        what = (f'begins beyond the end of the file ({size} bytes)' if offset + 8 > size else
                'does not begin at a multiple of 4' if offset % 4 else
                'has a place in the index that another record has' if offset in seen_offsets else
                'has a key that is listed twice in the index' if key in seen_keys else None)
        seen_keys.add(key)
        seen_offsets.add(offset)
        if what:
            problems.append(Problem(key, names.get(key), offset, what))
        if not what or what.startswith('has a key'):
            usable.append((key, offset))
    return usable


def _count_classes(records, num_classes, problems):
    """Images of each class; a class without any is a problem."""
    labels = np.array([int(each.looked.label) for each in records], 'int64')
    counts = np.bincount(labels, minlength=num_classes or 0).tolist()
    empty = [label for label, number in enumerate(counts) if not number]
    if empty:
        problems.append(Problem(None, None, None, '%d of %d classes have no images: %s%s' % (
            len(empty), len(counts), ', '.join(map(str, empty[:10])), ', ...' if len(empty) > 10 else '')))
    return counts


def _compare(old, digests, images, problems, rec):
    """Add what differs from the certificate and has no name yet."""
    if old['images'] != images:
        problems.append(Problem(None, None, None, f'the index has {images} records, the certificate {old["images"]}'))
    for what, field in (('records', 'sha256'), ('index', 'index_sha256'), ('list', 'list_sha256')):
        if old.get(field) and digests[field] and old[field] != digests[field]:
            problems.append(Problem(None, None, None, f'the bytes of the {what} are not those that were certified '
                                                      f'(SHA-256 {digests[field][:12]}, not {old[field][:12]}); if '
                                                      f'they were made anew, remove {certificate.path_of(rec)}'))


# ---------------------------------------------------------------------------------------------------------------------
# Files beside the records

def _read_list(path, problems):
    """The `Listed` of NAME.lst."""
    names, labels = {}, {}
    try:
        with open(path, 'rb') as stream:
            content = stream.read()
    except FileNotFoundError:
        return Listed(names, labels, None)
    for number, line in enumerate(content.decode('utf-8', 'surrogateescape').split('\n')[:-1], 1):
        words = line.split('\t')
        try:
            if len(words) == 3:
                names[int(words[0])], labels[int(words[0])] = words[2], float(words[1])
                continue
        except ValueError:
            pass
        problems.append(Problem(None, None, None, f'{path} line {number} is not KEY<tab>LABEL<tab>NAME'))
        break
    return Listed(names, labels, hashlib.sha256(content).hexdigest())


def _quirks(old, records):
    """The oddities of the records' images: {'png': [name], 'cmyk': [name]}, and 'warned' where libjpeg warns.

    Of images that were encoded anew, `prepare` noted what their sources were.
    """
    if old and (old['resize'] or old['quality']):
        names = {each.name for each in records}
        return {kind: [name for name in found if name in names] for kind, found in old['quirks'].items()}
    quirks = {'png': sorted(each.name for each in records
                            if each.looked.kind == 'png' and not each.name.lower().endswith('.png')),
              'cmyk': sorted(each.name for each in records if each.looked.kind == 'cmyk')}
    warned = sorted(f'{each.name}: {each.looked.warning}' for each in records if each.looked.warning)
    return dict(quirks, warned=warned) if warned else quirks


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


# ---------------------------------------------------------------------------------------------------------------------
# The command

def main(argv):
    """Verify, print what is wrong; returns the exit code: 0, or 1 where anything is wrong."""
    arguments = parser().parse_args(argv)
    check_ranges(arguments, TrainConfig, 'num_classes')
    if arguments.processes is not None and arguments.processes < 1:
        raise UsageError(f'--processes {arguments.processes} must be at least 1')
    problems, facts = verify(arguments.rec, arguments.idx, arguments.num_classes,
                             arguments.processes or available_cores(), arguments.drop, progress=True)
    if arguments.json:
        print(json.dumps({'problems': [problem._asdict() for problem in problems], 'certificate': facts}, indent=1))
    else:
        for problem in problems[:_SHOWN]:
            print(_text(problem))
        if len(problems) > _SHOWN:
            print(f'... and {len(problems) - _SHOWN} more (--json lists all)')
        print(f'{arguments.rec}: {len(problems)} problems; no certificate' if problems
              else certificate.summary(arguments.rec))
        if arguments.drop and facts:
            print(f'{arguments.drop}: the {facts["images"]} records without a problem')
    return 1 if problems else 0


def _text(problem):
    if problem.key is None:
        return problem.what
    return 'record %d%s at offset %d %s' % (problem.key, f' ({problem.name})' if problem.name else '',
                                           problem.offset, problem.what)
