"""Images as timm's transform prepares them, bit for bit, and as ImageRecordIter does."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import EvalStream
from gluon_tricks.data.reader import Reader
from gluon_tricks.data.records.packing import pack
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import protocols
from gluon_tricks.models.published import PROTOCOLS
from support.records import damaged_records, relabel

SIZES = [(500, 375), (375, 500), (333, 500), (500, 334), (256, 256), (224, 224), (640, 427), (1, 1), (257, 341), (90, 61),
         (61, 90), (300, 301), (512, 200), (200, 512), (1024, 683), (299, 342), (150, 449), (500, 112)]


def photograph(number):
    """JPEG bytes of an image of one of many sizes, with details of every scale; some are grey."""
    import cv2
    rng = np.random.RandomState(number)
    width, height = SIZES[number % len(SIZES)]
    width, height = width + 3 * (number // len(SIZES)), height + 5 * (number // len(SIZES))
    pixels = np.zeros((height, width, 3))
    for scale in (1, 2, 5, 13, 40):
        noise = rng.normal(0, 12 * scale ** 0.5, (-(-height // scale), -(-width // scale), 3))
        pixels += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR).reshape(pixels.shape)
    pixels = np.clip(pixels + rng.uniform(60, 190, 3), 0, 255).astype('uint8')
    if number % 10 == 9:
        pixels = pixels[:, :, 0]
    return cv2.imencode('.png' if number % 12 == 11 else '.jpg', pixels)[1].tobytes()


@pytest.mark.parametrize('name, size, timms_filter', [('timm', 224, 'bicubic'), ('timm', 299, 'bicubic'),
                                                      ('torchvision', 224, 'bilinear')])
def test_tensors_are_timms_bit_for_bit(name, size, timms_filter, theirs):
    import io

    from PIL import Image
    timm = theirs[1]
    config = timm.models.get_pretrained_cfg('resnet50d.gluon_in1k')
    transform = timm.data.create_transform((3, size, size), is_training=False, interpolation=timms_filter,
                                           crop_pct=config.crop_pct, mean=config.mean, std=config.std)
    protocol = protocols.get(name, size, filter=config.interpolation)
    for number in range(50):
        content = photograph(number)
        wanted = transform(Image.open(io.BytesIO(content)).convert('RGB')).numpy()
        found = protocols.input_of(protocol, content)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted), number


def packed(folder, images=18):
    pack([(photograph(number), number % 4, str(number)) for number in range(images)], str(folder / 'set'),
         shuffle=False)
    return str(folder / 'set.rec'), str(folder / 'set.idx')


def inputs(stream):
    found = []
    for batch, valid in stream.batches():
        (x, labels), = batch.shards([mx.cpu()])
        found += list(zip(x.asnumpy()[:valid], labels.asnumpy()[:valid]))
    return [np.stack(each) for each in zip(*found)]


@pytest.mark.parametrize('size', [224, 299])
def test_opencvs_are_image_record_iters(size, tmp_path):
    files = packed(tmp_path)
    reader = Reader(*files)
    rows = np.array([3, 0, 1, 17, 5, 8, 2])
    protocol = protocols.get('opencv', size)
    ours = inputs(protocols.ProtocolStream(reader, reader.labels(), protocol, rows, 4))
    theirs = inputs(EvalStream(*files, worker_batch_size=4, input_size=size, rows=rows))
    assert ours[0].shape == theirs[0].shape == (7, 3, size, size)
    assert ours[1].tolist() == theirs[1].tolist() == [row % 4 for row in rows]
    assert np.abs(ours[0] - theirs[0]).max() < 0.05  # of a deviation: two levels of 255 at most


def test_what_may_be_wrong_changes_the_input_as_it_says():
    plain, content = protocols.get('opencv', 64, mean=(0, 0, 0), std=(1, 1, 1)), photograph(0)
    x = protocols.input_of(plain, content)
    assert np.array_equal(protocols.input_of(plain._replace(bgr=True), content), x[::-1])
    square = protocols.input_of(plain._replace(square=True), content)
    wide = protocols.input_of(plain._replace(ratio=500 / 375), content)
    assert np.array_equal(wide, x) and np.abs(square - x).mean() > 5
    scaled = protocols.input_of(plain._replace(mean=(8.0,) * 3, std=(2.0,) * 3), content)
    assert np.array_equal(scaled, (x - 8) / 2)


def test_the_words_of_a_protocol():
    assert protocols.get('opencv', 299).words() == 'short side to 342 (OpenCV, bilinear), centre crop 299'
    assert protocols.get('timm', 299).words() == 'short side to 341 (Pillow, bicubic), centre crop 299'
    assert protocols.get('torchvision', 224).words() == 'short side to 256 (Pillow, bilinear), centre crop 224'


@pytest.mark.parametrize('name', PROTOCOLS)
def test_a_damaged_image_is_named(name, tmp_path):
    rec = damaged_records(tmp_path)
    reader = Reader(rec, rec[:-4] + '.idx')
    stream = protocols.ProtocolStream(reader, np.zeros(16), protocols.get(name, 32), np.arange(16), 4)
    with pytest.raises(UsageError, match='record 5 at offset .* cannot be decoded'):
        list(stream.batches())


def test_labels_are_read_without_the_images(tmp_path):
    files = packed(tmp_path, images=6)
    relabel(files[0], 2, 1000)
    relabel(files[0], 3, -1.5)
    assert Reader(*files).labels().tolist() == [0, 1, 1000, -1.5, 0, 1]
