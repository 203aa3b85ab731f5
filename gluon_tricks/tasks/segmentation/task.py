"""The segmentation task: scenes to a loss, and exact pixAcc and mIoU (paper section 6.2)."""
from gluon_tricks.compat import mx
from gluon_tricks.tasks.segmentation.loss import fcn_loss, loss_weights, mean_of
from gluon_tricks.tasks.segmentation.metrics import evaluate_crops, protocol
from gluon_tricks.training.sums import Sums
from gluon_tricks.training.task import Task


class Segmentation(Task):
    """Scenes to a loss, and exact pixAcc / mIoU.

    net: an `fcn.FCN`; config: a resolved FCNConfig; eval_stream None: no evaluation; precision:
    tricks.low_precision.precision(...). pix_acc and miou are 0 to 1, as GluonCV prints them.
    """

    headline, result_names, metric_names = 'miou', ('miou', 'pix_acc', 'num_images'), ('loss',)

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
        return {'loss': mean_of(self.config.loss, rows.sum() / updates, self.config.total_batch_size, len(self.devices))}

    # -- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, beat=lambda: None):
        """Exact metrics by GluonCV's protocol during training, {} without validation."""
        if self.eval_stream is None:
            return {}
        return evaluate_crops(self.net, self.eval_stream, self.devices, self.precision, self.config.num_classes,
                              beat)

    # -- results, file names and log lines, GluonCV's ---------------------------------------------------------------

    def file_name(self, epoch, metrics):
        return 'epoch_%04d_mIoU_%2.4f.params' % (epoch, metrics.get('miou', 0))

    def best_file_name(self, epoch, metrics):
        return 'best_' + self.file_name(epoch, metrics)

    def result_line(self, result, best):
        """The run's last words: the exact result of the last epoch, and the best."""
        return 'Result: mIoU %.2f %%, pixAcc %.2f %% of %d images after epoch %d (best: %.2f %% after epoch %d)' % (
            100 * result['miou'], 100 * result['pix_acc'], result['num_images'], result['epoch'], 100 * best['miou'],
            best['epoch'])

    def batch_line(self, epoch, batch, speed, metrics, lr, wait):
        """The loss is the mean since the last line; GluonCV's is the mean since the epoch began."""
        return 'Epoch %d iteration %04d/%04d: training loss %.3f Speed: %.2f samples/sec lr=%f io=%d%%' % (
            epoch, batch, self.train_stream.updates_per_epoch, metrics['loss'], speed, lr,
            min(round(100 * wait), 99))

    def epoch_lines(self, epoch, facts, metrics):
        lines = ['[Epoch %d] training: loss=%f' % (epoch, facts['metrics']['loss']),
                 '[Epoch %d] speed: %.2f samples/sec\ttime cost: %f' % (epoch, facts['speed'], facts['time'])]
        if metrics:
            lines += ['Epoch %d validation pixAcc: %.3f, mIoU: %.3f' % (epoch, metrics['pix_acc'], metrics['miou']),
                      '[Epoch %d] exact: pixAcc %.4f %% mIoU %.4f %% of %d images, %s' % (
                          epoch, 100 * metrics['pix_acc'], 100 * metrics['miou'], metrics['num_images'],
                          protocol('crop', crop_size=self.config.crop_size))]
        return lines
