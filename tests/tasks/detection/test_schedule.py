import pytest

from gluon_tricks.tasks.detection.schedule import DetectionSchedule


def gluoncv(epochs, batches, lr, steps, warmup, factor=1.0 / 3.0, decay=0.1):
    """The learning rates that GluonCV's training loop sets, told after it."""
    rate, rates, steps = lr, [], sorted(steps)
    for epoch in range(epochs):
        while steps and epoch >= steps[0]:
            rate *= decay
            steps.pop(0)
        base = rate
        for i in range(batches):
            if epoch == 0 and i <= warmup:
                rate = base * (factor * (1 - i / warmup) + i / warmup)
            rates.append(rate)
    return rates


@pytest.mark.parametrize('warmup', [-1, 1, 4, 9])
def test_rates_are_gluoncvs(warmup):
    schedule = DetectionSchedule(0.001, 10, (2, 3), 0.1, max(warmup, 0))
    expected = gluoncv(5, 10, 0.001, [2, 3], warmup)
    assert [schedule(update) for update in range(1, 51)] == pytest.approx(expected)


def test_a_long_warmup_goes_on_into_the_second_epoch():
    schedule = DetectionSchedule(0.3, 10, (), 0.1, 20, 0.0)
    assert schedule(1) == 0 and schedule(11) == pytest.approx(0.15) and schedule(21) == schedule(99) == 0.3


def test_the_published_run():
    """20 epochs of 16551 images, 4 at a time: 0.001, and 0.0001 from epoch 14; the drop at 20 never comes."""
    schedule = DetectionSchedule(0.001, 4138, (14, 20))
    assert schedule(1) == schedule(14 * 4138) == 0.001
    assert schedule(14 * 4138 + 1) == schedule(20 * 4138) == pytest.approx(0.0001)
