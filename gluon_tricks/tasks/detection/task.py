"""The detection task: Faster-RCNN's four losses, and mean average precision by VOC 2007's rule (paper section 6.1)."""
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.tasks.detection.data import test_images
from gluon_tricks.tasks.gluoncv_log import LOSSES, METRICS, DetectionLog
from gluon_tricks.training.sums import Sums
from gluon_tricks.training.task import Task

from gluoncv.nn.bbox import BBoxClipToImage
from gluoncv.utils.metrics.voc_detection import VOC07MApMetric


def create_optimizer(config):
    """SGD with momentum, as an RCNNConfig has it; float16 weights have float32 masters.

    Each number of the gradient, divided by batch size and loss scale, is clipped; weight decay is added after that.
    """
    return mx.optimizer.create('sgd', momentum=config.momentum, wd=config.wd,
                               clip_gradient=config.clip_gradient or None,
                               multi_precision=config.dtype == 'float16')


class Detection(DetectionLog, Task):
    """Images and boxes to a loss, and mAP over the test images.

    net: of `faster_rcnn.build_faster_rcnn`; config: an RCNNConfig; train_stream: a DetectionStream; test_set: a VOC
    set, None for no evaluation; precision: of tricks.low_precision.
    """

    metric_names = ('loss',) + LOSSES + METRICS

    def __init__(self, net, config, devices, train_stream, test_set, precision, classes):
        self.net, self.config, self.devices, self.classes = net, config, devices, classes
        self.train_stream, self.test_set, self.precision = train_stream, test_set, precision
        self.epoch, self.sums = 0, Sums(12)
        self.losses = (mx.gluon.loss.SigmoidBinaryCrossEntropyLoss(from_sigmoid=False),
                       mx.gluon.loss.HuberLoss(rho=config.rpn_smoothl1_rho),
                       mx.gluon.loss.SoftmaxCrossEntropyLoss(), mx.gluon.loss.HuberLoss(rho=config.rcnn_smoothl1_rho))

    # -- training ---------------------------------------------------------------------------------------------------

    def batches(self, epoch, first=0):
        self.epoch = epoch
        self._compile()  # the graph of testing takes other inputs
        return self.train_stream.epoch(epoch, first)

    def _compile(self):
        if not self.config.disable_hybridization:
            self.net.hybridize(static_alloc=self.config.static_alloc)

    def preprocess(self, batch, update):
        """[(device's number, images, labels, targets of the proposals: classes, boxes, masks)], one a device.

        All draws are the images' and the sampling's.
        """
        shards = []
        batch = [each if isinstance(each, (list, tuple)) else [each] for each in batch]  # so with one device
        for number, (device, *arrays) in enumerate(zip(self.devices, *batch)):
            images, *others = (array.as_in_context(device) for array in arrays)
            shards.append((number, self.precision.cast_input(images)) + tuple(others))
        return shards

    def loss(self, shard):
        """(1,) loss of one device: its images' mean, times their number; also adds to the device's metrics.

        Each of the four losses is a mean over the anchors, or regions, that were sampled.
        """
        number, images, labels, rpn_targets, rpn_boxes, rpn_masks = shard
        out = self.net(images, labels[:, :, :4], labels[:, :, 4:5])
        scores, boxes, _, _, _, rpn_scores, rpn_found, _, targets, box_targets, box_masks, _ = out
        scores, boxes, rpn_scores, rpn_found, targets, box_targets, box_masks = (
            array.astype('float32') for array in (scores, boxes, rpn_scores.squeeze(axis=-1), rpn_found, targets,
                                                  box_targets, box_masks))
        sampled, regions = rpn_targets >= 0, targets >= 0
        score_loss, box_loss, class_loss, region_loss = self.losses
        losses = [score_loss(rpn_scores, rpn_targets, sampled) * rpn_targets.size / sampled.sum(),
                  box_loss(rpn_found, rpn_boxes, rpn_masks) * rpn_found.size / sampled.sum(),
                  class_loss(scores, targets, regions.expand_dims(-1)) * targets.size / regions.sum(),
                  region_loss(boxes, box_targets, box_masks) * boxes.size / regions.sum()]
        total = losses[0].sum() + losses[1].sum() + losses[2].sum() + losses[3].sum()
        with mx.autograd.pause():
            self.sums.add(number, [loss.mean() for loss in losses] + [
                (((rpn_scores >= 0) == rpn_targets) * sampled).sum(), sampled.sum(),
                (rpn_masks * mx.nd.smooth_l1(rpn_found - rpn_boxes, scalar=3)).sum(), rpn_masks.sum() / 4,
                (scores.argmax(axis=-1) == targets).sum(), mx.nd.full((1,), targets.size, ctx=total.context),
                (box_masks * mx.nd.smooth_l1(boxes - box_targets, scalar=1)).sum(), box_masks.sum() / 4], 1)
        return total

    def train_metrics(self):
        """{name: value} of the updates since the last call: 'loss', `LOSSES`, `METRICS`; the host waits here."""
        rows, count = self.sums.read()
        sums = rows.sum(axis=0)
        metrics = dict(zip(LOSSES, sums[:4] / count))
        metrics = dict({'loss': sum(metrics.values())}, **metrics)
        for place, name in enumerate(METRICS):
            right, of = sums[4 + 2 * place:6 + 2 * place]
            metrics[name] = right / of if of else 0.0
        return metrics

    # -- testing ----------------------------------------------------------------------------------------------------

    def evaluate(self, beat=lambda: None):
        """{'map_voc07' in percent, 'ap' of each class, 'num_images'}; {} in an epoch without evaluation."""
        if self.test_set is None or (self.epoch + 1) % self.config.val_interval:
            return {}
        self._compile()
        return evaluate(self.net, self.test_set, self.devices, self.classes, self.precision, beat)



def detect(net, image, device, precision):
    """(ids (N,), scores (N,), boxes (N, 4) in pixels of the image) of one image (1, 3, H, W), best first."""
    image = image.as_in_context(device)
    ids, scores, boxes = net(precision.cast_input(image))
    boxes = BBoxClipToImage()(boxes.astype('float32'), image)
    ids, scores, boxes = ids.asnumpy().reshape(-1), scores.asnumpy().reshape(-1), boxes.asnumpy().reshape(-1, 4)
    order = np.argsort(-scores, kind='stable')
    order = order[ids[order] >= 0]
    return ids[order].astype('int64'), scores[order].astype('float32'), boxes[order]


def evaluate(net, test_set, devices, classes, precision, beat=lambda: None):
    """Mean average precision over all images of a VOC set by GluonCV's metric, at an overlap of 0.5, 11 points.

    Objects marked difficult count for nothing. Returns {'map_voc07', 'ap': {class: percent}, 'num_images'}; a class
    without objects has no figure and is left out of the mean. beat() is called after each image.
    """
    metric, seen = VOC07MApMetric(iou_thresh=0.5, class_names=classes), 0
    for number, (image, boxes, scale) in enumerate(test_images(test_set, net.short, net.max_size)):
        ids, scores, found = detect(net, image, devices[number % len(devices)], precision)
        metric.update(found[None] * scale, ids[None], scores[None], boxes[..., :4] * scale, boxes[..., 4],
                      boxes[..., 5])
        seen += 1
        beat()
    names, values = metric.get()
    ap = {name: 100 * float(value) for name, value in zip(names, values) if not np.isnan(value)}
    mean = ap.pop('mAP', 0.0)
    return {'map_voc07': mean, 'ap': ap, 'num_images': seen}
