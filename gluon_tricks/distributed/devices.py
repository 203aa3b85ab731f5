"""The devices of a process: where a run computes."""
import re

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

_LAST_CPU = 63  # MXNet takes memory for each device up to the number


def find_devices(names='', num_gpus=None):
    """The devices of a run as a list of ``mx.Context``.

    names: such as ``gpu(0),gpu(2)`` or ``cpu(0),cpu(1)``; num_gpus: that many GPUs, 0 for the CPU. Without either: all
    visible GPUs, else the CPU. Raises UsageError for a device that is not there or is listed twice.
    """
    visible = mx.context.num_gpus()
    if not names:
        wanted = visible if num_gpus is None else num_gpus
        if wanted > visible:
            raise UsageError(f'--num-gpus {wanted}: this machine has {visible} GPUs that MXNet can use; take fewer, '
                             '--num-gpus 0 for the CPU, or --devices "cpu(0),cpu(1)" to try several devices on a CPU')
        return [mx.gpu(i) for i in range(wanted)] or [mx.cpu()]
    devices = []
    for word in names.split(','):
        match = re.fullmatch(r'\s*(cpu|gpu)(?:\((\d+)\))?\s*', word)
        if not match:
            raise UsageError(f'--devices {names}: {word!r} is not a device; write such as gpu(0),gpu(1) or '
                             'cpu(0),cpu(1)')
        kind, number = match.group(1), int(match.group(2) or 0)
        if kind == 'gpu' and number >= visible:
            raise UsageError(f'--devices {names}: gpu({number}) is not one of the {visible} GPUs that MXNet can use')
        if kind == 'cpu' and number > _LAST_CPU:
            raise UsageError(f'--devices {names}: the number of a CPU device must be at most {_LAST_CPU}')
        devices.append(mx.Context(kind, number))
    if len(set(devices)) < len(devices):
        raise UsageError('--devices %s: a device is listed twice' % names)
    if len({device.device_type for device in devices}) > 1:
        raise UsageError('--devices %s: mixes CPU and GPU; take devices of one kind' % names)
    return devices


def mean_of(copies):
    """The mean of the devices' arrays, on the first device; equal ones keep their bits."""
    first = copies[0]
    return first + sum(copy.as_in_context(first.context) - first for copy in copies[1:]) / len(copies)
