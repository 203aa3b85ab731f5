"""The words against a simulation that knows nothing of Student's t, and comparisons against scipy's own tests."""
import math

import numpy as np
import pytest
from scipy import stats

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.results import verdict as verdicts
from gluon_tricks.results.verdict import DEVIATION, compare, half_width, seeds_needed, steps_of, verdict

DRAWS = 200000


def sample(n, mean, deviation):
    """n values with this mean and standard deviation (n - 1)."""
    values = np.random.RandomState(n).normal(size=n)
    return mean + deviation * (values - values.mean()) / values.std(ddof=1)


def next_runs(n):
    """Draws of the next run, after n runs whose mean is 0 and whose deviation is 1: first their distribution's own
    variance, as (n - 1) over a sum of squared normals, then its mean, then the run."""
    rng = np.random.RandomState(100 + n)
    sigma = np.sqrt((n - 1) / sum(rng.normal(size=DRAWS) ** 2 for _ in range(n - 1)))
    return sigma * rng.normal(size=DRAWS) / math.sqrt(n) + sigma * rng.normal(size=DRAWS)


class Simulation:
    """Words by the quantiles of draws alone."""

    def __init__(self, draws):
        self.distances = np.sort(np.abs(draws))
        self.half = self.distances[int(0.95 * len(draws))]

    def word(self, offset, step):
        """(word, how far the figure's tail is from 5 %, how far the half-width is from the step, as a share)."""
        tail = 1 - np.searchsorted(self.distances, abs(offset)) / len(self.distances)
        word = 'agrees' if tail >= 0.05 else 'below' if offset > 0 else 'above (check the data)'
        if step is not None and self.half > abs(step):
            word = 'undecided'
        return word, abs(tail - 0.05), math.inf if step is None else abs(self.half / abs(step) - 1)


@pytest.mark.parametrize('n', [2, 3, 4, 5, 8, 20])
def test_words_of_several_runs_agree_with_a_simulation(n):
    """Over a grid of deviations, figures and steps; they may differ within 1 % of a border alone."""
    simulation, seen, border = Simulation(next_runs(n)), set(), 0
    for deviation in (0.03, 0.1, 0.3):
        for figure in np.linspace(78, 80.3, 47):
            for step in (None, 0.05, -0.21, 0.48, -0.75, 3.0):
                found = verdict(figure, sample(n, 79.15, deviation), step).word
                word, tail, half = simulation.word((figure - 79.15) / deviation,
                                                   None if step is None else step / deviation)
                seen.add(found)
                if found != word:
                    border += 1
                    assert tail < 0.01 or half < 0.01, (figure, deviation, step, found, word)
    assert seen == {'agrees', 'below', 'above (check the data)', 'undecided'} and border <= 0.01 * 3 * 47 * 6


def test_words_of_one_run_agree_with_a_simulation():
    rng = np.random.RandomState(0)
    simulation = Simulation(rng.normal(0, DEVIATION, DRAWS) - rng.normal(0, DEVIATION, DRAWS))
    for figure in np.linspace(78.5, 79.8, 131):
        for step in (None, 0.1, 0.5):
            found = verdict(figure, [79.15], step, known=DEVIATION).word
            word, tail, half = simulation.word(figure - 79.15, step)
            assert found == word or tail < 0.01 or half < 0.01


@pytest.mark.parametrize('n', [1, 2, 5])
def test_a_reproduction_agrees_19_times_of_20(n):
    rng, words = np.random.RandomState(n), []
    for _ in range(6000):
        figure, *values = rng.normal(79, DEVIATION, n + 1)
        words.append(verdict(figure, values, known=DEVIATION).word)
    assert words.count('agrees') / 6000 == pytest.approx(0.95, abs=0.01)
    assert words.count('below') / 6000 == pytest.approx(0.025, abs=0.01)


def test_half_width_is_the_rule():
    values = [79.0, 79.1, 79.3]
    assert half_width(values) == pytest.approx(4.302653 * np.std(values, ddof=1) * math.sqrt(4 / 3))  # a table of t
    assert half_width([79.0], known=0.10) == pytest.approx(1.96 * math.sqrt(2) * 0.10, rel=1e-4)
    assert half_width([79.0]) is None and half_width([], known=0.10) is None


def test_words_without_an_interval():
    assert verdict(79.0, []).word == 'not run' and verdict(None, []).word == 'never published'
    assert verdict(None, [79.0, 79.1]).word == 'never published'
    assert verdict(79.0, [98.0, 98.1], comparable=False).word == 'not comparable'
    assert verdict(None, [98.0, 98.1], comparable=False).word == 'not comparable'
    assert verdict(79.0, [98.0], known=0.1, comparable=False).half is None  # 0.1 is of the figure's data
    one = verdict(94.5, [94.4])
    assert one.word == 'undecided' and 'one run' in one.reason and one.half is None
    assert {verdict(79.0, values, known=DEVIATION).word for values in ([79.0], [70.0], [90.0])} == {
        'agrees', 'below', 'above (check the data)'}


