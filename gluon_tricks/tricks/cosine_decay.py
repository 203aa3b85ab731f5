"""Cosine decay of the learning rate (paper section 5.1, equation 1; Loshchilov and Hutter 2016).

    lr_t = (1 + cos(t * pi / T)) / 2 * lr          T = updates after the warmup

* Paper: leaves the range of t open. Here: t = 0 .. T - 1, so that the first update after the warmup has the full rate
  and the last still moves the weights. GluonCV in 2018: the same. GluonCV today: t = 1 .. T - 1 over T - 1, so that
  the last two updates have the rate 0. The difference stays below lr * pi / (T - 1), 0.000009 in the paper's setting.
* Default: off (``--lr-mode step``); the paper's refined setting uses ``--lr-mode cosine``.
* Cost: none.
* With others: "the warmup stage is ignored", that is T leaves its updates out.
* Worked example: docs/tricks/cosine_decay.md.
"""
import math

from gluon_tricks.errors import UsageError


def cosine_lr(t: float, total: float, lr: float) -> float:
    """Equation 1: the learning rate ``t`` updates after the warmup's end, of ``total``.

    ``lr`` at t = 0, half of it at total / 2, 0 at t = ``total``. Raises `UsageError` for t outside [0, total] or a
    ``total`` below 1.

    >>> import gluon_tricks as gt
    >>> [round(gt.tricks.cosine_lr(t, 100, lr=0.4), 4) for t in (0, 50, 100)]
    [0.4, 0.2, 0.0]
    """
    if total < 1 or not 0 <= t <= total:
        raise UsageError(f't (={t}) must lie in [0, total] and total (={total}) be at least 1')
    return 0.5 * (1 + math.cos(math.pi * t / total)) * lr
