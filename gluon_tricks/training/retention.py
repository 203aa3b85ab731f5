"""Which checkpoints a run keeps, and which of them is the best."""
import math
import os
import time

from gluon_tricks.training import checkpoint


def is_good(manifest):
    """Whether a run may go back to this checkpoint after a divergence: no loss was too high then."""
    monitor = manifest.get('monitor')
    return not (isinstance(monitor, dict) and monitor.get('high'))


def most_kept(config):
    """How many checkpoints of a run there are at its end, at most: every ``save_frequency``-th, the last two, and a
    best that is none of these. While one is written there is one more."""
    last = config.num_epochs - 1
    stay = {epoch for epoch in range(config.num_epochs) if stays(config, epoch)} | {last, max(last - 1, 0)}
    return min(len(stay) + 1, config.num_epochs)


def exported_bytes(config, weights):
    """Bytes of the exported weights beside the checkpoints at the end of a run, at most: where each epoch is the best
    so far, whose file is never removed. weights: bytes of a checkpoint's net.params, float32.

    A file that is a link to a checkpoint's takes room of its own once that is pruned; in float16 each is a file.
    """
    if config.save_dtype == 'float16':
        return (config.num_epochs + sum(stays(config, epoch) for epoch in range(config.num_epochs))) * weights // 2
    return (config.num_epochs - most_kept(config)) * weights


def checkpoint_bytes(params, dtype):
    """Bytes of a checkpoint of a network with this many parameters: float32 weights and momentum, and in float16 the
    optimizer's masters. Running statistics, a hundredth of them, and the manifest are not counted."""
    return (3 if dtype == 'float16' else 2) * 4 * params


def stays(config, epoch):
    """Whether the checkpoint of an epoch stays to the end of the run: every ``save_frequency``-th, and the last."""
    frequency = config.save_frequency
    return epoch == config.num_epochs - 1 or bool(frequency) and (epoch + 1) % frequency == 0


def _later(save_dir, path):
    """Names of the checkpoints in SAVE_DIR that are further than `path`, one of them."""
    if os.path.realpath(save_dir) != os.path.dirname(os.path.realpath(path)):
        return []
    name = os.path.basename(os.path.realpath(path))
    return [other for other in checkpoint.names(save_dir) if checkpoint.is_name(name)
            and checkpoint.position_of(other) > checkpoint.position_of(name)]


class Keeper:
    """Saves a checkpoint after each epoch, points `best` to the best, exports GluonCV's file names, prunes the rest.

    task: its ``headline`` is the metric that decides which is best, higher is better; ``file_name(epoch, metrics)`` is
    GluonCV's name of an epoch's weights, ``best_file_name(epoch, metrics)`` that of the best. facts: JSON values for
    every manifest. Kept are the latest two, the newest that a divergence may go back to, the best, the last, and every
    ``config.save_frequency``-th; and those that a resumed run could not use, until it is further than they are. Of
    several workers the first one, of rank 0, writes.
    """

    def __init__(self, config, task, record, facts, resumed=None, rank=0):
        self.config, self.task, self.record, self.facts, self.rank = config, task, record, facts, rank
        manifest = resumed[1] if resumed else {'best': None, 'metrics': {}, 'epoch': None}
        self.best, self.metrics, self.epoch = manifest['best'], manifest['metrics'], manifest['epoch']
        if resumed:
            record.saved(resumed[0])
        self._saved = time.monotonic()
        self._good = os.path.basename(resumed[0]) if resumed and is_good(manifest) else None
        self._unused = _later(config.save_dir, resumed[0]) if resumed else []
        if resumed and not rank:
            self._mend(resumed[0], manifest)

    def _mend(self, path, manifest):
        """Do again what a kill or a full disk kept from being done after the checkpoint: links and exports."""
        directory = self.config.save_dir
        best = self.best and os.path.join(directory, self.best['checkpoint'])
        if best and os.path.isdir(best):
            checkpoint.point(directory, 'best', self.best['checkpoint'])
            self._export(best, self.task.best_file_name(self.best['epoch'], self.best), again=False)
        if manifest['batch'] is None and stays(self.config, manifest['epoch']):
            self._export(path, self.task.file_name(manifest['epoch'], manifest['metrics']), again=False)

    def is_due(self):
        """Whether the last checkpoint is older than --checkpoint-minutes."""
        minutes = self.config.checkpoint_minutes
        return bool(minutes) and time.monotonic() - self._saved >= 60 * minutes

    def save(self, state, metrics):
        """Write the checkpoint of an epoch with its validation metrics ({} without validation); returns its path.

        state: state.TrainState. Metrics that are not finite are never the best.
        """
        self._saved = time.monotonic()
        if self.rank:
            return None
        self.record.check()
        directory, headline, epoch = self.config.save_dir, self.task.headline, state.epoch
        name = checkpoint.name_of(epoch)
        better = bool(metrics) and math.isfinite(metrics[headline]) and (
            self.best is None or metrics[headline] > self.best[headline])
        if better:
            self.best = dict({key: value for key, value in metrics.items() if isinstance(value, (int, float))},
                             epoch=epoch, checkpoint=name)
        self.metrics, self.epoch = metrics, epoch
        manifest = self._manifest(state.manifest_fields())
        path = checkpoint.save(directory, name, state.arrays(), manifest)
        if better:
            checkpoint.point(directory, 'best', name)
            self._export(path, self.task.best_file_name(epoch, metrics))
        if stays(self.config, epoch):
            self._export(path, self.task.file_name(epoch, metrics))
        return self._prune(path, is_good(manifest))

    def save_inside(self, state):
        """Write a checkpoint inside an epoch; returns its path.

        Every worker calls it: each has its own running statistics and sums, which the first one writes.
        """
        self._saved = time.monotonic()
        arrays, figures = state.arrays(inside=True), state.manifest_fields(inside=True)
        if self.rank:
            return None
        self.record.check()
        manifest = self._manifest(figures)
        name = checkpoint.name_of(state.epoch, figures['batch'])
        return self._prune(checkpoint.save(self.config.save_dir, name, arrays, manifest), is_good(manifest))

    def _export(self, path, name, again=True):
        target = os.path.join(self.config.save_dir, name)
        if again or not os.path.exists(target):
            checkpoint.export(path, target, self.config.save_dtype)

    def _manifest(self, figures):
        return dict(self.facts, config=self.config.to_dict(), best=self.best, metrics=self.metrics, **figures)

    def _prune(self, path, good):
        directory, newest = self.config.save_dir, os.path.basename(path)
        known = checkpoint.names(directory)
        older = [name for name in known if checkpoint.position_of(name) < checkpoint.position_of(newest)]
        if good:
            self._good = newest
        kept = [newest, self._good] + older[-1:] + [
            name for name in self._unused if checkpoint.position_of(name) > checkpoint.position_of(newest)]
        checkpoint.prune(directory, [name for name in known if name in kept or self._keeps(name)])
        self.record.saved(path)
        return path

    def _keeps(self, name):
        epoch, batch = checkpoint.position_of(name)
        return math.isinf(batch) and stays(self.config, epoch) or bool(self.best) and name == self.best['checkpoint']

    @property
    def result(self):
        """The last epoch's figures for ``run.json``: the metrics that the task names, and the epoch."""
        numbers = {key: value for key, value in (self.metrics or {}).items() if key in self.task.result_names}
        return dict(numbers, epoch=self.epoch)
