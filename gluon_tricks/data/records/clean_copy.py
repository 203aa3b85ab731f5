"""``python -m gluon_tricks verify --drop OUT.rec``: a copy without the records that are bad."""
import hashlib
import os

from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.record_file import head_of, index_bytes, list_bytes, read_record, record
from gluon_tricks.errors import UsageError
from gluon_tricks.files import check_writable, replacing, unwritable, write_whole

_FILES = ('.rec', '.idx', '.lst', '.certificate.json')


def check_new(out, stems):
    """Raise UsageError unless OUT.rec and what lies beside it are all new, and not what is read.

    stems: paths of the files that are read, without their suffixes.
    """
    stem = os.path.splitext(out)[0]
    if not out.endswith('.rec') or out == '.rec':
        raise UsageError(f'--drop {out} must end with .rec: the index, the list and the certificate lie beside it')
    for path in (stem + suffix for suffix in _FILES):
        if os.path.lexists(path):
            raise UsageError(f'--drop {out}: {path} is there already: choose a new name')
    if os.path.realpath(stem) in map(os.path.realpath, stems):
        raise UsageError(f'--drop {out} would lie beside the records that are read, by their name: choose a new one')
    check_writable(out, 'give --drop a file in a directory that is there and can be written')


def write_copy(rec, records, out, facts):
    """OUT.rec, .idx, .lst and, when no class is empty, .certificate.json of the `verify.Record`s of a file.

    facts: of their certificate. What was written is removed when that fails (UsageError) or is interrupted.
    """
    stem = os.path.splitext(out)[0]
    names = list_bytes([(key, each.looked.label, each.name) for key, each in enumerate(records)])
    try:
        with replacing(out) as partial:
            index, facts = _copy(rec, records, partial, facts)
            write_whole(stem + '.lst', names)
        facts['list_sha256'] = hashlib.sha256(names).hexdigest()
        if records and min(facts['class_counts']) > 0:
            write_whole(certificate.path_of(out), certificate.to_bytes(facts))
        write_whole(stem + '.idx', index)
    except BaseException as error:
        for path in (stem + suffix for suffix in _FILES):  # none of them was there before
            if os.path.exists(path):
                os.remove(path)
        if isinstance(error, OSError):
            raise unwritable(out, error, 'free space, or give --drop a file on another disk') from error
        raise


def _copy(rec, records, path, facts):
    """(index, facts of the certificate) of the records that are written to `path`, with keys from 0 on."""
    sizes, digest = [], hashlib.sha256()
    with open(rec, 'rb') as stream, open(path, 'wb') as copy:
        for key, each in enumerate(records):
            content, _ = read_record(stream, each.offset, each.looked.end)
            block = record(key, each.looked.label, content[head_of(content).start:])
            copy.write(block)
            digest.update(block)
            sizes.append(len(block))
        copy.flush()
        os.fsync(copy.fileno())
    index = index_bytes(sizes)
    return index, dict(facts, bytes=sum(sizes), sha256=digest.hexdigest(), plan=None,
                       index_sha256=hashlib.sha256(index).hexdigest())
