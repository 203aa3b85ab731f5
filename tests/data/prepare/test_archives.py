import gzip
import hashlib
import struct
import tarfile
import zipfile

import pytest

from gluon_tricks.data.prepare import archives
from gluon_tricks.errors import UsageError
from support.archives import tar_bytes, zip_bytes

FILES = {'a/1.txt': b'one', 'a/2.txt': b'', 'b.txt': b'three' * 1000, 'x' * 150 + '.txt': b'long name'}


def test_members_of_a_tar_are_read_in_place(tmp_path):
    (tmp_path / 'x.tar').write_bytes(tar_bytes(FILES))
    members = archives.tar_members(str(tmp_path / 'x.tar'))
    assert {name: archives.read(member) for name, member in members} == FILES
    assert [archives.size_of(member) for _, member in members] == [len(content) for content in FILES.values()]


def test_a_tar_inside_a_tar_as_well(tmp_path):
    (tmp_path / 'x.tar').write_bytes(tar_bytes({'first.tar': tar_bytes({'a': b'1'}), 'second.tar': tar_bytes(FILES)}))
    (_, first), (_, second) = archives.tar_members(str(tmp_path / 'x.tar'))
    inner = archives.tar_members(first.path, second.offset, second.offset + second.size)
    assert {name: archives.read(member) for name, member in inner} == FILES


def test_members_of_a_zip(tmp_path):
    (tmp_path / 'x.zip').write_bytes(zip_bytes(FILES))
    members = archives.zip_members(str(tmp_path / 'x.zip'))
    assert {name: archives.read(member) for name, member in members} == FILES


def test_digests(tmp_path):
    path = tmp_path / 'x.tar'
    path.write_bytes(b'content')
    right = hashlib.md5(b'content').hexdigest()
    assert archives.check_archives([(str(path), ('md5', right))], progress=False) == {'x.tar': 'md5:' + right}
    assert archives.check_archives([(str(path), None)], progress=False) == {'x.tar': None}
    with pytest.raises(UsageError, match='--no-checksum'):
        archives.check_archives([(str(path), ('md5', '0' * 32))], progress=False)
    with pytest.raises(UsageError, match='missing'):
        archives.check_archives([(str(tmp_path / 'y.tar'), None)])


@pytest.mark.parametrize('cut', [1, 300, 600, 1100, 1500, 2600])
def test_a_tar_that_is_cut_short(cut, tmp_path):
    content = tar_bytes({'a': b'x' * 900, 'b': b'y' * 300})
    end = content.rstrip(b'\0')
    (tmp_path / 'x.tar').write_bytes(content[:min(cut, len(end))])
    with pytest.raises(UsageError, match='cut short'):
        archives.tar_members(str(tmp_path / 'x.tar'))


def test_what_is_no_archive(tmp_path):
    path = tmp_path / 'x'
    for content in (b'', b'junk' * 1000):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            archives.tar_members(str(path))
        with pytest.raises(UsageError):
            archives.zip_members(str(path))


@pytest.mark.parametrize('name', ['/etc/passwd', '../x', 'a/../../x', '..', 'a\\..\\x', 'C:/x', '\\\\server\\x'])
def test_names_that_lead_outside(name, tmp_path):
    for kind, make, members in (('tar', tar_bytes, archives.tar_members), ('zip', zip_bytes, archives.zip_members)):
        path = tmp_path / kind
        path.write_bytes(make({'good': b'1', name: b'2'}))
        with pytest.raises(UsageError, match='to trust'):
            members(str(path))


