"""Exact metrics of a classifier: every validation image is counted once (paper section 2.1)."""
import collections

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

GAP_EDGES = np.linspace(-5.0, 30.0, 71)  # bins of the logit gap (Figure 4b)


def evaluate(net, stream, devices, precision, beat=lambda: None):
    """Exact validation metrics of a network over a data.pipeline.EvalStream.

    Returns {'top1', 'top5' (percent), 'num_images', 'loss' (mean cross-entropy with the plain labels), 'gap_mean',
    'gap_std', 'gap_histogram'}. The gap is the largest score less the mean of the others (Figure 4b). Rows that only
    fill up the last batch are not counted; the host waits once, at the end. beat() is called after each batch.
    """
    seen, hits, gaps, pending = 0, {}, [], collections.deque()
    for batch, valid in stream.batches():
        if len(pending) >= 2:
            pending.popleft().wait_to_read()
        first = 0
        for x, label in batch.shards(devices):
            real = min(max(valid - first, 0), label.shape[0])
            first += label.shape[0]
            if real:
                output = net(precision.cast_input(x))[:real].astype('float32')
                figures, gap = _score(output, label[:real])
                device = label.context
                hits[device] = figures if device not in hits else hits[device] + figures
                gaps.append(gap)
                pending.append(figures)
        seen += valid
        beat()
    if seen == 0:
        raise UsageError('no validation image was counted: the validation records are empty')
    totals = sum(value.asnumpy().astype('float64') for value in hits.values())
    gaps = np.concatenate([gap.asnumpy() for gap in gaps])
    if len(gaps) != stream.num_images or seen != stream.num_images:
        raise RuntimeError(f'{seen} of {stream.num_images} validation images were counted')
    histogram, _ = np.histogram(np.clip(gaps, GAP_EDGES[0], GAP_EDGES[-1]), GAP_EDGES)
    return {'top1': 100 * totals[0] / seen, 'top5': 100 * totals[1] / seen, 'num_images': seen,
            'loss': totals[2] / seen, 'gap_mean': float(gaps.mean()), 'gap_std': float(gaps.std()),
            'gap_histogram': histogram.tolist()}


def _score(output, label):
    """(3,) [top-1 hits, top-5 hits, summed cross-entropy] and the (B,) logit gaps of (B, K) float32 scores."""
    classes = output.shape[1]
    best = mx.nd.topk(output, k=min(5, classes), ret_typ='indices', dtype='int32').astype('float32')
    match = best == label.reshape((-1, 1))
    loss = -mx.nd.log_softmax(output).pick(label).sum()
    largest = output.max(axis=1)
    gap = largest - (output.sum(axis=1) - largest) / max(classes - 1, 1)
    return mx.nd.concat(match[:, 0].sum(), match.sum(), loss, dim=0), gap
