import collections
import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data import pipeline
from gluon_tricks.data.pipeline import Augmentation, Batch, EvalStream, Normalise, SyntheticStream, TrainStream
from gluon_tricks.data.records.packing import pack
from gluon_tricks.errors import UsageError
from support import ROOT

CPU = [mx.cpu(0)]
PLAIN = Augmentation(jitter=0, pca_noise=0, mirror=False)
PIXELS = Normalise((0, 0, 0), (1, 1, 1))


def make_set(folder, images, sides=(48, 64), name='set'):
    """(rec, idx) of noisy images, each of its own size and content, whose label is their number."""
    import cv2
    rng = np.random.RandomState(images)
    items = []
    for number in range(images):
        size = rng.randint(sides[0], sides[1] + 1, 2)
        pixels = cv2.resize(rng.randint(0, 256, (8, 8, 3)).astype('uint8'), tuple(int(n) for n in size))
        items.append((cv2.imencode('.jpg', pixels)[1].tobytes(), number, str(number)))
    pack(items, str(folder / name))
    return str(folder / name) + '.rec', str(folder / name) + '.idx'


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    """Record files by their number of images, made when they are asked for."""
    folder, made = tmp_path_factory.mktemp('sets'), {}

    def get(images):
        if images not in made:
            made[images] = make_set(folder, images, name=f'set{images}')
        return made[images]
    return get


def epoch_of(stream, epoch):
    """(images, labels) of an epoch as arrays, one row per image."""
    images, labels = [], []
    for batch in stream.epoch(epoch):
        assert batch.size == stream.worker_batch_size
        (x, y), = batch.shards(CPU)
        images.append(x.asnumpy())
        labels.append(y.asnumpy())
    assert len(images) == stream.updates_per_epoch
    return np.concatenate(images), np.concatenate(labels)


# -- the stream: reproducible, and fresh ------------------------------------------------------------------------------

STREAM = '''
import collections, hashlib, json, sys
from gluon_tricks.compat import mx
from gluon_tricks.data import pipeline
from gluon_tricks.data.pipeline import TrainStream

for rec, idx in (sys.argv[2:4], sys.argv[4:6]):
    stream = TrainStream(rec, idx, worker_batch_size=32, input_size=32, seed=0, threads=int(sys.argv[1]))
    whole, crops, once = hashlib.sha256(), collections.defaultdict(list), True
    for epoch in range(4):
        seen = []
        for batch in stream.epoch(epoch):
            (x, y), = batch.shards([mx.cpu(0)])
            for image, label in zip(x.asnumpy(), y.asnumpy()):
                whole.update(image.tobytes() + label.tobytes())
                crops[int(label)].append(hashlib.sha256(image.tobytes()).hexdigest())
                seen.append(int(label))
        once = once and sorted(seen) == list(range(256))
    distinct = sum(len(set(found)) for found in crops.values()) / sum(map(len, crops.values()))
    print(json.dumps([whole.hexdigest(), distinct, once]))
'''


def test_the_stream(tmp_path):
    """256 images of many sizes and of one, 4 epochs: equal bytes in two processes with any threads, and fresh crops."""
    files = [path for name, sides in (('many', (48, 64)), ('one', (64, 64)))
             for path in make_set(tmp_path, 256, sides, name)]
    first, second = [subprocess.run([sys.executable, '-c', STREAM, threads, *files], cwd=str(ROOT), check=True,
                                    stdout=subprocess.PIPE).stdout.splitlines() for threads in '25']
    assert first == second and len(set(first)) == 2
    for distinct, once in (json.loads(line)[1:] for line in first):
        assert distinct >= 0.999 and once


def test_an_epoch_does_not_depend_on_those_before(sets):
    def stream(seed):
        return TrainStream(*sets(60), worker_batch_size=12, input_size=24, seed=seed, threads=2)

    first = stream(3)
    bytes_of = [hashlib.sha256(epoch_of(first, epoch)[0].tobytes()).hexdigest() for epoch in range(3)]
    assert len(set(bytes_of)) == 3
    assert hashlib.sha256(epoch_of(stream(3), 2)[0].tobytes()).hexdigest() == bytes_of[2]
    other = hashlib.sha256(epoch_of(stream(4), 2)[0].tobytes()).hexdigest()
    assert other != bytes_of[2]
    first.reseed(4)
    assert hashlib.sha256(epoch_of(first, 2)[0].tobytes()).hexdigest() == other


