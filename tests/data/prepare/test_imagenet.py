import os
import random
import tarfile

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.prepare import imagenet as prepare_imagenet
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.record_file import check_records
from gluon_tricks.data.records.verify import verify
from gluon_tricks.errors import UsageError
from support.archives import by_name, contents, devkit, read_all, tar_bytes, write_imagenet


def prepare(out, flags, *more):
    return main(['prepare', 'imagenet', '--out', str(out), '--processes', '1', *flags, *more])


def test_records_of_the_three_archives(tmp_path, capsys):
    flags = write_imagenet(tmp_path / 'archives')
    assert prepare(tmp_path / 'out', flags) == 0
    out = capsys.readouterr().out
    assert '18 images, 3 classes, 1 called JPEG are PNG, 1 are CMYK' in out and 'verify' in out
    train, val = (by_name(str(tmp_path / 'out' / part)) for part in ('train', 'val'))
    assert train['n01000000/n01000000_0.JPEG'] == 0 and train['n03000000/n03000000_10.JPEG'] == 2
    # image 1 has ILSVRC2012_ID 1, which is n03000000, the last of the sorted ids
    assert [val[f'ILSVRC2012_val_{number:08d}.JPEG'] for number in (1, 2, 3, 4)] == [2, 0, 1, 2]
    for part, number in (('train', 18), ('val', 9)):
        assert check_records(str(tmp_path / 'out' / (part + '.rec')), str(tmp_path / 'out' / (part + '.idx'))) == number
        problems, facts = verify(str(tmp_path / 'out' / (part + '.rec')))
        assert problems == [] and facts['classes'] == ['n01000000', 'n02000000', 'n03000000']
        assert set(facts['source']) == {'train.tar', 'val.tar', 'devkit.tar.gz'}
    # the bytes are those of the archive
    with tarfile.open(str(tmp_path / 'archives' / 'val.tar')) as archive:
        images = {archive.extractfile(member).read() for member in archive}
    from gluon_tricks.compat import mx
    reader = mx.recordio.MXIndexedRecordIO(str(tmp_path / 'out' / 'val.idx'), str(tmp_path / 'out' / 'val.rec'), 'r')
    assert {mx.recordio.unpack(reader.read_idx(key))[1] for key in reader.keys} == images


def test_the_order_and_the_processes(tmp_path):
    flags = write_imagenet(tmp_path / 'archives')
    for out, more in (('one', []), ('two', ['--processes', '2']), ('other', ['--seed', '1'])):
        assert prepare(tmp_path / out, flags, *more) == 0
    one, two, other = (contents(str(tmp_path / out / 'train')) for out in ('one', 'two', 'other'))
    assert one == two and one['.rec'] != other['.rec']
    assert certificate.read(str(tmp_path / 'other' / 'train.rec'))['seed'] == 1
    assert read_all(str(tmp_path / 'one' / 'train'))[1] != sorted(read_all(str(tmp_path / 'one' / 'train'))[1])


def test_the_label_map_is_the_published_one(tmp_path):
    """All 1,000 ids, in a devkit whose ILSVRC2012_IDs are in another order, against GluonCV's own ImageNet classes."""
    from gluoncv.data import ImageNet1kAttr
    synset = list(ImageNet1kAttr().synset)
    assert len(synset) == 1000
    shuffled = synset[:]
    random.Random(0).shuffle(shuffled)
    ids = dict(enumerate(shuffled, 1))
    truth = [random.Random(number).randrange(1, 1001) for number in range(300)]
    (tmp_path / 'devkit.tar.gz').write_bytes(devkit(ids, truth, {}))
    wnids, _, found = prepare_imagenet.read_devkit(str(tmp_path / 'devkit.tar.gz'))
    assert wnids == ids and found == truth
    assert sorted(wnids.values()) == synset
    (tmp_path / 'val.tar').write_bytes(tar_bytes({f'ILSVRC2012_val_{number + 1:08d}.JPEG': b'\xff\xd8'
                                                  for number in range(300)}))
    items = prepare_imagenet.val_items(str(tmp_path / 'val.tar'), wnids, found, sorted(wnids.values()))
    assert [synset[label] for _, label, _ in items] == [ids[number] for number in truth]


