import errno
import os

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
