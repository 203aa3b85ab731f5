import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.data.prepare import demo_digits as demo
from gluon_tricks.data.records.record_file import check_records
from gluon_tricks.errors import UsageError

load_digits = pytest.importorskip('sklearn.datasets').load_digits


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """(directory, what write_digits returned)"""
    folder = tmp_path_factory.mktemp('demo') / 'deep' / 'data'
    return folder, demo.write_digits(str(folder))


def images_of(folder, part):
    """{number of the digit in scikit-learn's set: (class, path)}"""
    return {int(path.stem.split('_')[1]): (int(path.parent.name), path)
            for path in (folder / part).glob('*/*.JPEG')}


def test_every_digit_is_written_once_and_a_fifth_is_held_out(written):
    folder, packed = written
    train, val = images_of(folder, 'train'), images_of(folder, 'val')
    labels = load_digits().target
    assert len(train) + len(val) == len(labels) == 1797 and not set(train) & set(val)
    for number, (label, _) in list(train.items()) + list(val.items()):
        assert labels[number] == label
    held_out = np.bincount([label for label, _ in val.values()])
    assert (np.abs(held_out - np.bincount(labels) / 5) < 1).all()
    assert packed.classes == [str(digit) for digit in range(10)]
    assert [check_records(*packed.files[part]) for part in ('train', 'val')] == [len(train), len(val)]


def test_the_images_are_the_digits(written):
    import cv2
    images = load_digits().images
    for number, (_, path) in list(images_of(written[0], 'val').items())[:20]:
        pixels = cv2.imread(str(path))
        assert pixels.shape == (demo.SIDE, demo.SIDE, 3) and np.ptp(pixels, axis=2).max() <= 2  # grey
        small = cv2.resize(pixels[:, :, 0], (8, 8), interpolation=cv2.INTER_AREA).astype('float64')
        assert np.corrcoef(small.ravel(), images[number].ravel())[0, 1] > 0.97


def test_own_images_are_those_that_are_written(written, tmp_path):
    files = [path for part in ('train', 'val') for _, path in images_of(written[0], part).values()]
    own = demo.own_images(str(written[0]))
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == own
    assert demo.NUMBER == len(files) == len(own)
    done = subprocess.run(['sha256sum', '--check', '--quiet', 'digits.sha256'], cwd=written[0])
    assert done.returncode == 0
    assert not demo.own_images(str(tmp_path))


@pytest.mark.parametrize('content', [b'', b'\xff\xfe'])
def test_a_list_of_own_images_that_is_none(content, tmp_path):
    (tmp_path / 'digits.sha256').write_bytes(content)
    assert not demo.own_images(str(tmp_path))


def test_a_second_call_changes_nothing(written, monkeypatch):
    folder, packed = written
    files = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)  # not needed any more
    assert demo.write_digits(str(folder)) == packed
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()} == files


def test_the_held_out_fifth_is_the_same_everywhere(written, tmp_path):
    demo.write_digits(str(tmp_path / 'again'))
    for part in ('train', 'val'):
        assert (tmp_path / 'again' / '.gluon_tricks' / (part + '.rec')).read_bytes() == \
            (written[0] / '.gluon_tricks' / (part + '.rec')).read_bytes()


# ---------------------------------------------------------------------------------------------------------------------
# A few digits of a class to train

@pytest.fixture(scope='module')
def few(tmp_path_factory):
    """{split: directory} of two splits with 20 digits of a class to train."""
    folder = tmp_path_factory.mktemp('few')
    for split in (0, 1):
        demo.write_digits(str(folder / str(split)), train_per_class=20, split=split)
    return {split: folder / str(split) for split in (0, 1)}


def test_a_few_of_each_class_train_and_all_others_validate(few):
    labels = load_digits().target
    for folder in few.values():
        train, val = images_of(folder, 'train'), images_of(folder, 'val')
        assert len(train) == 200 and len(val) == 1597 and not set(train) & set(val)
        assert np.bincount([label for label, _ in train.values()]).tolist() == [20] * 10
        assert all(labels[number] == label for number, (label, _) in list(train.items()) + list(val.items()))


def test_another_split_is_other_digits_and_the_same_split_the_same(few, tmp_path):
    both = [set(images_of(folder, 'train')) for folder in few.values()]
    assert 10 < len(both[0] & both[1]) < 50 and min(np.bincount(load_digits().target)) == demo.FEWEST  # 22 by chance
    demo.write_digits(str(tmp_path / 'again'), train_per_class=20, split=1)
    assert set(images_of(tmp_path / 'again', 'train')) == both[1]


@pytest.mark.parametrize('split, words', [
    (dict(train_per_class=20, split=1), 'split 0 with 20 digits .* asked for is split 1'),
    (dict(train_per_class=21, split=0), 'with 20 digits .* with 21 digits'),
    ({}, 'split 0 with 20 digits .* every fifth is held out')])
def test_a_tree_of_another_split_is_refused(few, split, words):
    with pytest.raises(UsageError, match=words):
        demo.write_digits(str(few[0]), **split)


def test_a_split_over_the_demo_s_tree_or_a_damaged_note_is_refused(written, few, tmp_path):
    with pytest.raises(UsageError, match='every fifth is held out, and asked for is split 0'):
        demo.write_digits(str(written[0]), train_per_class=20)
    os.makedirs(str(tmp_path / 'x' / 'train'))
    for text in ('[1]', '{"a": 1}', '{', '3'):
        (tmp_path / 'x' / 'split.json').write_text(text)
        with pytest.raises(UsageError, match='split.json cannot be read'):
            demo.write_digits(str(tmp_path / 'x'), train_per_class=20)


def test_without_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(UsageError, match='pip install scikit-learn'):
        demo.write_digits(str(tmp_path / 'demo'))


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'notes.txt').write_text('keep')
    with pytest.raises(UsageError, match='new or empty'):
        demo.write_digits(str(tmp_path / 'mine'))
    assert sorted(os.listdir(str(tmp_path))) == ['mine'] and os.listdir(str(tmp_path / 'mine')) == ['notes.txt']


def test_a_kill_leaves_no_tree(tmp_path, monkeypatch):
    def stop(images, labels, held_out, folder):
        os.makedirs(os.path.join(folder, 'train'))
        raise KeyboardInterrupt
    monkeypatch.setattr(demo, '_write_tree', stop)
    with pytest.raises(KeyboardInterrupt):
        demo.write_digits(str(tmp_path / 'demo'))
    assert not (tmp_path / 'demo').exists()
