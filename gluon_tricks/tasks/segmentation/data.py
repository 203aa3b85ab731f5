"""Scenes and their masks, and the draws of training (paper section 6.2).

Training, each image, GluonCV's steps:  flip -> long side to a random 0.5 to 2 times the base size -> black below and on
the right, if smaller than the crop -> random crop -> blur, at even chances -> normalise

Reading, and these steps, are Pillow's, in threads. All draws of an image come from (seed, epoch, number of the image),
the order from (seed, epoch): neither depends on the threads, and a resumed run draws what the whole one would have.
GluonCV: global draws without a seed, in the order of the directory.
"""
import os

import numpy as np
from PIL import Image, ImageFile, ImageFilter, ImageOps

from gluon_tricks.compat import mx
from gluon_tricks.data.prepare.ade20k import read_classes
from gluon_tricks.data.records import identity
from gluon_tricks.data.records.pool import in_threads
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.segmentation.metrics import normalise

ROOT = 'ADEChallengeData2016'
_REMEDY = ('type `python -m gluon_tricks prepare ade20k --zip ADEChallengeData2016.zip`, or, to try the program '
           'without ADE20K, `python -m gluon_tricks prepare demo --scenes --out runs/demo-scenes` and give --data-dir '
           'runs/demo-scenes/ade')


# ---------------------------------------------------------------------------------------------------------------------
# The tree

def class_names(data_dir):
    """Names of the classes in the tree's objectInfo150.txt; without that file ADE20K's 150. Raises UsageError."""
    path = os.path.join(data_dir, ROOT, 'objectInfo150.txt')
    if os.path.isfile(path):
        return read_classes(path)
    from gluoncv.data import ADE20KSegmentation
    return list(ADE20KSegmentation.CLASSES)


class Scenes:
    """The photographs of one part of a tree, by name, each with its mask.

    part: 'training' or 'validation'. Raises UsageError where there are none, or a mask is missing.
    """

    def __init__(self, data_dir, part, num_classes):
        self.num_classes, self.root = num_classes, os.path.join(data_dir, ROOT)
        images, masks = (os.path.join(self.root, kind, part) for kind in ('images', 'annotations'))
        if not os.path.isdir(images):
            raise UsageError(f'{images} is missing: {_REMEDY}')
        names = sorted(name[:-4] for name in os.listdir(images) if name.endswith('.jpg'))
        if not names:
            raise UsageError(f'{images} holds no .jpg: {_REMEDY}')
        self.pairs = [(os.path.join(images, name + '.jpg'), os.path.join(masks, name + '.png')) for name in names]
        for _, mask in self.pairs:
            if not os.path.isfile(mask):
                raise UsageError(f'{mask} is missing, although there is its image: prepare the tree again')

    def __len__(self):
        return len(self.pairs)

    def identity(self):
        """Identity of the scenes, for checkpoints: `identity.of_files` of photographs and masks."""
        return identity.of_files(self.root, self.pairs)

    def read(self, index):
        """(RGB image, mask) as Pillow images of one size. Raises UsageError, naming the file, for what is damaged."""
        path, mask_path = self.pairs[index]
        image, mask = read_image(path), np.array(read_image(mask_path, None))
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise UsageError(f'{mask_path} is not a mask: it must hold one number of 8 bits a pixel')
        if mask.shape[::-1] != image.size:
            raise UsageError('%s is %d x %d, its image %d x %d: prepare the tree again'
                             % ((mask_path,) + mask.shape[::-1] + image.size))
        if mask.max() > self.num_classes:
            raise UsageError(f'{mask_path} has the class {mask.max()}, of {self.num_classes}: give another '
                             '--num-classes, or prepare the tree again')
        return image, Image.fromarray(mask)


def read_image(path, mode='RGB'):
    """A file as a Pillow image, wholly read; mode None: as it is. Raises UsageError for another file."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # importing GluonCV switches it on: what is cut short would train silently
    try:
        with Image.open(path) as image:
            image.load()
            return image.convert(mode) if mode else image.copy()
    except Exception as error:  # Pillow has many kinds, one for each format's damages
        reason = 'it is empty' if os.path.isfile(path) and not os.path.getsize(path) else error
        raise UsageError(f'{path} is not an image that can be read ({reason})') from error


# ---------------------------------------------------------------------------------------------------------------------
# One image

def train_transform(image, mask, rng, base_size, crop_size, scales=(0.5, 2.0), mirror=True):
    """(image, mask) of crop_size squared: flip, scale, pad, crop, blur; `rng` draws in GluonCV's order.

    rng: ``np.random.RandomState``; scales: least and greatest of base_size. The padding has the mask's value 0: no
    class.
    """
    if rng.random_sample() < 0.5 and mirror:
        image, mask = (each.transpose(Image.FLIP_LEFT_RIGHT) for each in (image, mask))
    long_side, longest = rng.randint(int(base_size * scales[0]), int(base_size * scales[1]) + 1), max(image.size)
    size = [max(int(side * long_side / longest + 0.5), 1) for side in image.size]
    image, mask = image.resize(size, Image.BILINEAR), mask.resize(size, Image.NEAREST)
    border = (0, 0, max(crop_size - size[0], 0), max(crop_size - size[1], 0))
    if any(border):
        image, mask = (ImageOps.expand(each, border, fill=0) for each in (image, mask))
    left, top = (rng.randint(side - crop_size + 1) for side in image.size)
    image, mask = (each.crop((left, top, left + crop_size, top + crop_size)) for each in (image, mask))
    if rng.random_sample() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(radius=rng.random_sample()))
    return image, mask


def eval_transform(image, mask, crop_size):
    """(image, mask) of crop_size squared: the short side to crop_size, then the centre."""
    width, height = image.size
    size = (int(width * crop_size / height), crop_size) if width > height else \
        (crop_size, int(height * crop_size / width))
    image, mask = image.resize(size, Image.BILINEAR), mask.resize(size, Image.NEAREST)
    left, top = (int(round((side - crop_size) / 2.0)) for side in size)
    return tuple(each.crop((left, top, left + crop_size, top + crop_size)) for each in (image, mask))


def labels(mask):
    """(H, W) int16: the mask's classes from 0, -1 where it has none."""
    return np.asarray(mask).astype('int16') - 1


