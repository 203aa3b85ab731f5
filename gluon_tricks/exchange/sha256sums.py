"""SHA256SUMS of an exported folder: the digest of each other file, as sha256sum writes and checks them."""
import os
from typing import List

from gluon_tricks.errors import UsageError
from gluon_tricks.files import file_digest, regular

SUMS = 'SHA256SUMS'


def files_of(folder: str) -> List[str]:
    """Paths of the files below a folder, relative to it, sorted."""
    found = []
    for place, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names]
    return sorted(found)


def sums(folder: str) -> str:
    """The content of SHA256SUMS for a folder as it is: a digest and a name a line, as sha256sum writes them."""
    for name in files_of(folder):
        regular(os.path.join(folder, name))
    return ''.join(f'{file_digest(os.path.join(folder, name))}  {name}\n' for name in files_of(folder) if name != SUMS)


def check(folder: str) -> int:
    """The number of files of an exported folder, all of them whole; UsageError that names the first that is damaged,
    missing, or not of the folder."""
    folder, path = os.path.expanduser(folder), os.path.join(os.path.expanduser(folder), SUMS)
    remedy = 'copy the folder again'
    try:
        regular(path)
        with open(path, 'rb') as stream:
            told = stream.read().decode('utf-8', 'surrogateescape')
        found = sums(folder)
    except OSError as error:
        raise UsageError(f'{error.filename or path} cannot be read ({error.strerror}): give the folder that `export` '
                         'wrote') from error
    if told == found:
        return found.count('\n')
    entries, wanted = ({line[66:]: line[:64] for line in text.splitlines()} for text in (found, told))
    for name in sorted(set(entries) | set(wanted)):
        if name not in entries:
            raise UsageError(f'{folder}: {name!r} of {SUMS} is missing: {remedy}')
        if name not in wanted:
            raise UsageError(f'{folder}: {name} is not in {SUMS}, which is cut short or of another folder: {remedy}')
        if entries[name] != wanted[name]:
            raise UsageError(f'{folder}: {name} is damaged, its digest is not that of {SUMS}: {remedy}')
    raise UsageError(f'{folder}: {SUMS} is damaged: {remedy}')
