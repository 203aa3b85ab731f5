import os

import cv2
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import preprocess, read_image
from gluon_tricks.data.pipeline import Augmentation, EvalStream, Normalise, TrainStream
from gluon_tricks.data.records.packing import pack
from gluon_tricks.errors import UsageError
from support.records import HUGE, make_jpeg, read_cut_images

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


def photo(orientation, jfif):
    """A JPEG of 60 x 40 pixels that says how to turn it, with or without a JFIF segment in front, as cameras and
    programs write it."""
    pixels = np.add.outer(np.arange(40), np.arange(60) * 3)[:, :, None] * np.array([1, 0, 0]) + np.array([0, 90, 40])
    content = cv2.imencode('.jpg', pixels.astype('uint8'))[1].tobytes()
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0' + bytes([orientation]) + bytes(6)
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    end = 4 + int.from_bytes(content[4:6], 'big')
    return content[:end] + segment + content[end:] if jfif else content[:2] + segment + content[end:]


def test_images_are_seen_as_in_validation(tmp_path):
    """The same pixels as the record pipeline's, but for the rounding of its resize."""
    path = tmp_path / 'a.jpg'
    path.write_bytes(make_jpeg(1, 3, size=60))
    pack([(path.read_bytes(), 1, 'a')], str(tmp_path / 'one'))
    stream = EvalStream(str(tmp_path / 'one.rec'), str(tmp_path / 'one.idx'), worker_batch_size=1, input_size=32,
                        crop_ratio=0.875, normalise=Normalise(MEAN, STD), threads=1)
    (batch, valid), = list(stream.batches())
    ours = preprocess(str(path), 32, 0.875, MEAN, STD).asnumpy()
    theirs = batch.shards([mx.cpu()])[0][0].asnumpy()
    assert valid == 1 and ours.shape == theirs.shape == (1, 3, 32, 32)
    assert np.abs(ours - theirs).mean() < 0.02


def test_an_image_cut_anywhere_is_read_or_named(tmp_path):
    """Where the header is whole MXNet complains only when the pixels are asked for."""
    refused = read_cut_images(lambda path: preprocess(path, 32, 0.875, MEAN, STD).asnumpy(), tmp_path / 'cut.jpg')
    assert not refused.popitem()[1] and all(refused.values())


@pytest.mark.parametrize('kind', sorted(HUGE))
def test_an_image_whose_header_asks_for_gigabytes(kind, tmp_path):
    (tmp_path / 'bomb.jpg').write_bytes(HUGE[kind]())
    with pytest.raises(UsageError, match='bomb.jpg is an image of .* more than 90 million'):
        read_image(str(tmp_path / 'bomb.jpg'))


@pytest.mark.parametrize('path', ['/dev/zero', 'pipe', '.'])
def test_what_is_no_file_is_not_read(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo('pipe')
    with pytest.raises(UsageError, match='cannot be read .it is a device, a pipe or a directory'):
        read_image(path)


@pytest.mark.parametrize('jfif', [False, True])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_a_photograph_is_turned_as_in_training_and_validation(orientation, jfif, tmp_path):
    """ImageRecordIter turns a JPEG by its EXIF orientation, always; MXNet's imdecode only without a JFIF segment."""
    content = photo(orientation, jfif)
    (tmp_path / 'a.jpg').write_bytes(content)
    pack([(content, 1, 'a')], str(tmp_path / 'one'))
    ours = read_image(str(tmp_path / 'a.jpg')).asnumpy()
    assert ours.shape == ((60, 40, 3) if orientation >= 5 else (40, 60, 3))
    side = min(ours.shape[:2])
    top, left = (ours.shape[0] - side) // 2, (ours.shape[1] - side) // 2
    files, plain = (str(tmp_path / 'one.rec'), str(tmp_path / 'one.idx')), Normalise((0, 0, 0), (1, 1, 1))
    (batch, _), = EvalStream(*files, worker_batch_size=1, input_size=side, crop_ratio=1, normalise=plain).batches()
    np.testing.assert_array_equal(batch.data[0].asnumpy()[0].transpose(1, 2, 0),
                                  ours[top:top + side, left:left + side])
    # of a whole image and square crops there is none that fits: its centre is trained on
    stream = TrainStream(*files, worker_batch_size=1, input_size=side, seed=0, normalise=plain,
                         augmentation=Augmentation(jitter=0, pca_noise=0, mirror=False, min_area=1, max_ratio=1.0))
    (trained,) = [each.data[0].asnumpy()[0].transpose(1, 2, 0).astype('int64') for each in stream.epoch(0)]
    assert np.abs(trained - ours[top:top + side, left:left + side]).max() <= 2


def test_a_truncated_jpeg_is_named(tmp_path):
    (tmp_path / 'half.jpg').write_bytes(make_jpeg(0, 0, 60)[:-300])
    with pytest.raises(UsageError, match='half.jpg is an image that cannot be decoded .*truncated'):
        read_image(str(tmp_path / 'half.jpg'))
