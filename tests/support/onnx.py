"""Networks whose numbers are not those of a fresh one, where many would be 0 or 1."""
import numpy as np

from gluon_tricks.compat import mx


def with_statistics(net, size, seed=0):
    """Initialise a network, its BatchNorm's arrays drawn."""
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, size, size))).wait_to_read()
    rng = np.random.RandomState(seed)
    draws = {'running_mean': lambda shape: rng.normal(0, 0.1, shape), 'running_var': lambda shape: rng.uniform(0.5, 1.5, shape),
             'gamma': lambda shape: rng.uniform(0.5, 1.5, shape), 'beta': lambda shape: rng.normal(0, 0.2, shape)}
    for name, param in net.collect_params().items():
        for end, draw in draws.items():
            if name.endswith(end):
                param.set_data(mx.nd.array(draw(param.shape)))
    return net
