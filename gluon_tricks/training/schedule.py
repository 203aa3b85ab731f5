"""The learning rate of every update: warmup, then step, cosine or poly decay (paper sections 2.1, 3.1, 5.1, Figure 3a).

Three forms:

* 'paper': warmup i * lr / m; then t = 0 .. T - 1 in the decay; a step falls at the first update of its epoch.
* 'gluoncv-2018': as GluonCV's script of 2018, which trained the published networks: warmup (i - 1) * lr / m, the rest
  as 'paper'.
* 'gluoncv': as GluonCV's script today: warmup i * lr / (m - 1), every later value one update early, cosine and poly
  at 0 for the last two updates.
"""
import math
from dataclasses import dataclass

from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.cosine_decay import cosine_lr
from gluon_tricks.tricks.warmup import FORMS, warmup_lr

MODES = ('step', 'cosine', 'poly')


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a pure function of the update: ``schedule(update) -> lr``.

    ``lr`` is the rate at the end of the warmup. ``updates_per_epoch`` counts batches over all devices.
    ``decay_epochs`` (mode 'step') count from the start of training, warmup included, as the paper's 30, 60, 90; epochs
    that never come are no error. ``power`` is for mode 'poly', lr * (1 - t / T) ** power. Raises `UsageError` for a
    value that makes no schedule.

    Fit for MXNet's ``lr_scheduler``: it holds nothing but these values, so it cannot come out of step on a resume.
    """

    lr: float
    mode: str
    updates_per_epoch: int
    epochs: int
    warmup_epochs: int = 0
    decay_epochs: tuple = (30, 60, 90)
    decay_factor: float = 0.1
    power: float = 2
    form: str = 'paper'

    def __post_init__(self):
        for name, value, known in (('mode', self.mode, MODES), ('form', self.form, FORMS)):
            if value not in known:
                raise UsageError(f'{name} (={value!r}) must be one of {", ".join(known)}')
        for name, value in (('lr', self.lr), ('decay_factor', self.decay_factor), ('power', self.power)):
            if not 0 < value < math.inf:
                raise UsageError(f'{name} (={value}) must be a positive number')
        if self.updates_per_epoch < 1:
            raise UsageError(f'updates_per_epoch (={self.updates_per_epoch}) must be at least 1: a total batch size '
                             'larger than the training set leaves no update; lower --batch-size')
        if self.epochs < 1:
            raise UsageError(f'epochs (={self.epochs}) must be at least 1: raise --num-epochs')
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UsageError(f'warmup_epochs (={self.warmup_epochs}) must be at least 0 and smaller than epochs '
                             f'(={self.epochs}): lower --warmup-epochs or raise --num-epochs')
        increasing = all(a < b for a, b in zip((0,) + tuple(self.decay_epochs), self.decay_epochs))
        if not increasing:
            raise UsageError('decay_epochs (=%s) must be positive and increasing: give --lr-decay-epoch as 30,60,90'
                             % ','.join(str(epoch) for epoch in self.decay_epochs))
        if self.form == 'gluoncv' and self.mode != 'step' and self.total_updates - self.warmup_updates < 2:
            raise UsageError("form (='gluoncv') divides by the updates after the warmup less one, and there is only "
                             "one: take form 'paper' or raise --num-epochs")

    @property
    def total_updates(self):
        return self.updates_per_epoch * self.epochs

    @property
    def warmup_updates(self):
        return self.updates_per_epoch * self.warmup_epochs

    def __call__(self, update):
        """The learning rate of ``update``, 1 at the first, every batch counted.

        Before the first (MXNet asks for update 0 when nothing has run) the first one's, past the end the last one's.
        """
        update = min(max(update, 1), self.total_updates)
        if self.form == 'gluoncv':
            # It takes MXNet's 1-based count for a 0-based one, and holds the last value.
            done, last = min(update, self.total_updates - 1), self.total_updates - 1
        else:
            done, last = update - 1, self.total_updates
        if done < self.warmup_updates:
            return warmup_lr(update, self.lr, self.warmup_updates, self.form)
        if self.mode == 'step':
            decays = sum(epoch * self.updates_per_epoch <= done for epoch in self.decay_epochs)
            return self.lr * self.decay_factor ** decays
        t, total = done - self.warmup_updates, last - self.warmup_updates
        if self.mode == 'cosine':
            return cosine_lr(t, total, self.lr)
        return self.lr * (1 - t / total) ** self.power
