"""Low-precision training with a loss scale (paper section 3.2; Micikevicius et al. 2018).

* float16: weights, activations and gradients are stored in float16, the optimizer updates float32 masters
  (``gluon_tricks.training.optimizer``), BatchNorm's parameters and the loss stay float32. The loss is multiplied by a
  scale before the backward pass, the gradients are divided by it in the update; an overflow skips the update.
* float16 on a CPU is emulated: MXNet has no float16 convolution or matrix product there. Weights, their gradients and
  the input are float16; outputs of dense layers, and of convolutions that spend at least `ROUNDED_FROM` multiply-adds
  on each output, are rounded through float16, and so are the gradients that come back through them. Out of range
  becomes infinite, as on a GPU. Arithmetic and the other activations are float32. Rounding takes MXNet some 5 ns a
  number on one core, and takes a convolution's output out of MKLDNN's layout; so it is done where it costs little
  beside the layer itself. The log says how many of a network's layers that are.
* bfloat16 on a CPU: MXNet's own mixed precision, fast where the processor has AVX512_BF16. It has float32's range,
  so it needs no loss scale, and its parameters stay float32, so they are their own masters.
* Default: float32. Flags: ``--dtype``, ``--loss-scale``.
* Worked example: docs/tricks/low_precision.md.

Paper: float16, no scale is given. GluonCV: float16 and float32 masters, no scale, a float16 loss. Here: as the paper,
with a float32 loss; since the loss is summed over the batch and not averaged, the batch size is a loss scale already,
and the dynamic scale stands on top of it.
"""
import functools
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

ROUNDED_FROM = 512  # multiply-adds per output, from which an emulated convolution rounds its outputs
DTYPES = ('float32', 'float16', 'bfloat16')

_FLOAT16 = 'float16: weights, activations and gradients are float16; masters, BatchNorm and the loss are float32'
_EMULATED = ('float16 is emulated, for MXNet has no float16 convolution on a CPU: rounded to float16 are weights and '
             'their gradients, the input, and the outputs (and their gradients) of %s: dense layers, and convolutions '
             'with at least %d multiply-adds an output; the outputs of the others, of batch normalisation, additions '
             'and average pooling, and masters, BatchNorm, the loss and all arithmetic are float32')
_BFLOAT16 = ('bfloat16: convolutions, dense layers and what lies between them compute in bfloat16; parameters, their '
             'gradients, BatchNorm\'s statistics and the loss are float32')
_NO_BF16 = '; this CPU has no AVX512_BF16 instructions, float32 will be faster'


class Precision:
    """How a run stores numbers: made by `precision`.

    dtype: 'float32', 'float16' or 'bfloat16'; emulated: float16 on a CPU; reach: then (rounding layers, all layers) of
    the first network that was prepared, else None.
    """

    def __init__(self, dtype: str, emulated: bool, description: str) -> None:
        self.dtype, self.emulated, self._description = dtype, emulated, description
        self.reach: Optional[Tuple[int, int]] = None

    @property
    def description(self) -> str:
        """One sentence for the log, empty for float32; after `prepare` it has the number of layers that round."""
        if not self.emulated:
            return self._description
        layers = '%d of the %d convolutions and dense layers' % self.reach if self.reach else 'some layers'
        return self._description % (layers, ROUNDED_FROM)

    def prepare(self, net: mx.gluon.Block) -> None:
        """Give a network its precision, in place, before it is hybridized; names and structure stay.

        Its parameters may be initialised or not. Emulated float16 needs to know their shapes: UsageError otherwise.
        """
        if self.emulated:
            net.cast('float32')  # drops the graphs that MXNet may have kept of the layers as they were
            reach = _emulate(net)
            self.reach = self.reach or reach  # a teacher comes later
        elif self.dtype == 'float16':
            net.cast('float16')  # BatchNorm keeps its parameters float32 by itself

    def cast_input(self, x: mx.nd.NDArray) -> mx.nd.NDArray:
        """The input of the network for a float32 batch ``x``, on x's device."""
        if self.dtype != 'float16':
            return x
        x = x.astype('float16')
        return x.astype('float32') if self.emulated else x


