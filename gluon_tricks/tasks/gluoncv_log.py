"""The log lines and file names of GluonCV's three scripts, which its users' tools read, with our exact figures added.

Each class is the part of a task that says what was done; a log line is at most 100 columns.
"""
import math

from gluon_tricks.tasks.segmentation.protocol import protocol

LOSSES = ('RPN_Conf', 'RPN_SmoothL1', 'RCNN_CrossEntropy', 'RCNN_SmoothL1')
METRICS = ('RPNAcc', 'RPNL1Loss', 'RCNNAcc', 'RCNNL1Loss')


class ClassificationLog:
    """Of train_imagenet.py, and our exact figures below it. config: a TrainConfig."""

    headline, result_names = 'top1', ('top1', 'top5', 'num_images')

    @property
    def accuracy_name(self):
        """``accuracy``; ``mix_acc``, weighted by lambda, under mixup and CutMix."""
        return 'mix_acc' if self.config.mixup or self.config.cutmix else 'accuracy'

    def file_name(self, epoch, metrics):
        return f'imagenet-{self.config.model}-{epoch}.params'

    def best_file_name(self, epoch, metrics):
        return f'{1 - metrics["top1"] / 100:.4f}-imagenet-{self.config.model}-{epoch}-best.params'

    def result_line(self, result, best):
        """The run's last words: the exact result of the last epoch, and the best."""
        return 'Result: top-1 %.2f %%, top-5 %.2f %% of %d images after epoch %d (best: %.2f %% after epoch %d)' % (
            result['top1'], result['top5'], result['num_images'], result['epoch'], best['top1'], best['epoch'])

    def batch_line(self, epoch, batch, speed, metrics, lr, wait):
        """At most 100 columns; io is the share of the time that was spent waiting for data. log.jsonl has the
        digits."""
        return 'Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec\t%s=%.4f\tlr=%f loss=%.2f io=%d%%' % (
            epoch, batch, speed, self.accuracy_name, metrics[self.accuracy_name], lr, metrics['loss'],
            min(round(100 * wait), 99))

    def epoch_lines(self, epoch, facts, metrics):
        lines = [f'[Epoch {epoch}] training: {self.accuracy_name}={facts["metrics"][self.accuracy_name]:f}',
                 '[Epoch %d] speed: %d samples/sec\ttime cost: %f' % (epoch, facts['speed'], facts['time'])]
        if metrics:
            lines += [f'[Epoch {epoch}] validation: err-top1={1 - metrics["top1"] / 100:f} '
                      f'err-top5={1 - metrics["top5"] / 100:f}',
                      f'[Epoch {epoch}] exact: top-1 {metrics["top1"]:.3f} % top-5 {metrics["top5"]:.3f} % of '
                      f'{metrics["num_images"]} images, loss {metrics["loss"]:.4f}, logit gap '
                      f'{metrics["gap_mean"]:.3f} +- {metrics["gap_std"]:.3f}']
            if self._at_chance(epoch, metrics):
                lines.append(f'Warning: top-1 {metrics["top1"]:.3f} % after epoch {epoch} is no better than chance '
                             f'({self._chance:.3f} %): check the labels, the learning rate and the data')
        return lines

    @property
    def _chance(self):
        return 100.0 / self.config.num_classes

    def _at_chance(self, epoch, metrics):
        """At most three standard deviations above guessing, once warmup is over."""
        spread = 100 * math.sqrt(self._chance / 100 * (1 - self._chance / 100) / metrics['num_images'])
        return epoch >= max(self.config.warmup_epochs, 1) and metrics['top1'] <= self._chance + 3 * spread


class DetectionLog:
    """Of train_faster_rcnn.py. config: an RCNNConfig."""

    headline, result_names = 'map_voc07', ('map_voc07', 'num_images')

    @property
    def _prefix(self):
        return f'{self.config.save_prefix}faster_rcnn_{self.config.network}_{self.config.dataset}'

    def file_name(self, epoch, metrics):
        return f'{self._prefix}_{epoch:04d}_{metrics.get("map_voc07", 0.0) / 100:.4f}.params'

    def best_file_name(self, epoch, metrics):
        return f'{self._prefix}_best.params'

    def result_line(self, result, best):
        return ('Result: mAP %.2f %% (VOC 2007, 11 points) of %d images after epoch %d (best: %.2f %% after epoch %d)'
                % (result['map_voc07'], result['num_images'], result['epoch'], best['map_voc07'], best['epoch']))

    def batch_line(self, epoch, batch, speed, metrics, lr, wait):
        return '[Epoch %d][Batch %d], Speed: %.3f samples/sec, %s, lr=%g, wait=%.1f%%' % (
            epoch, batch - 1, speed, ','.join(f'{name}={metrics[name]:.3f}' for name in LOSSES + METRICS), lr,
            100 * wait)

    def epoch_lines(self, epoch, facts, metrics):
        lines = ['[Epoch %d] Training cost: %.3f, %s' % (
            epoch, facts['time'], ','.join(f'{name}={facts["metrics"][name]:.3f}' for name in LOSSES))]
        if metrics:
            lines += [f'[Epoch {epoch}] Validation: ']
            lines += ['%s=%s' % pair for pair in sorted(metrics['ap'].items())] + [f'mAP={metrics["map_voc07"] / 100}']
        return lines


class SegmentationLog:
    """Of FCN's train.py. config: an FCNConfig; train_stream: as the task's."""

    headline, result_names = 'miou', ('miou', 'pix_acc', 'num_images')

    def file_name(self, epoch, metrics):
        return f'epoch_{epoch:04d}_mIoU_{metrics.get("miou", 0):2.4f}.params'

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
        lines = [f'[Epoch {epoch}] training: loss={facts["metrics"]["loss"]:f}',
                 f'[Epoch {epoch}] speed: {facts["speed"]:.2f} samples/sec\ttime cost: {facts["time"]:f}']
        if metrics:
            lines += [f'Epoch {epoch} validation pixAcc: {metrics["pix_acc"]:.3f}, mIoU: {metrics["miou"]:.3f}',
                      '[Epoch %d] exact: pixAcc %.4f %% mIoU %.4f %% of %d images, %s' % (
                          epoch, 100 * metrics['pix_acc'], 100 * metrics['miou'], metrics['num_images'],
                          protocol('crop', crop_size=self.config.crop_size))]
        return lines
