import random

import numpy as np
import pytest
from PIL import Image

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.segmentation import data as segmentation
from gluon_tricks.tasks.segmentation.data import (
    Batch,
    EvalStream,
    ImageStream,
    Scenes,
    TrainStream,
    class_names,
    eval_transform,
    labels,
    read_image,
    train_transform,
)
from support.archives import write_ade20k

import gluoncv.data.segbase as gluoncv_segbase
from gluoncv.data import ADE20KSegmentation

CLASSES = 4


@pytest.fixture(scope='module')
def ade(tmp_path_factory):
    """A tree of 7 training and 5 validation images, 40 pixels a side and some more across, of 4 classes."""
    from gluon_tricks.data.prepare import command as prepare
    folder = tmp_path_factory.mktemp('ade')
    prepare.main(['ade20k', '--out', str(folder / 'tree')] + write_ade20k(folder / 'zip', same_size(12), 7, 5))
    return str(folder / 'tree')


def same_size(number):
    """Masks as large as conftest's images, which differ in width; for write_ade20k."""
    import io
    changes = {}
    for part, short, count in (('training', 'train', 7), ('validation', 'val', 5)):
        for each in range(1, count + 1):
            pixels = np.random.RandomState(each).randint(0, CLASSES + 1, (40, 40 + 5 * each % 5)).astype('uint8')
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, 'PNG')
            changes[f'annotations/{part}/ADE_{short}_{each:08d}.png'] = stream.getvalue()
    return changes


def picture(width, height, seed=0):
    """(image, mask) as Pillow images."""
    rng = np.random.RandomState(seed)
    return (Image.fromarray(rng.randint(0, 256, (height, width, 3)).astype('uint8')),
            Image.fromarray(rng.randint(0, CLASSES + 1, (height, width)).astype('uint8')))


def train_stream(ade, **options):
    return TrainStream(Scenes(ade, 'training', CLASSES), **dict(dict(batch_size=2, base_size=40, crop_size=32, seed=0,
                                                                     threads=2), **options))


# ---------------------------------------------------------------------------------------------------------------------
# The tree

def test_scenes_are_sorted_pairs(ade):
    scenes = Scenes(ade, 'training', CLASSES)
    assert len(scenes) == 7 and scenes.pairs == sorted(scenes.pairs)
    image, mask = scenes.read(2)
    assert image.size == mask.size and image.mode == 'RGB'
    theirs = ADE20KSegmentation(ade, 'train', mode='testval')
    assert sorted(theirs.images) == [pair[0] for pair in scenes.pairs]
    assert sorted(theirs.masks) == [pair[1] for pair in scenes.pairs]
    x, label = theirs[theirs.images.index(scenes.pairs[2][0])]
    assert (x.asnumpy() == np.asarray(image)).all() and (label.asnumpy() == labels(mask)).all()
    assert labels(mask).min() == -1 and labels(mask).max() == CLASSES - 1


def test_names_of_the_classes(ade, tmp_path):
    assert class_names(ade) == ['thing 1', 'thing 2', 'thing 3', 'thing 4']
    assert len(class_names(str(tmp_path))) == 150


@pytest.fixture
def copy(ade, tmp_path):
    """A tree to damage."""
    import shutil
    shutil.copytree(ade, str(tmp_path / 'ade'))
    return tmp_path / 'ade'


def test_a_missing_tree_is_named_with_the_remedy(copy, tmp_path):
    with pytest.raises(UsageError, match='images/training is missing: type .*prepare ade20k.*prepare demo --scenes'):
        Scenes(str(tmp_path / 'nowhere'), 'training', CLASSES)
    for path in (copy / segmentation.ROOT / 'images' / 'validation').iterdir():
        path.unlink()
    with pytest.raises(UsageError, match='images/validation holds no .jpg'):
        Scenes(str(copy), 'validation', CLASSES)


