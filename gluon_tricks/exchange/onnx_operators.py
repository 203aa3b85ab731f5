"""Operators that MXNet 1.9.1 does not translate to ONNX, or translates wrongly.

* ``broadcast_maximum`` is missing; FCN needs it.
* ``_contrib_box_nms``: MXNet looks at the ``topk`` boxes of the highest scores and suppresses among them; its
  translation suppresses among all, and keeps ``topk`` of a class. The order of boxes is MXNet's in both.
"""
import contextlib

import numpy as np

import gluon_tricks.compat  # noqa: F401  before mxnet's parts, below
from gluon_tricks.errors import UsageError


@contextlib.contextmanager
def replaced():
    """While it is entered, MXNet's translation knows the operators of this module."""
    import mxnet.onnx.mx2onnx._op_translations  # noqa: F401  fills the registry
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
    registry = MXNetGraph.registry_[13]
    before = dict(registry)
    registry.update(broadcast_maximum=_broadcast_maximum, _contrib_box_nms=_box_nms)
    try:
        yield
    finally:
        registry.clear()
        registry.update(before)


def _parts(node, words):
    """(name, names of the inputs, attributes) of a node of MXNet's graph."""
    inputs = [words['outputs_lookup'][node_id][output].name for node_id, output, *_ in node['inputs']]
    return node['name'], inputs, node.get('attrs', {})


def _broadcast_maximum(node, **words):
    from onnx.helper import make_node
    name, inputs, _ = _parts(node, words)
    return [make_node('Max', inputs, [name], name=name)]


def _box_nms(node, **words):
    """MXNet's ``box_nms`` of (N, A, W) rows: sort by score, keep `topk` of those above `valid_thresh`, suppress, move
    up those that are left, fill with -1.

    Where only boxes of one class suppress each other, each of the N lists must hold one class, as the detector's do.
    Raises UsageError for what the detector does not use: a background class, or formats that differ.
    """
    from onnx.helper import make_node
    from onnx.numpy_helper import from_array
    name, (rows,), attrs = _parts(node, words)
    start, score = int(attrs.get('coord_start', 2)), int(attrs.get('score_index', 1))
    topk, layout = int(attrs.get('topk', -1)), attrs.get('in_format', 'corner')
    if int(attrs.get('background_id', -1)) != -1 or attrs.get('out_format', 'corner') != layout:
        raise UsageError(f'{name}: box_nms with a background class, or with two box formats, is not translated')

    def constant(key, value, dtype='int64'):
        words['initializer'].append(from_array(np.array(value, dtype), f'{name}_{key}'))
        return f'{name}_{key}'

    def op(kind, inputs, key, **options):
        outputs = [f'{name}_{each}' for each in key.split()]
        nodes.append(make_node(kind, inputs, outputs, **options))
        return outputs if len(outputs) > 1 else outputs[0]

    nodes = []
    zero, one, two, three = (constant(f'c{value}', [value]) for value in (0, 1, 2, 3))
    threshold = constant('valid', float(attrs.get('valid_thresh', 0)), 'float32')

    # The `topk` rows of the highest scores, in order: (N, k, W)
    scores = op('Slice', [rows, constant('score', [score]), constant('score_end', [score + 1]), two], 'column')
    scores = op('Squeeze', [scores, two], 'scores')                                                        # (N, A)
    number = op('Slice', [op('Shape', [rows], 'shape'), one, two], 'number')                               # [A]
    count = number
    if topk > 0:
        count = op('Min', [number, constant('topk', [topk])], 'count')
    best, order = op('TopK', [scores, count], 'best order', axis=1)
    sorted_rows = op('GatherND', [rows, op('Unsqueeze', [order, two], 'order3')], 'sorted', batch_dims=1)

    # Suppression among them; what it selects: (S, 3) of list, 0, place
    boxes = op('Slice', [sorted_rows, constant('box', [start]), constant('box_end', [start + 4]), two], 'boxes')
    selected = op('NonMaxSuppression', [
        boxes, op('Unsqueeze', [best, one], 'best3'), count,
        constant('overlap', [float(attrs.get('overlap_thresh', 0.5))], 'float32'),
        op('Reshape', [threshold, one], 'threshold')], 'selected', center_point_box=int(layout != 'corner'))
    places = op('Concat', [op('Slice', [selected, zero, one, one], 'list'),
                           op('Slice', [selected, two, three, one], 'place')], 'places', axis=1)           # (S, 2)
    shape = op('Shape', [best], 'best_shape')
    nothing = op('Expand', [constant('zero', 0), shape], 'nothing')
    ones = op('Expand', [constant('unit', 1), op('Slice', [op('Shape', [selected], 'selected_shape'), zero, one],
                                                  'how_many')], 'ones')
    kept = op('ScatterND', [nothing, places, ones], 'kept')                                                # (N, k)

    # Those that are left first, in their order; -1 below them, and up to A rows
    value = op('Sub', [op('Mul', [kept, op('Add', [count, count], 'twice')], 'weighted'), op('CumSum', [
        op('Expand', [constant('step', 1), shape], 'steps'), constant('axis', 1)], 'position')], 'value')
    _, move = op('TopK', [value, count], 'ranked move', axis=1)
    move3 = op('Unsqueeze', [move, two], 'move3')
    moved = op('GatherND', [sorted_rows, move3], 'moved', batch_dims=1)
    left = op('Unsqueeze', [op('Cast', [op('GatherND', [kept, move3], 'left', batch_dims=1)], 'left_bool', to=9), two],
              'left3')
    none = constant('none', -1, 'float32')
    filled = op('Where', [left, moved, none], 'filled')
    pads = op('Concat', [zero, zero, zero, zero, op('Sub', [number, count], 'missing'), zero], 'pads', axis=0)
    nodes.append(make_node('Pad', [filled, pads, none], [f'{name}0'], name=f'{name}0'))
    return nodes
