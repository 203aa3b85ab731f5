"""Size and cost of a network: trainable parameters and multiply-adds (paper Tables 1 and 5, column FLOPs).

One "floating point operation" of the paper is one multiply-add of a convolution or dense layer; normalisation,
activations, pooling and biases are not counted. The paper prints one decimal, by more than one rule (in G):

    Table 1   ResNet-50 3.858, ResNeXt-50 4.230, SE-ResNet-50 3.860, DenseNet-201 4.291, ResNet-50-D 4.329:
              rounded, 3.9, 4.2, 3.9, 4.3 and 4.3. SE-ResNeXt-50 is 4.233 here; neither rule gives the 4.3 printed.
    Table 5   ResNet-50 3.858: truncated, 3.8. ResNet-50-B 4.089: rounded, 4.1. ResNet-50-C and -D 4.329: 4.3.
"""
import contextlib
import io
import json

import numpy as np

from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.models.names import default_input_size


def complexity(net, input_size):
    """Trainable parameters and multiply-adds of ``net`` for one image (3, input_size, input_size): two ints.

    The network need not be initialised and is left as it is: shapes come from its symbol, nothing is computed.
    Trainable is what receives a gradient, so running means and variances do not count.
    Raises UsageError where the network cannot take images of that size.
    """
    nodes, shapes = _graph(net, input_size)
    trainable = {name for name, param in net.collect_params().items() if param.grad_req != 'null'}
    params = sum(_size(shapes[i, 0]) for i, node in enumerate(nodes)
                 if node['op'] == 'null' and node['name'] in trainable)
    return params, sum(_layers(nodes, shapes))


def macs_of_layers(net, input_size):
    """Multiply-adds of each convolution and dense layer for one image: a list of ints. Raises as `complexity`."""
    return _layers(*_graph(net, input_size))


def _layers(nodes, shapes):
    return [macs for macs in (_macs(node, i, shapes) for i, node in enumerate(nodes)) if macs]


def _graph(net, input_size):
    """The network's nodes as dicts (op, name, inputs), and {(node, output): shape} of all their outputs."""
    from gluon_tricks.compat import mx
    try:
        scores = net(mx.sym.var('data'))
        outputs = mx.sym.Group(scores).get_internals() if isinstance(scores, (list, tuple)) else scores.get_internals()
        with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints its arguments before it raises
            _, shapes, _ = outputs.infer_shape(data=(1, 3, input_size, input_size))
    except mx.MXNetError as error:
        raise UsageError(f'input size {input_size}: {type(net).__name__} cannot take such images ({_reason(error)}); '
                         'give its own size, 224 for most networks, 299 for inceptionv3') from error
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
    return lines[-1].split('Check failed: ')[-1].rstrip(': ')[:120] if lines else type(error).__name__


def main(argv=None):
    """``python -m gluon_tricks complexity NAME [--input-size N] [--json]``; returns the exit code."""
    parser = Parser(prog='python -m gluon_tricks complexity',
                                     description='Parameters and multiply-adds of a network (paper Tables 1 and 5).')
    parser.add_argument('name', metavar='NAME', help='a network, as for --model')
    parser.add_argument('--input-size', type=int, metavar='N', help='side of the image in pixels (default: the '
                                                                    "network's own)")
    parser.add_argument('--json', action='store_true', help='one JSON object: model, input_size, params, macs')
    args = parser.parse_args(argv)
    from gluon_tricks.models import zoo  # --help does without MXNet
    model = args.name.lower()
    input_size = default_input_size(model) if args.input_size is None else args.input_size
    if input_size < 1:
        raise UsageError(f'--input-size {input_size}: an image has at least 1 pixel; leave the flag out for '
                         f'{default_input_size(model)}')
    params, macs = complexity(zoo.get_model(model), input_size)
    if args.json:
        print(json.dumps({'model': model, 'input_size': input_size, 'params': params, 'macs': macs}))
    else:
        print(f'{model}, one image of {input_size} x {input_size} pixels')
        print('  parameters     %15s   %8.2f M  (trainable)' % (f'{params:,}', params / 1e6))
        print('  multiply-adds  %15s   %8.3f G  (convolution and dense layers)' % (f'{macs:,}', macs / 1e9))
    return 0
