"""Which checkpoints a run keeps, which of them is the best, and where a run goes on."""
import math
import os
import time

from gluon_tricks import checkpoint
from gluon_tricks.distributed import Workers
from gluon_tricks.errors import UsageError

# Options that may differ between a run and its resumption: they change no number.
FREE_ON_RESUME = ('resume', 'save_dir', 'save_frequency', 'log_interval', 'logging_file', 'tensorboard', 'data_dir',
                  'rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx', 'use_rec', 'workers', 'checkpoint_minutes',
                  'stall_minutes', 'divergence_factor', 'on_divergence', 'max_rewinds')


def find_to_resume(config, workers=1):
    """((path, manifest) or None, notices): where a run with this configuration starts.

    ``config.resume``: '' starts anew, 'auto' goes on from the newest whole checkpoint in ``config.save_dir``, else it
    names a checkpoint. workers: how many train. Raises UsageError where a new run would write over another one, where
    the checkpoint is damaged, and where it was made with other options (the first that differs is named) or by another
    number of workers.
    """
    if config.resume in ('', 'auto'):
        path, manifest, damaged = checkpoint.find(config.save_dir)
        if not config.resume:
            if path or damaged:
                raise UsageError('--save-dir %s holds the checkpoints of another run: add --resume auto to go on with '
                                 'it, or give another --save-dir' % config.save_dir)
            return None, []
        notices = ['Warning: %s' % sentence for sentence in damaged]
        if path is None:
            return None, notices + ['--resume auto: no checkpoint in %s, the run starts at its beginning'
                                    % config.save_dir]
    else:
        path, notices = os.path.realpath(config.resume), []
        manifest = checkpoint.read(path)
        _check_place(config, path)
    missing = [name for name in ('best', 'metrics', 'monitor', 'scaler', 'rewinds') if name not in manifest]
    if missing:
        raise UsageError('checkpoint %s is not one of a run: its manifest has no %s; give another' % (path, missing[0]))
    for name, value in config.to_dict().items():
        before = manifest['config'].get(name)
        if name not in FREE_ON_RESUME and before != value:
            raise UsageError('--resume %s: %s is %s now and was %s in %s; give the value of before, or start a new run '
                             'with another --save-dir' % (config.resume, name, value, before, path))
    before = manifest.get('workers', 1)
    if before != workers:
        raise UsageError('--resume %s: %s was trained by %d workers, and there are %d now; start as many, or start a '
                         'new run with another --save-dir' % (config.resume, path, before, workers))
    batch = manifest['batch']
    notices.append('resumed from %s: %d of %d epochs are done%s' % (
        path, manifest['epoch'] + (batch is None), config.num_epochs,
        '' if batch is None else ', and %d updates of the next' % batch))
    return (path, manifest), notices


def _check_place(config, path):
    """Raise UsageError where going on from the checkpoint `path` would mix its run with what SAVE_DIR holds."""
    others = checkpoint.names(config.save_dir)
    if os.path.realpath(config.save_dir) == os.path.dirname(path):
        named = checkpoint.position_of(os.path.basename(path))
        others = [name for name in others if checkpoint.position_of(name) > named]
    if others:
        raise UsageError('--resume %s: --save-dir %s also holds %s, which would be lost; give another --save-dir'
                         % (config.resume, config.save_dir, others[-1]))


def is_good(manifest):
    """Whether a run may go back to this checkpoint after a divergence: no loss was too high then."""
    return not (manifest['monitor'] or {}).get('high')


