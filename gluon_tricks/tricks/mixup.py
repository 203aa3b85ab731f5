"""Mixup (paper section 5.4, equations 7 and 8; Zhang et al. 2017).

    x = lam * x_i + (1 - lam) * x_j          the same for the targets; lam ~ Beta(alpha, alpha)

* Paper: random pairs, alpha = 0.2, 200 epochs instead of 120. GluonCV: one lam for the batch of all devices; pairs by
  reversal inside each device's slice, so that each pair comes twice, as (lam, 1 - lam), and the middle image of an odd
  slice is mixed with itself.
* Default: off; ``--mixup-alpha`` 0.2; one lam for a worker's batch, a random permutation inside each device's slice;
  ``--mixup-pairs reverse`` for GluonCV's.
* Cost: a second batch of float32 images on the device; about 6 ms for 16 images at 224 on two CPU cores.
* With others: commutes with label smoothing; the teacher of a distillation sees the mixed images; with CutMix one of
  the two is drawn for each batch.
* Worked example: docs/tricks/mixup.md.

`tasks.classification.task` calls it (``draw``, ``_shard``): lam is drawn once for the batch of a worker, partners once
for each of its devices, on the host, from a ``numpy.random.RandomState`` of the update.
"""
from typing import Sequence

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

PAIRS = ('random', 'reverse')


def sample_lam(alpha: float, rng: np.random.RandomState) -> float:
    """One weight lam in [0, 1] from Beta(alpha, alpha); 1.0, and nothing drawn, for an alpha of 0 or less.

    Raises `UsageError` for an alpha that is not a finite number.

    >>> import numpy as np
    >>> import gluon_tricks as gt
    >>> 0 <= gt.tricks.sample_lam(0.2, np.random.RandomState(0)) <= 1
    True
    >>> gt.tricks.sample_lam(0, np.random.RandomState(0))
    1.0
    """
    if not np.isfinite(alpha):
        raise UsageError(f'alpha (={alpha}) must be a finite number: the paper takes --mixup-alpha 0.2')
    return float(rng.beta(alpha, alpha)) if alpha > 0 else 1.0


def sample_partner(size: int, rng: np.random.RandomState, pairs: str = 'random') -> np.ndarray:
    """The index of each image's partner in its device's part of the batch, of `size` images: (size,) int.

    Paper: random pairs (``pairs`` 'random', a permutation). GluonCV: the reversed batch ('reverse'; nothing drawn).
    Raises `UsageError` for another ``pairs``.

    >>> import numpy as np
    >>> import gluon_tricks as gt
    >>> sorted(gt.tricks.sample_partner(3, np.random.RandomState(0)).tolist())
    [0, 1, 2]
    >>> gt.tricks.sample_partner(3, np.random.RandomState(0), 'reverse').tolist()
    [2, 1, 0]
    """
    if pairs == 'random':
        return rng.permutation(size)
    if pairs == 'reverse':
        return np.arange(size)[::-1]
    raise UsageError(f'pairs (={pairs!r}) must be one of {", ".join(PAIRS)}: give --mixup-pairs one of them')


def mix(a: mx.nd.NDArray, lam: float, partner: Sequence[int]) -> mx.nd.NDArray:
    """Equations 7 and 8: lam * a + (1 - lam) * a[partner], in float32.

    ``a``: images (B, C, H, W) and targets (B, K) alike; ``partner``: (B,) int from `sample_partner`, or as an
    NDArray on the device of ``a``. A ``lam`` of 1 returns ``a`` itself.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> targets = mx.nd.array([[1, 0], [0, 1]])
    >>> gt.tricks.mix(targets, 0.75, partner=[1, 0]).asnumpy().tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    if lam == 1:
        return a
    a = a.astype('float32', copy=False)
    index = partner if isinstance(partner, mx.nd.NDArray) else mx.nd.array(partner, ctx=a.context, dtype='int32')
    return lam * a + (1 - lam) * mx.nd.take(a, index)
