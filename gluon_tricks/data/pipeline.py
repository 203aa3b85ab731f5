"""Batches from record files: the paper's preprocessing (section 2.1), reproducible and exactly counted.

Training, each image:           1 decode   2 random crop, resized   3 flip   4 colour   5 PCA noise   6 normalise
Validation, each image:         decode, short side to input_size / crop_ratio, centre crop, normalise

MXNet's ImageRecordIter does this in C++. What it does not do by itself, and is done here:

* The order is a function of (seed, epoch): new iterators every epoch, each with its own seed. Their augmentation draws
  start anew with each iterator and ignore the seed; what makes them fresh is that every epoch pairs the images with
  them anew.
* All cores decode: the file is read as several parts at the same time, one iterator with one thread each. More than
  one thread in an iterator draws in the order of a race, and it takes half the cores at most.
* Every image is counted once: ``round_batch=False`` and the index's count; ``batch.pad`` is wrong in MXNet 1.9.1.
* Memory stays bounded: an iterator that prefetches more than one batch, or is dropped before its end, never gives
  back the batches that it holds.

A record that is no image any more ends training with a sentence that names it, and kills the process in validation
(MXNet divides by its height of zero): see `crash`. A truncated JPEG trains silently: see `verify`.
"""
import math

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.records import count, find_bad_record
from gluon_tricks.errors import UsageError

MEAN = (123.68, 116.779, 103.939)  # step 6 of section 2.1
STD = (58.393, 57.12, 57.375)
_PREFETCH = 1  # sub-batches that each part decodes ahead; every one more would leak with the iterator, each epoch
_WORTH_DRAINING = 5000  # images, a few seconds of decoding: with more left, an iterator is dropped, and a batch lost
_FEW = 10000  # images in a part: as many draws as a part has images, and few are soon met again (see `_part`)


# ---------------------------------------------------------------------------------------------------------------------
# Batches

class Batch:
    """Images (N, 3, S, S) and labels (N,) as lists of consecutive pieces, on the CPU, float32.

    `size` is N. The pieces come from the parts of the record file, in part order. They are the iterators' own buffers:
    when the next batch is asked for, MXNet waits until all that was queued has read them, and fills them again.
    """

    def __init__(self, data, label):
        self.data, self.label = list(data), list(label)
        self.size = sum(piece.shape[0] for piece in self.label)

    def shards(self, devices):
        """Equal slices, one per device: [(images, labels), ...], copied without waiting.

        Raises UsageError when the batch does not divide evenly.
        """
        if self.size % len(devices):
            raise UsageError('a batch of %d images does not divide over %d devices: change --batch-size'
                             % (self.size, len(devices)))
        share = self.size // len(devices)
        return [tuple(_rows(pieces, number * share, (number + 1) * share).as_in_context(device)
                      for pieces in (self.data, self.label)) for number, device in enumerate(devices)]


def _rows(pieces, begin, end):
    """Rows begin..end of the concatenated pieces; a view where one piece holds them all."""
    found, start = [], 0
    for piece in pieces:
        first, last = max(begin - start, 0), min(end - start, piece.shape[0])
        if first < last:
            found.append(piece if (first, last) == (0, piece.shape[0]) else piece[first:last])
        start += piece.shape[0]
    return found[0] if len(found) == 1 else mx.nd.concat(*found, dim=0)


# ---------------------------------------------------------------------------------------------------------------------
# Parts of a record file

