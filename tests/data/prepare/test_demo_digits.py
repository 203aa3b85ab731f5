import os
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
