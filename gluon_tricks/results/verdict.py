"""What runs say about a printed figure, and about each other; and when they can say nothing.

A printed figure is one run of somebody else's. Where ours are n runs of the same distribution, the next one lies within

    mean +- t(0.975; n - 1) s sqrt(1 + 1 / n)                                     n >= 2, s with n - 1

19 times of 20: the prediction interval. One run has no deviation of its own; for ImageNet's top-1 the one published
stands in, and the difference of two runs lies within +- 1.96 sqrt(2) DEVIATION. Where half the interval is wider than
the row's step from the row above, runs cannot tell the two rows apart, let alone which one they are: `undecided`.

Runs differ by their seed, which changes initial weights, order and augmentation together; rows are compared by pairs
of equal seeds (Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks").
"""
import math
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from scipy import special  # not scipy.stats, which takes half a second to import

AGREES, BELOW, ABOVE, UNDECIDED = 'agrees', 'below', 'above (check the data)', 'undecided'
NOT_RUN, NEVER_PUBLISHED, NOT_COMPARABLE = 'not run', 'never published', 'not comparable'
WORDS = (AGREES, BELOW, ABOVE, UNDECIDED, NOT_RUN, NEVER_PUBLISHED, NOT_COMPARABLE)
LEVEL = 0.95
# Percent of ImageNet's top-1, between seeds.
DEVIATION = 0.10
SOURCE = ('0.10 is the deviation between seeds of ImageNet\'s top-1, of NVIDIA\'s published ResNet-50 (8 seeds: 0.073 '
          'at 50 epochs, 0.098 at 90, 0.078 at 250)')
POWER = 0.80
_MOST_SEEDS = 10 ** 6
_POINTS = 2000  # of the distribution of an estimated deviation
_LARGE = 1000  # seeds from which on Student's t is the normal distribution


class Verdict(NamedTuple):
    """word: one of WORDS; half: half the width of the interval, None without one; reason: why, '' where the word says
    it."""

    word: str
    half: Optional[float] = None
    reason: str = ''


def half_width(values: Sequence[float], known: Optional[float] = None) -> Optional[float]:
    """Half of the 95 % prediction interval around the mean of runs; None where nothing is known of their spread.

    known: the deviation between runs, for a single one.
    """
    n = len(values)
    if n >= 2:
        return float(special.stdtrit(n - 1, (1 + LEVEL) / 2) * np.std(values, ddof=1) * math.sqrt(1 + 1 / n))
    return float(special.ndtri((1 + LEVEL) / 2) * math.sqrt(2) * known) if n == 1 and known else None


def verdict(figure: Optional[float], values: Sequence[float], step: Optional[float] = None,
            known: Optional[float] = None, comparable: bool = True) -> Verdict:
    """The Verdict of runs on a printed figure, None where none was.

    values: of each run, in the figure's unit; step: the figure less that of the row above, None where there is none to
    tell it from; known: the deviation between runs on the figure's data, for a single one; comparable: whether they
    are on the same data.
    """
    if not len(values):
        return Verdict(NOT_RUN if figure is not None else NEVER_PUBLISHED)
    half = half_width(values, known if comparable else None)
    if not comparable:
        return Verdict(NOT_COMPARABLE, half, 'other data')
    if figure is None:
        return Verdict(NEVER_PUBLISHED, half)
    if half is None:
        return Verdict(UNDECIDED, None, 'one run, and no published deviation')
    difference = float(np.mean(values)) - figure
    outside = abs(difference) > half
    if step is not None and half > abs(step):
        where = f', {"below" if difference < 0 else "above"} the figure by {abs(difference):.2f}' if outside else ''
        return Verdict(UNDECIDED, half, f'wider than the step of {abs(step):.2f}{where}; '
                       + _enough(np.std(values, ddof=1) if len(values) > 1 else known, abs(step)))
    if not outside:
        return Verdict(AGREES, half)
    return Verdict(BELOW if difference < 0 else ABOVE, half, f'by {abs(difference):.2f}')


def _enough(deviation, step):
    """How many runs of this deviation have an interval that is not wider than the step, in words."""
    n = np.arange(2, _LARGE + 1)
    enough = special.stdtrit(n - 1, (1 + LEVEL) / 2) * deviation * np.sqrt(1 + 1 / n) <= step
    return f'{n[enough.argmax()]} seeds may do' if enough.any() else 'no number of seeds does, as the figure is one run'


# ---------------------------------------------------------------------------------------------------------------------
# Between rows