def precision(dtype: str, devices: Sequence[mx.Context]) -> Precision:
    """The `Precision` of a run on these devices.

    Raises UsageError for an unknown dtype, and for bfloat16 where MXNet's kernels lack it.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> how = gt.tricks.precision('float16', [mx.cpu()])
    >>> how.emulated, how.cast_input(mx.nd.array([1 / 3])).asscalar() == 1365 / 4096  # the nearest float16
    (True, True)
    """
    if dtype not in DTYPES:
        raise UsageError(f'dtype (={dtype!r}) must be one of {", ".join(DTYPES)}: give --dtype one of them')
    on_cpu = any(device.device_type == 'cpu' for device in devices)
    if dtype == 'float16':
        return Precision(dtype, on_cpu, _EMULATED if on_cpu else _FLOAT16)
    if dtype == 'bfloat16':
        return Precision(dtype, False, _BFLOAT16 + _check_bfloat16(devices))
    return Precision(dtype, False, '')


# ---------------------------------------------------------------------------------------------------------------------
# float16 on a CPU

def _round(F, x):
    """x to the nearest float16 and back; its gradient is rounded on the way back."""
    return F.cast(F.cast(x, dtype='float16'), dtype='float32')


@functools.lru_cache(maxsize=None)
def _emulated_class(cls):
    """A convolution or dense class whose float16 weights meet float32 inputs, under the same name."""

    def hybrid_forward(self, F, x, weight, bias=None):
        weight = F.cast(weight, dtype='float32')
        bias = None if bias is None else F.cast(bias, dtype='float32')
        y = cls.hybrid_forward(self, F, x, weight, bias)
        return _round(F, y) if self.rounds_output else y

    return type(cls.__name__, (cls,), {'hybrid_forward': hybrid_forward, '__module__': cls.__module__,
                                       'emulates_float16': True})


def _layers(net):
    """Every block of a network, the network itself first."""
    yield net
    for child in net._children.values():
        yield from _layers(child)


def _is_convolution(block):
    return isinstance(block, mx.gluon.nn.conv_layers._Conv)


def _emulate(net):
    """Give a network's convolutions and dense layers their emulated form; returns (how many round, how many)."""
    rounding = []
    for block in _layers(net):
        if not (_is_convolution(block) or isinstance(block, mx.gluon.nn.Dense)):
            continue
        shape = block.weight.shape
        if not shape or 0 in shape:
            raise UsageError(f'the shape of {block.weight.name} (={shape}) must be known before float16 is emulated: '
                             'run the network on one batch first')
        if not hasattr(block, 'emulates_float16'):
            block.__class__ = _emulated_class(type(block))
        block.rounds_output = not _is_convolution(block) or int(np.prod(shape[1:])) >= ROUNDED_FROM
        rounding.append(block.rounds_output)
        block.cast('float16')
    return sum(rounding), len(rounding)


# ---------------------------------------------------------------------------------------------------------------------
# bfloat16

def _cpu_flags():
    """Instruction sets of this CPU as Linux names them; None where they cannot be read."""
    try:
        with open('/proc/cpuinfo') as stream:
            return next((set(line.split(':', 1)[1].split()) for line in stream if line.startswith('flags')), None)
    except OSError:
        return None


def _check_bfloat16(devices):
    """Words to add to the description; UsageError where bfloat16 cannot run."""
    if any(device.device_type != 'cpu' for device in devices):
        raise UsageError('--dtype bfloat16: MXNet computes it on a CPU only; use --dtype float16 on a GPU')
    flags = _cpu_flags()
    if flags is None or 'avx512_bf16' in flags:
        return ''
    if 'avx512bw' not in flags:
        raise UsageError('--dtype bfloat16: this CPU has no AVX512 instructions, which MXNet needs for it; use --dtype '
                         'float32')
    return _NO_BF16


def enable_bfloat16():
    """Let MXNet compute in bfloat16, in this process and until its end; call it before any network is built.

    Networks then give bfloat16 outputs: cast them to float32 before a loss.
    """
    from mxnet.contrib import amp
    amp.init(target_dtype='bfloat16')


