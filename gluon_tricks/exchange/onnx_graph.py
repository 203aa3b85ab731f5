"""A network as an ONNX model (Open Neural Network Exchange), which onnxruntime, TensorRT and others run.

MXNet 1.9.1 translates the operators. What it does with the result is done here in another way: it stamps the newest
opset of the installed onnx, which older runtimes refuse, and lists every weight as an input, of which runtimes warn and
which they then cannot fold. Here: opset 13, IR 7, weights not among the inputs, inputs and outputs by name, dimensions
that may vary by name. What MXNet cannot translate, or translates wrongly, is in `onnx_operators`.
"""
import contextlib
import importlib
import io
import logging
import re
import warnings

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

OPSET, IR = 13, 7
_INSTALL = "type `pip install '.[onnx]'` in this project's directory"


def require(*names):
    """The modules of the extra ``onnx``, imported: ``onnx`` or ``onnxruntime``. Raises UsageError without them."""
    found = []
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                found.append(importlib.import_module(name))
                if name == 'onnx':
                    importlib.import_module('onnx.mapping')
        except ImportError as error:
            if error.name == 'onnx.mapping':
                raise UsageError(f'onnx {found[-1].__version__} is too new for MXNet 1.9.1, whose translation needs '
                                 f'onnx.mapping: {_INSTALL}, which installs one that has it') from error
            raise UsageError(f'{name} is not installed: {_INSTALL}') from error
    return found if len(names) > 1 else found[0]


def translate(net, inputs, outputs, dynamic=()):
    """The ONNX model of a HybridBlock for inference, a ModelProto that passed onnx's full check.

    inputs, outputs: {name: shape}, a shape's entries numbers, or words for dimensions that may vary; the shapes of
    `inputs` have numbers only, those that the graph is built with, and `dynamic` has the (input, axis, word) of those
    that may vary. Of a network with more outputs than named the first ones are taken. The weights are float32.
    Raises UsageError without onnx, and for an operator that cannot be translated.
    """
    onnx = require('onnx')
    from gluon_tricks.exchange.onnx_operators import replaced
    symbols = net(*[mx.sym.Variable(name) for name in inputs])
    symbols = list(symbols)[:len(outputs)] if isinstance(symbols, (list, tuple)) else [symbols]
    symbol = mx.sym.Group(symbols) if len(symbols) > 1 else symbols[0]
    needed = set(symbol.list_inputs())
    params = {name: param.data(param.list_ctx()[0]).as_in_context(mx.cpu()).astype('float32')
              for name, param in net.collect_params().items() if name in needed}
    shapes = {name: list(shape) for name, shape in inputs.items()}
    for name, axis, word in dynamic:
        shapes[name][axis] = word
    given = [name for name in symbol.list_inputs() if name not in params]
    with warnings.catch_warnings(), _silent(), replaced():
        warnings.simplefilter('ignore')
        from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
        try:
            graph = MXNetGraph().create_onnx_graph_proto(
                symbol, params, [tuple(inputs[name]) for name in given], [onnx.TensorProto.FLOAT] * len(given),
                opset_version=OPSET, dynamic=bool(dynamic),
                dynamic_input_shapes=[tuple(shapes[name]) for name in given] if dynamic else None)
        except (AttributeError, NotImplementedError) as error:
            raise UsageError(f'{net.name} cannot be written as ONNX: {error}') from error
    return _model(onnx, graph, given, [_name(each) for each in symbols], outputs)


def _name(symbol):
    """The name that MXNet's translation gives to the output of a symbol."""
    return re.sub('_output([0-9]?)$', r'\1', symbol.list_outputs()[0])


@contextlib.contextmanager
def _silent():
    """Without the lines that MXNet's translation writes: of operators that `onnx_operators` replaces, and of shapes
    that it does not know yet."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def _model(onnx, graph, given, names, outputs):
    """The ModelProto of a graph: the inputs `given` alone, its outputs called `outputs`, nothing that is not used, and
    a name for every node, without which onnxruntime 1.19 can name two of those it adds alike."""
    new_names = dict(zip(names, outputs))
    used = set()
    for node in graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                field[place] = new_names.get(name, name)
        used.update(node.input)
        node.name = node.output[0]
    inputs = [each for each in graph.input if each.name in given]
    initializers = [each for each in graph.initializer if each.name in used]
    types = {new_names.get(each.name, each.name): each.type.tensor_type.elem_type for each in graph.output}
    values = [onnx.helper.make_tensor_value_info(name, types[name], shape) for name, shape in outputs.items()]
    return finished(onnx, onnx.helper.make_graph(list(graph.node), 'gluon_tricks', inputs, values, initializers))


def finished(onnx, graph, facts=None):
    """The ModelProto of a GraphProto, checked by onnx in full; facts: {name: text}, its metadata."""
    from gluon_tricks import __version__
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', OPSET)], ir_version=IR,
                                   producer_name='gluon_tricks', producer_version=__version__)
    if facts:
        onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def classifier(net, input_size):
    """The ONNX model of a classifier: ``input`` (batch, 3, S, S), normalised, to ``logits`` (batch, K), float32."""
    classes = net(mx.nd.zeros((1, 3, input_size, input_size), ctx=context_of(net))).shape[1]
    return translate(net, {'input': (1, 3, input_size, input_size)}, {'logits': ('batch', classes)},
                     [('input', 0, 'batch')])


def segmenter(net, classes, size=64):
    """The ONNX model of an FCN: ``input`` (batch, 3, height, width), normalised, to ``logits`` (batch, K, height,
    width), float32, of any batch, height and width."""
    return translate(net, {'input': (1, 3, size, size)}, {'logits': ('batch', classes, 'height', 'width')},
                     [('input', 0, 'batch'), ('input', 2, 'height'), ('input', 3, 'width')])


def detector(net, height, width):
    """The ONNX model of a Faster-RCNN: ``input`` (1, 3, H, W), normalised, to ``ids`` (1, N, 1), -1 for none,
    ``scores`` (1, N, 1) and ``boxes`` (1, N, 4) in pixels of the input, float32.

    One image of one size: the number of anchors is part of the graph.
    """
    found = net(mx.nd.zeros((1, 3, height, width), ctx=context_of(net)))
    return translate(net, {'input': (1, 3, height, width)},
                     {name: array.shape for name, array in zip(('ids', 'scores', 'boxes'), found)})


def context_of(net):
    """The first device of a network."""
    return list(net.collect_params().values())[0].list_ctx()[0]


def session(model):
    """The function of an array that gives an ONNX model's output, or the list of its outputs, by onnxruntime on the
    CPU.

    model: a ModelProto, or the path of a file.
    """
    runtime = require('onnxruntime')
    options = runtime.SessionOptions()
    options.log_severity_level = 2  # warnings are shown: a model of this project has none
    content = model if isinstance(model, str) else model.SerializeToString()
    running = runtime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    name, single = running.get_inputs()[0].name, len(running.get_outputs()) == 1

    def run(array):
        found = running.run(None, {name: array})
        return found[0] if single else found
    return run


def relative_difference(found, expected):
    """The largest difference of two arrays over the largest magnitude in `expected`."""
    expected = np.asarray(expected, 'float64')
    return float(np.abs(np.asarray(found, 'float64') - expected).max() / max(np.abs(expected).max(), 1e-30))
