import errno
import hashlib
import os
import threading

import pytest

from gluon_tricks import files


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


@pytest.mark.parametrize('length', [0, 1, 3 << 20])
def test_the_digest_of_a_file(length, tmp_path):
    content = bytes(i % 251 for i in range(length % 1000)) + bytes(length - length % 1000)
    (tmp_path / 'x').write_bytes(content)
    assert files.file_digest(str(tmp_path / 'x')) == hashlib.sha256(content).hexdigest()
    stop = threading.Event()
    stop.set()
    assert files.file_digest(str(tmp_path / 'x'), stop) == hashlib.sha256().hexdigest()
