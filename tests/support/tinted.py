"""Digits tinted by class on canvases of other shapes, and a small network that is trained on them.

The colour and the shape tell of the class, so that a network loses points where channels are exchanged, images resized
to a square, or not normalised.
"""
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.prepare.demo_digits import held_out
from gluon_tricks.data.records.packing import pack
from gluon_tricks.exchange.protocols import get, input_of
from gluon_tricks.tricks.low_precision import precision

SIZE, CLASSES = 32, [f'n{number:08d}' for number in range(10, 20)]
PROTOCOL = get('opencv', SIZE)
CPU = [mx.cpu()]


def pictures():
    """[(pixels (H, W, 3) uint8, blue first; label; whether it is for validation)] of every digit."""
    import cv2
    from sklearn.datasets import load_digits
    digits, rng, found = load_digits(), np.random.RandomState(0), []
    for grey, label, out in zip(digits.images, digits.target, held_out(digits.target)):
        found.append((_picture(cv2.resize(grey / 16, (36, 36), interpolation=cv2.INTER_CUBIC), label, rng),
                      int(label), out))
    return found


def _picture(grey, label, rng):
    """A digit in a colour between red and blue by its label, on a dark canvas, 40 high or wide, half as long again or
    more."""
    long = rng.randint(60, 90)
    height, width = (40, long) if rng.rand() < 0.5 else (long, 40)
    red = 0.25 + 0.5 * (label % 2) + rng.normal(0, 0.12)
    colour = np.clip([1 - red, rng.uniform(0.2, 0.5), red], 0, 1) * 255
    canvas = np.full((height, width, 3), rng.uniform(0, 60, 3))
    top, left = (height - 36) // 2, (width - 36) // 2
    place = canvas[top:top + 36, left:left + 36]
    place += np.clip(grey, 0, 1)[:, :, None] * (colour - place)
    return np.clip(canvas + rng.normal(0, 6, canvas.shape), 0, 255).astype('uint8')


def encoded(pixels):
    """JPEG bytes."""
    import cv2
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def packed(folder, images, change=lambda pixels: pixels, relabel=lambda label: label, name='val'):
    """(rec, idx) of the validation images, changed and with other labels."""
    stem = str(folder / name)
    pack([(encoded(change(pixels)), relabel(label), str(number))
          for number, (pixels, label, out) in enumerate(images) if out], stem)
    return stem + '.rec', stem + '.idx'


def network():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(16, 5, 2, 2, in_channels=3, activation='relu'),
            mx.gluon.nn.Conv2D(32, 3, 2, 1, in_channels=16, activation='relu'),
            mx.gluon.nn.Dense(64, in_units=2048, activation='relu'), mx.gluon.nn.Dense(10, in_units=64))
    return net


def trained(images, epochs=10, batch_size=64):
    """The network after some epochs of Adam over the other images, prepared by PROTOCOL."""
    mx.random.seed(0)
    net = network()
    net.initialize(mx.init.Xavier())
    net.hybridize()
    x = np.stack([input_of(PROTOCOL, encoded(pixels)) for pixels, _, out in images if not out])
    y = np.array([label for _, label, out in images if not out], 'float32')
    trainer = mx.gluon.Trainer(net.collect_params(), 'adam', {'learning_rate': 0.002})
    loss_of, rng = mx.gluon.loss.SoftmaxCrossEntropyLoss(), np.random.RandomState(0)
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for begin in range(0, len(y), batch_size):
            rows = order[begin:begin + batch_size]
            with mx.autograd.record():
                loss = loss_of(net(mx.nd.array(x[rows])), mx.nd.array(y[rows]))
            loss.backward()
            trainer.step(len(rows))
    return net


def plain_precision():
    return precision('float32', CPU)
