"""Low-precision training with float32 master weights (paper section 3.2; Micikevicius et al. 2018).

* Paper: parameters, activations and gradients in float16, a float32 copy of the parameters for the update, and, if
  need be, a scalar that lifts the loss into float16's range. GluonCV: ``net.cast('float16')`` and MXNet's
  ``multi_precision``; the loss in float16 too; no scale but the batch size (the loss is summed, not averaged).
* Here: the same weights and masters; every softmax and loss in float32; on top of the batch size a dynamic scale, and
  an update whose gradients overflow is skipped and counted. BatchNorm keeps its four vectors in float32.
* Default: float32; ``--dtype float16``, ``--dtype bfloat16``.
* On a CPU MXNet has no float16 convolution. There float16 is emulated: weights and their gradients are stored in
  float16, the scores are rounded through it, the arithmetic runs in float32. What it costs stands in
  ``docs/benchmarks.md``. bfloat16 is what a CPU can do for real (MXNet's AMP): parameters stay float32.
"""
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

_nn = mx.gluon.nn
_CONVOLUTIONS = (_nn.Conv1D, _nn.Conv2D, _nn.Conv3D, _nn.Conv1DTranspose, _nn.Conv2DTranspose, _nn.Conv3DTranspose)


# ---------------------------------------------------------------------------------------------------------------------
# float16 emulated on a CPU

class _Emulated:
    """Mixed into a convolution or dense layer: float16 weight and bias, float32 arithmetic."""

    _rounds = False

    def hybrid_forward(self, F, x, weight, bias=None):
        bias = None if bias is None else F.cast(bias, dtype='float32')
        output = super().hybrid_forward(F, x, F.cast(weight, dtype='float32'), bias)
        return F.cast(F.cast(output, dtype='float16'), dtype='float32') if self._rounds else output

    def cast(self, dtype):
        for param in self.params.values():
            param.cast(dtype)


class _EmulatedDense(_Emulated):
    """Its output, the scores of a classifier, is rounded as well, and so is the gradient that comes back."""

    _rounds = True


_emulated_classes = {}


def _emulate(block):
    """Give every convolution and dense layer below `block` its emulated class; names and parameters stay."""
    kind = type(block)
    if issubclass(kind, _Emulated):
        return
    if isinstance(block, _CONVOLUTIONS + (_nn.Dense,)):
        if kind not in _emulated_classes:
            base = _EmulatedDense if issubclass(kind, _nn.Dense) else _Emulated
            _emulated_classes[kind] = type('Emulated' + kind.__name__, (base, kind), {})
        block.__class__ = _emulated_classes[kind]
        block.cast('float16')


class Precision:
    """How a run computes: `dtype`, whether float16 is `emulated`, and a `description` for the log ('' for float32)."""

    def __init__(self, dtype, emulated, description):
        self.dtype, self.emulated, self.description = dtype, emulated, description

    def prepare(self, net):
        """Put a network, whose parameter shapes are known, into this precision; it stays float32 for bfloat16."""
        if self.dtype != 'float16':
            return
        if self.emulated:
            net.apply(_emulate)
        else:
            net.cast('float16')

    def cast_input(self, x):
        """A float32 batch as the network takes it."""
        return x.astype('float16') if self.dtype == 'float16' and not self.emulated else x


def precision(dtype, devices):
    """The Precision for a dtype on these devices. Raises UsageError for bfloat16 on a GPU, and unknown names."""
    on_cpu = any(device.device_type == 'cpu' for device in devices)
    if dtype == 'float32':
        return Precision(dtype, False, '')
    if dtype == 'float16' and on_cpu:
        return Precision(dtype, True, 'float16 is emulated on the CPU: weights, their gradients and the scores are '
                         'rounded to float16; the arithmetic, BatchNorm, the loss and the master weights are float32')
    if dtype == 'float16':
        return Precision(dtype, False, 'float16: weights, activations and gradients; BatchNorm, the loss and the master '
                         'weights are float32')
    if dtype == 'bfloat16':
        if not on_cpu:
            raise UsageError('--dtype bfloat16: MXNet 1.9.1 has it on the CPU only; use --dtype float16 on a GPU')
        return Precision(dtype, False, 'bfloat16: convolutions and dense layers; the parameters, BatchNorm and the loss '
                         'are float32')
    raise UsageError('--dtype %s must be float32, float16 or bfloat16' % dtype)


# ---------------------------------------------------------------------------------------------------------------------
# bfloat16

def enable_bfloat16():
    """Switch MXNet's automatic mixed precision on, before a network is built; it cannot be switched off again."""
    from mxnet.contrib import amp
    amp.init(target_dtype='bfloat16')


def refuse_bfloat16(net, name):
    """Raise UsageError for a network that MXNet 1.9.1 cannot train in bfloat16, by what its layers are.

    Dropout has no bfloat16; global average pooling's gradient needs channels that are a multiple of 16.
    """
    reasons, channels = [], [0]

    def visit(block):
        if isinstance(block, _nn.Dropout) and block._rate > 0:
            reasons.append('it has dropout')
        if isinstance(block, _nn.BatchNorm) and block.gamma.shape[0] > 0:
            channels[0] = block.gamma.shape[0]
        if isinstance(block, _nn.GlobalAvgPool2D) and channels[0] % 16:
            reasons.append('its global average pooling has %d channels, not a multiple of 16' % channels[0])
    net.apply(visit)
    if reasons:
        raise UsageError('--dtype bfloat16: MXNet cannot train %s in it, because %s; use --dtype float32'
                         % (name, reasons[0]))


# ---------------------------------------------------------------------------------------------------------------------
# Loss scale

class LossScaler:
    """The dynamic loss scale: doubled after `growth_interval` good updates, halved at an overflow, at least 1.

    `fixed` keeps the first scale. `skipped` counts the updates that an overflow took.
    """

    def __init__(self, scale=128.0, growth_interval=2000, fixed=False):
        self.scale, self.growth_interval, self.fixed = float(scale), growth_interval, fixed
        self.good, self.skipped = 0, 0

    def update(self, overflow):
        """Take note of one update's overflow test."""
        self.skipped += bool(overflow)
        self.good = 0 if overflow else self.good + 1
        if self.fixed:
            return
        if overflow:
            self.scale = max(1.0, self.scale / 2)
        elif self.good == self.growth_interval:
            self.scale, self.good = min(self.scale * 2, 2.0 ** 24), 0

    def state(self):
        """The scaler as JSON values."""
        return {'scale': self.scale, 'good': self.good, 'skipped': self.skipped}

    def restore(self, state):
        self.scale, self.good, self.skipped = state['scale'], state['good'], state['skipped']


def all_finite(arrays):
    """Whether every value of the arrays, on one device, is finite: one number is read from the device."""
    groups = {}
    for array in arrays:
        groups.setdefault(np.dtype(array.dtype), []).append(array)  # MXNet tests arrays of one type at a time
    flags = [mx.nd.multi_all_finite(*group, num_arrays=len(group)) for group in groups.values()]
    total = flags[0]
    for flag in flags[1:]:
        total = total * flag
    return total.asscalar() > 0
