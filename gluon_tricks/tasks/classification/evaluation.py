"""Exact metrics of a classifier: every validation image is counted once (paper section 2.1)."""
import collections
import functools

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.fused import for_inference

GAP_EDGES = np.linspace(-5.0, 30.0, 71)  # bins of the logit gap (Figure 4b)


def evaluate(net, stream, devices, precision, beat=lambda: None):
    """Exact validation metrics of a network over a data.pipeline.EvalStream.

    Returns {'top1', 'top5' (percent), 'num_images', 'loss' (mean cross-entropy with the plain labels), 'gap_mean',
    'gap_std', 'gap_histogram'}. The gap is the largest score less the mean of the others (Figure 4b). Rows that only
    fill up the last batch are not counted; the host waits once, at the end. beat() is called after each batch.
    """
    hits, gaps = {}, []
    for figures, gap in _answers(net, stream, devices, precision, _score, beat):
        device = figures.context
        hits[device] = figures if device not in hits else hits[device] + figures
        gaps.append(gap)
    totals = sum(value.asnumpy().astype('float64') for value in hits.values())
    gaps = _whole(gaps, stream)
    seen = len(gaps)
    histogram, _ = np.histogram(np.clip(gaps, GAP_EDGES[0], GAP_EDGES[-1]), GAP_EDGES)
    return {'top1': 100 * totals[0] / seen, 'top5': 100 * totals[1] / seen, 'num_images': seen,
            'loss': totals[2] / seen, 'gap_mean': float(gaps.mean()), 'gap_std': float(gaps.std()),
            'gap_histogram': histogram.tolist()}


def predict(net, stream, devices, precision):
    """What a network says of each image of a data.pipeline.EvalStream, in the order of the records.

    Returns {'labels', 'predicted' ((N,) int64), 'gaps' ((N,) float32, as in `evaluate`)}: top-1 is the share of equal
    labels and predictions.
    """
    rows = _whole([rows for rows, in _answers(net, stream, devices, precision, _decide)], stream)
    return {'labels': rows[:, 0].astype('int64'), 'predicted': rows[:, 1].astype('int64'), 'gaps': rows[:, 2]}


def _answers(net, stream, devices, precision, answer, beat=lambda: None):
    """Generator of answer(F, scores, labels, K), arrays, for the rows of each device that count: (B, K) float32 and
    (B,). The host waits for what it asked two batches before."""
    pending, graph = collections.deque(), None
    for batch, valid in stream.batches():
        if len(pending) >= 2:
            pending.popleft().wait_to_read()
        first = 0
        for x, label in batch.shards(devices):
            if graph is None:
                graph = for_inference(net, precision, devices, stream.num_images, x.shape[-1])
            real = min(max(valid - first, 0), label.shape[0])
            first += label.shape[0]
            if real:
                output = graph(precision.cast_input(x))[:real].astype('float32')
                found = _compiled(answer, output.shape[1])(output, label[:real])
                pending.append(found[0])
                yield found
        beat()


def _whole(parts, stream):
    """The rows of all parts, NDArrays, as one array; the stream's images, each once."""
    if not parts:
        raise UsageError('no validation image was counted: the validation records are empty')
    rows = np.concatenate([part.asnumpy() for part in parts])
    if len(rows) != stream.num_images:
        raise RuntimeError(f'{len(rows)} of {stream.num_images} validation images were counted')
    return rows


class _Compiled(mx.gluon.HybridBlock):
    """function(F, output, label, classes) as one call of MXNet, in place of some twenty that take longer than their
    work."""

    def __init__(self, function, classes):
        super().__init__()
        self._function, self._classes = function, classes

    def hybrid_forward(self, F, output, label):
        return self._function(F, output, label, self._classes)


@functools.lru_cache(maxsize=None)
def _compiled(function, classes):
    block = _Compiled(function, classes)
    block.hybridize()
    return block


def _score(F, output, label, classes):
    """(3,) [top-1 hits, top-5 hits, summed cross-entropy] and the (B,) logit gaps of (B, K) float32 scores."""
    match = F.broadcast_equal(_best(output, classes), label.reshape((-1, 1)))
    loss = -output.log_softmax().pick(label).sum()
    return F.concat(match.slice_axis(axis=1, begin=0, end=1).sum(), match.sum(), loss, dim=0), _gap(output, classes)


def _decide(F, output, label, classes):
    """(B, 3) label, likeliest class and logit gap of (B, K) float32 scores."""
    best = _best(output, classes).slice_axis(axis=1, begin=0, end=1).reshape((-1,))
    return F.stack(label.astype('float32'), best, _gap(output, classes), axis=1),


def _best(output, classes):
    """The five likeliest classes, the likeliest first."""
    return output.topk(k=min(5, classes), ret_typ='indices', dtype='int32').astype('float32')


def _gap(output, classes):
    largest = output.max(axis=1)
    return largest - (output.sum(axis=1) - largest) / max(classes - 1, 1)