def test_the_published_digests_are_asked_for(tmp_path, capsys):
    flags = write_imagenet(tmp_path / 'archives')
    flags.remove('--no-checksum')
    assert prepare(tmp_path / 'out', flags) == 2
    assert 'is not the published archive: its md5 is' in capsys.readouterr().err
    assert os.listdir(str(tmp_path / 'out')) == []


def rebuilt(path, change):
    """Write the tar again after change({name: bytes})."""
    with tarfile.open(str(path)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    change(files)
    path.write_bytes(tar_bytes(files))


@pytest.mark.parametrize('name, change, part', [
    ('train.tar', lambda files: files.pop('n02000000.tar'), 'has no n02000000.tar'),
    ('train.tar', lambda files: files.update({'n09000000.tar': tar_bytes({})}), 'not the tar of a class'),
    ('train.tar', lambda files: files.update({'n02000000.tar': tar_bytes({'a.JPEG': b'\xff\xd8'})}), 'devkit says 6'),
    ('train.tar', lambda files: files.update({'n02000000.tar': files['n02000000.tar'][:3000]}), 'cut short'),
    ('train.tar', lambda files: files.update({'n02000000.tar': tar_bytes({'../../a': b'1'})}), 'to trust'),
    ('val.tar', lambda files: files.pop('ILSVRC2012_val_00000003.JPEG'), 'has labels for 9'),
    ('val.tar', lambda files: files.update({'ILSVRC2012_val_00000010.JPEG': b'1'}), 'not one of the 9'),
    ('val.tar', lambda files: files.update({'ILSVRC2012_val_00000001.JPEG': b'<html>'}), 'not a JPEG or PNG'),
])
def test_wrong_archives(tmp_path, capsys, name, change, part):
    flags = write_imagenet(tmp_path / 'archives')
    rebuilt(tmp_path / 'archives' / name, change)
    assert prepare(tmp_path / 'out', flags) == 2
    err = capsys.readouterr().err
    assert part in err.splitlines()[-1] and 'Traceback' not in err
    assert not any(path.suffix in ('.rec', '.idx') for path in (tmp_path / 'out').iterdir())
    assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize('cut', [100, 3000, 9000])
def test_truncated_archives(tmp_path, capsys, cut):
    flags = write_imagenet(tmp_path / 'archives')
    for name in ('train.tar', 'val.tar'):
        whole = (tmp_path / 'archives' / name).read_bytes()
        (tmp_path / 'archives' / name).write_bytes(whole[:cut])
        assert prepare(tmp_path / 'out', flags) == 2
        assert name in capsys.readouterr().err.splitlines()[-1]
        (tmp_path / 'archives' / name).write_bytes(whole)
    (tmp_path / 'archives' / 'devkit.tar.gz').write_bytes(b'junk')
    assert prepare(tmp_path / 'out', flags) == 2
    (tmp_path / 'archives' / 'devkit.tar.gz').unlink()
    assert prepare(tmp_path / 'out', flags) == 2
    assert 'devkit.tar.gz is missing' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('meta, truth', [(b'', b'1\n'), (b'junk' * 100, b'1\n'), (None, b'7\n'), (None, b'one\n')])
def test_a_devkit_that_is_wrong(tmp_path, meta, truth):
    root = 'ILSVRC2012_devkit_t12/data/'
    (tmp_path / 'good').write_bytes(devkit({1: 'n01'}, [1], {}))
    if meta is None:
        with tarfile.open(str(tmp_path / 'good')) as archive:
            meta = archive.extractfile(root + 'meta.mat').read()
    (tmp_path / 'kit').write_bytes(tar_bytes({root + 'meta.mat': meta,
                                              root + 'ILSVRC2012_validation_ground_truth.txt': truth}, 'w:gz'))
    with pytest.raises(UsageError, match='download it again'):
        prepare_imagenet.read_devkit(str(tmp_path / 'kit'))
