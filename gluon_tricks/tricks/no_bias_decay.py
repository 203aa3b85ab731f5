"""No bias decay: only weights of convolution and dense layers decay (paper section 3.1; Jia et al. 2018).

* Paper: biases, and gamma and beta of batch normalisation, are left unregularized. GluonCV's ``--no-wd``: the same,
  found by name ('.*beta|.*gamma|.*bias'), which misses or catches parameters named otherwise. Here: by the type of the
  layer that owns the parameter.
* Default: off (``--no-wd``): MXNet decays every parameter, gamma and beta included.
* Cost: none.
* With others: independent of them.
* Worked example: docs/tricks/no_bias_decay.md.
"""
from typing import List

from gluon_tricks.compat import mx

_nn = mx.gluon.nn
_DECAYED = (_nn.Dense, _nn.Conv1D, _nn.Conv2D, _nn.Conv3D,
            _nn.Conv1DTranspose, _nn.Conv2DTranspose, _nn.Conv3DTranspose)


def no_bias_decay(net: mx.gluon.Block) -> List[str]:
    """Set ``wd_mult`` 0 on every parameter but the weights of convolution and dense layers; returns the names.

    A weight that such a layer shares with another keeps its decay. BatchNorm's running mean and variance are not
    trained, and not named.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> gt.tricks.no_bias_decay(mx.gluon.nn.Dense(3, in_units=2, prefix='dense_'))
    ['dense_bias']
    """
    decayed = set()
    net.apply(lambda block: decayed.add(block.weight.name) if isinstance(block, _DECAYED) else None)
    others = [parameter for name, parameter in net.collect_params().items() if name not in decayed]
    for parameter in others:
        parameter.wd_mult = 0.0
    return [parameter.name for parameter in others if parameter.grad_req != 'null']
