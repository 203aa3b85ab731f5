"""Fine-tuning: a trained classifier goes to another data set, with a new output layer.

All its layers are then trained, or the output layer alone. GluonCV's tutorial does the first by hand: it loads the
network, puts a new dense layer in the place of the old one, and initialises that.
"""
from typing import Dict

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.weights import Weights, load_weights, stored_params
from gluon_tricks.tricks.low_precision import all_finite

_LAYERS = (mx.gluon.nn.Dense, mx.gluon.nn.conv_layers._Conv)


def output_layer(net: mx.gluon.Block) -> mx.gluon.Block:
    """The layer of a classifier whose rows are the classes: its last dense layer or convolution."""
    layers = []
    net.apply(lambda block: layers.append(block) if isinstance(block, _LAYERS) else None)
    return layers[-1]


def load_base(net: mx.gluon.Block, weights: Weights) -> None:
    """Load all but the output layer, which stays as it was initialised; the file's may be of any number of classes.

    Raises UsageError as `weights.load_params`, and for values that are not finite.
    """
    load_weights(net, weights, kept=set(output_layer(net).collect_params().values()))
    if not all_finite([param.data() for param in stored_params(net).values()]):
        raise UsageError(f'{weights.path}: some values are not finite; give the weights of a training that did not '
                         'diverge')


def freeze_base(net: mx.gluon.Block) -> Dict[str, mx.nd.NDArray]:
    """Leave the output layer alone to train; returns {structural name: float32 array} of all the rest, as it stays.

    Batch normalisation then takes its running statistics in training too, and leaves them as they are. Those of a
    batch would change them, and with them the network that was trained; and the output layer would be trained on other
    features than it is evaluated on. To be called before the network is cast or hybridized.
    """
    trained = set(output_layer(net).collect_params().values())
    frozen = {}
    for name, param in stored_params(net).items():
        if param not in trained:
            param.grad_req = 'null'
            frozen[name] = param.data().astype('float32')
    net.apply(_take_running_statistics)
    return frozen


def _take_running_statistics(block):
    if isinstance(block, mx.gluon.nn.BatchNorm):
        block._kwargs['use_global_stats'] = True