@pytest.mark.parametrize('batch', [1, 7, 20, 64, 70])
def test_an_epoch_from_within(batch, sets):
    """What a resumed run reads has the same bytes, wherever it begins, and whatever pieces the file is read in."""
    stream = TrainStream(*sets(140), worker_batch_size=batch, input_size=16, seed=1, threads=2)
    x, y = epoch_of(stream, 3)
    for first in {0, 1, stream.updates_per_epoch // 2, stream.updates_per_epoch - 1, stream.updates_per_epoch}:
        found = [one.shards(CPU)[0] for one in stream.epoch(3, first)]
        assert len(found) == stream.updates_per_epoch - first
        for number, (data, label) in enumerate(found, first):
            rows = slice(number * batch, (number + 1) * batch)
            assert (data.asnumpy() == x[rows]).all() and (label.asnumpy() == y[rows]).all()


def test_the_order_mixes_the_whole_file(sets):
    """The images of a first batch of 20 come from everywhere in a file of 140."""
    first = [next(TrainStream(*sets(140), worker_batch_size=20, input_size=16, seed=0).epoch(epoch)).label[0].asnumpy()
             for epoch in range(5)]
    stream = EvalStream(*sets(140), worker_batch_size=140, input_size=16)
    order = next(stream.batches())[0].shards(CPU)[0][1].asnumpy().tolist()
    for labels in first:
        rows = sorted(order.index(label) for label in labels)
        assert rows[0] < 35 and rows[-1] >= 105 and max(np.diff(rows)) < 50


# -- exact counts -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('images, batch, threads', [
    (60, 12, 1), (61, 12, 3), (60, 1, 4), (17, 8, 8), (60, 60, 4), (60, 7, 3), (7, 7, 7), (140, 65, 2), (140, 130, 64)])
