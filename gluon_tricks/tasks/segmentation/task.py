"""The segmentation task: scenes to a loss, and exact pixAcc and mIoU (paper section 6.2)."""
from gluon_tricks.compat import mx
from gluon_tricks.tasks.gluoncv_log import SegmentationLog
from gluon_tricks.tasks.segmentation.loss import fcn_loss, loss_weights, mean_of
from gluon_tricks.tasks.segmentation.metrics import evaluate_crops
from gluon_tricks.training.sums import Sums
from gluon_tricks.training.task import Task


class Segmentation(SegmentationLog, Task):
    """Scenes to a loss, and exact pixAcc / mIoU.

    net: an `fcn.FCN`; config: a resolved FCNConfig; eval_stream None: no evaluation; precision:
    tricks.low_precision.precision(...). pix_acc and miou are 0 to 1, as GluonCV prints them.
    """

    def __init__(self, net, config, devices, train_stream, eval_stream, precision):
        self.net, self.config, self.devices, self.precision = net, config, devices, precision
        self.train_stream, self.eval_stream = train_stream, eval_stream
        self.sums = Sums(1)

    # -- training ---------------------------------------------------------------------------------------------------

    def batches(self, epoch, first=0):
        return self.train_stream.epoch(epoch, first)

    def preprocess(self, batch, update):
        """[(device's number, images, labels, weights of the losses)]: what the loss divides by is counted here.

        All draws are the images'.
        """
        config, pieces = self.config, batch.shards(self.devices)
        weights, aux_weight = loss_weights(config.loss, [int((label >= 0).sum()) for _, label in pieces],
                                           config.total_batch_size, config.aux_weight)
        return [(number, self.precision.cast_input(x), mx.nd.array(label, ctx=x.context, dtype='float32'), weight,
                 aux_weight) for number, ((x, label), weight) in enumerate(zip(pieces, weights))]

    def loss(self, shard):
        """(B,) losses of one device, float32; also adds to the device's sum, without waiting for it."""
        number, x, label, weight, aux_weight = shard
        loss = fcn_loss(self.net(x), label, weight, aux_weight)
        with mx.autograd.pause():
            self.sums.add(number, [loss.sum()], number == 0)  # it counts updates
        return loss

    def train_metrics(self):
        """{'loss'} since the last call. Waits for it."""
        rows, updates = self.sums.read()
        return {'loss': mean_of(self.config.loss, rows.sum() / updates, self.config.total_batch_size,
                                len(self.devices))}

    # -- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, beat=lambda: None):
        """Exact metrics by GluonCV's protocol during training, {} without validation."""
        if self.eval_stream is None:
            return {}
        return evaluate_crops(self.net, self.eval_stream, self.devices, self.precision, self.config.num_classes,
                              beat)
