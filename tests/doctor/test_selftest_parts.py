"""Each part finds what is wrong: in this process, quick, with the devices of a CPU."""
import numpy as np
import pytest

from gluon_tricks.distributed.workers import Gradients
from gluon_tricks.doctor import selftest, selftest_parts
from gluon_tricks.doctor.selftest_parts import Given, Training
from gluon_tricks.tricks.low_precision import LossScaler


@pytest.fixture
def given(tmp_path):
    return Given(quick=True, folder=str(tmp_path))


def wrong(found):
    """What of the checks does not hold."""
    return [check['what'] for check in found.checks if not check['ok']]


def test_the_parts_are_those_that_are_run():
    assert list(selftest_parts.PARTS) == list(selftest.PARTS)


def test_the_sum_of_the_devices_is_right_and_a_wrong_one_is_seen(given, monkeypatch):
    found = selftest_parts.devices(given)
    assert not wrong(found) and len(found.checks) == 4  # local and device
    add = Gradients.add

    def twice(gradients):
        add(gradients)
        for gradient in gradients.trainer._params[0].list_grad()[1:]:
            gradient[:] *= 2
    monkeypatch.setattr(Gradients, 'add', twice)
    assert wrong(selftest_parts.devices(given)) == ['local: all devices have the same sum',
                                                    'device: all devices have the same sum']


def test_an_overflow_is_skipped_and_one_that_is_not_is_seen(given, monkeypatch):
    assert not wrong(selftest_parts.overflow(given))
    update = LossScaler.update
    monkeypatch.setattr(LossScaler, 'update', lambda scaler, overflow: update(scaler, False))
    assert {'updates skipped at a scale of 2**60', 'the scale'} <= set(wrong(selftest_parts.overflow(given)))


def test_records_are_read_twice_the_same(given):
    found = selftest_parts.records(given)
    assert not wrong(found) and found.figures['images/s'] > 0


def test_another_update_is_seen(given, monkeypatch):
    """As of a device whose float32 is not the CPU's: here the first network that is built learns more slowly."""
    rates, train = [0.5], Training.__init__

    def init(training, config):
        train(training, config)
        if rates:
            training.setup.trainer._optimizer.wd = rates.pop()
    monkeypatch.setattr(Training, '__init__', init)
    found = wrong(selftest_parts.precision(given))
    assert 'cosine of update 1, float32 and float32 CPU' in found and 'cosine of update 1, float16 and float16 emulated' not in found


def test_what_json_does_not_hold_is_text():
    assert selftest_parts._plain({1: (np.float32(0.5), float('nan'), np.int64(3))}) == {'1': [0.5, 'nan', 3]}
    assert not selftest_parts._below('x', float('nan'), 1)['ok']