def part_sizes(num_images, parts):
    """Images in each part of a file as MXNet cuts it: ceil(N / parts) each, what is left in the last ones."""
    step = -(-num_images // parts)
    return [min(step * (number + 1), num_images) - min(step * number, num_images) for number in range(parts)]


def choose_parts(total_batch_size, wanted, num_images, num_workers=1):
    """Parts that each worker reads side by side: the largest divisor of the batch size up to `wanted` that leaves none
    empty."""
    return max(parts for parts in range(1, max(wanted, 1) + 1) if parts == 1 or
               (total_batch_size % parts == 0 and min(part_sizes(num_images, num_workers * parts)) > 0))


def order_seed(seed, epoch, part):
    """A seed for the order of one part in one epoch, the same on every machine."""
    return int(np.random.RandomState([seed, epoch, part]).randint(2 ** 30))


class _Part:
    """The images of one part of a file, in sub-batches whose rows are all real. Raises UsageError on a damaged one.

    flip: every image is turned left to right, as a coin has already decided with even chances (step 3); with the same
    draws, it is another image.
    """

    def __init__(self, files, number, of, num_images, batch_size, input_size, mean, std, flip=False, **steps):
        self.files, self.left, self.flip, self.open = files, num_images, flip, True
        # MXNet ignores keywords it does not know: these, and those of the streams below, are all known.
        self.iterator = self._named(
            mx.io.ImageRecordIter, path_imgrec=files[0], path_imgidx=files[1], part_index=number, num_parts=of,
            batch_size=batch_size, data_shape=(3, input_size, input_size), preprocess_threads=1,
            prefetch_buffer=_PREFETCH, round_batch=False, verbose=False, mean_r=mean[0], mean_g=mean[1],
            mean_b=mean[2], std_r=std[0], std_g=std[1], std_b=std[2], **steps)

    def _named(self, function, **arguments):
        """The function's result; a failure of MXNet becomes a sentence that names the record."""
        try:
            return function(**arguments)
        except mx.MXNetError as error:
            self.open = False
            reason = str(error).strip().splitlines()[-1].strip()
            raise UsageError(find_bad_record(*self.files) or '%s cannot be read by MXNet, although every record '
                             'decodes (%s): check that nothing else writes it' % (self.files[0], reason)) from error

    def next(self):
        """(images, labels) of the next sub-batch, fewer rows at the end of the part; None after it."""
        try:
            batch = self._named(self.iterator.next)
        except StopIteration:
            self.open = False
            if self.left:
                raise UsageError('%s ended %d images before its index does: pack it again' % (self.files[0], self.left))
            return None
        data, label = batch.data[0], batch.label[0]
        real = min(self.left, data.shape[0])  # what follows in the last sub-batch is left over from others
        self.left -= real
        if real < data.shape[0]:
            data, label = data[:real], label[:real]
        return (mx.nd.flip(data, axis=3) if self.flip else data), label

    def close(self):
        """Read what is left, so that nothing leaks, unless it would take long: then the process is about to end."""
        try:
            while self.open and self.left <= _WORTH_DRAINING:
                self.next()
        except UsageError:
            pass  # the reader is told of the damage that made it close, not of another


def _rest(parts, wanted):
    """([images], [labels]) of `wanted` images that the parts have left, copied out of the iterators' buffers."""
    data, label = [], []
    for part in parts:
        while wanted > 0:
            piece = part.next()
            if piece is None:
                break
            data.append(piece[0].copy())
            label.append(piece[1].copy())
            wanted -= piece[1].shape[0]
    return data, label


# ---------------------------------------------------------------------------------------------------------------------
# Streams

class TrainStream:
    """Training batches in an order, and with augmentations, that depend on (seed, epoch) and the parts alone.

    rec, idx: files that `records.check_records` has passed. total_batch_size: over all devices. parts: how many parts
    to decode side by side at most; `parts` tells how many it became (it changes the order, and is recorded). worker,
    num_workers: with several processes each reads its own share, `num_images`. jitter, pca_noise, min_area, max_ratio,
    mirror: steps 2 to 5. Raises UsageError when there are fewer images than one batch.

    Paper: hue, saturation and brightness in [0.6, 1.4]. GluonCV, and here: brightness, contrast and saturation; no
    published code ever changed the hue. Paper: the crop's ratio in [3/4, 4/3]; here: uniform there, then width and
    height are exchanged at even chances, and an image in which ten crops did not fit gives its centre, not resized
    (hardly ever with the paper's area; always with a `min_area` of 1). An epoch has N // total_batch_size updates; the
    images that are left over, others in each epoch, are not seen in it.
    """

    def __init__(self, rec, idx, total_batch_size, input_size, seed, parts, mean=MEAN, std=STD, jitter=0.4,
                 pca_noise=0.1, min_area=0.08, max_ratio=4.0 / 3.0, mirror=True, worker=0, num_workers=1):
        self.files, self.total_batch_size, self.seed = (rec, idx), total_batch_size, seed
        self.worker, self.mirror = worker, mirror
        num_images = count(idx)
        self.parts = choose_parts(total_batch_size, parts, num_images, num_workers)
        self.sizes = part_sizes(num_images, num_workers * self.parts)
        shares = [sum(self.sizes[first:first + self.parts]) for first in range(0, len(self.sizes), self.parts)]
        self.num_images = shares[worker]
        self.updates_per_epoch = min(shares) // total_batch_size  # the same for all workers: they wait for each other
        if self.updates_per_epoch == 0:
            raise UsageError('%s holds %d images for each worker, fewer than one batch of %d: give a smaller '
                             '--batch-size' % (rec, min(shares), total_batch_size))
        self.steps = dict(
            # step 1 is MXNet's: decoded, and changed up to step 5, in 8 bits
            random_resized_crop=True, min_random_area=min_area, max_random_area=1.0,               # step 2
            min_aspect_ratio=1.0 / max_ratio, max_aspect_ratio=max_ratio, inter_method=1,          # (bilinear)
            rand_mirror=mirror,                                                                    # step 3
            brightness=jitter, contrast=jitter, saturation=jitter,                                 # step 4
            pca_noise=pca_noise,                                                                   # step 5
            input_size=input_size, mean=mean, std=std)                                             # step 6

    def epoch(self, epoch):
        """Generator of exactly `updates_per_epoch` Batches of `total_batch_size` images; each image at most once."""
        parts = [self._part(self.worker * self.parts + number, epoch) for number in range(self.parts)]
        size = self.total_batch_size
        try:
            whole = min(min(part.left for part in parts) // (size // self.parts), self.updates_per_epoch)
            for _ in range(whole):
                yield Batch(*zip(*[part.next() for part in parts]))
            # Parts differ by a few images: what they have left, together, fills the last batches. Each epoch begins
            # with another part, so that the images that are left over are not always the last part's.
            first = epoch % self.parts
            wanted = (self.updates_per_epoch - whole) * size
            data, label = _rest(parts[first:] + parts[:first], wanted)
            for begin in range(0, wanted, size):
                yield Batch([_rows(data, begin, begin + size)], [_rows(label, begin, begin + size)])
        finally:
            for part in parts:
                part.close()

    def _part(self, number, epoch):
        # In a part of n images of one size there are n draws, the same in all epochs: an image meets one again with
        # chance 1/n. Turning the images of every second epoch halves that; it costs a copy, so only few are turned.
        flip = self.mirror and self.sizes[number] < _FEW and (epoch + number) % 2 == 1
        return _Part(self.files, number, len(self.sizes), self.sizes[number], self.total_batch_size // self.parts,
                     flip=flip, shuffle=True, seed=order_seed(self.seed, epoch, number), **self.steps)


class EvalStream:
    """Validation images, each once: ``batches()`` yields (Batch, valid); rows after `valid` only fill the batch up.

    Every batch has `total_batch_size` rows, so that a compiled network keeps its shape; `num_images` is the sum of
    `valid`. Paper: short side to 256, centre crop 224; here: short side to ceil(input_size / crop_ratio).
    gluoncv_padding: count as GluonCV's script does in its first evaluation, where the first images fill up the last
    batch and count twice; one part only.
    """

    def __init__(self, rec, idx, total_batch_size, input_size, crop_ratio=0.875, mean=MEAN, std=STD, parts=1,
                 gluoncv_padding=False):
        self.files, self.total_batch_size, self.gluoncv_padding = (rec, idx), total_batch_size, gluoncv_padding
        self.num_images = num_images = count(idx)
        if gluoncv_padding:
            parts, self.num_images = 1, -(-num_images // total_batch_size) * total_batch_size
        self.parts = choose_parts(total_batch_size, parts, num_images)
        self.sizes = part_sizes(num_images, self.parts)
        self.steps = dict(resize=int(math.ceil(input_size / crop_ratio)), inter_method=1, input_size=input_size,
                          mean=mean, std=std)

    def batches(self):
        """Generator of (Batch of `total_batch_size` rows, number of its rows that count)."""
        size = self.total_batch_size
        parts = [_Part(self.files, number, self.parts, images, size // self.parts, shuffle=False, **self.steps)
                 for number, images in enumerate(self.sizes)]
        try:
            whole, first = min(self.sizes) // (size // self.parts), None
            for _ in range(whole):
                batch = Batch(*zip(*[part.next() for part in parts]))
                if self.gluoncv_padding and first is None:
                    first = batch.data[0].copy(), batch.label[0].copy()
                yield batch, size
            wanted = sum(self.sizes) - whole * size
            data, label = _rest(parts, wanted)
            for begin in range(0, wanted, size):
                valid = min(size, wanted - begin)
                batch = Batch([_rows(data, begin, begin + valid)], [_rows(label, begin, begin + valid)])
                if valid < size:
                    batch = _fill_up(batch, size, first or (batch.data[0], batch.label[0]))
                yield batch, size if self.gluoncv_padding else valid
        finally:
            for part in parts:
                part.close()


def _fill_up(batch, size, source):
    """The batch with rows of source = (images, labels), from its first one on, up to `size` rows."""
    rows = mx.nd.array(np.arange(size - batch.size) % source[1].shape[0], dtype='int32')
    data, label = (mx.nd.take(array, rows.as_in_context(array.context)) for array in source)
    return Batch(batch.data + [data], batch.label + [label])


class SyntheticStream:
    """One random batch again and again: measures the speed of training without data."""

    def __init__(self, total_batch_size, input_size, classes, num_images, seed=0):
        self.num_images, self.parts = num_images, 0
        self.updates_per_epoch = num_images // total_batch_size
        if self.updates_per_epoch == 0:
            raise UsageError('--num-training-samples %d is fewer than one batch of %d: give a smaller --batch-size'
                             % (num_images, total_batch_size))
        rng = np.random.RandomState(seed)
        self.batch = Batch([mx.nd.array(rng.normal(size=(total_batch_size, 3, input_size, input_size)),
                                        dtype='float32')],
                           [mx.nd.array(rng.randint(classes, size=total_batch_size), dtype='float32')])

    def epoch(self, epoch):
        """Generator of `updates_per_epoch` times the same Batch."""
        for _ in range(self.updates_per_epoch):
            yield self.batch
