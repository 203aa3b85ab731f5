import os

import pytest

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.data.prepare.folder import find_records, pack_folder
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records import record_file as records
from gluon_tricks.errors import UsageError
from support.archives import read_all
from support.records import make_jpeg


def write_tree(folder, train=6, val=3, classes=('ant', 'bee')):
    for part, number in (('train', train), ('val', val)):
        for i in range(number):
            place = folder / part / classes[i % len(classes)]
            place.mkdir(parents=True, exist_ok=True)
            (place / (f'{i}.JPEG')).write_bytes(make_jpeg(i % 2, i))
    return folder


def test_a_folder_is_packed_once_and_again_when_it_changes(tmp_path):
    tree = write_tree(tmp_path / 'tree')
    packed = pack_folder(str(tree))
    assert packed.classes == ['ant', 'bee'] and set(packed.files) == {'train', 'val'}
    rec, idx = packed.files['train']
    assert records.check_records(rec, idx) == 6
    images, _ = read_all(rec[:-4])
    assert sorted(images) == [0.0, 1.0]
    first = os.stat(rec).st_mtime_ns, os.stat(rec).st_ino
    assert pack_folder(str(tree)) == packed
    assert (os.stat(rec).st_mtime_ns, os.stat(rec).st_ino) == first  # the same file
    (tree / 'train' / 'bee' / '99.jpg').write_bytes(make_jpeg(1, 99))
    assert records.check_records(*pack_folder(str(tree)).files['train']) == 7
    facts = certificate.read(rec)
    assert facts['images'] == 7 and facts['classes'] == ['ant', 'bee']
    os.remove(rec)
    assert records.check_records(*pack_folder(str(tree)).files['train']) == 7


def test_records_are_those_that_are_named_then_rec_then_the_packed_folder(tmp_path):
    def found(**options):
        return find_records(TrainConfig(data_dir=str(tmp_path), **options))

    def under(name):
        return {part: (str(tmp_path / name / (part + '.rec')), str(tmp_path / name / (part + '.idx')))
                for part in ('train', 'val')}

    assert found() == under('rec')
    write_tree(tmp_path)
    assert found() == under('.gluon_tricks') and found(use_rec=True) == under('rec')
    assert pack_folder(str(tmp_path)).files == found()
    assert found(rec_val='a/val.rec') == dict(under('rec'), val=('a/val.rec', 'a/val.idx'))
    (tmp_path / 'rec').mkdir()
    for path in [path for pair in under('rec').values() for path in pair]:
        assert found() == under('.gluon_tricks')
        open(path, 'w').close()
    assert found() == under('rec')


def test_validation_labels_follow_the_training_classes(tmp_path):
    tree = write_tree(tmp_path / 'tree', train=6, val=2, classes=('ant', 'bee', 'cow'))
    for name in ('ant',):
        for path in (tree / 'val' / name).iterdir():
            path.unlink()
        (tree / 'val' / name).rmdir()
    packed = pack_folder(str(tree))
    assert sorted(read_all(packed.files['val'][0][:-4])[0]) == [1.0]  # only bees, whose label is 1
    (tree / 'val' / 'dog').mkdir()
    with pytest.raises(UsageError, match='dog'):
        pack_folder(str(tree))


def test_the_records_may_lie_elsewhere(tmp_path):
    packed = pack_folder(str(write_tree(tmp_path / 'tree')), str(tmp_path / 'cache'))
    assert packed.files['val'][0] == str(tmp_path / 'cache' / 'val.rec')
    assert not (tmp_path / 'tree' / '.gluon_tricks').exists()


def test_hidden_folders_are_no_classes_and_other_files_are_told(tmp_path, capsys):
    from gluon_tricks.data.prepare import command as prepare
    tree = write_tree(tmp_path / 'tree')
    (tree / 'train' / '.ipynb_checkpoints').mkdir()
    name = next(path for path in (tree / 'train').iterdir() if not path.name.startswith('.'))
    (name / 'picture.webp').write_bytes(b'x')
    assert not any(each.startswith('.') for each in pack_folder(str(tree), str(tmp_path / 'a')).classes)
    assert prepare.main(['folder', str(tree), '--out', str(tmp_path / 'b'), '--processes', '1']) == 0
    assert f'left out: 1 files that are not JPEG or PNG, such as {name / "picture.webp"}' in capsys.readouterr().out


def test_links_to_files_are_images_and_nothing_else_is(tmp_path):
    """A device may have no end, and a pipe no beginning."""
    tree, out = write_tree(tmp_path / 'tree'), str(tmp_path / 'out')
    (tmp_path / 'elsewhere').write_bytes(make_jpeg(0, 50))
    (tree / 'train' / 'ant' / 'link.jpg').symlink_to(tmp_path / 'elsewhere')
    assert records.check_records(*pack_folder(str(tree), out).files['train']) == 7
    for number, make in enumerate((lambda path: path.symlink_to('/dev/zero'), lambda path: os.mkfifo(str(path)),
                                   lambda path: path.mkdir(), lambda path: path.symlink_to('nowhere'))):
        path = tree / 'train' / 'bee' / (f'odd{number}.jpg')
        make(path)
        with pytest.raises(UsageError, match=f'odd{number}.jpg cannot be read'):
            pack_folder(str(tree), out)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def test_folders_that_cannot_be_packed(tmp_path):
    with pytest.raises(UsageError, match='train is missing'):
        pack_folder(str(tmp_path))
    (tmp_path / 'train' / '.hidden').mkdir(parents=True)
    with pytest.raises(UsageError, match='holds no images'):
        pack_folder(str(tmp_path))
    (tmp_path / 'train' / 'ant').mkdir()
    with pytest.raises(UsageError, match='ant holds no JPEG or PNG'):
        pack_folder(str(tmp_path))
    tree = write_tree(tmp_path / 'tree')
    (tree / '.gluon_tricks').write_text('a file where the cache should be')
    with pytest.raises(UsageError, match='prepare folder'):
        pack_folder(str(tree))


