"""The known-answer test: a trained network of a published figure tells whether labels, decoder and resize are right.

The figure is measured, and set beside the published one. Where it is too low, what is usually wrong is tried on a
sample of the images: other orders of the labels, which cost nothing once there are predictions; channels exchanged, a
resize to a square, another normalisation. What brings the points back is named.

A verdict has a standard error: that of a share p of n images, sqrt(p (1 - p) / n). A figure of all images differs from
the published one by decoders and rounding alone, so that it is then more than is needed. A trial is compared with the
same images as they are: the error of its gain is of those that one of the two hits alone.
"""
import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.cores import available_cores
from gluon_tricks.data.pipeline import MEAN, STD, EvalStream, Normalise, whole_batches
from gluon_tricks.data.records.images import frame
from gluon_tricks.exchange.label_orders import Order, best_permutation, known_orders
from gluon_tricks.exchange.protocols import Protocol, ProtocolStream
from gluon_tricks.models.fused import for_inference
from gluon_tricks.tasks.classification import evaluation

SAMPLE = 2000  # images on which faults are tried where all were scored
AGREES = 2.0  # standard errors within which a figure is the published one
GAINS = 3.0  # standard errors above which a trial gains
_LOST = 0.1  # share of the expected figure below which labels are to blame, if an order of them gains
_SQUARE = 0.95  # share of square images that no set of photographs has
_RANGES = (('normalised by the mean and deviation of ImageNet', MEAN, STD), ('from 0 to 255', (0.0,) * 3, (1.0,) * 3),
           ('from 0 to 1', (0.0,) * 3, (255.0,) * 3), ('from -1 to 1', (127.5,) * 3, (127.5,) * 3))


def imagenet_classes() -> List[str]:
    """The WordNet ids of ImageNet's classes, sorted, as GluonCV's and timm's networks have them."""
    from gluoncv.data import ImageNet1kAttr
    return list(ImageNet1kAttr().synset)


class Trial(NamedTuple):
    """What may be wrong, and the figure on the sample without it: top-1 and its gain in points, and the gain's error.

    kind: labels, channels, shape or normalisation. fault: a sentence.
    """

    kind: str
    fault: str
    top1: float
    gain: float
    error: float

    @property
    def gains(self) -> bool:
        """Whether the gain is more than chance."""
        return self.gain > GAINS * self.error


def trial(kind: str, fault: str, before: np.ndarray, hits: np.ndarray) -> Trial:
    """The Trial of hits, (N,) bool, beside those of the same images as they are."""
    number, more, fewer = len(hits), int((hits & ~before).sum()), int((before & ~hits).sum())
    return Trial(kind, fault, 100 * float(hits.mean()), 100 * (more - fewer) / number,
                 100 * math.sqrt(more + fewer) / number)


def standard_error(top1: float, number: int) -> float:
    """Of a share in percent, of `number` images, in points; never less than that of one image."""
    share = min(max(top1 / 100, 1 / number), 1 - 1 / number)
    return 100 * math.sqrt(share * (1 - share) / number)