class Comparison(NamedTuple):
    """Two rows, by pairs of equal seeds.

    seeds: of the pairs. difference, deviation: mean of A less B, and its deviation (n - 1; None of one pair). half:
    half of the mean difference's 95 % confidence interval, by Student's t; of one pair by the known deviation. better:
    the share of pairs in which A is above B, ties by half; low, high: its 95 % interval (Clopper and Pearson). needed:
    seeds for which a difference as large as this one would be found 4 times of 5, None where that is not known. noise:
    whether 0 lies within the interval; None without one, for one pair says nothing of the noise.
    """

    seeds: Tuple[int, ...]
    difference: float
    deviation: Optional[float]
    half: Optional[float]
    better: float
    low: float
    high: float
    needed: Optional[int]
    noise: Optional[bool]


def compare(a: Sequence[Tuple[int, float]], b: Sequence[Tuple[int, float]], known: Optional[float] = None
            ) -> Optional[Comparison]:
    """The Comparison of rows A and B, each a list of (seed, figure); None where they share no seed.

    A seed that a row has twice counts by its mean. known: the deviation between runs, where a single pair has none.
    """
    ours, theirs = _by_seed(a), _by_seed(b)
    seeds = tuple(sorted(set(ours) & set(theirs)))
    if not seeds:
        return None
    pairs = np.array([ours[seed] - theirs[seed] for seed in seeds])
    n, mean = len(pairs), float(pairs.mean())
    deviation = float(pairs.std(ddof=1)) if n > 1 else None
    if deviation is None:
        half = half_width([mean], known)
    else:
        half = float(special.stdtrit(n - 1, (1 + LEVEL) / 2) * deviation / math.sqrt(n))
    better = float((pairs > 0).sum() + (pairs == 0).sum() / 2)
    low, high = _share(better, n)
    if deviation is None:
        needed = seeds_needed(mean, math.sqrt(2) * known, exact=False) if known else None
    else:
        needed = seeds_needed(mean, deviation)
    return Comparison(seeds, mean, deviation, half, better / n, low, high, needed,
                      None if half is None else abs(mean) <= half)


def _by_seed(runs):
    found = {}
    for seed, value in runs:
        found.setdefault(seed, []).append(value)
    return {seed: sum(values) / len(values) for seed, values in found.items()}


def _share(number, n):
    """The 95 % interval of a share by Clopper and Pearson."""
    tail = (1 - LEVEL) / 2
    return (float(special.betaincinv(number, n - number + 1, tail)) if number > 0 else 0.0,
            float(special.betaincinv(number + 1, n - number, 1 - tail)) if number < n else 1.0)


def seeds_needed(difference: float, deviation: float, exact: bool = True) -> Optional[int]:
    """Pairs of runs for which a test at 5 %, two-sided, finds a mean difference 4 times of 5; None beyond a million.

    deviation: of the differences. exact: the deviation is an estimate, for a t test (2 at least); else it is known, as
    where the deviation of a published figure stands in: (z(0.975) + z(0.80))^2 (deviation / difference)^2, rounded up.

    >>> seeds_needed(0.16, 2 ** 0.5 * DEVIATION, exact=False)        # Table 4, + LR warmup at 256
    7
    """
    quantiles = special.ndtri((1 + LEVEL) / 2) + special.ndtri(POWER)
    ratio = abs(quantiles * deviation / difference) if difference else math.inf
    if ratio > math.sqrt(_MOST_SEEDS):
        return None
    n = max(1, math.ceil(ratio ** 2))
    if not exact:
        return n
    n = max(2, n)
    while deviation and n < _LARGE and _power(n, abs(difference) / deviation) < POWER:
        n += 1
    return n


def _power(n, effect):
    """Power of a paired t test of n pairs, at 5 %, two-sided, for a mean of `effect` deviations.

    The mean over what the estimated deviation may be; scipy's own distribution of it, nct, ends the process for large
    effects in scipy 1.10.
    """
    limit, shift = special.stdtrit(n - 1, (1 + LEVEL) / 2), effect * math.sqrt(n)
    estimated = np.sqrt(2 * special.gammaincinv((n - 1) / 2, (np.arange(_POINTS) + 0.5) / _POINTS) / (n - 1))
    return float(np.mean(special.ndtr(shift - limit * estimated) + special.ndtr(-limit * estimated - shift)))


def steps_of(figures: Sequence[Optional[float]]) -> List[Optional[float]]:
    """The step of each of the figures of stacked rows from the row above; of the first one that to the row below."""
    steps: List[Optional[float]] = []
    for place, figure in enumerate(figures):
        other = (figures[place - 1] if place else figures[1] if len(figures) > 1 else None)
        steps.append(None if figure is None or other is None else figure - other)
    return steps
