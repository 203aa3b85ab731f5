import json

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.distributed.workers import Workers
from gluon_tricks.training.sums import Sums

DEVICES = [mx.cpu(0), mx.cpu(1)]


def add(sums, rng):
    for number, device in enumerate(DEVICES):
        values = [mx.nd.array(rng.normal(size=1) * 1e3, ctx=device), mx.nd.array(rng.normal(size=1), ctx=device).sum()]
        sums.add(number, values, 4)


def test_sums_of_each_device_in_float32():
    sums, rng, again = Sums(2), np.random.RandomState(0), np.random.RandomState(0)
    for _ in range(5):
        add(sums, rng)
    expected = np.zeros((2, 2), 'float32')
    for _ in range(5):
        for number in range(2):
            expected[number] += np.array([again.normal(size=1)[0] * 1e3, again.normal(size=1)[0]], 'float32')
    rows, count = sums.read()
    assert (rows == expected).all() and count == 40 and sums.count == 0


def test_half_values_are_added_as_float32():
    sums = Sums(1)
    for _ in range(4100):
        sums.add(0, [mx.nd.ones((1,), dtype='float16')], 1)
    assert sums.read()[0].tolist() == [[4100.0]]


@pytest.mark.parametrize('before', [0, 3])
def test_stored_and_restored_they_go_on_with_the_same_bits(before):
    whole, first, second, rng = Sums(2), Sums(2), Sums(2), np.random.RandomState(1)
    for _ in range(before):
        add(first, rng)
    second.restore(json.loads(json.dumps(first.of_workers(Workers()))), DEVICES)
    for _ in range(4):
        add(second, rng)
    rng = np.random.RandomState(1)
    for _ in range(before + 4):
        add(whole, rng)
    (rows, count), (expected, number) = second.read(), whole.read()
    assert (rows == expected).all() and count == number == 8 * (before + 4)


def test_adding_does_not_wait(monkeypatch):
    sums, value = Sums(1), mx.nd.ones((1,))
    for name in ('asnumpy', 'asscalar', 'wait_to_read'):
        monkeypatch.setattr(mx.nd.NDArray, name, lambda *_: pytest.fail('waited'))
    sums.add(0, [value], 1)
