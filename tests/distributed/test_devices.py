import pytest

from gluon_tricks.compat import mx
from gluon_tricks.distributed.devices import find_devices
from gluon_tricks.errors import UsageError

pytestmark = pytest.mark.skipif(mx.context.num_gpus() > 0, reason='written for a machine without GPUs')


def test_the_cpu_is_taken_without_gpus():
    assert find_devices() == [mx.cpu()]
    assert find_devices(num_gpus=0) == [mx.cpu()]


def test_devices_by_name():
    assert find_devices('cpu(0),cpu(1)') == [mx.cpu(0), mx.cpu(1)]
    assert find_devices(' cpu ') == [mx.cpu(0)]


@pytest.mark.parametrize('names, number, part', [
    ('', 2, '--num-gpus 2'), ('gpu(0)', None, 'gpu(0)'), ('cpu(0),cpu(0)', None, 'twice'), ('tpu(0)', None, 'tpu(0)'),
    ('cpu(0);cpu(1)', None, 'cpu(0);cpu(1)'), (',', None, "''"),
    ('cpu(99999999999)', None, 'at most 63')])
def test_wrong_devices_are_named(names, number, part):
    with pytest.raises(UsageError) as error:
        find_devices(names, number)
    assert part in str(error.value)