def test_an_epoch_is_exact(images, batch, threads, sets):
    """N // B batches, every image at most once, every image once where B divides N; rows are real images."""
    stream = TrainStream(*sets(images), worker_batch_size=batch, input_size=16, seed=5, threads=threads)
    assert (stream.num_images, stream.updates_per_epoch) == (images, images // batch)
    missed = collections.Counter()
    for epoch in range(2):
        labels = epoch_of(stream, epoch)[1]
        assert len(labels) == images // batch * batch
        assert len(set(labels)) == len(labels) and set(labels) <= set(range(images))
        missed.update(set(range(images)) - set(labels))
    assert sum(missed.values()) == 2 * (images % batch)


@pytest.mark.parametrize('images, batch, workers', [(60, 6, 2), (61, 5, 3), (50, 4, 2), (61, 6, 4)])
def test_workers_share_the_images(images, batch, workers, sets):
    """Disjoint shares, and the same number of updates for all: they wait for each other."""
    streams = [TrainStream(*sets(images), worker_batch_size=batch, input_size=16, seed=1, worker=worker,
                           num_workers=workers) for worker in range(workers)]
    assert sum(stream.num_images for stream in streams) == images
    updates = min(stream.num_images for stream in streams) // batch
    assert [stream.updates_per_epoch for stream in streams] == [updates] * workers
    labels = [epoch_of(stream, 0)[1] for stream in streams]
    assert all(len(found) == updates * batch for found in labels)
    together = np.concatenate(labels)
    assert len(set(together)) == len(together)


@pytest.mark.parametrize('images, batch, workers', [(7, 8, 1), (17, 9, 2), (7, 1, 9)])
def test_fewer_images_than_a_batch(images, batch, workers, sets):
    with pytest.raises(UsageError, match='--batch-size'):
        TrainStream(*sets(images), worker_batch_size=batch, input_size=16, seed=0, num_workers=workers)


@pytest.mark.parametrize('images, batch, threads', [(27, 8, 1), (27, 8, 2), (27, 27, 3), (27, 64, 4), (61, 6, 6), (1, 4, 2),
                                                    (60, 12, 4), (140, 70, 2), (140, 150, 3)])
def test_evaluation_counts_every_image_once(images, batch, threads, sets):
    stream = EvalStream(*sets(images), worker_batch_size=batch, input_size=16, threads=threads)
    for _ in range(2):  # and again in the next evaluation
        labels = []
        for one, valid in stream.batches():
            (x, y), = one.shards(CPU)
            assert x.shape == (batch, 3, 16, 16) and y.shape == (batch,) and one.size == batch
            labels += list(y.asnumpy()[:valid])
        assert sorted(labels) == list(range(images)) and stream.num_images == images


@pytest.mark.parametrize('images, side, devices, least, batch', [
    (140, 32, 1, 5, 47), (140, 32, 2, 10, 70), (140, 32, 2, 200, 140), (140, 32, 4, 8, 140), (27, 32, 1, 5, 27),
    (27, 32, 2, 4, 28), (27, 32, 3, 3, 27), (140, 64, 1, 5, 16), (140, 64, 1, 32, 28), (27, 224, 1, 5, 5), (27, 224, 1, 25, 14),
    (27, 300, 2, 4, 4)])
def test_batches_of_small_images_are_larger_and_all_of_equal_size(images, side, devices, least, batch, sets):
    """64 images of 32 x 32 on a device, no more than there are; what a device of 224 x 224 takes is no more. Fewer rows
    fill up the last batch than there are shares of a batch."""
    stream = EvalStream(*sets(images), worker_batch_size=least, input_size=side, devices=devices)
    found = [(one.size, valid) for one, valid in stream.batches()]
    assert {size for size, _ in found} == {batch} and not batch % devices
    assert sum(valid for _, valid in found) == images == stream.num_images
    assert len(found) * batch - images < len(found) * devices


@pytest.mark.parametrize('kept, passes', [(3 * 16 * 16 * 32, 1), (3 * 16 * 16 * 32 - 1, 3)])
def test_a_small_set_is_decoded_once(kept, passes, sets, monkeypatch):
    monkeypatch.setattr(pipeline, 'KEPT', kept)
    stream, calls = EvalStream(*sets(27), worker_batch_size=8, input_size=16), []
    read = stream.reader.read
    monkeypatch.setattr(stream.reader, 'read', lambda *arguments: calls.append(arguments) or read(*arguments))
    next(stream.batches())  # of a pass that ends early nothing is kept
    calls.clear()
    first, *others = [[(x.asnumpy(), y.asnumpy(), valid) for batch, valid in stream.batches()
                       for x, y in batch.shards(CPU)] for _ in range(3)]
    assert len(calls) == passes and len(first) == 4
    for other in others:
        for (x, y, valid), (x2, y2, valid2) in zip(first, other):
            assert valid == valid2 and (x == x2).all() and (y == y2).all()


def test_evaluation_does_not_depend_on_the_threads(sets):
    def images(threads, batch):
        found = {}
        for one, valid in EvalStream(*sets(111), worker_batch_size=batch, input_size=24, threads=threads).batches():
            x, y = (array.asnumpy()[:valid] for array in one.shards(CPU)[0])
            found.update((int(label), image.tobytes()) for image, label in zip(x, y))
        return found
    assert images(1, 111) == images(2, 8) == images(11, 11)


@pytest.mark.parametrize('images, batch', [(27, 8), (24, 8), (27, 27)])
def test_gluoncvs_padding_is_that_of_round_batch(images, batch, sets):
    """As ImageRecordIter's first epoch with ``round_batch=True``, all rows of which GluonCV's script counts."""
    theirs = mx.io.ImageRecordIter(path_imgrec=sets(images)[0], path_imgidx=sets(images)[1], data_shape=(3, 28, 28),
                                   batch_size=batch, resize=32, round_batch=True, preprocess_threads=1, verbose=False)
    expected = np.concatenate([one.label[0].asnumpy() for one in theirs])
    stream = EvalStream(*sets(images), worker_batch_size=batch, input_size=28, threads=2, gluoncv_padding=True)
    counted = np.concatenate([one.shards(CPU)[0][1].asnumpy()[:valid] for one, valid in stream.batches()])
    assert counted.tolist() == expected.tolist()
    assert stream.num_images == len(expected)


# -- what happens to an image -----------------------------------------------------------------------------------------

def make_ramp(folder, images, side=200):
    """Images whose red grows by 1 a pixel to the right, and green downwards, so that crops tell their place."""
    import cv2
    y, x = np.mgrid[:side, :side]
    png = cv2.imencode('.png', np.stack([0 * x, y, x], axis=-1).astype('uint8'))[1].tobytes()  # OpenCV: B, G, R
    pack([(png, number, str(number)) for number in range(images)], str(folder / 'ramp'))
    return str(folder / 'ramp.rec'), str(folder / 'ramp.idx')


def test_step_2_and_3_crop_and_flip(tmp_path):
    files = make_ramp(tmp_path, 600)
    stream = TrainStream(*files, worker_batch_size=60, input_size=50, seed=0, normalise=PIXELS,
                         augmentation=dataclasses.replace(PLAIN, mirror=True))
    x = np.concatenate([epoch_of(stream, epoch)[0] for epoch in range(2)])
    right, down = (x[:, 0, 25, 40] - x[:, 0, 25, 10]) / 30 * 50, (x[:, 1, 40, 25] - x[:, 1, 10, 25]) / 30 * 50
    width, height = np.abs(right), down
    area, ratio = width * height / 200 ** 2, width / height
    assert 0.06 < area.min() < 0.12 and area.max() < 1.05 and 0.42 < area.mean() < 0.56
    assert 0.7 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.42 and abs(np.log(ratio).mean()) < 0.03
    assert 0.45 < (right < 0).mean() < 0.55 and (down > 0).all()
    assert len({image.tobytes() for image in x}) == 1200  # images alike: every draw is another one
    assert (np.abs(x[:, 2]) < 1e-6).all()  # no colour change, and R, G, B in this order


def test_options_of_the_crop(tmp_path):
    files = make_ramp(tmp_path, 60)
    x = epoch_of(TrainStream(*files, worker_batch_size=60, input_size=50, seed=0, normalise=PIXELS,
                             augmentation=dataclasses.replace(PLAIN, min_area=0.8, max_ratio=1.0)), 1)[0]
    right, down = x[:, 0, 25, 40] - x[:, 0, 25, 10], x[:, 1, 40, 25] - x[:, 1, 10, 25]
    assert (np.abs(right - down) <= 2).all()  # squares, none of them flipped
    assert 105 <= right.min() < 112 and 117 < right.max() <= 121  # of sides between 179 and 200


def test_crops_that_never_fit_become_the_centre(tmp_path):
    """Ten times the whole area is drawn, which MXNet finds too large: it takes the centre, and does not shrink."""
    x, _ = epoch_of(TrainStream(*make_ramp(tmp_path, 2), worker_batch_size=2, input_size=50, seed=0,
                                normalise=PIXELS,
                                augmentation=dataclasses.replace(PLAIN, min_area=1, max_ratio=1.0)), 0)
    assert (x[:, 0, 25] == np.arange(75, 125)).all()


def test_step_4_and_5_colour(tmp_path):
    """A grey image keeps its grey under saturation and contrast, is scaled by brightness, and tinted by PCA noise."""
    import cv2
    png = cv2.imencode('.png', np.full((40, 40, 3), 100, 'uint8'))[1].tobytes()
    pack([(png, i, str(i)) for i in range(400)], str(tmp_path / 'grey'))
    files = str(tmp_path / 'grey.rec'), str(tmp_path / 'grey.idx')

    def values(**options):
        stream = TrainStream(*files, worker_batch_size=100, input_size=16, seed=0, normalise=PIXELS,
                             augmentation=dataclasses.replace(PLAIN, **options))
        return epoch_of(stream, 0)[0][:, :, 8, 8]

    assert (values() == 100).all()
    bright = values(jitter=0.4)
    assert bright.min() >= 59 and bright.max() <= 141 and bright.min() < 64 and bright.max() > 136
    assert (np.ptp(bright, axis=1) <= 1).all()
    assert abs(bright.mean() - 100) < 5
    noisy = values(pca_noise=0.1) - 100
    assert noisy.std(axis=0) == pytest.approx([3.2, 3.2, 3.2], abs=0.6) and np.ptp(noisy, axis=1).max() >= 1
    assert abs(noisy.mean()) < 1


def test_step_6_normalisation(sets):
    """(x - mean) / std with the paper's figures, channels R, G, B."""
    plain = EvalStream(*sets(27), worker_batch_size=27, input_size=28, normalise=PIXELS)
    normal = EvalStream(*sets(27), worker_batch_size=27, input_size=28)
    (x, _), (z, _) = [next(stream.batches())[0].shards(CPU)[0] for stream in (plain, normal)]
    mean = np.array([123.68, 116.779, 103.939]).reshape((1, 3, 1, 1))
    std = np.array([58.393, 57.12, 57.375]).reshape((1, 3, 1, 1))
    assert np.allclose(z.asnumpy(), (x.asnumpy() - mean) / std, atol=1e-5)
    assert z.dtype == np.float32 and 0 <= x.asnumpy().min() and x.asnumpy().max() <= 255


@pytest.mark.parametrize('broadcasts, at_once', [((), 2 * 10 ** 6), ((), 5 * 3 * 28 * 28), (('cpu',), 1)])
def test_pixels_are_those_of_image_record_iter(broadcasts, at_once, sets, monkeypatch):
    """Its own step 6 is in float32, here the device's: the same bits, augmentations and all; on a CPU for all images at
    once and for five at a time, and as GPUs do it."""
    monkeypatch.setattr(pipeline, '_BROADCASTS', broadcasts)
    monkeypatch.setattr(pipeline, '_AT_ONCE', at_once)
    rec, idx = sets(27)
    stream = TrainStream(rec, idx, worker_batch_size=27, input_size=28, seed=3)
    steps = dict(stream.reader.steps, mean_r=123.68, mean_g=116.779, mean_b=103.939, std_r=58.393, std_g=57.12,
                 std_b=57.375)
    batch = mx.io.ImageRecordIter(path_imgrec=rec, path_imgidx=idx, batch_size=27, seed_aug=11, **steps).next()
    bits = mx.io.ImageRecordUInt8Iter(path_imgrec=rec, path_imgidx=idx, batch_size=27, seed_aug=11,
                                      **stream.reader.steps).next()
    assert bits.data[0].dtype == np.uint8 and np.ptp(bits.data[0].asnumpy()) > 100
    np.testing.assert_array_equal(stream.normalise(bits.data[0]).asnumpy(), batch.data[0].asnumpy())


@pytest.mark.parametrize('size, resize', [(224, 256), (299, 342), (32, 37)])
def test_validation_resizes_the_short_side(size, resize, sets):
    assert EvalStream(*sets(7), worker_batch_size=7, input_size=size).reader.steps['resize'] == resize


def test_validation_takes_the_centre(tmp_path):
    x = next(EvalStream(*make_ramp(tmp_path, 1), worker_batch_size=1, input_size=175,
                        normalise=PIXELS).batches())[0].shards(CPU)[0][0].asnumpy()[0]
    assert (x[0, 50] == np.arange(12, 187)).all() and (x[1, :, 50] == np.arange(12, 187)).all()


def test_images_of_every_shape_pass(tmp_path):
    import cv2
    shapes = [(1, 1), (2, 300), (300, 2), (40, 40)]
    items = [(cv2.imencode(suffix, np.full(shape + channels, 90, 'uint8'))[1].tobytes(), 0, 'x')
             for shape in shapes for suffix, channels in (('.jpg', (3,)), ('.jpg', ()), ('.png', (4,)))]
    pack(items, str(tmp_path / 'odd'))
    files = str(tmp_path / 'odd.rec'), str(tmp_path / 'odd.idx')
    x, _ = epoch_of(TrainStream(*files, worker_batch_size=12, input_size=24, seed=0, threads=2, augmentation=PLAIN,
                                normalise=PIXELS), 0)
    assert x.shape == (12, 3, 24, 24) and (np.abs(x - 90) <= 1).all()
    assert len(list(EvalStream(*files, worker_batch_size=5, input_size=24).batches())) == 3


# -- batches ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('pieces', [[12], [4, 4, 4], [5, 7], [1] * 12])
@pytest.mark.parametrize('devices', [1, 2, 3, 4])
def test_shards_are_equal_slices_in_order(pieces, devices):
    x, y = np.random.RandomState(0).normal(size=(12, 3, 2, 2)).astype('float32'), np.arange(12, dtype='float32')
    cuts = np.cumsum(pieces)[:-1]
    batch = Batch([mx.nd.array(a) for a in np.split(x, cuts)], [mx.nd.array(a) for a in np.split(y, cuts)])
    shards = batch.shards([mx.cpu(number) for number in range(devices)])
    assert batch.size == 12 and [data.context for data, _ in shards] == [mx.cpu(n) for n in range(devices)]
    assert [data.shape[0] for data, _ in shards] == [label.shape[0] for _, label in shards] == [12 // devices] * devices
    assert (np.concatenate([data.asnumpy() for data, _ in shards]) == x).all()
    assert (np.concatenate([label.asnumpy() for _, label in shards]) == y).all()


def test_a_batch_that_does_not_divide():
    with pytest.raises(UsageError, match='7 images does not divide over 2 devices'):
        Batch([mx.nd.zeros((7, 1))], [mx.nd.zeros(7)]).shards([mx.cpu(0), mx.cpu(1)])


def test_a_batch_that_was_used_is_not_overwritten(sets):
    """Operations that still wait in the engine see the images that were theirs."""
    stream = TrainStream(*sets(64), worker_batch_size=8, input_size=32, seed=0, threads=2)
    expected, labels = epoch_of(stream, 0)
    slow = mx.nd.random.normal(shape=(800, 800))
    kept = []
    for batch in stream.epoch(0):
        for _ in range(3):
            slow = mx.nd.dot(slow, slow) * 1e-3
        kept += [(data * 1, label * 1) for data, label in batch.shards(CPU)]
    assert (np.concatenate([data.asnumpy() for data, _ in kept]) == expected).all()
    assert (np.concatenate([label.asnumpy() for _, label in kept]) == labels).all()


def test_synthetic_batches():
    stream = SyntheticStream(6, 16, classes=3, num_images=20, seed=1)
    batches = list(stream.epoch(0))
    assert len(batches) == stream.updates_per_epoch == 3 and stream.num_images == 20
    (x, y), = batches[0].shards(CPU)
    assert x.shape == (6, 3, 16, 16) and x.dtype == y.dtype == np.float32
    assert set(y.asnumpy()) <= {0.0, 1.0, 2.0} and batches[0] is batches[2]
    with pytest.raises(UsageError, match='--num-training-samples 5'):
        SyntheticStream(6, 16, classes=3, num_images=5)


# -- MXNet's iterator -------------------------------------------------------------------------------------------------

def test_keywords_are_known_to_mxnet(sets, monkeypatch):
    """The iterator ignores a keyword that it does not know, so a misspelt step would be left out without a word."""
    documented = mx.io.ImageRecordIter.__doc__  # the other form has the same parser, and leaves out `rand_mirror`
    used = []
    real = mx.io.ImageRecordUInt8Iter
    monkeypatch.setattr(mx.io, 'ImageRecordUInt8Iter', lambda **options: used.append(options) or real(**options))
    list(TrainStream(*sets(7), worker_batch_size=7, input_size=16, seed=0).epoch(0))
    list(EvalStream(*sets(7), worker_batch_size=7, input_size=16).batches())
    assert len(used) == 2
    for options in used:
        assert all(f'{name} : ' in documented for name in options)
        assert options['preprocess_threads'] == 1 and options['round_batch'] is False
    assert 'seed_aug' in used[0] and 'seed_aug' not in used[1]


def resident():
    """Memory of this process in MB."""
    with open('/proc/self/statm') as stream:
        return int(stream.read().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
@pytest.mark.parametrize('stop', [None, 1], ids=['whole epochs', 'left early'])
def test_epochs_do_not_leak(stop, sets):
    """A batch is 6 MB here: one that each epoch loses would be 120 MB."""
    stream = TrainStream(*sets(64), worker_batch_size=32, input_size=128, seed=0, threads=2)

    def run(epochs):
        for epoch in range(epochs):
            batches = stream.epoch(epoch)
            for _ in range(stop or stream.updates_per_epoch):
                next(batches).shards(CPU)
            batches.close()
        mx.nd.waitall()
        return resident()

    before = run(8)
    assert run(20) - before < 60