def refuse_bfloat16(net, name):
    """Raise UsageError, naming the network, where it has a layer that MXNet cannot train in bfloat16.

    Found by trial: transposed convolutions end the process, PReLU and softsign raise at the first batch.
    """
    nn = mx.gluon.nn
    for block in _layers(net):
        transposed = _is_convolution(block) and block._op_name == 'Deconvolution'
        softsign = isinstance(block, nn.Activation) and block._act_type == 'softsign'
        if transposed or softsign or isinstance(block, nn.PReLU):
            raise UsageError(f'--dtype bfloat16: MXNet cannot train {name}, whose layer {block.name} '
                             f'({type(block).__name__}) has no bfloat16 form; use --dtype float32 or float16')


# ---------------------------------------------------------------------------------------------------------------------
# Loss scale

class LossScaler:
    """Dynamic loss scale: doubled after 2000 good updates in a row, halved at an overflow, never below 1.

    scale: the current factor; skipped: updates that overflowed so far; fixed: keeps the scale and only counts. The
    first scale is low, for the sum over the batch is a scale of its own: an update lost at the start costs more than
    2000 updates at half the scale. Raises UsageError for a scale that is not positive.

    >>> import gluon_tricks as gt
    >>> scaler = gt.tricks.LossScaler()
    >>> scaler.scale
    128.0
    >>> scaler.update(overflow=True)
    >>> scaler.scale, scaler.skipped
    (64.0, 1)
    """

    first_scale, growth, backoff, interval, smallest = 2.0 ** 7, 2.0, 0.5, 2000, 1.0

    def __init__(self, scale: Optional[float] = None, fixed: bool = False) -> None:
        self.scale, self.fixed = self.first_scale if scale is None else float(scale), fixed
        if not 0 < self.scale < float('inf'):
            raise UsageError(f'loss_scale (={scale}) must be a positive number: give --loss-scale one, or dynamic')
        self.skipped = self.good = 0

    def update(self, overflow: bool) -> None:
        """Take note of an update: ``overflow`` says that a gradient was not finite and the update is skipped."""
        if overflow:
            self.skipped, self.good = self.skipped + 1, 0
        else:
            self.good += 1
        if self.fixed:
            return
        if overflow:
            self.scale = max(self.scale * self.backoff, self.smallest)
        elif self.good == self.interval:
            self.scale, self.good = self.scale * self.growth, 0

    def state(self) -> Dict[str, Any]:
        """The state that a resume needs, as JSON values."""
        return {'scale': self.scale, 'good': self.good, 'skipped': self.skipped}

    def restore(self, state: Dict[str, Any]) -> None:
        """Go on from a `state`; a fixed scale stays what it was made with."""
        self.good, self.skipped = state['good'], state['skipped']
        if not self.fixed:
            self.scale = state['scale']


_AT_ONCE = 200  # arrays per call of multi_all_finite, as in MXNet's own scaler
BY_OPERATOR = ('gpu',)  # types of device whose arrays MXNet's operator looks through; on a CPU it takes 20 ns a number


class Finite:
    """Whether no number in some arrays is infinite or NaN, asked again and again: the arrays are listed once.

    They may differ in dtype (MXNet's operator takes one at a time) and device. On a CPU NumPy looks through them, in a
    tenth of the operator's time.
    """

    def __init__(self, arrays: Sequence[mx.nd.NDArray]) -> None:
        self._groups: Dict[Any, Any] = {}
        self._on_host = []
        for array in arrays:
            if array.context.device_type in BY_OPERATOR:
                self._groups.setdefault((array.context, np.dtype(array.dtype)), []).append(array)
            else:
                self._on_host.append(array)

    def __call__(self) -> bool:
        """The answer, for which the host waits once."""
        return self._by_operator() and all(np.isfinite(array.asnumpy()).all() for array in self._on_host)

    def _by_operator(self) -> bool:
        flags = []
        for (device, _), group in self._groups.items():
            flag = mx.nd.ones((1,), ctx=device)
            for start in range(0, len(group), _AT_ONCE):
                chunk = group[start:start + _AT_ONCE]
                mx.nd.multi_all_finite(*chunk, num_arrays=len(chunk), init_output=False, out=flag)
            flags.append(flag)
        if not flags:
            return True
        first = flags[0]
        for flag in flags[1:]:
            first = first * flag.as_in_context(first.context)
        return bool(first.asscalar())


def all_finite(arrays: Sequence[mx.nd.NDArray]) -> bool:
    """Whether no number in the arrays is infinite or NaN (see `Finite`)."""
    return Finite(arrays)()
