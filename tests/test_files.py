import contextlib
import errno
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from gluon_tricks import files
from gluon_tricks.errors import UsageError
from gluon_tricks.files import LOCK, Lock
from support import ROOT


def test_a_file_is_written_whole(tmp_path):
    files.write_whole(str(tmp_path / 'x'), b'one')
    files.write_whole(str(tmp_path / 'x'), b'two', sync=False)
    assert (tmp_path / 'x').read_bytes() == b'two' and os.listdir(str(tmp_path)) == ['x']
    files.sync(str(tmp_path))


def test_a_full_disk_leaves_the_old_one_alone(tmp_path, monkeypatch):
    files.write_whole(str(tmp_path / 'x'), b'one')

    def full(*arguments):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError):
        files.write_whole(str(tmp_path / 'x'), b'two')
    assert (tmp_path / 'x').read_bytes() == b'one' and os.listdir(str(tmp_path)) == ['x']


@pytest.mark.parametrize('kind', ['pipe', 'directory'])
def test_only_a_file_gives_its_place_to_another(kind, tmp_path):
    """What root may do to /dev/null, a user could not undo."""
    path = tmp_path / 'x'
    os.mkfifo(path) if kind == 'pipe' else path.mkdir()
    before = os.stat(path).st_ino
    with pytest.raises(OSError, match='a pipe' if kind == 'pipe' else 'Is a directory'):
        files.write_whole(path, b'1')
    with pytest.raises(UsageError, match='x cannot be written .*: choose another'):
        files.check_writable(str(path), 'choose another')
    assert os.stat(path).st_ino == before and os.listdir(tmp_path) == ['x']
    link = tmp_path / 'link'  # a link gives its own place, so that one that leads nowhere is no obstacle
    link.symlink_to('nowhere')
    files.write_whole(link, b'1')
    assert link.read_bytes() == b'1' and not link.is_symlink()


@pytest.mark.parametrize('ends', [KeyboardInterrupt, None])
def test_a_file_takes_the_place_of_another_or_does_not(ends, tmp_path):
    (tmp_path / 'x').write_bytes(b'one')
    with contextlib.suppress(KeyboardInterrupt), files.replacing(str(tmp_path / 'x')) as partial:
        with open(partial, 'wb') as stream:
            stream.write(b'two')
        assert (tmp_path / 'x').read_bytes() == b'one'
        if ends:
            raise ends
    assert (tmp_path / 'x').read_bytes() == (b'one' if ends else b'two') and os.listdir(str(tmp_path)) == ['x']


@pytest.mark.parametrize('length', [0, 1, 3 << 20])
def test_the_digest_of_a_file(length, tmp_path):
    content = bytes(i % 251 for i in range(length % 1000)) + bytes(length - length % 1000)
    (tmp_path / 'x').write_bytes(content)
    assert files.file_digest(str(tmp_path / 'x')) == hashlib.sha256(content).hexdigest()
    stop = threading.Event()
    stop.set()
    assert files.file_digest(str(tmp_path / 'x'), stop) == hashlib.sha256().hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Directories of one process

HOLD = '''
import os, sys, time
sys.path.insert(0, %r)
from gluon_tricks.files import Lock
lock = Lock(sys.argv[1], 'it', 'wait')
if sys.argv[2:] and not os.fork():
    os.write(1, b'%%d\\n' %% os.getpid())
    time.sleep(30)
os.write(1, b'held\\n')
time.sleep(30)
''' % str(ROOT)


