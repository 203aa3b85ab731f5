"""Files that are there whole, or not at all, and what is said when they cannot be written."""
import errno
import hashlib
import os
import stat
import tempfile

from gluon_tricks.errors import UsageError


def write_whole(path, content, sync=True):
    """Write bytes to a file under another name and rename it, so that a kill or a full disk leaves the old one.

    content: bytes, or a list of them. sync: wait until it is on the disk, so that a power cut leaves it as well. Raises
    OSError.
    """
    partial = '%s.%d.partial' % (path, os.getpid())
    try:
        with open(partial, 'wb') as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError:
        if os.path.exists(partial):
            os.remove(partial)  # what room there is, others can use
        raise


def regular(path):
    """The os.stat of a file, at the end of links; OSError for anything else: a device may have no end, and a pipe no
    beginning."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, 'it is a device, a pipe or a directory, not a file', path)
    return found


def open_file(path):
    """A file opened to read its bytes. Raises OSError as `regular`."""
    regular(path)
    return open(path, 'rb')


def file_digest(path, stop=None):
    """SHA-256 of a file in hexadecimal, of its first bytes alone once the event `stop` is set. Raises OSError."""
    result = hashlib.sha256()
    with open(path, 'rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            if stop and stop.is_set():
                break
            result.update(block)
    return result.hexdigest()


def sync(path):
    """Wait until a file, or the names in a directory, are on the disk."""
    handle = os.open(path or '.', os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remedy_for(error):
    """What to do about an OSError while writing."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return 'free space, or choose another place' if full else 'choose another place'


def check_writable(path, remedy):
    """Raise UsageError, before hours of work, where a file could not be written at the end of it."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=os.path.dirname(path) or '.'):
            pass  # a try tells what access rights do not: a disk that is read-only, a root without rights
    except OSError as error:
        raise unwritable(path, error, remedy) from error


def unwritable(path, error, remedy):
    """The UsageError for a file that an OSError kept from being written."""
    return UsageError('%s cannot be written (%s): %s' % (path, error.strerror or error, remedy))
