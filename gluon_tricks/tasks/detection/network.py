"""Faster-RCNN over one of our base networks (paper section 6.1; Ren et al. 2015).

The detector is GluonCV's. Its numbers are those of GluonCV's ``faster_rcnn_resnet50_v1b_voc``, the paper's own code:
stages 1 to 3 make the features, stage 4 looks at 14 x 14 aligned samples of each region, batch normalisation is frozen,
and so are the stem and stage 1.
"""
import dataclasses
import warnings
from typing import Tuple

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

from gluoncv.model_zoo.rcnn.faster_rcnn import FasterRCNN

FEATURES = ('conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3')
TRAINED = {'paper': '.*dense|.*rpn|.*down(2|3|4)_conv|.*layers(2|3|4)_conv', 'all': '.*dense|.*rpn|.*conv'}
STRIDE = 16

# In testing the detector has no targets to encode; MXNet says so of each graph.
warnings.filterwarnings('ignore', 'Parameter .*normalizedperclassboxcenterencoder.* is not used by any computation')


@dataclasses.dataclass(frozen=True)
class DetectorOptions:
    """Numbers of the detector, in the words of `RCNNConfig`, where each is explained; train_layers: see `TRAINED`."""
    image_short: int = 600
    image_max_size: int = 1000
    train_layers: str = 'paper'
    rpn_channel: int = 1024
    anchor_scales: Tuple[float, ...] = (2, 4, 8, 16, 32)
    rpn_train_pre_nms: int = 12000
    rpn_train_post_nms: int = 2000
    rpn_test_pre_nms: int = 6000
    rpn_test_post_nms: int = 300
    rpn_min_size: int = 16
    num_sample: int = 128

    @classmethod
    def of(cls, config):
        """Those of an RCNNConfig."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})


def build_faster_rcnn(base, classes, images_per_device=1, options=DetectorOptions()):
    """The detector on the CPU, initialised; every parameter but those that train has grad_req 'null'.

    base: a network of `backbone.build_backbone` with use_global_stats=True, which becomes part of it. classes: their
    names. images_per_device: of a training batch.
    Called in training with images (B, 3, H, W), boxes (B, M, 4) and labels (B, M, 1), it returns GluonCV's twelve
    arrays; otherwise with one image, (ids, scores, boxes) of shapes (1, N, 1), (1, N, 1), (1, N, 4), ids of -1 for
    none. Raises UsageError when the smallest image has fewer anchors than there shall be proposals.
    """
    short, max_size = options.image_short, options.image_max_size
    proposals = max(options.rpn_train_post_nms, options.rpn_test_post_nms)
    smallest = (short // STRIDE) ** 2 * 3 * len(options.anchor_scales)
    if smallest < proposals:
        raise UsageError(f'an image of {short} x {short} has {smallest} anchors, fewer than the {proposals} '
                         'proposals: raise --image-short, or lower --rpn-train-post-nms and --rpn-test-post-nms')
    features, top_features = mx.gluon.nn.HybridSequential(), mx.gluon.nn.HybridSequential()
    for name in FEATURES:
        features.add(getattr(base, name))
    top_features.add(base.layer4)
    anchors = -(-(max_size + STRIDE) // STRIDE)  # as many as the largest image has; GluonCV: 128
    net = FasterRCNN(
        features, top_features, classes, short=short, max_size=max_size, train_patterns=TRAINED[options.train_layers],
        nms_thresh=0.3, nms_topk=400, post_nms=100, roi_mode='align', roi_size=(14, 14), strides=STRIDE, clip=None,
        rpn_channel=options.rpn_channel, base_size=STRIDE, scales=options.anchor_scales, ratios=(0.5, 1, 2),
        alloc_size=(max(anchors, 128),) * 2, rpn_nms_thresh=0.7, rpn_train_pre_nms=options.rpn_train_pre_nms,
        rpn_train_post_nms=options.rpn_train_post_nms, rpn_test_pre_nms=options.rpn_test_pre_nms,
        rpn_test_post_nms=options.rpn_test_post_nms, rpn_min_size=options.rpn_min_size,
        per_device_batch_size=images_per_device, num_sample=options.num_sample, pos_iou_thresh=0.5, pos_ratio=0.25,
        max_num_gt=100)
    for param in net.collect_params().values():
        if param._data is None:
            param.initialize()
    net.target_generator  # noqa: B018  made at its first use, and then part of the network's parameters
    net(mx.nd.zeros((1, 3, short, short)))  # makes every shape known
    net.collect_params().setattr('grad_req', 'null')
    for param in net.collect_train_params().values():
        if not isinstance(param, mx.gluon.Constant):  # the anchors
            param.grad_req = 'write'
    return net


def calibrate(base, images):
    """Set the running statistics of a base network from images, a list of (1, 3, H, W) arrays, their plain mean.

    For new weights, whose statistics are 0 and 1: frozen as they are, they would not normalise.
    """
    norms = [block for block in _blocks(base) if isinstance(block, mx.gluon.nn.BatchNorm)]
    if not images:
        raise UsageError('there is no image to take the running statistics from')
    frozen = [block._kwargs['use_global_stats'] for block in norms]
    sums = None
    try:
        for block in norms:
            block._kwargs['use_global_stats'] = False
            block._kwargs['momentum'] = 0.0  # the running statistics become the batch's own
        for image in images:
            with mx.autograd.record():
                last = base.stages(image)[-1]
            last.backward()  # MXNet sets the running statistics on the way back
            mx.nd.waitall()
            found = [(block.running_mean.data().copy(), block.running_var.data().copy()) for block in norms]
            sums = found if sums is None else [(a + c, b + d) for (a, b), (c, d) in zip(sums, found)]
    finally:
        for block, was in zip(norms, frozen):
            block._kwargs['use_global_stats'], block._kwargs['momentum'] = was, 0.9
    for block, (mean, var) in zip(norms, sums):
        block.running_mean.set_data(mean / len(images))
        block.running_var.set_data(var / len(images))


def _blocks(block):
    yield block
    for child in block._children.values():
        yield from _blocks(child)
