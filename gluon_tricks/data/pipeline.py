"""Batches from record files: the paper's preprocessing (section 2.1), reproducible and exactly counted.

Training, each image:           1 decode   2 random crop, resized   3 flip   4 colour   5 PCA noise   6 normalise
Validation, each image:         decode, short side to input_size / crop_ratio, centre crop, normalise

MXNet's ImageRecordIter does steps 1 to 5 in C++, in 8 bits, for pieces of the file that `reader` gives it. Step 6 is
done by the device, to which a quarter of the bytes goes so; the pixels are to the bit those of ImageRecordIter's own
step 6. Here stand the order and the count:

* The order of an epoch is a permutation of the worker's images by (seed, epoch). An image's draws are those of its
  place in the run: the image at place p of epoch e, of a file of N images, has generator e N + p, counted from one that
  the seed chooses. So no two images of a run share draws, and neither the threads nor a resume change a bit.
* Every image is counted once: the index says how many there are; ``batch.pad`` is wrong in MXNet 1.9.1.

A record that is no longer an image ends training with a sentence that names it, and kills the process in validation
(MXNet divides by its height of zero): see `crash`. A truncated JPEG trains silently: see `verify`.
"""
import dataclasses
import math

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import short_side
from gluon_tricks.data.reader import Reader
from gluon_tricks.errors import UsageError

MEAN = (123.68, 116.779, 103.939)  # step 6 of section 2.1
STD = (58.393, 57.12, 57.375)
_BROADCASTS = ('gpu',)  # types of device that normalise a whole batch by broadcasting
_AT_ONCE = 2 * 10 ** 6  # numbers that others normalise at a time: 13 images of 224 x 224
KEPT = 1 << 26  # bytes of pixels: validation images that are kept from one evaluation to the next
_LITTLE = 64 * 32 * 32  # pixels: a batch of fewer takes as long as its calls


# ---------------------------------------------------------------------------------------------------------------------
# Batches

class Batch:
    """Images (N, 3, S, S) and labels (N,) as lists of consecutive pieces, on the CPU.

    data: uint8 with `normalise`, a Normalise; float32 without. `size` is N.
    """

    def __init__(self, data, label, normalise=None):
        self.data, self.label, self.normalise = list(data), list(label), normalise
        self.size = sum(piece.shape[0] for piece in self.label)

    def shards(self, devices):
        """Equal slices, one per device: [(images, float32 and normalised, labels), ...], copied without waiting.

        Raises UsageError when the batch does not divide evenly.
        """
        if self.size % len(devices):
            raise UsageError(f'a batch of {self.size} images does not divide over {len(devices)} devices: change '
                             '--batch-size')
        share = self.size // len(devices)
        found = []
        for number, device in enumerate(devices):
            images, labels = (_rows(pieces, number * share, (number + 1) * share, device)
                              for pieces in (self.data, self.label))
            found.append((self.normalise(images) if self.normalise else images, labels))
        return found


