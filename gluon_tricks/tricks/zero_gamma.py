"""Zero gamma: every residual block starts as the identity (paper section 3.1; Goyal et al. 2017).

    x + block(x), and gamma = 0 in the batch normalisation at the end of block

* Paper: "for all BN layers that sit at the end of a residual block". GluonCV's ``last_gamma``: the same for bottleneck
  blocks, without effect on its BasicBlockV1b (resnet18_v1b and resnet34_v1b), inverted in its ResNeXt (zero unless
  asked) and always on in its SENet.
* Default: off; ``--last-gamma``.
* Cost: none.
* With others: none of the other tricks touches gamma. The shortcut's own BN keeps gamma 1, so a block that changes the
  shape starts as its shortcut.
* Worked example: docs/tricks/zero_gamma.md.
"""
from typing import List

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

_LAYERS = (mx.gluon.nn.Conv2D, mx.gluon.nn.BatchNorm)


def one_gamma(net: mx.gluon.Block) -> None:
    """Let every gamma start at one, as section 2.1 says; to be called before ``net.initialize()``.

    GluonCV's ResNeXt and SENet would start with zero gamma unasked.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> layer = mx.gluon.nn.BatchNorm(in_channels=2, gamma_initializer='zeros')
    >>> gt.tricks.one_gamma(layer)
    >>> layer.initialize()
    >>> layer.gamma.data().asnumpy().tolist()
    [1.0, 1.0]
    """
    net.apply(lambda block: setattr(block.gamma, 'init', 'ones') if isinstance(block, mx.gluon.nn.BatchNorm) else None)


def zero_gamma(net: mx.gluon.Block) -> List[str]:
    """Make gamma start at zero in the last BN of every residual block; returns the names of those gammas, in order.

    A residual block is a block with an attribute ``downsample`` (its shortcut, or None), as ours and GluonCV's have.
    To be called before ``net.initialize()``, or after it, when the values are set to zero at once. Raises `UsageError`
    for a network without residual blocks, or whose blocks end in a convolution (the pre-activation ResNet v2).

    >>> import gluon_tricks as gt
    >>> len(gt.tricks.zero_gamma(gt.get_model('resnet10_v1d_demo', classes=10)))  # its residual blocks
    4
    """
    names = []
    for block in _residual_blocks(net):
        last = _last_layer(block)
        if not isinstance(last, mx.gluon.nn.BatchNorm):
            raise UsageError('zero gamma needs residual blocks that end in a BatchNorm, and those of '
                             f'{type(net).__name__} do not: leave --last-gamma out, or take a v1 network')
        _start_at_zero(last.gamma)
        names.append(last.gamma.name)
    if not names:
        raise UsageError(f'zero gamma needs residual blocks as ResNet has them, and {type(net).__name__} has none: '
                         'leave --last-gamma out')
    return names


def _residual_blocks(net):
    blocks = []
    net.apply(lambda block: blocks.append(block) if hasattr(block, 'downsample') else None)
    return blocks


def _last_layer(block):
    """The last convolution or BN on a block's main path: neither its shortcut nor its squeeze-and-excitation gate."""
    layers = []
    for name, child in block._children.items():
        if name not in ('downsample', 'se'):
            child.apply(lambda layer: layers.append(layer) if isinstance(layer, _LAYERS) else None)
    return layers[-1] if layers else None


def _start_at_zero(gamma):
    gamma.init = 'zeros'
    try:
        devices = gamma.list_ctx()
    except RuntimeError:
        return  # net.initialize() is still to come and reads gamma.init
    if gamma.shape and all(size > 0 for size in gamma.shape):
        gamma.set_data(mx.nd.zeros(gamma.shape, dtype=gamma.dtype))
    else:
        gamma.initialize(init='zeros', ctx=devices)  # shape unknown before the first batch: deferred once more
