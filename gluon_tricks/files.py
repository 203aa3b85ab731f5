"""Files that are there whole, or not at all, what is said when they cannot be written, and directories of one
process."""
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
import tempfile
import time

from gluon_tricks.errors import UsageError


@contextlib.contextmanager
def replacing(path):
    """The name under which a file is to be written, beside `path`, whose place it takes at the end of the block.

    A kill, a full disk or another error leaves the old one. Raises OSError, also where a device or directory is there.
    """
    _check_place(path)
    partial = f'{path}.{os.getpid()}.partial'
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)  # what room there is, others can use
        raise


def _check_place(path):
    """Raise OSError where something is at the path whose place no file takes."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if os.path.exists(path):
        regular(path)


def write_whole(path, content, sync=True):
    """Write bytes to a file as `replacing` does.

    content: bytes, or a list of them. sync: wait until it is on the disk, so that a power cut leaves it as well. Raises
    OSError.
    """
    with replacing(path) as partial, open(partial, 'wb') as stream:
        stream.writelines([content] if isinstance(content, bytes) else content)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())


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
    """The remedy for an OSError while writing, in words."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return 'free space, or choose another place' if full else 'choose another place'


def check_writable(path, remedy):
    """Raise UsageError, before hours of work, where a file could not be written at the end of it."""
    try:
        _check_place(path)
        with tempfile.TemporaryFile(dir=os.path.dirname(path) or '.'):
            pass  # a try tells what access rights do not: a disk that is read-only, a root without rights
    except OSError as error:
        raise unwritable(path, error, remedy) from error


def unwritable(path, error, remedy):
    """The UsageError for a file that an OSError kept from being written."""
    return UsageError('%s cannot be written (%s): %s' % (path, error.strerror or error, remedy))


# ---------------------------------------------------------------------------------------------------------------------
# Directories

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def python_path():
    """The PYTHONPATH with which another process of Python imports this package, wherever it starts."""
    return os.pathsep.join(filter(None, [_PACKAGES, os.environ.get('PYTHONPATH')]))


def existing(path):
    """The absolute path, or of the folders above it the nearest one that is there."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


LOCK = '.lock'  # the file in a directory that one process at a time writes
_PATIENCE = 1.0  # seconds: who has the lock may be writing its name, or be about to end
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524)  # 524: ENOTSUPP, which NFS and Lustre may give
_held = set()  # (device, inode) of the lock files of this process


class Lock:
    """A directory for this process alone, until `release` or the end of the process, however it ends.

    folder: made if it is not there; what, remedy: for the sentence of a second process. The lock is a POSIX record lock
    of FOLDER/.lock, which also names process and host. It belongs to the process: a child that it forked has no part in
    it, and cannot keep it after a kill (as it would with flock). `works` is False on a disk that has no locks. Raises
    UsageError where another process, or this one, has the directory already, and OSError where it cannot be written.
    """

    def __init__(self, folder, what, remedy):
        self.path, self.works = os.path.join(folder, LOCK), True
        self._handle, self._owner, self._made = None, os.getpid(), []
        limit = time.monotonic() + _PATIENCE
        while self._handle is None:
            self._make(folder)
            holder = self._try()
            if self._handle is None and (_is_running(holder) or time.monotonic() > limit):
                self._remove_made()
                raise UsageError('%s is being written by %s: %s' % (
                    what, 'process %d on %s' % holder if holder else 'another process', remedy))
            if self._handle is None:
                time.sleep(0.02)

    def _make(self, folder):
        """Make the directory and those above it that are not there, and remember them."""
        missing = []
        while folder and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(each)
                self._made.append(each)
        if missing and not os.path.isdir(missing[0]):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def _try(self):
        """Take the lock, or return (process, host) of who has it; None where that is not known."""
        with contextlib.suppress(FileNotFoundError):
            if _identity(os.lstat(self.path)) in _held:  # to open it once more, and close it, would give it up
                return os.getpid(), socket.gethostname()
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            return None  # who had the directory has just removed it
        try:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return _named(os.pread(handle, 300, 0))
                if error.errno not in _NO_LOCKS:
                    raise
                self.works = False
            if not _is_same(self.path, handle):  # who had it has removed it meanwhile
                return None
            os.ftruncate(handle, 0)
            os.pwrite(handle, (f'{os.getpid()} {socket.gethostname()}\n').encode(), 0)
            _held.add(_identity(os.fstat(handle)))
            self._handle, handle = handle, None
        finally:
            if handle is not None:
                os.close(handle)

    def holds(self):
        """Whether the directory is still the one that was locked: not removed, moved or replaced."""
        try:
            return _is_same(self.path, self._handle)
        except OSError:
            return True  # nothing is known; who writes will hear of it

    def release(self):
        """Let others have the directory; what was made of directories, and is empty, goes."""
        if self._handle is None or self._owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            if self.holds():
                os.remove(self.path)
        _held.discard(_identity(os.fstat(self._handle)))
        os.close(self._handle)
        self._handle = None
        self._remove_made()

    def _remove_made(self):
        with contextlib.suppress(OSError):
            while self._made:
                os.rmdir(self._made.pop())

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.release()


def _identity(facts):
    return facts.st_dev, facts.st_ino


def _is_same(path, handle):
    """Whether a path leads to an open file. Raises OSError where that cannot be told."""
    try:
        return _identity(os.stat(path)) == _identity(os.fstat(handle))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _named(content):
    """(process, host) in a lock file, None where they are not written there."""
    match = re.fullmatch(r'([0-9]{1,9}) (\S+)\n', content.decode('utf-8', 'replace'))
    return match and (int(match.group(1)), match.group(2))


def _is_running(holder):
    """Whether a process may be running: one of this host that is not is a name that a killed process left."""
    if holder is None or holder[1] != socket.gethostname():
        return holder is not None
    try:
        os.kill(holder[0], 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