class Normalise:
    """Step 6: images (N, 3, S, S) of any type to (x - mean) / std in float32, on their device.

    As ImageRecordIter rounds: it multiplies by the inverse of std. On a CPU a few images at a time meet a mean and a
    scale of their own shape: MXNet broadcasts there in twice the time, with one thread.
    """

    def __init__(self, mean=MEAN, std=STD):
        self.mean, self.scale = (np.asarray(each, 'float32').reshape(1, 3, 1, 1)
                                 for each in (mean, 1 / np.asarray(std, 'float32')))
        self._arrays = {}

    def __call__(self, images):
        result, device = images.astype('float32'), images.context
        if device.device_type in _BROADCASTS:
            mean, scale = self._constants(device, (1, 3, 1, 1))
            mx.nd.broadcast_sub(result, mean, out=result)
            return mx.nd.broadcast_mul(result, scale, out=result)
        rows = max(1, _AT_ONCE // int(np.prod(images.shape[1:])))
        mean, scale = self._constants(device, (min(rows, len(images)), *images.shape[1:]))
        for first in range(0, len(images), rows):
            part = result[first:first + rows]
            mx.nd.elemwise_sub(part, mean[:len(part)], out=part)
            mx.nd.elemwise_mul(part, scale[:len(part)], out=part)
        return result

    def _constants(self, device, shape):
        """Mean and scale of this shape."""
        if (device, shape) not in self._arrays:
            self._arrays[device, shape] = [mx.nd.array(np.broadcast_to(each, shape), ctx=device)
                                           for each in (self.mean, self.scale)]
        return self._arrays[device, shape]


def _rows(pieces, begin, end, device):
    """Rows begin..end of the concatenated pieces, on a device; on the CPU a view where one piece holds them all."""
    found = [piece.as_in_context(device) for piece in _cut(pieces, begin, end)]
    return found[0] if len(found) == 1 else mx.nd.concat(*found, dim=0)


def _cut(pieces, begin, end):
    """Views of the rows begin..end of the pieces, as a list."""
    found, start = [], 0
    for piece in pieces:
        first, last = max(begin - start, 0), min(end - start, piece.shape[0])
        if first < last:
            found.append(piece if (first, last) == (0, piece.shape[0]) else piece[first:last])
        start += piece.shape[0]
    return found


def read_batches(reader, rows, batch_size, normalise, seed=None):
    """Generator of Batches of `batch_size` of the rows, in their order; as many rows as whole batches hold.

    reader: `reader.Reader`; normalise: of the Batches; seed: as the reader's `read`. A batch that trains leaves time to
    decode the next one.
    """
    pieces = -(-batch_size // reader.piece)  # to a batch; or several batches to a piece
    size = -(-batch_size // pieces) if pieces > 1 else max(1, reader.piece // batch_size) * batch_size
    data, label, held = [], [], 0
    for images, labels in reader.read(rows, size, max(pieces, reader.threads), seed, min(batch_size, size)):
        data, label, held = data + [images], label + [labels], held + len(labels)
        first = 0
        while held - first >= batch_size:
            yield Batch(_cut(data, first, first + batch_size), _cut(label, first, first + batch_size), normalise)
            first += batch_size
        data, label, held = _cut(data, first, held), _cut(label, first, held), held - first


# ---------------------------------------------------------------------------------------------------------------------
# Streams

def share_of(worker, num_workers, num_images):
    """(first, last) of the rows that a worker reads: contiguous, ceil(N / workers) each, the last ones what is left."""
    step = -(-num_images // num_workers)
    return min(worker * step, num_images), min((worker + 1) * step, num_images)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Steps 2 to 5 of training images.

    min_area: smallest share of the image that a crop covers. max_ratio: largest ratio of its sides. mirror: flip one
    image of two. jitter: brightness, contrast and saturation in [1 - jitter, 1 + jitter]. pca_noise: deviation of the
    PCA coefficients.

    Paper: hue, saturation and brightness in [0.6, 1.4]. GluonCV, and here: brightness, contrast and saturation; no
    published code ever changed the hue. Paper: the crop's ratio in [3/4, 4/3]; here: uniform there, then width and
    height are exchanged at even chances, and an image in which ten crops did not fit gives its centre, not resized
    (hardly ever with the paper's area; always with a `min_area` of 1).
    """
    min_area: float = 0.08
    max_ratio: float = 4.0 / 3.0
    mirror: bool = True
    jitter: float = 0.4
    pca_noise: float = 0.1

    def steps(self):
        """ImageRecordIter's keywords."""
        return dict(
            random_resized_crop=True, min_random_area=self.min_area, max_random_area=1.0,            # step 2
            min_aspect_ratio=1.0 / self.max_ratio, max_aspect_ratio=self.max_ratio, inter_method=1,  # (bilinear)
            rand_mirror=self.mirror,                                                                 # step 3
            brightness=self.jitter, contrast=self.jitter, saturation=self.jitter,                    # step 4
            pca_noise=self.pca_noise)                                                                # step 5


class TrainStream:
    """Training batches whose order and augmentations depend on (seed, epoch) alone.

    rec, idx: files that `record_file.checked_index` has passed, and index what it gave (None: it is read again).
    worker_batch_size: over its devices. threads: that decode. augmentation: an Augmentation, steps 2 to 5. normalise:
    step 6 (None: `Normalise()`). worker, num_workers: with several processes each reads its own share of the file,
    `num_images` of them. num_classes: labels are below it (None: not checked). Raises UsageError when there are fewer
    images than one batch.

    An epoch has N // worker_batch_size updates; the images that are left over, others in each epoch, are not seen in
    it.
    """

    def __init__(self, rec, idx, worker_batch_size, input_size, seed, threads=1, augmentation=Augmentation(),
                 normalise=None, worker=0, num_workers=1, num_classes=None, index=None):
        self.worker_batch_size, self.seed, self.worker = worker_batch_size, seed, worker
        self.normalise = normalise or Normalise()
        self.reader = Reader(rec, idx, num_classes, threads, index, data_shape=(3, input_size, input_size),
                             **augmentation.steps())
        shares = [share_of(each, num_workers, len(self.reader)) for each in range(num_workers)]
        smallest = min(last - first for first, last in shares)
        self.first, last = shares[worker]
        self.num_images = last - self.first
        self.updates_per_epoch = smallest // worker_batch_size  # the same for all workers: they wait for each other
        if self.updates_per_epoch == 0:
            raise UsageError(f'{rec} holds {smallest} images for each worker, fewer than one batch of '
                             f'{worker_batch_size}: give a smaller --batch-size')

    def reseed(self, seed):
        """Take other orders and draws from the next epoch on."""
        self.seed = seed

    def epoch(self, epoch, first=0):
        """Generator of the Batches of `worker_batch_size` images from batch `first` of `updates_per_epoch` on; each
        image at most once."""
        size, seen = self.worker_batch_size, first * self.worker_batch_size
        rows = self.first + np.random.RandomState([self.seed, epoch, self.worker]).permutation(self.num_images)
        seed = int(np.random.RandomState(self.seed).randint(2 ** 31)) + epoch * len(self.reader) + self.first
        return read_batches(self.reader, rows[seen:self.updates_per_epoch * size], size, self.normalise, seed + seen)


def whole_batches(rows, batch_size):
    """The rows, and the first of them again until the last batch is full."""
    return np.resize(rows, -(-len(rows) // batch_size) * batch_size)


class EvalStream:
    """Validation images, each once: ``batches()`` yields (Batch, valid); rows after `valid` only fill the batch up.

    Every batch has `worker_batch_size` rows, so that a compiled network keeps its shape; `num_images` is the sum of
    `valid`. normalise, num_classes, index: as of TrainStream. Paper: short side to 256, centre crop 224; here: short
    side to ceil(input_size / crop_ratio). gluoncv_padding: count as GluonCV's script does in its first evaluation,
    where the first images fill up the last batch and count twice. rows: of the file, those to read (None: all).

    A small set, of KEPT bytes of pixels, is decoded once, by the first pass that comes to its end. devices: how many
    share a batch, which may then be larger than `worker_batch_size`, where its images are small, or a little smaller,
    so that few rows fill up the last one (None: neither).
    """

    def __init__(self, rec, idx, worker_batch_size, input_size, crop_ratio=0.875, normalise=None, threads=1,
                 gluoncv_padding=False, num_classes=None, rows=None, index=None, devices=None):
        self.normalise = normalise or Normalise()
        self.reader = Reader(rec, idx, num_classes, threads, index, data_shape=(3, input_size, input_size),
                             resize=short_side(input_size, crop_ratio), inter_method=1)
        rows = np.arange(len(self.reader)) if rows is None else rows
        if devices and len(rows) and not gluoncv_padding:  # which is that of its own batches
            images = min(_LITTLE // input_size ** 2, -(-len(rows) // devices))  # of a device
            worker_batch_size = max(worker_batch_size, images * devices)
            batches = -(-len(rows) // worker_batch_size)
            worker_batch_size = -(-len(rows) // (batches * devices)) * devices  # of equal size: few rows fill up
        self.worker_batch_size, self.rows = worker_batch_size, whole_batches(rows, worker_batch_size)
        self.num_images = len(self.rows if gluoncv_padding else rows)
        self._kept = []

    def batches(self):
        """Generator of (Batch of `worker_batch_size` rows, number of its rows that count)."""
        if self._kept:
            yield from self._kept
            return
        keeps = math.prod(self.reader.steps['data_shape']) * len(self.rows) <= KEPT
        found, left = [], self.num_images
        for batch in read_batches(self.reader, self.rows, self.worker_batch_size, self.normalise):
            one = batch, min(left, batch.size)
            if keeps:
                found.append(one)
            yield one
            left -= batch.size
        self._kept = found


class SyntheticStream:
    """One random batch again and again: measures the speed of training without data."""

    def __init__(self, worker_batch_size, input_size, classes, num_images, seed=0):
        self.num_images = num_images
        self.updates_per_epoch = self.updates_of(num_images, worker_batch_size)
        rng = np.random.RandomState(seed)
        self.batch = Batch([mx.nd.array(rng.normal(size=(worker_batch_size, 3, input_size, input_size)),
                                        dtype='float32')],
                           [mx.nd.array(rng.randint(classes, size=worker_batch_size), dtype='float32')])

    @staticmethod
    def updates_of(num_images, worker_batch_size):
        """Updates of an epoch, at least one. Raises UsageError."""
        if num_images < worker_batch_size:
            raise UsageError(f'--num-training-samples {num_images} is fewer than one batch of {worker_batch_size}: '
                             'give a smaller --batch-size')
        return num_images // worker_batch_size

    def reseed(self, seed):
        """The batch stays what it is."""

    def epoch(self, epoch, first=0):
        """Generator of the same Batch, once for each update from `first` on."""
        for _ in range(first, self.updates_per_epoch):
            yield self.batch
