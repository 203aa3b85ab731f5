import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.errors import UsageError
from gluon_tricks.models.backbone import build_backbone
from gluon_tricks.tasks.detection import network
from gluon_tricks.tasks.detection.network import DetectorOptions, build_faster_rcnn, calibrate
from support.detection import build_detector


def test_the_paper_trains_convolutions_from_stage_2_on_and_no_normalisation():
    net = build_detector()
    trained = {name for name, param in net._collect_params_with_prefix().items() if param.grad_req != 'null'}
    assert any(name.startswith('features.5') for name in trained)  # stage 2
    assert not any(name.split('.')[1] in '01234' for name in trained if name.startswith('features'))
    assert not any(name.endswith(('gamma', 'beta', 'running_mean', 'running_var')) for name in trained)
    assert {'class_predictor.weight', 'box_predictor.bias', 'rpn.score.weight'} <= trained
    everything = {name for name, param in build_detector(train_layers='all')._collect_params_with_prefix().items()
                  if param.grad_req != 'null'}
    assert everything > trained and any(name.startswith('features.0') for name in everything)
    assert not any(name.endswith(('gamma', 'beta')) for name in everything)


def test_the_numbers_are_those_of_gluoncvs_model(monkeypatch):
    """resnet50_v1b of ours and GluonCV's own constructor: the same names, shapes and hyper-parameters."""
    from gluoncv.data import VOCDetection
    from gluoncv.model_zoo import faster_rcnn_resnet50_v1b_voc
    monkeypatch.setattr(network.FasterRCNN, '__call__', lambda *words: None)  # it would run for ten seconds
    theirs = faster_rcnn_resnet50_v1b_voc(pretrained_base=False)
    ours = build_faster_rcnn(build_backbone('resnet50_v1b', use_global_stats=True), VOCDetection.CLASSES)
    theirs.initialize()
    names = set(theirs._collect_params_with_prefix())
    assert names == {name for name in ours._collect_params_with_prefix() if not name.startswith('_')}
    assert len(names) == 276
    ours_trained = sum(param.grad_req != 'null' for param in ours.collect_params().values())
    assert ours_trained == sum('anchor' not in name for name in theirs.collect_train_params())
    for name in ('short', 'max_size', 'nms_thresh', 'nms_topk', 'ashape', '_roi_size', '_roi_mode', '_strides',
                 '_num_sample', '_rpn_test_post_nms', 'num_class'):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ('_train_pre_nms', '_train_post_nms', '_test_pre_nms', '_test_post_nms'):
        one, two = (getattr(net.rpn.region_proposer, name, None) or getattr(net.rpn, name, None)
                    for net in (ours, theirs))
        assert one == two, name


def test_the_options_are_those_of_the_configuration():
    assert DetectorOptions.of(RCNNConfig()) == DetectorOptions()
    changed = DetectorOptions.of(RCNNConfig(image_short=500, anchor_scales=(1.0, 2.0), num_sample=64))
    assert changed == DetectorOptions(image_short=500, anchor_scales=(1.0, 2.0), num_sample=64)


def test_calibrated_statistics_are_the_mean_over_the_images():
    base = build_backbone('resnet10_v1d_demo', use_global_stats=True)
    images = [mx.nd.random.normal(3, 2, (1, 3, 64, 48)) for _ in range(3)]
    stem = [base.conv1[0](image).asnumpy() for image in images]
    calibrate(base, images)
    mean = np.mean([each.mean((0, 2, 3)) for each in stem], 0)
    variance = np.mean([each.var((0, 2, 3)) for each in stem], 0)
    assert np.allclose(base.conv1[1].running_mean.data().asnumpy(), mean, atol=1e-4)
    assert np.allclose(base.conv1[1].running_var.data().asnumpy(), variance, rtol=2e-2)
    before = base.conv1[1].running_mean.data().asnumpy().copy()
    with mx.autograd.train_mode():
        base.stages(images[0])[-1].wait_to_read()
    assert (base.conv1[1].running_mean.data().asnumpy() == before).all()  # frozen again
    with pytest.raises(UsageError, match='no image'):
        calibrate(base, [])


def test_more_proposals_than_anchors_are_refused():
    with pytest.raises(UsageError, match='raise --image-short'):
        build_detector(rpn_train_post_nms=500)


def test_it_detects_in_images_of_any_size():
    net = build_detector()
    for hybrid in (False, True):
        if hybrid:
            net.hybridize()
        for size in ((96, 128), (96, 96), (100, 117)):
            ids, scores, boxes = net(mx.nd.random.normal(shape=(1, 3) + size))
            assert ids.shape == scores.shape == (1, 800, 1) or ids.shape[1] == 2 * 40
            assert boxes.shape == ids.shape[:2] + (4,)
