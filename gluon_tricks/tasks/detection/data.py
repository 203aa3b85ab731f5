"""VOC's images and boxes for a detector: checked, in an order of (seed, epoch), each draw reproducible (section 6.1).

GluonCV's data set, transforms and batches. Its transforms draw from the process's global generators; here they are
seeded for each image with (seed, epoch, image), so that neither the number of processes nor a resume changes a draw.
"""
import json
import os
import random

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.prepare import voc as prepare_voc
from gluon_tricks.data.records import identity
from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file
from gluon_tricks.models.backbone import MOST_CLASSES

from gluoncv.data import VOCDetection
from gluoncv.data.batchify import FasterRCNNTrainBatchify
from gluoncv.data.sampler import SplitSortedBucketSampler
from gluoncv.data.transforms.presets.rcnn import FasterRCNNDefaultTrainTransform, FasterRCNNDefaultValTransform

TRAIN, TEST = ((2007, 'trainval'), (2012, 'trainval')), ((2007, 'test'),)
_PREPARE = ('prepare it with `python -m gluon_tricks prepare voc`, or try `python -m gluon_tricks prepare demo '
            '--scenes --out runs/demo-scenes` and --data-dir runs/demo-scenes/voc')


def open_voc(root, processes=1):
    """(training set, test set): GluonCV's VOCDetection over a tree that `prepare voc` wrote, every file checked.

    Classes are those of the tree's certificate, else VOC's 20. Raises UsageError that names the file which is missing,
    damaged or empty, or has an unknown class or a box outside its image that the certificate does not tell of.
    """
    root = os.path.expanduser(root)
    names, known = _certificate(root)
    for year, part in TRAIN + TEST:
        folder = f'VOC{year}'
        try:
            identities = prepare_voc.read_set(root, folder, part)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f'--data-dir {root}: {folder}/ImageSets/Main/{part}.txt cannot be read; '
                             f'{_PREPARE}') from error
        _, strange = prepare_voc.check_set(root, folder, part, identities, names, processes)
        for line in strange:
            if line not in known:
                raise UsageError(f'--data-dir {root}: {line}; put it right, or prepare the tree again')

    class Voc(VOCDetection):
        CLASSES = names
    return tuple(Voc(root=root, splits=splits) for splits in (TRAIN, TEST))


def identity_of(dataset):
    """Identity of a VOC set, for checkpoints: `identity.of_files` of its images and boxes."""
    return identity.of_files(dataset._root, ([path.format(*item) for path in (dataset._image_path, dataset._anno_path)]
                                             for item in dataset._items))


def _certificate(root):
    """(names of the classes, what is known to be strange) of the tree's certificate. Raises UsageError for a forged
    one."""
    path = os.path.join(root, 'voc.certificate.json')
    try:
        with open_file(path) as stream:
            facts = json.loads(stream.read().decode())
        names, quirks = facts['classes'], [line for each in facts['sets'].values() for line in each['quirks']]
        if not 0 < len(names) <= MOST_CLASSES or not all(isinstance(text, str) for text in list(names) + quirks):
            raise ValueError('its classes and quirks are not names')
    except FileNotFoundError:
        return prepare_voc.CLASSES, set()
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f'{path} is not a certificate ({type(error).__name__}: {error}): prepare the tree '
                         'again') from error
    return tuple(names), set(quirks)


# ---------------------------------------------------------------------------------------------------------------------
# Training

def _seed(*numbers):
    """Seed the global generators, from which GluonCV draws."""
    seed = int(np.random.RandomState(numbers).randint(2 ** 31))
    random.seed(seed)
    np.random.seed(seed)


class _Drawn(mx.gluon.data.Dataset):
    """A data set under a transform that draws; its keys are (seed, epoch, index)."""

    def __init__(self, dataset, transform):
        self.dataset, self.transform = dataset, transform

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, key):
        _seed(*key)
        return self.transform(*_item(self.dataset, key[-1]))


def _item(dataset, index):
    """(image, boxes) of a VOC set; UsageError names a file that MXNet cannot decode."""
    try:
        return dataset[index]
    except mx.MXNetError as error:
        raise UsageError('%s cannot be decoded: replace it, or take it out of its list'
                         % dataset._image_path.format(*dataset._items[index])) from error


def check_batch(dataset, total_batch_size):
    """Raise UsageError for fewer images than one batch."""
    if total_batch_size > len(dataset):
        raise UsageError(f'the training set has {len(dataset)} images, fewer than one batch of {total_batch_size}: '
                         'lower --batch-size')


class DetectionStream:
    """Training batches of GluonCV's form for a network: images flipped at even chances, and targets of its proposals.

    dataset: a VOC set; net: the detector; devices: their number, of which each gets total_batch_size / devices images.
    Images of an aspect ratio go together. An epoch has ceil(N / total_batch_size) updates; the images that fill the
    last batch of a bucket count twice. mirror: whether images are flipped.
    """

    def __init__(self, dataset, net, devices, total_batch_size, seed, num_workers=0, mirror=True):
        check_batch(dataset, total_batch_size)
        self.seed, self.num_workers, self.num_images = seed, num_workers, len(dataset)
        self.dataset = _Drawn(dataset, FasterRCNNDefaultTrainTransform(
            net.short, net.max_size, net, ashape=net.ashape, flip_p=0.5 if mirror else 0))
        self.batchify = FasterRCNNTrainBatchify(net, devices)
        ratios = [width / height for width, height in (dataset._im_shapes[i] for i in range(len(dataset)))]
        self.sampler = SplitSortedBucketSampler(ratios, total_batch_size, shuffle=True, seed=seed)
        self.updates_per_epoch = len(self.sampler)

    def reseed(self, seed):
        """Other orders and draws from the next epoch on."""
        self.seed = seed

    def epoch(self, epoch, first=0):
        """Iterator of batches from the batch `first` on: five tuples with an array for each device."""
        _seed(self.seed, epoch)
        keys = [[(self.seed, epoch, int(index)) for index in batch] for batch in self.sampler][first:]
        return iter(mx.gluon.data.DataLoader(self.dataset, batch_sampler=keys, batchify_fn=self.batchify,
                                             num_workers=self.num_workers))


# ---------------------------------------------------------------------------------------------------------------------
# Testing

def test_images(dataset, short, max_size):
    """Generator of (image (1, 3, H, W), boxes (1, M, 6) in pixels of it, scale back to the file's pixels), in order."""
    transform = FasterRCNNDefaultValTransform(short, max_size)
    for index in range(len(dataset)):
        image, boxes, scale = transform(*_item(dataset, index))
        yield image.expand_dims(0), boxes[None], float(scale.asscalar())


test_images.__test__ = False  # no test, though pytest would take it for one
