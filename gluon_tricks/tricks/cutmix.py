"""CutMix: a box of each image is replaced by its partner's (beyond the paper; Yun et al. 2019).

    x = x_i outside the box, x_j inside;  p = lam * p_i + (1 - lam) * p_j          lam = share of the area outside

* Yun et al.: lam ~ Beta(1, 1), a box with the sides sqrt(1 - lam) of the image's around a uniform centre, clipped at
  the border, then lam from what is left. GluonCV's script: no CutMix.
* Default: off; ``--cutmix-alpha`` 1.0.
* Cost: one copy of the batch on the device; about 1 ms for 16 images at 224 on two CPU cores.
* With others: targets are mixed as mixup's, after smoothing or before; lam and partner are drawn by mixup's functions,
  and with mixup on one of the two is drawn for each batch.

Draws come from the caller's ``numpy.random.RandomState``, once a batch, on the host.
"""
import math
from typing import Any, Sequence, Tuple

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError


def sample_box(height: int, width: int, lam: float, rng: np.random.RandomState) -> Tuple[int, int, int, int, float]:
    """One box for the batch: (y0, y1, x0, x1, exact_lam), rows y0 .. y1 - 1 and columns x0 .. x1 - 1.

    ``lam`` in [0, 1] is the share of the image asked to stay; ``exact_lam`` the share that does stay after rounding and
    clipping: the weight for the targets. Raises `UsageError` for a lam outside [0, 1].

    Yun et al.'s code drops one pixel from odd sides; here the side is floor(sqrt(1 - lam) * height) before clipping.

    >>> import numpy as np
    >>> import gluon_tricks as gt
    >>> y0, y1, x0, x1, lam = gt.tricks.sample_box(8, 8, 0.75, np.random.RandomState(0))
    >>> lam == 1 - (y1 - y0) * (x1 - x0) / 64
    True
    """
    if not 0 <= lam <= 1:
        raise UsageError(f'lam (={lam}) must lie in [0, 1]')
    cut_height, cut_width = (int(math.sqrt(1 - lam) * side) for side in (height, width))
    y0 = int(rng.randint(height)) - cut_height // 2
    x0 = int(rng.randint(width)) - cut_width // 2
    y0, y1 = max(y0, 0), min(y0 + cut_height, height)
    x0, x1 = max(x0, 0), min(x0 + cut_width, width)
    return y0, y1, x0, x1, 1 - (y1 - y0) * (x1 - x0) / (height * width)


def cutmix(x: mx.nd.NDArray, partner: Sequence[int], box: Sequence[Any]) -> mx.nd.NDArray:
    """Images (B, C, H, W) with ``box`` taken from each one's partner, in x's type.

    ``partner``: (B,) int, as in `mixup.mix`; ``box``: (y0, y1, x0, x1, ...) from `sample_box`. An empty box returns
    ``x`` itself.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> images = mx.nd.array([0, 1]).reshape((2, 1, 1, 1)).broadcast_to((2, 1, 2, 2))
    >>> gt.tricks.cutmix(images, partner=[1, 0], box=(0, 1, 0, 2)).asnumpy()[0, 0].tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    y0, y1, x0, x1 = box[:4]
    if y0 >= y1 or x0 >= x1:
        return x
    index = partner if isinstance(partner, mx.nd.NDArray) else mx.nd.array(partner, ctx=x.context, dtype='int32')
    mixed = x.copy()
    mixed[:, :, y0:y1, x0:x1] = mx.nd.take(x[:, :, y0:y1, x0:x1], index)
    return mixed
