import json

import numpy as np
import pytest

from gluon_tricks.training.divergence import Diverged, Monitor


def see(monitor, losses, start=1):
    for update, loss in enumerate(losses, start):
        monitor.see(update, loss, 0.1)


@pytest.mark.parametrize('loss', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('factor', [0, 3])
def test_a_loss_that_is_not_finite(loss, factor):
    with pytest.raises(Diverged, match='update 4 .learning rate 0.1'):
        see(Monitor(factor), [1, 2, 3, loss, 1])


def test_fifty_losses_in_a_row_above_the_factor():
    losses = [1.0] * 60 + [3.01] * 49
    see(Monitor(), losses + [1.0] + [3.01] * 49)  # one that is not high begins the count anew
    with pytest.raises(Diverged, match='3.01 at update 110 .* --divergence-factor 3 times its median of 1 for 50'):
        see(Monitor(), losses + [3.01])
    see(Monitor(4), losses + [3.01] * 100)
    see(Monitor(0), [1.0] * 60 + [1e30] * 100)


def test_a_loss_that_falls_or_rises_slowly_is_no_divergence():
    rng = np.random.RandomState(0)
    see(Monitor(), (7 * np.exp(-np.arange(3000) / 500) + 0.05 + 0.02 * rng.rand(3000)).tolist())
    see(Monitor(), np.linspace(1, 10, 3000).tolist())


def test_the_first_updates_are_not_judged():
    see(Monitor(), [0.001] * 20 + [5.0] * 200)


def test_the_median_is_numpys_of_the_last_two_hundred():
    rng, monitor = np.random.RandomState(1), Monitor()
    losses = (1 + rng.rand(300)).tolist()
    see(monitor, losses)
    limit = 3 * np.median(losses[-200:])
    monitor.see(301, limit * 1.000001, 0.1)
    assert monitor.high == 1
    monitor.see(302, limit * 0.999999, 0.1)
    assert monitor.high == 0


def test_stored_and_restored_it_stops_at_the_same_update():
    losses = [1.0] * 70 + [9.0] * 50
    for cut in (0, 60, 100, 119):
        monitor, other = Monitor(), Monitor()
        see(monitor, losses[:cut])
        other.restore(json.loads(json.dumps(monitor.state())))
        with pytest.raises(Diverged, match='update 120 '):
            see(other, losses[cut:], cut + 1)
