"""Cosine decay: equation 1 by half angles, GluonCV's curve, the ends."""
import math

import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.cosine_decay import cosine_lr


def test_equation_1_by_half_angles():
    total = 1151
    rates = [cosine_lr(t, total, 0.4) for t in range(total + 1)]
    assert rates == pytest.approx([0.4 - 0.4 * math.sin(t * math.pi / total / 2) ** 2 for t in range(total + 1)])
    assert all(a > b for a, b in zip(rates, rates[1:]))
    assert sum(rates) == pytest.approx(0.4 * (total + 1) / 2)  # odd about its middle


def test_ends_and_middle():
    assert cosine_lr(0, 10, 0.4) == 0.4
    assert cosine_lr(5, 10, 0.4) == pytest.approx(0.2)
    assert cosine_lr(10, 10, 0.4) == 0
    assert cosine_lr(0, 1, 0.4) == 0.4


def test_gluoncv_today_divides_by_one_less():
    from gluon_tricks.compat import mx  # noqa: F401

    from gluoncv.utils import LRScheduler
    total = 500
    theirs = LRScheduler('cosine', base_lr=0.4, target_lr=0, niters=total)
    assert [cosine_lr(t, total - 1, 0.4) for t in range(total)] == pytest.approx([theirs(t) for t in range(total)])
    gaps = [abs(cosine_lr(t, total, 0.4) - theirs(t + 1)) for t in range(total)]
    assert 0 < max(gaps) < 0.4 * math.pi / (total - 1)


@pytest.mark.parametrize('t, total', [(-1, 10), (11, 10), (0, 0)])
def test_refuses_a_t_outside(t, total):
    with pytest.raises(UsageError, match='total'):
        cosine_lr(t, total, 0.1)
