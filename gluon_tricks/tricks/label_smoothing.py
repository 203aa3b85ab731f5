"""Label smoothing (paper section 5.2, equations 4 and 5, Figure 4; Szegedy et al. 2016).

    p_i = 1 - epsilon if i is the label, else epsilon / (K - 1)          K classes

* Paper: epsilon = 0.1 over the K - 1 wrong classes. GluonCV: eta = 0.1 over all K, the label's own included:
  1 - eta + eta / K and eta / K, which is the paper's with epsilon = eta * (K - 1) / K (0.0999 at 1000 classes).
* Default: off; epsilon 0.1 with ``--label-smoothing``; ``--smoothing gluoncv`` for the other form.
* Cost: a (B, K) float32 target in place of B indices; its time was not measured.
* With others: smoothing and mixup's or CutMix's mixing are linear and commute. In distillation the hard part takes the
  smoothed target.
* Worked example: docs/tricks/label_smoothing.md.
"""
import math

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

MODES = ('paper', 'gluoncv')


def _check(classes: int, epsilon: float) -> None:
    if not 0 <= epsilon < 1:
        raise UsageError(f'epsilon (={epsilon}) must lie in [0, 1): 0 switches label smoothing off, the paper takes '
                         '0.1')
    if epsilon > 0 and classes < 2:
        raise UsageError(f'classes (={classes}) must be at least 2 with label smoothing: give epsilon 0 or more '
                         'classes')


def smooth_labels(label: mx.nd.NDArray, classes: int, epsilon: float = 0.1, mode: str = 'paper') -> mx.nd.NDArray:
    """The smoothed target of each label, (B,) indices -> (B, K) float32 on the label's device.

    ``epsilon`` 0 gives one-hot rows. An index outside 0 .. K - 1 has no true class: its row is all off-value (MXNet's
    one_hot). Raises `UsageError` for an epsilon outside [0, 1), fewer than 2 classes, or an unknown ``mode``.

    Paper: mode 'paper', epsilon / (K - 1). GluonCV: mode 'gluoncv', epsilon / K.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> print(gt.tricks.smooth_labels(mx.nd.array([2]), classes=5).asnumpy())
    [[0.025 0.025 0.9   0.025 0.025]]
    """
    _check(classes, epsilon)
    if mode not in MODES:
        raise UsageError(f'mode (={mode!r}) must be one of {", ".join(MODES)}: give --smoothing one of them')
    if epsilon == 0:
        on, off = 1.0, 0.0
    elif mode == 'paper':
        on, off = 1 - epsilon, epsilon / (classes - 1)
    else:
        on, off = 1 - epsilon + epsilon / classes, epsilon / classes
    return mx.nd.one_hot(label, depth=classes, on_value=on, off_value=off, dtype='float32')


def theoretical_gap(classes: int, epsilon: float) -> float:
    """How far the label's score lies above the others' in the optimum: log((K - 1)(1 - epsilon) / epsilon).

    Equation 5 and Figure 4a: infinite at epsilon 0, 9.1 at epsilon 0.1 and 1000 classes, 0 at (K - 1) / K. Raises
    `UsageError` as `smooth_labels` does.

    >>> round(theoretical_gap(1000, 0.1), 3)
    9.104
    """
    _check(classes, epsilon)
    if epsilon == 0:
        return math.inf
    return math.log((classes - 1) * (1 - epsilon) / epsilon)