class Keeper:
    """Saves a checkpoint after each epoch, points `best` to the best, exports GluonCV's file names, prunes the rest.

    task: its ``headline`` is the metric that decides which is best, higher is better; ``file_name(epoch, metrics)`` is
    GluonCV's name of an epoch's weights, ``best_file_name(epoch, metrics)`` that of the best. facts: JSON values for
    every manifest. Kept are the latest two, the newest that a divergence may go back to, the best, the last, and every
    ``config.save_frequency``-th. Of several workers the first one writes.
    """

    def __init__(self, config, task, net, trainer, scaler, record, facts, resumed=None, workers=None):
        self.config, self.net, self.trainer, self.scaler = config, net, trainer, scaler
        self.task, self.record, self.workers = task, record, workers or Workers()
        self.facts = dict({'rewinds': 0}, **facts)
        manifest = resumed[1] if resumed else {'best': None, 'metrics': {}, 'epoch': None}
        self.best, self.metrics, self.epoch = manifest['best'], manifest['metrics'], manifest['epoch']
        record.last_checkpoint = resumed[0] if resumed else None
        self._saved = time.monotonic()
        self._good = os.path.basename(resumed[0]) if resumed and is_good(manifest) else None
        if resumed and not self.workers.rank:
            self._mend(resumed[0], manifest)

    def _mend(self, path, manifest):
        """Do again what a kill or a full disk kept from being done after the checkpoint: links and exports."""
        directory = self.config.save_dir
        best = self.best and os.path.join(directory, self.best['checkpoint'])
        if best and os.path.isdir(best):
            checkpoint.point(directory, 'best', self.best['checkpoint'])
            self._export(best, self.task.best_file_name(self.best['epoch'], self.best), again=False)
        if manifest['batch'] is None and self._stays(manifest['epoch']):
            self._export(path, self.task.file_name(manifest['epoch'], manifest['metrics']), again=False)

    def is_due(self):
        """Whether the last checkpoint is older than --checkpoint-minutes."""
        minutes = self.config.checkpoint_minutes
        return bool(minutes) and time.monotonic() - self._saved >= 60 * minutes

    def save(self, epoch, metrics, monitor=None):
        """Write the checkpoint of `epoch` with its validation metrics ({} without validation); returns its path.

        monitor: divergence.Monitor.state(). Metrics that are not finite are never the best.
        """
        self._saved = time.monotonic()
        if self.workers.rank:
            return None
        directory, headline = self.config.save_dir, self.task.headline
        name = checkpoint.name_of(epoch)
        better = bool(metrics) and math.isfinite(metrics[headline]) and (
            self.best is None or metrics[headline] > self.best[headline])
        if better:
            self.best = dict({key: value for key, value in metrics.items() if isinstance(value, (int, float))},
                             epoch=epoch, checkpoint=name)
        self.metrics, self.epoch = metrics, epoch
        path = checkpoint.save(directory, epoch, self.net, self.trainer, self._manifest(monitor))
        if better:
            checkpoint.point(directory, 'best', name)
            self._export(path, self.task.best_file_name(epoch, metrics))
        if self._stays(epoch):
            self._export(path, self.task.file_name(epoch, metrics))
        return self._prune(path, is_good({'monitor': monitor}))

    def save_inside(self, epoch, progress, monitor=None):
        """Write a checkpoint inside an epoch, where `progress` (loop.Progress.state) is; returns its path.

        Every worker calls it: each has its own running statistics and sums, which the first one writes.
        """
        self._saved = time.monotonic()
        statistics = checkpoint.device_statistics(self.net, self.workers)
        sums = self.task.sums.of_workers(self.workers)
        if self.workers.rank:
            return None
        manifest = dict(self._manifest(monitor), progress=progress, sums=sums)
        path = checkpoint.save(self.config.save_dir, epoch, self.net, self.trainer, manifest, progress['batch'],
                               statistics)
        return self._prune(path, is_good(manifest))

    def _export(self, path, name, again=True):
        target = os.path.join(self.config.save_dir, name)
        if again or not os.path.exists(target):
            checkpoint.export(path, target, self.config.save_dtype)

    def _manifest(self, monitor):
        return dict(self.facts, config=self.config.to_dict(), best=self.best, metrics=self.metrics, monitor=monitor,
                    scaler=self.scaler.state() if self.scaler else None)

    def _prune(self, path, good):
        directory, newest = self.config.save_dir, os.path.basename(path)
        known = checkpoint.names(directory)
        older = [name for name in known if checkpoint.position_of(name) < checkpoint.position_of(newest)]
        if good:
            self._good = newest
        kept = [newest, self._good] + older[-1:]
        checkpoint.prune(directory, [name for name in known if name in kept or self._keeps(name)])
        self.record.last_checkpoint = path
        return path

    def _stays(self, epoch):
        frequency = self.config.save_frequency
        return epoch == self.config.num_epochs - 1 or bool(frequency) and (epoch + 1) % frequency == 0

    def _keeps(self, name):
        epoch, batch = checkpoint.position_of(name)
        return math.isinf(batch) and self._stays(epoch) or bool(self.best) and name == self.best['checkpoint']

    @property
    def result(self):
        """The last epoch's figures for ``run.json``: the metrics that the task names, and the epoch."""
        numbers = {key: value for key, value in (self.metrics or {}).items() if key in self.task.result_names}
        return dict(numbers, epoch=self.epoch)