# ---------------------------------------------------------------------------------------------------------------------
# Streams

class Batch:
    """Images x (N, 3, S, S) float32 and label (N, S, S) int16, on the host."""

    def __init__(self, x, label):
        self.x, self.label = x, label

    def shards(self, devices):
        """Equal slices, one per device: [(images, labels on the host), ...]."""
        share = len(self.x) // len(devices)
        return [(mx.nd.array(self.x[k * share:(k + 1) * share], ctx=device), self.label[k * share:(k + 1) * share])
                for k, device in enumerate(devices)]


def _batches(samples, sizes):
    """Generator of Batches, with this many images each."""
    for size in sizes:
        pixels, masks = zip(*[next(samples) for _ in range(size)])
        yield Batch(np.stack(pixels), np.stack(masks))


class TrainStream:
    """Batches of augmented crops; order and draws depend on (seed, epoch) alone.

    An epoch has len(scenes) // batch_size updates: the images left over, others in each epoch, are not seen in it.
    Raises UsageError when there are fewer images than one batch.
    """

    def __init__(self, scenes, batch_size, base_size, crop_size, seed, threads, scales=(0.5, 2.0), mirror=True):
        self.scenes, self.batch_size, self.seed, self.threads = scenes, batch_size, seed, threads
        self.options = dict(base_size=base_size, crop_size=crop_size, scales=scales, mirror=mirror)
        self.updates_per_epoch = len(scenes) // batch_size
        if not self.updates_per_epoch:
            raise UsageError(f'--batch-size {batch_size}: there are only {len(scenes)} training images; give a '
                             'smaller one')

    def reseed(self, seed):
        """Take other orders and draws from the next epoch on."""
        self.seed = seed

    def epoch(self, epoch, first=0):
        """Generator of the Batches from batch `first` of `updates_per_epoch` on."""
        order = np.random.RandomState([self.seed, epoch]).permutation(len(self.scenes))

        def sample(index):
            rng = np.random.RandomState([self.seed, epoch, index])
            image, mask = train_transform(*self.scenes.read(index), rng=rng, **self.options)
            return normalise(np.asarray(image)), labels(mask)
        used = order[first * self.batch_size:self.updates_per_epoch * self.batch_size].tolist()
        samples = in_threads(sample, zip(used), self.threads, 2 * self.batch_size)
        try:
            yield from _batches(samples, [self.batch_size] * (self.updates_per_epoch - first))
        finally:
            samples.close()


class EvalStream:
    """Centre crops of every validation image, once: ``batches()`` yields (Batch, number of its rows that count).

    Every batch has batch_size rows, so that a compiled network keeps its shape; the first image fills up the last one.
    """

    def __init__(self, scenes, batch_size, crop_size, threads):
        self.scenes, self.batch_size, self.crop_size, self.threads = scenes, batch_size, crop_size, threads
        self.num_images = len(scenes)

    def batches(self):
        def sample(index):
            image, mask = eval_transform(*self.scenes.read(index), crop_size=self.crop_size)
            return normalise(np.asarray(image)), labels(mask)
        number, size = self.num_images, self.batch_size
        indices = list(range(number)) + [0] * (-number % size)
        samples = in_threads(sample, zip(indices), self.threads, 2 * size)
        try:
            for first, batch in zip(range(0, number, size), _batches(samples, [size] * (len(indices) // size))):
                yield batch, min(size, number - first)
        finally:
            samples.close()


class ImageStream:
    """Every image whole: ``images()`` yields (pixels (H, W, 3) uint8, labels (H, W) int16)."""

    def __init__(self, scenes, threads):
        self.scenes, self.threads, self.num_images = scenes, threads, len(scenes)

    def images(self):
        def sample(index):
            image, mask = self.scenes.read(index)
            return np.asarray(image), labels(mask)
        return in_threads(sample, zip(range(self.num_images)), self.threads, 2 * self.threads)
