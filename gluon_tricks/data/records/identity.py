"""Identity of data, whatever their path: facts that a checkpoint keeps, and that a resumed run must find again."""
import hashlib
import os

import numpy as np

from gluon_tricks.data.records import certificate
from gluon_tricks.errors import UsageError

WHOLE = 1 << 25  # bytes: record files up to this size are read whole, of larger ones a sample
SAMPLE, _BYTES = 512, 4096  # records, and bytes at the start of each (label, key, and the image's beginning)


def of_records(rec, idx):
    """{'images', 'bytes', 'digest', 'sha256'} of a record file.

    digest: SHA-256 of the index, which has the place and so the size of every record, and of the file's content: all
    of it up to 32 MB, else the first 4096 bytes of 512 records, evenly spread. Not seen in a larger file are changes of
    a few records that leave all sizes. sha256: of the whole file as its certificate says it, None without one. Raises
    UsageError for what cannot be read.
    """
    try:
        with open(idx, 'rb') as stream:
            index = stream.read()
        number, place_of = _lines(index)
        size, found = os.path.getsize(rec), hashlib.sha256(index)
        with open(rec, 'rb') as stream:
            if size <= WHOLE:
                found.update(stream.read())
            else:
                sample = min(SAMPLE, number)
                for each in range(sample):
                    stream.seek(place_of(each * (number - 1) // max(sample - 1, 1)))
                    found.update(stream.read(_BYTES))
    except OSError as error:
        raise UsageError(f'{rec} cannot be read ({error.strerror}): make it readable') from error
    except (ValueError, IndexError, OverflowError) as error:
        raise UsageError(f'{idx} is not the index of {rec}: pack the records again') from error
    facts = certificate.read(rec)
    return {'images': number, 'bytes': size, 'digest': found.hexdigest(), 'sha256': facts and facts['sha256']}


def _lines(index):
    """(the number of lines of an index, function(line) -> the offset there): not split, of ten million."""
    if b'\r' in index:
        lines = index.splitlines()
        return len(lines), lambda line: int(lines[line].split()[1])
    ends = np.flatnonzero(np.frombuffer(index, 'uint8') == ord('\n'))
    if index and not index.endswith(b'\n'):
        ends = np.append(ends, len(index))
    return len(ends), lambda line: int(index[ends[line - 1] + 1 if line else 0:ends[line]].split()[1])


def of_files(root, entries):
    """{'images', 'digest'} of a tree: entries are its images, each a list of paths (the image, its mask or boxes).

    digest: SHA-256 of every path below `root` and of every file's size, in the order of the entries. Raises UsageError
    for what cannot be read.
    """
    found, number = hashlib.sha256(), 0
    for entry in entries:
        number += 1
        for path in entry:
            try:
                facts = f'{os.path.relpath(path, root)}\x00{os.path.getsize(path)}\n'
            except OSError as error:
                raise UsageError(f'{path} cannot be read ({error.strerror}): make it readable') from error
            found.update(facts.encode('utf-8', 'surrogateescape'))
    return {'images': number, 'digest': found.hexdigest()}
