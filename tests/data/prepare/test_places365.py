import tarfile

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.verify import verify
from support.archives import by_name, tar_bytes, write_places365


def prepare(out, flags, *more):
    return main(['prepare', 'places365', '--out', str(out), '--processes', '1', *flags, *more])


@pytest.mark.parametrize('layout', ['256', 'large', 'letters'])
def test_records_of_each_published_layout(tmp_path, layout):
    assert prepare(tmp_path / 'out', write_places365(tmp_path / 'archives', layout)) == 0
    train, val, test = (by_name(str(tmp_path / 'out' / part)) for part in ('train', 'val', 'test'))
    assert len(train) == 12 and train['a/airfield/00000002.jpg'] == 0 and train['y/yard/00000001.jpg'] == 2
    assert val == {f'Places365_val_{number:08d}.jpg': (number - 1) % 3 for number in range(1, 8)}
    assert list(test) == [f'Places365_test_{number:08d}.jpg' for number in range(1, 8)]  # in the server's order
    for part in ('train', 'val', 'test'):
        assert verify(str(tmp_path / 'out' / (part + '.rec')))[0] == []
    facts = certificate.read(str(tmp_path / 'out' / 'train.rec'))
    assert facts['classes'] == ['/a/airfield', '/b/bar', '/y/yard'] and facts['class_counts'] == [4, 4, 4]


def test_without_the_test_images(tmp_path):
    flags = write_places365(tmp_path / 'archives')
    place = flags.index('--test')
    assert prepare(tmp_path / 'out', flags[:place] + flags[place + 2:]) == 0
    assert not (tmp_path / 'out' / 'test.rec').exists()


@pytest.mark.parametrize('name, change, part', [
    ('train_256.tar', lambda files: files.pop('data_256/b/bar/00000003.jpg'), 'has no /b/bar/00000003.jpg'),
    ('val_256.tar', lambda files: files.pop('val_256/Places365_val_00000007.jpg'), 'has no Places365_val_00000007'),
    ('filelist.tar', lambda files: files.pop('places365_val.txt'), 'holds no places365_val.txt'),
    ('filelist.tar', lambda files: files.update({'places365_val.txt': b'Places365_val_00000001.jpg 3\n'}), 'class 3'),
    ('filelist.tar', lambda files: files.update({'places365_val.txt': b'Places365_val_00000001.jpg\n'}), 'line 1'),
    ('filelist.tar', lambda files: files.update({'categories_places365.txt': b'/a/airfield 1\n'}), 'not 0, 1, 2'),
])
def test_wrong_archives(tmp_path, capsys, name, change, part):
    flags = write_places365(tmp_path / 'archives')
    with tarfile.open(str(tmp_path / 'archives' / name)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    change(files)
    (tmp_path / 'archives' / name).write_bytes(tar_bytes(files))
    assert prepare(tmp_path / 'out', flags) == 2
    assert part in capsys.readouterr().err.splitlines()[-1]


def test_the_published_digests_are_asked_for(tmp_path, capsys):
    for layout, digest in (('256', '35a0585'), ('large', '35a0585')):
        flags = write_places365(tmp_path / layout, layout)
        flags.remove('--no-checksum')
        assert prepare(tmp_path / 'out', flags) == 2
        assert digest in capsys.readouterr().err.splitlines()[-1]
