"""Networks with weights, and files of them."""
import numpy as np

from gluon_tricks.compat import mx


def initialised(net):
    """Give a network weights and their shapes.

    MXNet computes later, and then MKLDNN changes the order of the weights in memory, while they may be read.
    """
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 64, 64))).wait_to_read()
    return net


def saved(net, path, dtype='float32'):
    net.cast(dtype)
    net.save_parameters(str(path))
    return str(path)


class Scores(mx.gluon.HybridBlock):
    """A network whose (B, K) scores are its (B, 1, 1, K) input."""

    def hybrid_forward(self, F, x):
        return F.flatten(x)


def trained_elsewhere(net, seed=0):
    """An initialised network whose batch normalisation has parameters and statistics of its own."""
    rng = np.random.RandomState(seed)
    for param in initialised(net).collect_params().values():
        low, high = {'gamma': (0.5, 1.5), 'beta': (-0.2, 0.2), 'mean': (-0.2, 0.2), 'var': (0.5, 1.5)}.get(
            param.name.rsplit('_', 1)[-1], (0, 0))
        if high:
            param.set_data(mx.nd.array(rng.uniform(low, high, param.shape)))
    return net
