"""pixAcc and mIoU, and the three protocols that they are measured by (paper section 6.2, Table 9).

    crop    short side to the crop size, centre square                 GluonCV's script, during training
    whole   every image at its own size                                GluonCV's test script since 2020
    multi   six scales, windows of the crop size, each with its flip   GluonCV's test script when the paper was written

The paper does not say which one gave Table 9. Counts are exact: every image once, every pixel that has a class once.
"""
import collections
import math

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.segmentation.protocol import SCALES

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of channels in 0 to 1, as GluonCV's segmentation has them
_LARGEST = 80.0  # exponents above: GluonCV's exp would overflow in a sum of six


class Confusion:
    """Counts of pixels by true and predicted class, int64 (num_classes, num_classes)."""

    def __init__(self, num_classes):
        self.counts, self.num_images = np.zeros((num_classes, num_classes), 'int64'), 0

    def add(self, label, predicted):
        """Count (N, H, W) or (H, W) integers; a label below 0 does not count. predicted: 0 to num_classes - 1."""
        number = len(self.counts)
        real = label >= 0
        pairs = label[real].astype('int64') * number + predicted[real].astype('int64')
        self.counts += np.bincount(pairs, minlength=number * number).reshape(number, number)
        self.num_images += 1 if label.ndim == 2 else len(label)

    @property
    def class_iou(self):
        """Intersection over union of each class; 0 for one that is neither there nor predicted, as GluonCV has it."""
        both = np.diag(self.counts)
        return both / (np.spacing(1) + self.counts.sum(0) + self.counts.sum(1) - both)

    def metrics(self):
        """{'miou', 'pix_acc': 0 to 1, 'num_images', 'class_iou': list}. Raises UsageError without an image."""
        if not self.num_images:
            raise UsageError('no validation image was counted')
        return {'miou': float(self.class_iou.mean()),
                'pix_acc': float(np.diag(self.counts).sum() / (np.spacing(1) + self.counts.sum())),
                'num_images': self.num_images, 'class_iou': self.class_iou.tolist()}


def normalise(pixels):
    """(H, W, 3) uint8 to (3, H, W) float32."""
    scaled = (pixels.astype('float32') / 255 - np.array(MEAN, 'float32')) / np.array(STD, 'float32')
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation

def evaluate_crops(net, stream, devices, precision, num_classes, beat=lambda: None):
    """Metrics by the protocol 'crop': of `count_crops`."""
    return count_crops(net, stream, devices, precision, num_classes, beat).metrics()


def count_crops(net, stream, devices, precision, num_classes, beat=lambda: None):
    """The Confusion by the protocol 'crop' over a segmentation.EvalStream, shared out over the devices; beat() after
    each batch."""
    confusion, pending = Confusion(num_classes), collections.deque()

    def read():
        label, outputs = pending.popleft()
        confusion.add(label, np.concatenate([output.asnumpy() for output in outputs])[:len(label)])

    for batch, valid in stream.batches():
        outputs = []
        for x, _ in batch.shards(devices):
            outputs.append(net(precision.cast_input(x))[0].astype('float32').argmax(axis=1))
        pending.append((batch.label[:valid], outputs))
        if len(pending) > 1:
            read()  # while the devices are at the next batch
        beat()
    while pending:
        read()
    if confusion.num_images != stream.num_images:
        raise RuntimeError(f'{confusion.num_images} of {stream.num_images} validation images were counted')
    return confusion


def evaluate_images(net, stream, devices, precision, num_classes, multi=None, progress=iter):
    """Metrics by the protocol 'whole', or 'multi' with multi = (base_size, crop_size).

    stream: a segmentation.ImageStream; the images take turns on the devices. progress: wraps the iterator of images.
    """
    confusion, pending = Confusion(num_classes), collections.deque()

    def read():
        label, scores = pending.popleft()
        confusion.add(label, scores.argmax(axis=0).asnumpy())

    for number, (pixels, label) in enumerate(progress(stream.images())):
        x = mx.nd.array(normalise(pixels)[None], ctx=devices[number % len(devices)])
        pending.append((label, image_scores(net, x, precision, multi)))
        if len(pending) > len(devices):
            read()
    while pending:
        read()
    return confusion.metrics()


def image_scores(net, x, precision, multi=None):
    """(K, H, W) float32 scores of one image (1, 3, H, W), whole or by the protocol 'multi'."""
    def score(part):
        return net(precision.cast_input(part))[0].astype('float32')
    return (multi_scale(score, x, *multi) if multi else score(x))[0]


# ---------------------------------------------------------------------------------------------------------------------
# Several scales, as GluonCV's MultiEvalModel

def multi_scale(score, x, base_size, crop_size):
    """Sum over the scales of exp(scores of the image + those of its flip), (1, K, H, W).

    score: function of (1, 3, S, S), S = crop_size. At each scale, the long side at base_size * scale, the image is
    covered by windows two thirds of their side apart, whose results are averaged; black fills up what is too small.
    """
    height, width = x.shape[2:]
    total = 0
    for scale in SCALES:
        long_side = int(math.ceil(base_size * scale))
        tall = height > width
        rows = long_side if tall else int(height * long_side / width + 0.5)
        columns = int(width * long_side / height + 0.5) if tall else long_side
        resized = mx.nd.contrib.BilinearResize2D(x, height=max(rows, 1), width=max(columns, 1))
        total = total + mx.nd.contrib.BilinearResize2D(_windows(score, resized, crop_size), height=height, width=width)
    return total


def _windows(score, x, size):
    """(1, K, h, w): the mean over all windows of `size` that cover a pixel."""
    height, width = x.shape[2:]
    padded = _pad(x, max(height, size), max(width, size))
    starts = [_starts(length, size) for length in padded.shape[2:]]
    total = count = 0
    for top in starts[0]:
        for left in starts[1]:
            window = padded[:, :, top:top + size, left:left + size]
            rows, columns = window.shape[2:]
            found = _with_flip(score, _pad(window, size, size))[:, :, :rows, :columns]
            if len(starts[0]) == len(starts[1]) == 1:
                return found[:, :, :height, :width]
            if isinstance(total, int):
                total = mx.nd.zeros(found.shape[:2] + padded.shape[2:], ctx=x.context)
                count = mx.nd.zeros((1, 1) + padded.shape[2:], ctx=x.context)
            total[:, :, top:top + rows, left:left + columns] += found
            count[:, :, top:top + rows, left:left + columns] += 1
    return mx.nd.broadcast_div(total, count)[:, :, :height, :width]


def _starts(length, size):
    """First pixels of the windows along one side; the last may reach beyond its end."""
    step = int(size * (2.0 / 3.0))
    return [number * step for number in range(int(math.ceil((length - size) / step)) + 1)]


def _with_flip(score, x):
    both = score(x) + score(x.flip(axis=3)).flip(axis=3)
    return mx.nd.clip(both, -1e30, _LARGEST).exp()


def _pad(x, height, width):
    """Black pixels below and on the right, up to (1, 3, height, width)."""
    if x.shape[2:] == (height, width):
        return x
    black = mx.nd.array([-mean / std for mean, std in zip(MEAN, STD)], ctx=x.context).reshape((1, 3, 1, 1))
    padded = mx.nd.broadcast_to(black, (1, 3, height, width)).copy()
    padded[:, :, :x.shape[2], :x.shape[3]] = x
    return padded
