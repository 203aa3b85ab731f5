"""Official archives: their digests, and their members, which are read in place and never trusted.

A member of a plain tar is a `Slice` of the archive, of a tar inside it as well: a million images need not be unpacked.
Names that would leave the output directory, links, devices and bombs are refused before anything is written.
"""
import collections
import functools
import gzip
import hashlib
import io
import os
import tarfile
import zipfile

from tqdm import tqdm

from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file, regular

Slice = collections.namedtuple('Slice', 'path offset size')  # bytes of a file, such as a member of a tar
ZipMember = collections.namedtuple('ZipMember', 'path name size')

_LARGEST_MEMBER = 2 ** 28  # bytes; no image, list or annotation comes near
_LARGEST_RATIO = 200  # uncompressed to compressed; deflate reaches 1,000 on zeros
_SMALL = 2 ** 20  # members below this are no bomb whatever their ratio


# Each process reads the list of members once.
_open_zip = functools.lru_cache(2)(zipfile.ZipFile)


def read(source):
    """The bytes of a source: bytes themselves, the path of a file, a Slice or a ZipMember."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, ZipMember):
        archive = _open_zip(source.path)
        return _read_member(archive, source.path, archive.getinfo(source.name))
    if isinstance(source, Slice):
        with open(source.path, 'rb') as stream:
            stream.seek(source.offset)
            content = stream.read(source.size)
        if len(content) < source.size:
            raise UsageError(f'{source.path} ended while it was read: was it changed?')
        return content
    with open_file(source) as stream:
        return stream.read()


def size_of(source):
    """Number of bytes of a source. Raises OSError for a path that is not a file."""
    if isinstance(source, bytes):
        return len(source)
    return source.size if isinstance(source, (Slice, ZipMember)) else regular(source).st_size


def where(source):
    """A key by which sources lie in the order of the disk."""
    if isinstance(source, Slice):
        return source.path, source.offset
    return (source, 0) if isinstance(source, str) else ('', 0)


# ---------------------------------------------------------------------------------------------------------------------
# The archive as a whole

def check_digest(path, algorithm, digest, progress=True):
    """Raise UsageError unless the file's digest is the published one. Shows a progress bar."""
    found = hashlib.new(algorithm)
    try:
        with open(path, 'rb') as stream, tqdm(total=os.path.getsize(path), unit='B', unit_scale=True,
                                              desc=f'{algorithm} of {os.path.basename(path)}',
                                              disable=not progress) as bar:
            for block in iter(lambda: stream.read(2 ** 20), b''):
                found.update(block)
                bar.update(len(block))
    except OSError as error:
        raise _unreadable(path, error) from error
    if found.hexdigest() != digest:
        raise UsageError(f'{path} is not the published archive: its {algorithm} is {found.hexdigest()}, not {digest}; '
                         'download it again, or give --no-checksum for an archive of your own')


def check_archives(archives, progress=True):
    """{path: 'ALGORITHM:DIGEST'} of [(path, (algorithm, digest) or None)]; UsageError for one that is missing or other.

    None stands for an archive that is not checked; its digest is then None as well.
    """
    for path, _ in archives:
        if os.path.isdir(path):
            raise UsageError(f'{path} is a directory: give the path of the archive in it')
        if not os.path.isfile(path):
            raise UsageError(f'{path} is missing: give the path of the archive')
    for path, known in archives:
        if known:
            check_digest(path, *known, progress=progress)
    return {os.path.basename(path): '%s:%s' % known if known else None for path, known in archives}


def _unreadable(path, error):
    return UsageError('%s cannot be read (%s): make it readable' % (path, getattr(error, 'strerror', None) or error))


def _damaged(path, what):
    return UsageError(f'{path} is damaged, cut short or of another kind ({what}): download it again')


# ---------------------------------------------------------------------------------------------------------------------
# Members

def check_name(path, name):
    """The member's name without a leading ``./``; UsageError for one that would be written elsewhere."""
    while name.startswith('./'):
        name = name[2:]
    if name.startswith(('/', '\\')) or '..' in name.replace('\\', '/').split('/') or '\0' in name or ':' in name[:2]:
        raise UsageError(f'{path} holds a member named {name!r}, which would be written outside: it is not an archive '
                         'to trust')
    return name


