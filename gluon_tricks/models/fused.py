"""A network in inference on a CPU, with fewer passes over memory (used by every evaluation and by ``predict``).

oneDNN, which MXNet computes with on a CPU, folds a batch normalisation into the convolution before it, and does the
activation and the addition behind them in the same pass. MXNet fuses so when it is asked for its ``MKLDNN`` backend;
the scores differ from the usual graph's by rounding, some 1e-6 of the largest.

The weights are folded once, on the first batch, and stay those whatever is done to the network later: a fused graph is
made anew for each evaluation, and goes with it. `pays` says when its making is worth while, by the amount of work
alone, so that the validation of a run and a later `evaluate` of it compute alike.

Not fused: what runs on a GPU; emulated float16, whose weights pass through a cast before each convolution; bfloat16,
whose scores went ten times as far from float32's; networks of several outputs; networks where MXNet takes a value into
a fused layer that another layer reads too (`_is_sound`; ResNet-v2 for small images: wrong scores). Detection and
segmentation have images of any shape, and weights stay folded for one shape only: a graph for all shapes folds them at
each image, and is no faster than the usual one.
"""
import collections
import json

from gluon_tricks.compat import mx

PAYS_FROM = 4e6  # pixels: 80 images of 224 x 224


def pays(images, side):
    """Whether so many images of side x side pixels repay the making of a fused graph."""
    return images * side * side >= PAYS_FROM


def for_inference(net, precision, devices, images, side):
    """What computes net(x) soonest for `images` images of side x side pixels, on `devices`: a callable.

    precision: the network's, of tricks.low_precision. The network's parameters may not change while it is used. It is
    the network itself where nothing is fused.
    """
    on_cpu = all(device.device_type == 'cpu' for device in devices)
    if not (on_cpu and precision.dtype == 'float32' and isinstance(net, mx.gluon.HybridBlock) and pays(images, side)
            and mx.runtime.Features().is_enabled('MKLDNN')):
        return net
    output = net(mx.sym.var('data'))
    if not isinstance(output, mx.sym.Symbol) or len(output) != 1:
        return net
    graph = output.get_backend_symbol('MKLDNN')
    return Fused(graph, net.collect_params()) if _is_sound(output, graph) else net


def _is_sound(output, graph):
    """Whether nothing that another layer reads has gone into a fused layer, which gives its last value alone."""
    nodes = json.loads(output.tojson())['nodes']
    readers = collections.defaultdict(set)
    for node in nodes:
        for number, *_ in node['inputs']:
            readers[nodes[number]['name']].add(node['name'])
    for node in json.loads(graph.tojson())['nodes']:
        for layer in node.get('subgraphs', ()):
            names, heads = [each['name'] for each in layer['nodes']], {head[0] for head in layer['heads']}
            if any(each['op'] != 'null' and place not in heads and readers[each['name']] - set(names)
                   for place, each in enumerate(layer['nodes'])):
                return False
    return True


class Fused:
    """A graph of one output; called with a float32 batch on any of the devices that the parameters are on."""

    def __init__(self, graph, params):
        self.graph = graph
        self._params = [None if name == 'data' else params[name] for name in graph.list_inputs()]
        places = range(len(self._params))
        self._op = mx.nd.CachedOp(graph, [
            ('data_indices', [place for place in places if self._params[place] is None]),
            ('param_indices', [place for place in places if self._params[place] is not None]),
            ('static_alloc', True), ('static_shape', True)])

    def __call__(self, x):
        return self._op(*[x if param is None else param.data(x.context) for param in self._params])
