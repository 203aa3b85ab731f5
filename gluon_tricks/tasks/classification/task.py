"""The classification task: what happens to a batch, in one visible order (paper sections 2.1, 5.2 to 5.4).

label -> smoothed target (5.2) -> mixup or CutMix of images and targets (5.4) -> Cutout -> the teacher's answer (5.3)
-> network -> loss in float32. Evaluation is exact: every validation image is counted once.
"""
import collections

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.distributed.workers import Workers
from gluon_tricks.losses import cross_entropy
from gluon_tricks.models.compiled import Compiled
from gluon_tricks.models.zoo import draws
from gluon_tricks.tasks.classification.evaluation import evaluate
from gluon_tricks.tasks.gluoncv_log import ClassificationLog
from gluon_tricks.training.sums import Sums
from gluon_tricks.training.task import Task
from gluon_tricks.tricks.cutmix import cutmix, sample_box
from gluon_tricks.tricks.cutout import cutout, sample_centres
from gluon_tricks.tricks.distillation import distillation_loss
from gluon_tricks.tricks.label_smoothing import smooth_labels
from gluon_tricks.tricks.mixup import mix, sample_lam, sample_partner

Mixing = collections.namedtuple('Mixing', 'kind lam box partners')
Shard = collections.namedtuple('Shard', 'device x target label partner_label lam teacher_output')


class Classification(ClassificationLog, Task):
    """Images and labels to a loss, and exact top-1 / top-5.

    net, teacher: blocks whose outputs are (B, K) scores; config: a resolved TrainConfig; train_stream, eval_stream:
    data.pipeline streams (eval_stream None: no evaluation); precision: tricks.low_precision.precision(...);
    workers: distributed.Workers; each draws other numbers, and the metrics are of the images of all.
    """

    def __init__(self, net, config, devices, train_stream, eval_stream, precision, teacher=None, workers=None):
        self.net, self.teacher, self.config, self.devices = net, teacher, config, devices
        self._compiled, self._compiled_teacher = Compiled(net), Compiled(teacher)
        self.train_stream, self.eval_stream = train_stream, eval_stream
        self.precision, self.workers = precision, workers or Workers()
        self.seed, self.epoch, self.sums = config.seed, 0, Sums(2)
        self.draws = draws(net)

    # -- data and draws ---------------------------------------------------------------------------------------------

    def reseed(self, seed):
        self.seed = seed
        self.train_stream.reseed(seed)

    def batches(self, epoch, first=0):
        self.epoch = epoch
        return self.train_stream.epoch(epoch, first)

    @property
    def mixes(self):
        """Whether this epoch mixes images (the last ``mixup_off_epoch`` epochs do not)."""
        config = self.config
        return (config.mixup or config.cutmix) and self.epoch < config.num_epochs - config.mixup_off_epoch

    def draw(self, update):
        """Draw for one update of this worker: one lambda for all its devices, as GluonCV does; for each device partners
        within its own part of the batch. Other workers draw others."""
        config = self.config
        rng = np.random.RandomState([self.seed, update, self.workers.rank])
        self.mixing = Mixing('none', 1.0, None, None)
        if self.mixes:
            use_cutmix = config.cutmix and (not config.mixup or rng.random_sample() < 0.5)
            lam = sample_lam(config.cutmix_alpha if use_cutmix else config.mixup_alpha, rng)
            box = None
            if use_cutmix:
                y0, y1, x0, x1, lam = sample_box(config.input_size, config.input_size, lam, rng)
                box = (y0, y1, x0, x1)
            partners = [sample_partner(config.batch_size, rng, config.mixup_pairs) for _ in self.devices]
            self.mixing = Mixing('cutmix' if use_cutmix else 'mixup', lam, box, partners)
        if config.cutout:
            self.centres = [sample_centres(config.batch_size, config.input_size, config.input_size, rng)
                            for _ in self.devices]

    def preprocess(self, batch, update):
        """One Shard per device: mixed images (B, 3, H, W), targets (B, K), and what the metrics need."""
        self.draw(update)
        return [self._shard(number, x, label) for number, (x, label) in enumerate(batch.shards(self.devices))]

    def _shard(self, number, x, label):
        config, mixing = self.config, self.mixing
        epsilon = config.epsilon if config.label_smoothing else 0.0
        target = smooth_labels(label, config.num_classes, epsilon, config.smoothing)
        partner_label = label
        if mixing.kind != 'none':
            partner = mx.nd.array(mixing.partners[number], ctx=label.context, dtype='int32')
            partner_label = label.take(partner)
            target = mix(target, mixing.lam, partner)
            x = cutmix(x, partner, mixing.box) if mixing.kind == 'cutmix' else mix(x, mixing.lam, partner)
        if config.cutout:
            x = cutout(x, self.centres[number], config.cutout)
        x = self.precision.cast_input(x)
        teacher_output = None
        if self.teacher is not None:
            with mx.autograd.predict_mode():  # BatchNorm and dropout as in evaluation
                teacher_output = self._compiled_teacher(x)
        return Shard(number, x, target, label, partner_label, mixing.lam, teacher_output)

    # -- loss and metrics -------------------------------------------------------------------------------------------

    def loss(self, shard):
        """(B,) losses of one device, float32; also adds to the device's metrics, without waiting for it."""
        output = self._compiled(shard.x)
        if shard.teacher_output is None:
            loss = cross_entropy(output, shard.target)
        else:
            loss = distillation_loss(output, shard.target, shard.teacher_output, self.config.temperature,
                                     self.config.distill_loss, self.config.hard_weight)
        with mx.autograd.pause():
            self._add(shard, output, loss)
        return loss

    def _add(self, shard, output, loss):
        best = output.astype('float32', copy=False).argmax(axis=1)
        hits = shard.lam * (best == shard.label) + (1 - shard.lam) * (best == shard.partner_label)
        self.sums.add(shard.device, [loss.sum(), hits.sum()], shard.label.shape[0])

    @property
    def metric_names(self):
        return self.accuracy_name, 'loss'

    def train_metrics(self):
        """{accuracy, loss} of the images of all workers since the last call. Waits for them."""
        rows, images = self.sums.read()
        total = self.workers.gather(np.append(rows.sum(axis=0), images)).sum(axis=0)
        return collections.OrderedDict([(self.accuracy_name, total[1] / total[2]), ('loss', total[0] / total[2])])

    # -- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, beat=lambda: None):
        """Exact validation metrics, {} without validation data (see `evaluate`)."""
        if self.eval_stream is None:
            return {}
        return evaluate(self.net, self.eval_stream, self.devices, self.precision, beat)