def tar_members(path, begin=0, end=None):
    """[(name, Slice)] of the files in a plain tar, or in the one from `begin` to `end` of the file at `path`.

    Raises UsageError for a file that is not a plain tar, damaged or cut short, and for a member that is a link, a
    device or sparse, or whose name would lead outside.
    """
    members = []
    try:
        end = os.path.getsize(path) if end is None else end
        with open(path, 'rb') as stream:
            stream.seek(begin)
            with tarfile.TarFile(fileobj=stream, mode='r') as archive:
                for member in archive:
                    archive.members = []  # it would keep them all
                    name = check_name(path, member.name)
                    _check_size(path, member, end)
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        raise UsageError(f'{path} holds {name!r}, which is a link, a device or sparse, not a file: it '
                                         'is not an archive to trust')
                    members.append((name, Slice(path, member.offset_data, member.size)))
                last = archive.offset
            stream.seek(last)
            if last + 512 > end or stream.read(512).strip(b'\0'):
                raise _damaged(path, f'no end of the archive after {len(members)} members')
    except tarfile.TarError as error:
        raise _damaged(path, error) from error
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise _unreadable(path, error) from error
    return members


def _check_size(path, member, end):
    """A size below 0 would make tarfile read the same member for ever; one beyond the end has no content."""
    if member.size < 0 or member.offset_data + member.size > end:
        raise _damaged(path, f'{member.name} is cut short, or has a wrong size')


def zip_members(path):
    """[(name, ZipMember)] of the files in a zip. Raises UsageError as `tar_members`, and for a bomb."""
    members = []
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = check_name(path, info.filename)
                if not name or info.is_dir():
                    continue
                if (info.external_attr >> 28) == 0xa:  # the type bits of a Unix link
                    raise UsageError(f'{path} holds {name!r}, which is a link, not a file: it is not an archive to '
                                     'trust')
                _check_bomb(path, info)
                members.append((name, ZipMember(path, info.filename, info.file_size)))
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return members


def _check_bomb(path, info):
    if info.header_offset < 0 or info.header_offset + info.compress_size > os.path.getsize(path):
        raise _damaged(path, f'{info.filename} is cut short, or has a wrong size')
    if info.file_size > _LARGEST_MEMBER or (
            info.file_size > _SMALL and info.file_size > _LARGEST_RATIO * max(info.compress_size, 1)):
        raise UsageError(f'{path} holds {info.filename!r}, which would unpack from {info.compress_size} to '
                         f'{info.file_size} bytes: it is not an archive to trust')


def _read_member(archive, path, info):
    import zlib
    try:
        _check_bomb(path, info)
        return archive.read(info)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, f'{info.filename}: {error}') from error


def small_files(path, wanted, largest=_LARGEST_MEMBER):
    """{name: bytes} of the wanted members, by the ends of their names, of a small .tar or .tar.gz, such as a devkit.

    Raises UsageError for one that is missing, and for an archive of more than `largest` bytes unpacked.
    """
    found = {}
    try:
        with open(path, 'rb') as stream:
            gzipped = stream.read(2) == b'\x1f\x8b'
            stream.seek(0)
            content = (gzip.GzipFile(fileobj=stream) if gzipped else stream).read(largest + 1)
        if len(content) > largest:
            raise UsageError(f'{path} holds more than {largest} bytes: it is not the devkit')
        with tarfile.TarFile(fileobj=io.BytesIO(content), mode='r') as archive:
            for member in archive:
                name = check_name(path, member.name)
                _check_size(path, member, len(content))
                for ending in wanted:
                    if member.isreg() and not member.issparse() and ('/' + name).endswith('/' + ending):
                        found[ending] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, gzip.zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # gzip's own
            raise _damaged(path, error) from error
        raise _unreadable(path, error) from error
    for ending in wanted:
        if ending not in found:
            raise UsageError(f'{path} holds no {ending}: give the official archive')
    return found


def check_counts(name, expected, found):
    """Raise UsageError unless the counts are those of the published set."""
    for what, number in expected.items():
        if found[what] != number:
            raise UsageError(f'{name} has {number} {what}, these archives {found[what]}: one of them is not the '
                             'published one, or was cut short')
