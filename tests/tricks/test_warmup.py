"""Warmup: the paper's line, GluonCV's two, and their ends."""
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.warmup import FORMS, warmup_lr


def test_paper_climbs_in_equal_steps_to_the_full_rate():
    rates = [warmup_lr(i, 0.4, 50) for i in range(1, 51)]
    assert rates[0] == pytest.approx(0.4 / 50) and rates[-1] == 0.4
    assert [b - a for a, b in zip(rates, rates[1:])] == pytest.approx([0.008] * 49)
    assert sum(rates) == pytest.approx(0.4 * 51 / 2)


def test_gluoncv_2018_starts_at_zero():
    # Batch [49], 0-based, of the published logs: lr=0.003133 in a warmup of 6255 updates.
    assert f'{warmup_lr(50, 0.4, 6255, "gluoncv-2018"):f}' == '0.003133'
    assert warmup_lr(1, 0.4, 6255, 'gluoncv-2018') == 0
    assert f'{warmup_lr(50, 0.4, 6255):f}' == '0.003197'


def test_gluoncv_today():
    from gluon_tricks.compat import mx  # noqa: F401

    from gluoncv.utils import LRScheduler
    theirs = LRScheduler('linear', base_lr=0, target_lr=0.4, niters=50)
    ours = [warmup_lr(i, 0.4, 50, 'gluoncv') for i in range(1, 60)]
    assert ours == pytest.approx([theirs(i) for i in range(1, 60)], abs=1e-15)
    assert ours[48] == ours[49] == 0.4


@pytest.mark.parametrize('form', FORMS)
def test_ends(form):
    assert [warmup_lr(i, 0.3, 3, form) for i in (4, 5, 100)] == [0.3] * 3
    assert warmup_lr(1, 0.3, 0, form) == 0.3
    assert warmup_lr(1, 0.3, 1, form) == (0 if form == 'gluoncv-2018' else 0.3)


def test_refuses_an_unknown_form():
    with pytest.raises(UsageError, match='form'):
        warmup_lr(1, 0.1, 10, 'papers')
