import os

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.record_file import check_records, read_index
from gluon_tricks.data.records.verify import verify
from gluon_tricks.errors import UsageError
from support.records import change, make_jpeg, rewrite, stem


def cut_image(rec):
    """Cut the image of record 5 short."""
    image = make_jpeg(0, 77)
    rewrite(rec, {5: (0.0, image[:len(image) * 2 // 3])})


def test_drop_writes_a_clean_copy(rec, tmp_path, capsys):
    cut_image(rec)
    change(rec, int(read_index(stem(rec) + '.idx')[1][9]), b'\0')
    out = str(tmp_path / 'clean.rec')
    assert main(['verify', rec, '--drop', out]) == 1
    assert '10 records without a problem' in capsys.readouterr().out
    assert check_records(out, str(tmp_path / 'clean.idx')) == 10
    assert certificate.check(out)['images'] == 10
    kept = [line.split('\t')[2] for line in open(str(tmp_path / 'clean.lst'))]
    listed = {line.split('\t')[0]: line.split('\t')[2] for line in open(stem(rec) + '.lst')}
    assert kept == [name for key, name in listed.items() if key not in ('5', '9')]
    before = certificate.read(out)
    assert main(['verify', out]) == 0 and certificate.read(out) == before
    assert main(['verify', rec, '--drop', out]) == 2
    assert 'is there already' in capsys.readouterr().err


@pytest.mark.parametrize('out, there, part', [
    ('x.clean', None, 'must end with .rec'), ('x', None, 'must end with .rec'), ('.rec', None, 'must end with .rec'),
    ('y.rec', 'y.lst', 'is there already'), ('y.rec', 'y.idx', 'is there already'),
    ('y.rec', 'y.certificate.json', 'is there already'), ('none/y.rec', None, 'cannot be written (No such file')])
def test_drop_destroys_nothing(rec, tmp_path, out, there, part, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cut_image(rec)
    if there:
        (tmp_path / there).write_text('mine')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(['verify', rec, '--drop', out]) == 2
    assert part in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize('renamed', ['rec', 'idx'])
def test_drop_is_not_named_as_what_is_read(rec, tmp_path, renamed):
    """Although no file of that name is there: the list that is written for the source would be."""
    moved = str(tmp_path / ('z.' + ('data' if renamed == 'rec' else 'index')))
    os.rename(stem(rec) + '.' + renamed, moved)
    files = (moved, stem(rec) + '.idx') if renamed == 'rec' else (rec, moved)
    with pytest.raises(UsageError, match='by their name'):
        verify(files[0], files[1], drop=str(tmp_path / 'z.rec'))


def test_a_full_disk_leaves_nothing_of_the_copy(rec, tmp_path, monkeypatch, capsys):
    import errno
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(handle):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    assert main(['verify', rec, '--drop', str(tmp_path / 'clean.rec')]) == 2
    err = capsys.readouterr().err
    assert 'clean.rec cannot be written (No space left on device): free space' in err
    assert before == sorted(path.name for path in tmp_path.iterdir())