@pytest.mark.parametrize('kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(kind, tmp_path):
    info = tarfile.TarInfo('link')
    info.type, info.linkname = kind, '/etc/passwd'
    (tmp_path / 'x.tar').write_bytes(tar_bytes({'link': info}))
    with pytest.raises(UsageError, match='to trust'):
        archives.tar_members(str(tmp_path / 'x.tar'))
    link = zipfile.ZipInfo('link')
    link.external_attr = 0o120777 << 16
    (tmp_path / 'x.zip').write_bytes(zip_bytes({link: b'/etc/passwd'}))
    with pytest.raises(UsageError, match='link'):
        archives.zip_members(str(tmp_path / 'x.zip'))


def test_sizes_that_would_be_read_for_ever(tmp_path):
    """A size below zero makes tarfile come back to the same member."""
    info = tarfile.TarInfo('a')
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b'\xff' * 10 + b'\xfe\x00'  # -512 in base 256
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    (tmp_path / 'x.tar').write_bytes(bytes(block) + bytes(10240))
    for read in (lambda path: archives.tar_members(path), lambda path: archives.small_files(path, ['a'])):
        with pytest.raises(UsageError, match='damaged'):
            read(str(tmp_path / 'x.tar'))


def test_a_sparse_member_of_a_small_archive_is_not_unpacked(tmp_path):
    info = tarfile.TarInfo('dir/a')
    info.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / 'x.tar').write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with pytest.raises(UsageError, match='holds no a'):
        archives.small_files(str(tmp_path / 'x.tar'), ['a'])


def test_bombs(tmp_path):
    (tmp_path / 'x.zip').write_bytes(zip_bytes({'bomb': b'\0' * 10 ** 8}))
    with pytest.raises(UsageError, match='100000000 bytes'):
        archives.zip_members(str(tmp_path / 'x.zip'))
    (tmp_path / 'x.tar.gz').write_bytes(gzip.compress(b'\0' * 10 ** 7))
    with pytest.raises(UsageError, match='not the devkit'):
        archives.small_files(str(tmp_path / 'x.tar.gz'), ['a'], largest=10 ** 6)


@pytest.mark.parametrize('field, value', [(20, 2 ** 31), (42, 2 ** 31), (20, 0xFFFFFF00)])
def test_a_zip_whose_list_leads_beyond_its_end(tmp_path, field, value):
    """Sizes and places of the central directory, which zipfile believes."""
    content = bytearray(zip_bytes({'a': bytes(range(256)) * 20}))
    place = content.index(b'PK\x01\x02') + field
    content[place:place + 4] = struct.pack('<I', value)
    (tmp_path / 'x.zip').write_bytes(content)
    with pytest.raises(UsageError, match='damaged'):
        archives.zip_members(str(tmp_path / 'x.zip'))


def test_a_member_of_a_zip_without_a_name(tmp_path):
    (tmp_path / 'x.zip').write_bytes(zip_bytes({'': b'x', 'a': b'y'}))
    assert [name for name, _ in archives.zip_members(str(tmp_path / 'x.zip'))] == ['a']


def test_a_damaged_member_of_a_zip(tmp_path):
    content = zip_bytes({'a': bytes(range(256)) * 20})
    (tmp_path / 'x.zip').write_bytes(content[:100] + b'\xff\xff\xff' + content[103:])
    (_, member), = archives.zip_members(str(tmp_path / 'x.zip'))
    with pytest.raises(UsageError, match='damaged'):
        archives.read(member)


def test_small_files(tmp_path):
    path = tmp_path / 'kit'
    for mode in ('w', 'w:gz'):
        path.write_bytes(tar_bytes({'kit/data/meta.mat': b'meta', 'kit/other': b'1'}, mode))
        assert archives.small_files(str(path), ['data/meta.mat']) == {'data/meta.mat': b'meta'}
        with pytest.raises(UsageError, match='holds no truth.txt'):
            archives.small_files(str(path), ['truth.txt'])
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(UsageError, match='download it again'):
            archives.small_files(str(path), ['data/meta.mat'])


def test_a_source_is_bytes_or_a_path_too(tmp_path):
    (tmp_path / 'x').write_bytes(b'12')
    assert archives.read(b'123') == b'123' and archives.size_of(b'123') == 3
    assert archives.read(str(tmp_path / 'x')) == b'12' and archives.size_of(str(tmp_path / 'x')) == 2
    sources = [archives.Slice('b', 5, 1), archives.Slice('b', 2, 1), b'1', 'a', archives.ZipMember('z', 'n', 1)]
    assert sorted(sources, key=archives.where)[-1] == archives.Slice('b', 5, 1)
    with pytest.raises(UsageError, match='was it changed'):
        archives.read(archives.Slice(str(tmp_path / 'x'), 0, 5))