@pytest.mark.parametrize('name, content, message', [
    ('annotations', None, 'ADE_train_00000002.png is missing, although there is its image'),
    ('annotations', np.zeros((3, 5), 'uint8'), r'00000002.png is 5 x 3, its image \d+ x 40'),
    ('annotations', np.full((40, 40), 5, 'uint8'), '00000002.png has the class 5, of 4'),
    ('annotations', np.zeros((40, 40, 3), 'uint8'), '00000002.png is not a mask'),
    ('annotations', b'text', r'00000002.png is not an image that can be read'),
    ('images', b'', r'00000002.jpg is not an image that can be read \(it is empty\)'),
    ('images', b'text', '00000002.jpg is not an image that can be read'),
    ('images', 100, '00000002.jpg is not an image that can be read'),
])
def test_damage_is_named_by_its_file(name, content, message, copy):
    path = copy / segmentation.ROOT / name / 'training' / ('ADE_train_00000002.' + ('png' if name[0] == 'a' else 'jpg'))
    if content is None:
        path.unlink()
    elif isinstance(content, int):
        path.write_bytes(path.read_bytes()[:-content])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        image = Image.open(str(copy / segmentation.ROOT / 'images' / 'training' / 'ADE_train_00000002.jpg'))
        if content.shape[0] == 40:
            content = np.resize(content, image.size[::-1] + content.shape[2:])
        Image.fromarray(content).save(str(path))
    with pytest.raises(UsageError, match=message):
        list(train_stream(str(copy), batch_size=7).epoch(0))


