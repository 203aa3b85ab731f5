"""The learning rate of a detector's training: Detectron's warmup, then steps (paper section 6.1).

The paper: "linear warmup and long training schedule", without numbers. Standard library only.
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class DetectionSchedule:
    """``schedule(update) -> lr``; updates count from 1.

    Warmup rises from `warmup_factor` * lr at the first update to lr after `warmup_updates` more; then every epoch in
    `decay_epochs` multiplies by `decay_factor`. GluonCV cuts a warmup that is longer than the first epoch, and goes on
    with the rate that it had reached; here warmup continues.
    """

    lr: float
    updates_per_epoch: int
    decay_epochs: tuple = (14, 20)
    decay_factor: float = 0.1
    warmup_updates: int = 0
    warmup_factor: float = 1.0 / 3.0

    def __call__(self, update):
        done = max(update - 1, 0)
        drops = sum(epoch * self.updates_per_epoch <= done for epoch in self.decay_epochs)
        lr = self.lr * self.decay_factor ** drops
        if done < self.warmup_updates:
            share = done / self.warmup_updates
            lr *= self.warmup_factor * (1 - share) + share
        return lr