def sample(labels: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Sorted rows of a sample over all labels: of each label equally many, but for one; the same with each call."""
    order = np.random.RandomState(seed).permutation(len(labels))
    seen: Dict[int, int] = {}
    turn = np.empty(len(labels), int)
    for place, label in enumerate(labels[order].tolist()):
        turn[place] = seen[label] = seen.get(label, -1) + 1
    return np.sort(order[np.argsort(turn, kind='stable')][:number])


class Scorer:
    """A network and the records that it is scored on.

    net: in inference on `devices`; precision: of tricks.low_precision. rec, idx: files that `check_records` has passed.
    protocol: how images are prepared. classes: names of the network's classes in its order. batch_size: of a device.
    """

    def __init__(self, net: Any, rec: str, idx: str, protocol: Protocol, classes: Sequence[str], devices: List[Any],
                 precision: Any, batch_size: int = 32, threads: Optional[int] = None) -> None:
        self.files, self.protocol, self.classes = (rec, idx), protocol, list(classes)
        self.devices, self.precision, self.threads = devices, precision, threads or available_cores()
        self.batch_size = batch_size * len(devices)
        self.reader = self._opencv(protocol).reader
        labels = self.reader.labels()
        self.labels = np.where(labels == np.floor(labels), labels, -1).astype('int64')
        self.net = for_inference(net, precision, devices, len(labels), protocol.size)

    def _opencv(self, protocol: Protocol, rows: Optional[np.ndarray] = None) -> EvalStream:
        return EvalStream(*self.files, worker_batch_size=self.batch_size, input_size=protocol.size,
                          crop_ratio=protocol.crop_ratio, threads=self.threads, rows=rows,
                          normalise=Normalise(protocol.mean, protocol.std))

    def score(self, rows: np.ndarray, protocol: Optional[Protocol] = None) -> Tuple[Dict[str, Any], np.ndarray]:
        """(`evaluation.evaluate`'s metrics, (n, 5) the likeliest classes first) of the rows, by the scorer's protocol
        or another."""
        protocol = protocol or self.protocol
        plain = protocol.name == 'opencv' and not (protocol.bgr or protocol.square or protocol.ratio)
        stream = self._opencv(protocol, rows) if plain else ProtocolStream(self.reader, self.labels, protocol, rows,
                                                                           self.batch_size)
        recorded = _Recorded(self.net)
        metrics = evaluation.evaluate(recorded, stream, self.devices, self.precision)
        return metrics, np.concatenate([each.asnumpy() for each in recorded.best])[:len(rows)]

    def square(self, rows: np.ndarray) -> float:
        """The share of the rows whose image is a square, as far as headers tell."""
        frames = [frame(self.reader.image(row)) for row in rows.tolist()]
        sizes = [each[:2] for each in frames if each]
        return float(np.mean([width == height for width, height in sizes])) if sizes else 0.0


class _Recorded:
    """A network that keeps the five likeliest classes of what it is given."""

    def __init__(self, net: Any) -> None:
        self.net = net
        self.best: List[Any] = []

    def __call__(self, x: Any) -> Any:
        output = self.net(x)
        self.best.append(mx.nd.topk(output.astype('float32'), k=min(5, output.shape[1]), dtype='int32'))
        return output


class Answer(NamedTuple):
    """The figures in percent, and what they say.

    padded: top1, top5 and num_images as GluonCV counts; expected: the published top-1; error: the standard error in
    points. verdict: as expected, too high, too low, or at chance. sampled: images on which faults were tried; as_it_is:
    their top-1; trials: the best first; cause: the one that explains it, None where none does.
    """

    metrics: Dict[str, Any]
    padded: Dict[str, Any]
    expected: float
    error: float
    verdict: str
    sampled: int = 0
    as_it_is: float = 0.0
    trials: Tuple[Trial, ...] = ()
    cause: Optional[Trial] = None


def examine(scorer: Scorer, expected: float, quick: Optional[int] = None, by_id: Optional[Dict[int, str]] = None,
            of_records: Optional[Sequence[str]] = None) -> Answer:
    """The Answer of a scorer whose top-1 should be `expected`.

    quick: images of a sample that is scored instead of all, and on which faults are tried. by_id, of_records: as of
    `known_orders`, which may raise UsageError.
    """
    labels, orders = scorer.labels, known_orders(scorer.classes, by_id, of_records)
    rows = np.arange(len(labels)) if quick is None or quick >= len(labels) else sample(labels, quick)
    metrics, best = scorer.score(rows)
    metrics = {name: metrics[name] for name in ('top1', 'top5', 'num_images', 'loss')}
    error = standard_error(expected, len(rows))
    answer = Answer(metrics, padded(best, labels[rows], scorer.batch_size), expected, error,
                    verdict(metrics['top1'], expected, error, len(scorer.classes), len(rows)))
    if answer.verdict in ('as expected', 'too high'):
        return answer
    kept = np.arange(len(rows)) if quick or len(rows) <= SAMPLE else sample(labels, SAMPLE)
    return _diagnosed(answer, scorer, rows[kept], best[kept, 0], orders)


def padded(best: np.ndarray, labels: np.ndarray, batch_size: int) -> Dict[str, Any]:
    """The figures as GluonCV's script counts them: the first images fill up the last batch, and count twice."""
    match = whole_batches(np.arange(len(labels)), batch_size)
    hits = (best == labels[:, None])[match]
    return {'top1': 100 * float(hits[:, 0].mean()), 'top5': 100 * float(hits.any(axis=1).mean()),
            'num_images': len(match)}


def verdict(top1: float, expected: float, error: float, classes: int, number: int) -> str:
    """What a figure says: as expected, too high, too low, or at chance."""
    if abs(top1 - expected) <= AGREES * error:
        return 'as expected'
    if top1 > expected:
        return 'too high'
    chance = 100 / classes
    return 'at chance' if top1 <= chance + GAINS * standard_error(chance, number) else 'too low'


def _diagnosed(answer: Answer, scorer: Scorer, rows: np.ndarray, predicted: np.ndarray,
               orders: Sequence[Order]) -> Answer:
    """The Answer with what was tried on the rows, and what it says."""
    labels = scorer.labels[rows]
    before = predicted == labels
    top1 = 100 * float(before.mean())
    half = (answer.expected - top1) / 2  # of the points that are missing
    trials = _label_trials(labels, predicted, before, orders, scorer.classes)
    best, shape = max(trials, key=lambda each: each.top1), None
    if top1 > _LOST * answer.expected or not best.gains or best.gain < half:
        square = scorer.square(rows)
        trials += _image_trials(scorer, rows, before, square)
        best = max(trials, key=lambda each: each.top1)
        shape = next(each for each in trials if each.kind == 'shape') if square >= _SQUARE else None
    cause = best if best.gains and (best.gain > half or not shape) else shape
    trials.sort(key=lambda each: -each.top1)
    return answer._replace(sampled=len(rows), as_it_is=top1, trials=tuple(trials), cause=cause)


def _label_trials(labels: np.ndarray, predicted: np.ndarray, before: np.ndarray, orders: Sequence[Order],
                  classes: Sequence[str]) -> List[Trial]:
    found = [trial('labels', f'the labels are {order.text}', before, order.hits(labels, predicted))
             for order in orders]
    hits, order = best_permutation(labels, predicted, classes)
    if any(label != index for label, index in order.classes.items()):
        found.append(trial('labels', f'the labels are {order.text}', before, hits))
    return found


def _image_trials(scorer: Scorer, rows: np.ndarray, before: np.ndarray, square: float) -> List[Trial]:
    """One for each fault of the images, each of which takes a pass over the rows. square: the share of squares."""
    now, labels = scorer.protocol, scorer.labels[rows]
    others = [('channels', _BGR, now._replace(bgr=not now.bgr))]
    if square >= _SQUARE:
        others.append(('shape', _PACKED % (100 * square), now._replace(ratio=4 / 3)))
    else:
        others.append(('shape', _SQUARED if now.square else _SHAPED, now._replace(square=not now.square)))
    for words, *statistics in _RANGES:
        mean, std = (np.array(values) / now.unit for values in statistics)
        if np.abs(mean - now.mean).max() * now.unit > 1 or np.abs(std / now.std - 1).max() > 0.02:
            others.append(('normalisation', _NORMALISED % words, now._replace(mean=tuple(mean), std=tuple(std))))
    return [trial(kind, fault, before, scorer.score(rows, protocol)[1][:, 0] == labels)
            for kind, fault, protocol in others]


_BGR = 'red and blue are exchanged (BGR), in the records or by the network'
_PACKED = ('the images were resized to a square before they were packed: %.0f %% of them are squares (tried: stretched '
           'to 4:3)')
_SQUARED = 'images are resized to a square, and the network was trained on images in their own shape'
_SHAPED = 'the network was trained on images that were resized to a square'
_NORMALISED = 'the normalisation is missing, or another: the network was trained on pixels %s'