def test_a_mask_with_a_palette_gives_its_numbers(copy):
    path = copy / segmentation.ROOT / 'annotations' / 'training' / 'ADE_train_00000001.png'
    mask = Image.open(str(path))
    wanted = np.array(mask)
    mask.putpalette([255 - each // 3 for each in range(768)])
    mask.save(str(path))
    assert Image.open(str(path)).mode == 'P'
    assert (np.array(Scenes(str(copy), 'training', CLASSES).read(0)[1]) == wanted).all()


def test_a_grey_photograph_is_read_as_rgb(tmp_path):
    Image.fromarray(np.zeros((4, 5), 'uint8')).save(str(tmp_path / 'a.png'))
    assert read_image(str(tmp_path / 'a.png')).mode == 'RGB'


# ---------------------------------------------------------------------------------------------------------------------
# One image

class Draws:
    """Python's `random`, as GluonCV's transform asks it, with the draws of a RandomState."""

    def __init__(self, seed):
        self.rng = np.random.RandomState(seed)

    def random(self):
        return self.rng.random_sample()

    def randint(self, low, high):
        return self.rng.randint(low, high + 1)


@pytest.mark.parametrize('size', [(50, 37), (37, 50), (40, 40), (90, 11)])
def test_augmentation_is_gluoncvs(size, ade, monkeypatch):
    theirs = ADE20KSegmentation(ade, 'train', base_size=44, crop_size=32)
    image, mask = picture(*size)
    for seed in range(40):
        monkeypatch.setattr(gluoncv_segbase, 'random', Draws(seed))
        x, label = theirs._sync_transform(image, mask)
        ours = train_transform(image, mask, np.random.RandomState(seed), 44, 32)
        assert (x.asnumpy() == np.asarray(ours[0])).all() and (label.asnumpy() == labels(ours[1])).all()
        assert ours[0].size == ours[1].size == (32, 32)
    assert random is not gluoncv_segbase.random


@pytest.mark.parametrize('size', [(50, 37), (37, 50), (40, 40), (32, 32), (90, 11)])
def test_the_crop_of_validation_is_gluoncvs(size, ade):
    theirs = ADE20KSegmentation(ade, 'val', crop_size=32)
    image, mask = picture(*size)
    x, label = theirs._val_sync_transform(image, mask)
    ours = eval_transform(image, mask, 32)
    assert (x.asnumpy() == np.asarray(ours[0])).all() and (label.asnumpy() == labels(ours[1])).all()


def test_scales_and_flips_as_told():
    """A gradient from left to right keeps its direction without flips, and its slope tells the scale."""
    image = Image.fromarray(np.tile(np.arange(0, 200, 2, dtype='uint8')[None, :, None], (100, 1, 3)))
    mask = Image.fromarray(np.ones((100, 100), 'uint8'))
    slopes = {True: [], False: []}
    for mirror in slopes:
        for seed in range(60):
            crop = np.asarray(train_transform(image, mask, np.random.RandomState(seed), 100, 40, (0.8, 1.25), mirror)[0])
            slopes[mirror].append((float(crop[20, 30, 0]) - float(crop[20, 10, 0])) / 20)
    assert min(slopes[True]) < 0 < max(slopes[True])
    scales = 2 / np.array(slopes[False])
    assert scales.min() > 0.75 and scales.max() < 1.32 and scales.min() < 0.88 and scales.max() > 1.15


def test_padding_is_no_class():
    image, mask = picture(30, 30)
    found = labels(train_transform(image, mask, np.random.RandomState(0), 16, 64)[1])
    assert (found[40:] == -1).all() and (found[:, 40:] == -1).all() and (found >= 0).any()


def test_a_thread_thin_image_survives():
    image, mask = picture(400, 1)
    assert train_transform(image, mask, np.random.RandomState(0), 32, 32)[0].size == (32, 32)


# ---------------------------------------------------------------------------------------------------------------------
# Streams

def test_an_epoch_depends_on_seed_and_number_alone(ade):
    def epoch(number, **options):
        return [(batch.x, batch.label) for batch in train_stream(ade, **options).epoch(number)]
    first = epoch(3)
    assert len(first) == 3  # of 7 images one is left over
    for threads in (1, 5):
        for ours, same in zip(first, epoch(3, threads=threads)):
            assert all((a == b).all() for a, b in zip(ours, same))
    for other in (epoch(4), epoch(3, seed=1)):
        assert not all((a[0] == b[0]).all() for a, b in zip(first, other))
    stream = train_stream(ade)
    stream.reseed(1)
    assert all((ours.x == x).all() for ours, (x, _) in zip(stream.epoch(3), epoch(3, seed=1)))


def test_every_image_is_seen_at_most_once_and_over_epochs_all_are(ade, monkeypatch):
    seen = []
    monkeypatch.setattr(Scenes, 'read', lambda self, index: seen.append(index) or picture(40, 40, index))
    stream = train_stream(ade)
    for number in range(6):
        del seen[:]
        list(stream.epoch(number))
        assert len(set(seen)) == len(seen) == 6
    epochs = [set(seen)]
    for number in range(6, 20):
        del seen[:]
        list(stream.epoch(number))
        epochs.append(set(seen))
    assert set.union(*epochs) == set(range(7))


def test_reading_ahead_is_bounded_and_stops(ade, monkeypatch):
    read = []
    monkeypatch.setattr(Scenes, 'read', lambda self, index: read.append(index) or picture(40, 40, index))
    scenes = Scenes(ade, 'training', CLASSES)
    scenes.pairs = scenes.pairs * 20
    batches = TrainStream(scenes, 2, 40, 32, 0, 2).epoch(0)
    next(batches)
    assert len(read) <= 2 + 2 * 2 + 1
    batches.close()
    done = len(read)
    assert done <= 2 + 2 * 2 + 1 and len(read) == done


def test_a_batch_larger_than_the_set_is_refused(ade):
    with pytest.raises(UsageError, match='--batch-size 8: there are only 7 training images'):
        train_stream(ade, batch_size=8)


def test_validation_gives_every_image_once(ade):
    scenes = Scenes(ade, 'validation', CLASSES)
    for size in (1, 2, 5, 8):
        found = list(EvalStream(scenes, size, 32, 2).batches())
        assert sum(valid for _, valid in found) == 5 and all(len(batch.x) == size for batch, _ in found)
        crops = np.concatenate([batch.label[:valid] for batch, valid in found])
        assert (crops == np.stack([labels(eval_transform(*scenes.read(k), 32)[1]) for k in range(5)])).all()


def test_whole_images_come_in_order(ade):
    scenes = Scenes(ade, 'validation', CLASSES)
    for number, (pixels, label) in enumerate(ImageStream(scenes, 2).images()):
        image, mask = scenes.read(number)
        assert (pixels == np.asarray(image)).all() and (label == labels(mask)).all()
    assert number == 4


def test_shards_are_equal_slices():
    batch = Batch(np.arange(4 * 3, dtype='float32').reshape((4, 3, 1, 1)), np.arange(4, dtype='int16').reshape(4, 1, 1))
    devices = [mx.cpu(0), mx.cpu(1)]
    shards = batch.shards(devices)
    assert [x.context for x, _ in shards] == devices
    assert (np.concatenate([x.asnumpy() for x, _ in shards]) == batch.x).all()
    assert [label.ravel().tolist() for _, label in shards] == [[0, 1], [2, 3]]


# ---------------------------------------------------------------------------------------------------------------------
# The task
