"""What an exported network gives, beside what MXNet gives for the same images.

Each function returns {'what': words, 'difference': the largest one, 'limit': above it the export is refused, and what
else was counted}. A wrong translation differs by far more than the limits, and rounding by far less.
"""
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange.onnx_graph import context_of, relative_difference

LOGITS, PROBABILITIES, PIXELS = 1e-4, 2e-2, 1e-3  # limits: relative; absolute; of a box's sides
_BATCHES, _ODD_SIZES = (1, 7), ((37, 91), (301, 200), (480, 640))
_DETECTIONS, _IMAGES, _CONTRASTS = 50, 24, (1, 3, 6)  # enough of them, and at most this many images
_MAPS = ((1, 64, 64), (2, 97, 65), (1, 80, 131))  # batch, height, width


def image(height, width, seed=0):
    """A synthetic photograph (H, W, 3), uint8: patches of colour, a gradient and noise."""
    rng = np.random.RandomState(seed)
    patches = rng.randint(0, 200, (5, 6, 3))
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 6 // width
    picture = patches[rows][:, columns] + np.linspace(0, 40, width)[None, :, None]
    return (picture + rng.randint(0, 16, (height, width, 3))).clip(0, 255).astype('uint8')


def batch(number, height, width, mean, std, first=0):
    """(B, 3, H, W) float32: `image`s, normalised; first: the first one's seed."""
    pictures = [(image(height, width, first + each).astype('float32') - mean) / std for each in range(number)]
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)).astype('float32')


def outputs(net, x):
    """What a Gluon network gives for a float32 array: arrays."""
    found = net(mx.nd.array(x, ctx=context_of(net)))
    return [each.asnumpy() for each in (found if isinstance(found, (list, tuple)) else [found])]


def classifier(run, net, input_size, mean, std):
    """The logits of `run`, which takes the normalised batch, at batches of 1 and 7."""
    batches = [batch(number, input_size, input_size, mean, std) for number in _BATCHES]
    worst = max(relative_difference(run(x), outputs(net, x)[0]) for x in batches)
    return _checked('relative difference of the logits, batches of 1 and 7', worst, LOGITS)


def from_image(run, probabilities):
    """The probabilities of `run`, which takes an image, beside those of the function `probabilities`."""
    worst, other = 0.0, 0
    for seed, size in enumerate(_ODD_SIZES):
        picture = image(*size, seed)
        found, expected = run(picture), probabilities(picture)
        worst = max(worst, float(np.abs(found - expected).max()))
        # Another class is one whose probability is the same but for the difference
        best = found.argmax()
        other += best != expected.argmax() and expected.max() - expected[best] > 2 * PROBABILITIES
    return _checked(f'difference of the probabilities, images of {_words(_ODD_SIZES)} pixels', worst, PROBABILITIES,
                    other == 0, images=len(_ODD_SIZES))


def segmenter(run, net, mean, std):
    """The logits of every pixel at three sizes, and at how many pixels another class is best."""
    worst, other, pixels = 0.0, 0, 0
    for size in _MAPS:
        x = batch(*size, mean, std)
        found, expected = run(x), outputs(net, x)[0]
        worst = max(worst, relative_difference(found, expected))
        other += int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        pixels += found[:, 0].size
    return _checked(f'relative difference of the logits, batches of {_words(_MAPS)}', worst, LOGITS,
                    other <= pixels * 1e-4, pixels=pixels, pixels_of_another_class=other)


def detector(run, net, height, width, mean, std):
    """Ids and boxes: how many of MXNet's detections are found, within `PIXELS`.

    A trained detector finds little in synthetic images: there are several, with contrasts that make it see something.
    """
    total, worst, images = {'expected': 0, 'given': 0, 'found': 0}, 0.0, 0
    while total['expected'] < _DETECTIONS and images < _IMAGES:
        x = batch(1, height, width, mean, std, images) * _CONTRASTS[images % len(_CONTRASTS)]
        agreement = compare_detections(run(x), outputs(net, x))
        worst, images = max(worst, agreement.pop('pixels')), images + 1
        total = {name: number + agreement[name] for name, number in total.items()}
    if not total['expected']:
        raise UsageError(f'the detector finds nothing in {images} synthetic images, so that its ONNX model cannot be '
                         'compared: export a trained one')
    return _checked(f'distance in pixels of a box, {images} images of {height} x {width}', worst, PIXELS,
                    total['found'] >= total['expected'] * 0.99 and
                    abs(total['given'] - total['expected']) <= total['expected'] * 0.01, **total)


def compare_detections(given, expected):
    """How (ids, scores, boxes) of one image agree with those expected, whatever the order of equal scores.

    {'expected': how many are expected, 'given', 'found': how many of the expected are given with the same id, a box
    within `PIXELS` and a score within 1e-4, 'pixels': the largest distance of a side of those}.
    """
    (ids, scores, boxes), (wanted_ids, wanted_scores, wanted_boxes) = (
        [np.asarray(each).reshape(-1, width) for each, width in zip(arrays, (1, 1, 4))] for arrays in (given, expected))
    free = (ids[:, 0] >= 0).copy()
    number, worst, found = int(free.sum()), 0.0, 0
    real = np.flatnonzero(wanted_ids[:, 0] >= 0)
    for row in real:
        fits = free & (ids[:, 0] == wanted_ids[row]) & (np.abs(scores[:, 0] - wanted_scores[row]) < 1e-4)
        distance = np.where(fits, np.abs(boxes - wanted_boxes[row]).max(axis=1), np.inf)
        nearest = int(distance.argmin())
        if distance[nearest] <= PIXELS:
            free[nearest] = False
            worst, found = max(worst, float(distance[nearest])), found + 1
    return {'expected': len(real), 'given': number, 'found': found, 'pixels': worst}


def _checked(what, difference, limit, holds=True, **counted):
    if not holds or not difference <= limit:
        raise UsageError(f'the exported network does not give what MXNet gives: {what} is {difference:.3g}, at most '
                         f'{limit:g} is rounding{_counted(counted)}; nothing was written: please report the network')
    return dict({'what': what, 'difference': difference, 'limit': limit}, **counted)


def _counted(counted):
    return ' (' + ', '.join(f'{name.replace("_", " ")} {value}' for name, value in counted.items()) + ')' \
        if counted else ''


def _words(sizes):
    return ', '.join(' x '.join(map(str, size)) for size in sizes)