@contextlib.contextmanager
def holding(folder, *words):
    """A process that has the directory, and what it printed."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(folder)] + list(words), stdout=subprocess.PIPE)
    lines = [process.stdout.readline().decode() for _ in ['held'] + list(words)]
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_process_is_refused_by_process_and_host(tmp_path):
    with holding(tmp_path / 'a' / 'b') as (process, _):
        with pytest.raises(UsageError) as caught:
            Lock(str(tmp_path / 'a' / 'b'), 'runs/b', 'wait for it')
        assert str(caught.value) == 'runs/b is being written by process %d on %s: wait for it' % (
            process.pid, socket.gethostname())
        process.kill()
        process.wait()
        with Lock(str(tmp_path / 'a' / 'b'), 'runs/b', 'wait for it'):  # a kill leaves the file, and no lock
            assert (tmp_path / 'a' / 'b' / LOCK).read_text().split()[0] == str(os.getpid())
    assert (tmp_path / 'a' / 'b').exists() and not (tmp_path / 'a' / 'b' / LOCK).exists()


def test_a_forked_child_does_not_keep_the_lock_of_a_killed_parent(tmp_path):
    with holding(tmp_path, 'fork') as (process, lines):
        child = int(next(line for line in lines if line != 'held\n'))
        process.kill()
        process.wait()
        os.kill(child, 0)
        Lock(str(tmp_path), 'it', 'wait').release()
        os.kill(child, signal.SIGKILL)


def test_the_same_process_has_it_once_and_a_forked_child_cannot_release_it(tmp_path):
    lock = Lock(str(tmp_path / 'new'), 'it', 'wait')
    with pytest.raises(UsageError, match=f'it is being written by process {os.getpid()} on '):
        Lock(str(tmp_path / 'new'), 'it', 'wait')
    child = os.fork()
    if not child:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert lock.holds()
    code = subprocess.call([sys.executable, '-c', HOLD, str(tmp_path / 'new')], stderr=subprocess.DEVNULL)
    assert code == 1
    lock.release()
    assert not (tmp_path / 'new').exists()  # nothing was written there


def test_a_directory_that_is_removed_or_replaced_is_noticed(tmp_path):
    folder = tmp_path / 'run'
    for change in (lambda: shutil.rmtree(str(folder)), lambda: folder.rename(tmp_path / 'moved'),
                   lambda: (shutil.rmtree(str(folder)), folder.mkdir()), lambda: os.remove(str(folder / LOCK))):
        lock = Lock(str(folder), 'it', 'wait')
        assert lock.holds()
        change()
        assert not lock.holds()
        lock.release()
        lock.release()


@pytest.mark.parametrize('content', [b'', b'x', b'\xff\n', b'999999999 somewhere\n', b'1 2 3\n', b'-1 x\n'])
def test_a_lock_file_that_nobody_holds_is_taken_whatever_it_says(content, tmp_path):
    (tmp_path / LOCK).write_bytes(content)
    with Lock(str(tmp_path), 'it', 'wait'):
        assert (tmp_path / LOCK).read_text() == f'{os.getpid()} {socket.gethostname()}\n'


@pytest.mark.parametrize('kind', ['directory', 'link', 'file above'])
def test_a_directory_that_cannot_be_locked(kind, tmp_path):
    folder = tmp_path / 'run'
    if kind == 'file above':
        folder.write_text('')
    else:
        folder.mkdir()
        (folder / LOCK).mkdir() if kind == 'directory' else (folder / LOCK).symlink_to('elsewhere')
    with pytest.raises(OSError):
        Lock(str(folder), 'it', 'wait')


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr('fcntl.lockf', none)
    with Lock(str(tmp_path), 'it', 'wait') as lock:
        assert not lock.works and lock.holds()


def test_many_at_once_have_it_one_after_the_other(tmp_path):
    """Each adds 1 to a number in the directory, which is removed where it can be, and made again."""
    program = '''
import sys, time
sys.path.insert(0, %r)
from gluon_tricks.errors import UsageError
from gluon_tricks.files import Lock
done = 0
while done < 20:
    try:
        with Lock(sys.argv[1] + '/lock', 'it', 'wait'):
            with open(sys.argv[1] + '/number') as stream:
                number = int(stream.read())
            time.sleep(0.001)
            with open(sys.argv[1] + '/number', 'w') as stream:
                stream.write(str(number + 1))
            done += 1
    except UsageError:
        pass
''' % str(ROOT)
    (tmp_path / 'number').write_text('0')
    processes = [subprocess.Popen([sys.executable, '-c', program, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert (tmp_path / 'number').read_text() == '80' and not (tmp_path / 'lock' / LOCK).exists()
