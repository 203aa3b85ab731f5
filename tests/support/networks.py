"""Networks with weights, and files of them."""
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
