"""Which images a page may show, and what a network confuses."""
import cv2
import numpy as np
import pytest

import train_imagenet
from gluon_tricks.compat import mx
from gluon_tricks.data.prepare import demo_digits
from gluon_tricks.errors import UsageError
from gluon_tricks.results import examples
from gluon_tricks.results.records import records
from gluon_tricks.tasks.classification.trained import validation


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """The Record of a run of an epoch on some of the demo's digits, of which one image is somebody else's."""
    datasets = pytest.importorskip('sklearn.datasets').load_digits()
    folder = tmp_path_factory.mktemp('digits')
    images, labels = datasets.images[:400], datasets.target[:400]
    demo_digits._write_tree(images, labels, demo_digits.but_few(labels, 10, 0), str(folder / 'data'))
    foreign = sorted((folder / 'data' / 'val').glob('*/*.JPEG'))[0]
    foreign.write_bytes(demo_digits._jpeg(images[int(foreign.stem[-4:])].T))
    path = str(folder / 'run')
    assert train_imagenet.main([
        '--data-dir', str(folder / 'data'), '--model', 'resnet10_v1d_demo', '--num-classes', '10', '--input-size', '32',
        '--batch-size', '20', '--num-epochs', '1', '--num-gpus', '0', '-j', '1', '--save-dir', path]) == 0
    (record,), _ = records([path])
    return record


def test_what_is_confused_and_its_images(digits):
    found, answers = examples.look(digits, [mx.cpu()]), validation(digits.path, [mx.cpu()])
    wrong = answers['labels'] != answers['predicted']
    assert found.found.images == len(wrong) == 300 and found.name == 'run'
    assert found.found.whole == ('top-1', pytest.approx(100 * (1 - wrong.mean())))
    assert found.found.whole[1] == pytest.approx(digits.best['top1']) and found.pairs
    own = demo_digits.own_images(digits.config.data_dir)
    for pair, images in found.pairs:
        assert len(images) == min(4, pair.number) or len(images) == pair.number - 1  # but for the foreign one
        assert all(cv2.imdecode(np.frombuffer(image, 'uint8'), 1).shape == (40, 40, 3) for image in images)
        assert all(examples.hashlib.sha256(image).hexdigest() in own for image in images)


def test_images_of_other_data_are_never_shown(digits, monkeypatch):
    monkeypatch.setattr(demo_digits, '_DIGESTS', 'not-there')  # as where `prepare demo` did not write the data
    assert not any(images for _, images in examples.look(digits, [mx.cpu()]).pairs)


def test_other_data_may_not_be_the_demo_s(digits, tiny_arguments, tmp_path):
    assert examples.may_be_demo(digits)
    assert train_imagenet.main(tiny_arguments + ['--num-epochs', '1', '--save-dir', str(tmp_path / 'run')]) == 0
    (record,), _ = records([tmp_path / 'run'])
    assert not examples.may_be_demo(record)
    assert not any(images for _, images in examples.look(record, [mx.cpu()]).pairs)


@pytest.mark.parametrize('content', [b'', b'GIF89a', b'<svg/>', b'\x89PNG\r\n\x1a\n'])
def test_a_file_that_is_no_picture(content, tmp_path):
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(UsageError, match='a.png'):
        examples.shown(str(tmp_path / 'a.png'))
    with pytest.raises(UsageError, match='cannot be read'):
        examples.shown(str(tmp_path / 'b.png'))


def test_a_picture_is_made_smaller(tmp_path):
    image = np.random.RandomState(0).randint(255, size=(30, 40, 3)).astype('uint8')
    cv2.imwrite(str(tmp_path / 'a.png'), cv2.resize(image, (1000, 750), interpolation=cv2.INTER_NEAREST))
    name, jpeg, width, height = examples.shown(str(tmp_path / 'a.png'))
    found = cv2.imdecode(np.frombuffer(jpeg, 'uint8'), 1)
    assert (name, width, height) == ('a.png', 640, 480) and found.shape == (480, 640, 3)
    assert np.abs(cv2.resize(found, (40, 30), interpolation=cv2.INTER_AREA).astype(float) - image).mean() < 12
