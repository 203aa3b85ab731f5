"""`Compiled` gives the bits of Gluon's own call, whatever happens to the network between two calls."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.models.compiled import Compiled
from gluon_tricks.models.zoo import get_model

DEVICES = [mx.cpu(0), mx.cpu(1)]


def make(hybridize=True):
    mx.random.seed(3)
    net = get_model('resnet10_v1d_demo', classes=4)
    net.initialize(mx.init.Xavier(), ctx=DEVICES)
    for device in DEVICES:
        net(mx.nd.zeros((1, 3, 32, 32), ctx=device))
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def outcome(net, call, seed=0):
    """[outputs, gradients and running statistics of both devices] of a forward and a backward pass."""
    found = []
    for number, device in enumerate(DEVICES):
        x = mx.nd.array(np.random.RandomState(seed + number).randn(2, 3, 32, 32), ctx=device)
        with mx.autograd.record():
            output = call(x)
        output.backward()
        assert output.context == device
        found += [output.asnumpy()] + [
            array.asnumpy() for param in net.collect_params().values()
            for array in ([param.grad(device)] if param.grad_req != 'null' else [param.data(device)])]
    return found


@pytest.mark.parametrize('hybridize', [True, False])
def test_bits_of_gluons_call(hybridize):
    plain, net = make(hybridize), make(hybridize)
    compiled = Compiled(net)
    for seed in range(3):
        for ours, theirs in zip(outcome(net, compiled, seed), outcome(plain, plain, seed)):
            np.testing.assert_array_equal(ours, theirs)
    assert bool(compiled._arguments) == hybridize


def test_a_network_that_changes_between_two_calls():
    """New weights, another graph, a hook: each counts at the next call."""
    net = make()
    compiled, x, seen = Compiled(net), mx.nd.ones((2, 3, 32, 32)), []

    def check():
        np.testing.assert_array_equal(compiled(x).asnumpy(), net(x).asnumpy())
        return compiled(x).asnumpy()

    first = check()
    weight = [param for param in net.collect_params().values() if param.shape[0] == 4][0]  # of the output layer
    weight.set_data(weight.data() * 2 + 1)
    assert np.abs(check() - first).max() > 0
    net.hybridize(False)
    check()
    net.hybridize(True)
    check()
    net.cast('float64')
    x = x.astype('float64')
    assert check().dtype == np.float64
    handle = net.register_forward_hook(lambda block, inputs, output: seen.append(output))
    check()
    assert len(seen) == 3
    handle.detach()
    assert len(seen) == 3 and check() is not None


def test_several_outputs_come_as_the_network_gives_them():
    class Two(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return x + 1, [x * 2, x - 1]

    net = Two()
    net.hybridize()
    compiled, x = Compiled(net), mx.nd.array([1, 2])
    compiled(x)
    one, (two, three) = compiled(x)
    assert [each.asnumpy().tolist() for each in (one, two, three)] == [[2, 3], [2, 4], [0, 1]]