def test_undecided_says_whether_more_seeds_do():
    some = verdict(79.0, sample(3, 79.0, 0.10), 0.25)
    number = int(some.reason.split('; ')[1].split()[0])
    assert some.word == 'undecided' and half_width(sample(number, 79.0, 0.10)) <= 0.25
    assert half_width(sample(number - 1, 79.0, 0.10)) > 0.25
    never = verdict(79.0, sample(3, 79.0, 0.10), 0.14)  # 1.96 sd is more
    assert 'no number of seeds' in never.reason
    assert 'below the figure by 1.00' in verdict(80.0, sample(3, 79.0, 0.10), 0.14).reason
    assert 'above the figure by 1.00' in verdict(78.0, sample(3, 79.0, 0.10), 0.14).reason


def test_runs_that_are_equal_have_no_width():
    assert verdict(79.0, [79.0, 79.0]).word == 'agrees' and verdict(79.01, [79.0, 79.0], 0.5).word == 'below'


# ---------------------------------------------------------------------------------------------------------------------
# Between rows

def pairs(n, difference, deviation, seed=0):
    rng = np.random.RandomState(seed)
    below = rng.normal(78, 0.1, n)
    return list(enumerate(below + rng.normal(difference, deviation, n))), list(enumerate(below))


@pytest.mark.parametrize('n', [2, 3, 5, 10])
@pytest.mark.parametrize('difference', [0.0, 0.05, 0.3])
def test_a_comparison_is_scipys_paired_test(n, difference):
    a, b = pairs(n, difference, 0.1, seed=n)
    found = compare(a, b)
    test = stats.ttest_rel([value for _, value in a], [value for _, value in b])
    assert found.noise == (test.pvalue > 0.05)
    interval = test.confidence_interval(0.95)
    assert (found.difference - found.half, found.difference + found.half) == pytest.approx(
        (interval.low, interval.high))
    above = sum(one > other for (_, one), (_, other) in zip(a, b))
    share = stats.binomtest(above, n).proportion_ci(0.95, 'exact')
    assert (found.better, found.low, found.high) == pytest.approx((above / n, share.low, share.high))


def test_pairs_are_of_equal_seeds():
    found = compare([(3, 79.0), (1, 78.0), (7, 99.0)], [(1, 77.5), (3, 78.0), (8, 1.0)])
    assert found.seeds == (1, 3) and found.difference == 0.75 and found.better == 1
    assert compare([(1, 79.0)], [(2, 78.0)]) is None
    assert compare([(1, 79.0), (1, 79.2)], [(1, 78.0)]).difference == pytest.approx(1.1)
    assert compare([(1, 79.0), (2, 79.0)], [(1, 79.0), (2, 78.0)]).better == 0.75


def test_one_pair_has_the_known_deviation_or_none():
    assert compare([(0, 79.0)], [(0, 78.0)]).noise is None
    assert compare([(0, 79.0)], [(0, 78.0)], known=DEVIATION).noise is False
    assert compare([(0, 78.2)], [(0, 78.0)], known=DEVIATION).noise is True
    assert compare([(0, 79.0)], [(0, 78.0)]).needed is None


@pytest.mark.parametrize('rows, needed', [
    ('table4/bs256', [7, 7, 175, 1570]), ('table4/bs1024', [1, 1, 2, 5]), ('table5', [1, 4, 2]),
    ('table6/resnet50_v1d', [1, 1, 2, 1, 9]), ('table6/inceptionv3', [1, 4, 9, 1, 1]),
    ('table6/mobilenet1.0', [1, 16, 1, 1, 1])])
def test_seeds_of_the_papers_own_steps(rows, needed):
    """At 5 %, 80 % and a deviation of 0.10, worked out beforehand."""
    figures = [row.paper['top1'] for name, row in RECIPES.items() if name.startswith(rows + '/')]
    assert [seeds_needed(step, math.sqrt(2) * 0.10, exact=False) for step in steps_of(figures)[1:]] == needed


@pytest.mark.parametrize('effect', [0.5, 1.0, 2.0])
def test_the_seeds_that_are_needed_find_a_difference_4_times_of_5(effect):
    rng = np.random.RandomState(0)
    n = seeds_needed(effect, 1.0)

    def power(number):
        draws = rng.normal(effect, 1, (40000, number))
        return np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)

    assert power(n) > 0.79 and power(n - 1) < 0.81


@pytest.mark.parametrize('n', [2, 3, 5, 20])
@pytest.mark.parametrize('effect', [0.3, 1.0, 3.0])
def test_power_is_that_of_scipys_noncentral_t(n, effect):
    limit, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
    wanted = stats.nct.sf(limit, n - 1, shift) + stats.nct.cdf(-limit, n - 1, shift)
    assert verdicts._power(n, effect) == pytest.approx(wanted, abs=5e-4)


def test_seeds_that_nobody_has():
    assert seeds_needed(0.0, 0.1) is None and seeds_needed(1e-9, 0.1) is None and seeds_needed(0.1, 0.0) == 2
    assert 10000 < seeds_needed(0.01, 0.5) < 20000 and seeds_needed(100.0, 0.001) == 2


def test_the_first_row_s_step_is_to_the_next():
    assert steps_of([1.0, 1.5, None, 2.0]) == [-0.5, 0.5, None, None]
    assert steps_of([1.0]) == [None] and steps_of([]) == []


def test_all_words_are_listed():
    assert len(verdicts.WORDS) == len(set(verdicts.WORDS)) == 7
