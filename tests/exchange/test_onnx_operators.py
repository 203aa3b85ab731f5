"""box_nms against MXNet's operator, and the detector; what MXNet's own translation gives for both."""
import contextlib

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import onnx_graph, onnx_operators
from gluon_tricks.exchange.onnx_agreement import PIXELS, compare_detections
from support.detection import build_detector
from support.records import make_jpeg

pytest.importorskip('onnx', reason="pip install '.[onnx]'")
pytest.importorskip('onnxruntime', reason="pip install '.[onnx]'")


class Suppression(mx.gluon.HybridBlock):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def hybrid_forward(self, F, rows):
        return F.contrib.box_nms(rows, **self.options)


def boxes(lists, rows, seed, extent=60):
    """(lists, rows, 6) of id, score, corners; a tenth of the scores is below every threshold."""
    rng = np.random.RandomState(seed)
    corner, side = rng.uniform(0, extent, (lists, rows, 2)), rng.uniform(0, 30, (lists, rows, 2))
    scores = rng.permutation(lists * rows).reshape(lists, rows, 1) / (lists * rows) - 0.1
    ids = np.broadcast_to(np.arange(lists)[:, None, None], (lists, rows, 1))
    return np.concatenate([ids, scores, corner, corner + side], axis=2).astype('float32')


def both(rows, **options):
    """(ours by onnxruntime, MXNet's) for one set of rows."""
    net = Suppression(**options)
    net.initialize()
    run = onnx_graph.session(onnx_graph.translate(net, {'rows': rows.shape}, {'kept': rows.shape}))
    return run(rows), net(mx.nd.array(rows)).asnumpy()


@pytest.mark.parametrize('options', [
    dict(topk=20), dict(topk=-1), dict(topk=500), dict(topk=1), dict(topk=20, valid_thresh=0.3),
    dict(topk=20, force_suppress=True), dict(topk=20, in_format='center', out_format='center')])
@pytest.mark.parametrize('seed', range(3))
def test_box_nms_is_mxnet_s(options, seed):
    rows = boxes(3, 80, seed)
    found, expected = both(rows, **dict(dict(overlap_thresh=0.4, id_index=0, score_index=1, coord_start=2), **options))
    assert np.array_equal(found, expected)
    assert 0 < (expected[..., 1] > 0).sum() < rows.shape[0] * rows.shape[1]


@pytest.mark.parametrize('rows', [
    boxes(2, 30, 0) * 0, boxes(2, 30, 0) - np.float32([0, 2, 0, 0, 0, 0]),  # all equal; none valid
    boxes(1, 1, 0) + np.float32([0, 1, 0, 0, 0, 0])])
def test_box_nms_at_its_edges(rows):
    found, expected = both(rows, topk=10, overlap_thresh=0.4, id_index=0, score_index=1, coord_start=2)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('options', [dict(background_id=0), dict(in_format='center', out_format='corner')])
def test_what_the_detector_does_not_use_is_refused(options):
    with pytest.raises(UsageError, match='is not translated'):
        both(boxes(1, 5, 0), id_index=0, **options)


def test_mxnet_s_registry_is_as_it_was():
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
    before = dict(MXNetGraph.registry_[13])
    both(boxes(1, 5, 0))
    assert MXNetGraph.registry_[13] == before and 'broadcast_maximum' not in before


# ---------------------------------------------------------------------------------------------------------------------
# The detector

@pytest.fixture(scope='module')
def net():
    """A detector that finds much, its weights larger than new ones; 60 of its 288 boxes are looked at, as 6,000 of more."""
    net = build_detector(rpn_test_pre_nms=60, rpn_test_post_nms=60, anchor_scales=(2, 2.2))
    mx.random.seed(1)
    net.collect_params('.*dense|.*rpn.*weight').initialize(mx.init.Normal(0.1), force_reinit=True)
    return net


def scene(number):
    """(1, 3, 96, 128) float32, a made photograph."""
    picture = mx.image.imdecode(make_jpeg(number % 4, number, 128))[:96, :128].asnumpy().astype('float32')
    return ((picture - 120) / 58).transpose(2, 0, 1)[None]


def agreement(net, model, scenes=4):
    run = onnx_graph.session(model)
    found = [compare_detections(run(x), [each.asnumpy() for each in net(mx.nd.array(x))]) for x in map(scene, range(scenes))]
    return {name: (max if name == 'pixels' else sum)(each[name] for each in found) for name in found[0]}


def test_the_detector_gives_mxnet_s_ids_and_boxes(net, capfd):
    seen = agreement(net, onnx_graph.detector(net, 96, 128))
    assert seen['expected'] > 50 and seen['expected'] == seen['given'] == seen['found'] and seen['pixels'] < PIXELS
    assert capfd.readouterr().err == ''


def test_mxnet_s_own_translation_fails(net, monkeypatch):
    """What the test above would say of it: otherwise ours would not be needed."""
    monkeypatch.setattr(onnx_operators, 'replaced', contextlib.nullcontext)
    seen = agreement(net, onnx_graph.detector(net, 96, 128))
    assert seen['found'] < 0.9 * seen['expected']
