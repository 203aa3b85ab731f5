"""Size and cost of a network: trainable parameters and multiply-adds (paper Tables 1 and 5, column FLOPs).

One "floating point operation" of the paper is one multiply-add of a convolution or dense layer; normalisation,
activations, pooling and biases are not counted. The paper's one decimal is not always the same rule: Table 1 rounds
(ResNet-50: 3.858 is 3.9 G), Table 5 truncates (3.858 is 3.8 G; ResNet-50-B: 4.089 is 4.1 G only when rounded, and
4.0 G when truncated, so that row is rounded).
"""
import argparse
import json

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import zoo


def complexity(net, input_size):
    """Trainable parameters and multiply-adds of ``net`` for one image (3, input_size, input_size): (params, macs), ints.

    The network need not be initialised and is left as it is: shapes come from its symbol, nothing is computed.
    Trainable is what receives a gradient, so running means and variances do not count.
    Raises UsageError where the network cannot take images of that size.
    """
    nodes, shapes = _graph(net, input_size)
    trainable = {name for name, param in net.collect_params().items() if param.grad_req != 'null'}
    params = sum(_size(shapes[i, 0]) for i, node in enumerate(nodes) if node['op'] == 'null' and node['name'] in trainable)
    macs = sum(_macs(node, i, shapes) for i, node in enumerate(nodes))
    return params, macs


def _graph(net, input_size):
    """The network's nodes as dicts (op, name, inputs), and {(node, output): shape} of all their outputs."""
    try:
        scores = net(mx.sym.var('data'))
        scores = scores[0] if isinstance(scores, (list, tuple)) else scores  # an auxiliary classifier is for training only
        outputs = scores.get_internals()
        _, shapes, _ = outputs.infer_shape(data=(1, 3, input_size, input_size))
    except mx.MXNetError as error:
        raise UsageError('input size %s: network %s cannot take such images (%s); give its own size, 224 for most, '
                         '299 for inceptionv3' % (input_size, net.name, _reason(error))) from error
    graph = json.loads(outputs.tojson())
    return graph['nodes'], {(node, output): shape for (node, output, _), shape in zip(graph['heads'], shapes)}


def _macs(node, index, shapes):
    """Multiply-adds of one node. A weight has the shape (out, in / groups, *kernel); dilation costs nothing."""
    if node['op'] not in ('Convolution', 'Deconvolution', 'FullyConnected'):
        return 0
    data, weight = (shapes[tuple(source[:2])] for source in node['inputs'][:2])
    out = shapes[index, 0]
    if node['op'] == 'FullyConnected':
        return _size(out[:-1]) * _size(weight)                     # every row meets every weight once
    positions = data if node['op'] == 'Deconvolution' else out     # a kernel is placed once for each of these pixels
    return _size(positions[2:]) * _size(weight)


def _size(shape):
    return int(np.prod(shape, dtype=np.int64))


def _reason(error):
    """The last line of an MXNet error that says something, without its stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split('Check failed: ')[-1][:160] if lines else type(error).__name__


def main(argv=None):
    """``python -m gluon_tricks complexity NAME [--input-size N] [--json]``; returns the exit code."""
    parser = argparse.ArgumentParser(prog='python -m gluon_tricks complexity', allow_abbrev=False,
                                     description='Parameters and multiply-adds of a network (paper Tables 1 and 5).')
    parser.add_argument('name', metavar='NAME', help='a network, as for --model')
    parser.add_argument('--input-size', type=int, metavar='N', help="side of the image in pixels (default: the network's)")
    parser.add_argument('--json', action='store_true', help='one JSON object: model, input_size, params, macs')
    args = parser.parse_args(argv)
    model = args.name.lower()
    input_size = zoo.default_input_size(model) if args.input_size is None else args.input_size
    if input_size < 1:
        raise UsageError('--input-size %d: an image has at least 1 pixel; leave the flag out for the default' % input_size)
    params, macs = complexity(zoo.get_model(model), input_size)
    if args.json:
        print(json.dumps({'model': model, 'input_size': input_size, 'params': params, 'macs': macs}))
    else:
        print('%s, one image of %d x %d pixels' % (model, input_size, input_size))
        print('  parameters     %15s   %8.2f M  (trainable)' % ('{:,}'.format(params), params / 1e6))
        print('  multiply-adds  %15s   %8.3f G  (convolution and dense layers)' % ('{:,}'.format(macs), macs / 1e9))
    return 0
