"""The linear scaling rule: the paper's batches, and what cannot be a batch."""
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr


@pytest.mark.parametrize('total_batch_size, lr', [(256, 0.1), (1024, 0.4), (512, 0.2), (128, 0.05), (1, 0.1 / 256)])
def test_published_rates_exactly(total_batch_size, lr):
    assert linear_scaling_lr(total_batch_size) == lr


def test_slope_and_base():
    assert linear_scaling_lr(300) + linear_scaling_lr(212) == pytest.approx(linear_scaling_lr(512))
    assert linear_scaling_lr(16, base_lr=0.01, base_batch_size=16) == 0.01


@pytest.mark.parametrize('total_batch_size', [0, -8])
def test_refuses_an_empty_batch(total_batch_size):
    with pytest.raises(UsageError, match='total_batch_size'):
        linear_scaling_lr(total_batch_size)
