"""Images that tell what was drawn for them: where they were cropped, whether they were flipped, and their colours."""
import cv2
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.records.packing import pack


def make_ramps(folder, images, sizes):
    """(rec, idx): red grows from 0 to 255 from left to right, green from top to bottom; sizes [(height, width)]."""
    encoded = []
    for height, width in sizes:
        y, x = np.meshgrid(np.linspace(0, 255, height), np.linspace(0, 255, width), indexing='ij')
        encoded.append(cv2.imencode('.png', np.rint(np.stack([0 * x, y, x], axis=-1)).astype('uint8'))[1].tobytes())
    return _pack(folder, 'ramps', encoded, images)


def make_colours(folder, images, sizes, colour=(60, 120, 200)):
    """(rec, idx): images of one colour (B, G, R), which no crop changes."""
    return _pack(folder, 'colours', [cv2.imencode('.png', np.full(size + (3,), colour, 'uint8'))[1].tobytes()
                                     for size in sizes], images)


def _pack(folder, name, encoded, images):
    pack([(encoded[k % len(encoded)], k % 2, str(k)) for k in range(images)], str(folder / name))
    return str(folder / (name + '.rec')), str(folder / (name + '.idx'))


def _images(batch):
    return batch.shards([mx.cpu(0)])[0][0].asnumpy()


def crops_of(batch):
    """(B, 5) of a batch of ramps: left, right, top and bottom of the crop, 0 to 255, and whether it was flipped."""
    x = _images(batch)
    middle = x.shape[2] // 2
    left, right, top, bottom = x[:, 0, middle, 0], x[:, 0, middle, -1], x[:, 1, 0, middle], x[:, 1, -1, middle]
    return np.stack([np.minimum(left, right), np.maximum(left, right), top, bottom, left > right], axis=1)


def colours_of(batch):
    """(B, 3) of a batch of images of one colour: red, green, blue."""
    return _images(batch)[:, :, 2, 2]
