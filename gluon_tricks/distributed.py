"""Devices and key-value stores: where a run computes, and what adds the gradients of several devices."""
import re

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError


def find_devices(names='', num_gpus=None):
    """The devices of a run as a list of ``mx.Context``.

    names: such as ``gpu(0),gpu(2)`` or ``cpu(0),cpu(1)``; num_gpus: that many GPUs, 0 for the CPU. Without either: all
    visible GPUs, else the CPU. Raises UsageError for a device that is not there or stands twice.
    """
    visible = mx.context.num_gpus()
    if not names:
        wanted = visible if num_gpus is None else num_gpus
        if wanted > visible:
            raise UsageError('--num-gpus %d: this machine has %d GPUs that MXNet can use; take fewer, --num-gpus 0 for '
                             'the CPU, or --devices "cpu(0),cpu(1)" to try several devices on a CPU' % (wanted, visible))
        return [mx.gpu(i) for i in range(wanted)] or [mx.cpu()]
    devices = []
    for word in names.split(','):
        match = re.fullmatch(r'\s*(cpu|gpu)(?:\((\d+)\))?\s*', word)
        if not match:
            raise UsageError('--devices %s: %r is not a device; write such as gpu(0),gpu(1) or cpu(0),cpu(1)'
                             % (names, word))
        kind, number = match.group(1), int(match.group(2) or 0)
        if kind == 'gpu' and number >= visible:
            raise UsageError('--devices %s: gpu(%d) is not one of the %d GPUs that MXNet can use'
                             % (names, number, visible))
        devices.append(mx.Context(kind, number))
    if len(set(devices)) < len(devices):
        raise UsageError('--devices %s: a device stands there twice' % names)
    if len({device.device_type for device in devices}) > 1:
        raise UsageError('--devices %s: mixes CPU and GPU; take devices of one kind' % names)
    return devices


def check_kv_store(name):
    """Raise UsageError for a store this build of MXNet lacks (MXNet makes a local store of any name it does not know)."""
    if name == 'nccl' and not mx.runtime.Features().is_enabled('NCCL'):
        raise UsageError('--kv-store nccl: this build of MXNet has no NCCL; use --kv-store device')


def connect(trainer):
    """Let a Trainer connect to its key-value store now.

    It would do so inside the first update, and give every device the first one's running statistics again.
    """
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()
