import hashlib
import os
import shutil

import pytest

from gluon_tricks.data.records import identity
from gluon_tricks.data.records.certificate import path_of
from gluon_tricks.data.records.record_file import read_index
from gluon_tricks.errors import UsageError


def of(prefix):
    return identity.of_records(prefix + '.rec', prefix + '.idx')


@pytest.mark.parametrize('whole', [1 << 25, 0])
def test_a_copy_is_the_same_and_other_bytes_are_not(whole, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, 'WHOLE', whole)
    before, copy = of(packed), str(tmp_path / 'copy')
    assert before['images'] == 12 and before['bytes'] == os.path.getsize(packed + '.rec') and before['sha256']
    for end in ('.rec', '.idx'):
        shutil.copyfile(packed + end, copy + end)
    assert of(copy) == dict(before, sha256=None)  # it has no certificate
    for _key, place in zip(*read_index(copy + '.idx')):
        with open(copy + '.rec', 'r+b') as stream:
            stream.seek(int(place) + 12)  # the label
            label = stream.read(4)
            stream.seek(int(place) + 12)
            stream.write(b'\0\0\0\x47')
            stream.flush()
            assert of(copy)['digest'] != before['digest']
            stream.seek(int(place) + 12)
            stream.write(label)
    assert of(copy)['digest'] == before['digest']
    with open(copy + '.rec', 'ab') as stream:
        stream.write(b'\0' * 4)
    assert of(copy)['bytes'] == before['bytes'] + 4


def test_of_a_large_file_a_sample_is_read(packed, monkeypatch):
    monkeypatch.setattr(identity, 'WHOLE', 0)
    for sample in (1, 5, 12):
        monkeypatch.setattr(identity, 'SAMPLE', sample)
        assert of(packed)['images'] == 12


@pytest.mark.parametrize('newline, end', [(b'\n', b''), (b'\r\n', b'\r\n')])
def test_the_sample_is_of_the_lines_however_they_end(newline, end, packed, monkeypatch):
    """The digest is that of the index, then of the first bytes of each sampled record, in the order of the lines."""
    monkeypatch.setattr(identity, 'WHOLE', 0)
    monkeypatch.setattr(identity, 'SAMPLE', 5)
    with open(packed + '.idx', 'rb') as stream:
        lines = stream.read().splitlines()[::-1]
    index = newline.join(lines) + end
    with open(packed + '.idx', 'wb') as stream:
        stream.write(index)
    wanted = hashlib.sha256(index)
    with open(packed + '.rec', 'rb') as stream:
        for line in (0, 2, 5, 8, 11):
            stream.seek(int(lines[line].split()[1]))
            wanted.update(stream.read(4096))
    found = of(packed)
    assert found['digest'] == wanted.hexdigest() and found['images'] == 12


@pytest.mark.parametrize('index', [b'x\n' * 12, b'1\t-5\n' * 12, b'1\t99999999999999999999999\n' * 12])
def test_what_cannot_be_read_is_a_sentence(index, packed, monkeypatch):
    monkeypatch.setattr(identity, 'WHOLE', 0)
    os.remove(path_of(packed + '.rec'))
    with open(packed + '.idx', 'wb') as stream:
        stream.write(index)
    with pytest.raises(UsageError, match='is not the index of|cannot be read'):
        of(packed)
    os.remove(packed + '.idx')
    with pytest.raises(UsageError, match='cannot be read'):
        of(packed)


def test_files_are_known_by_names_sizes_and_order(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        for name in ('1.jpg', '2.jpg', '1.png', '2.png'):
            (tmp_path / folder / name).write_bytes(name.encode())

    def of_folder(folder, *numbers):
        root = str(tmp_path / folder)
        return identity.of_files(root, [(root + f'/{number}.jpg', root + f'/{number}.png') for number in numbers])
    before = of_folder('a', 1, 2)
    assert before['images'] == 2 and of_folder('b', 1, 2) == before
    assert of_folder('a', 2, 1) != before and of_folder('a', 1) != before
    (tmp_path / 'b' / '2.png').write_bytes(b'longer than before')
    assert of_folder('b', 1, 2) != before
    os.remove(str(tmp_path / 'b' / '2.png'))
    with pytest.raises(UsageError, match='2.png cannot be read'):
        of_folder('b', 1, 2)
