"""Which checkpoints a run keeps, which of them is the best, and where a run goes on."""
import os

from gluon_tricks import checkpoint
from gluon_tricks.errors import UsageError

# Options that may differ between a run and its resumption: they change no number.
FREE_ON_RESUME = ('resume', 'save_dir', 'save_frequency', 'log_interval', 'logging_file', 'tensorboard', 'data_dir',
                  'rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx', 'use_rec', 'workers')


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
    for name, value in config.to_dict().items():
        before = manifest['config'].get(name)
        if name not in FREE_ON_RESUME and before != value:
            raise UsageError('--resume %s: %s is %s now and was %s in %s; give the value of before, or start a new run '
                             'with another --save-dir' % (config.resume, name, value, before, path))
    before = manifest.get('workers', 1)
    if before != workers:
        raise UsageError('--resume %s: %s was trained by %d workers, and there are %d now; start as many, or start a '
                         'new run with another --save-dir' % (config.resume, path, before, workers))
    notices.append('resumed from %s: %d of %d epochs are done' % (path, manifest['epoch'] + 1, config.num_epochs))
    return (path, manifest), notices


class Keeper:
    """Saves a checkpoint after each epoch, points `best` to the best, exports GluonCV's file names, prunes the rest.

    task: its ``headline`` is the metric that decides which is best, higher is better; ``file_name(epoch, metrics)`` is
    GluonCV's name of an epoch's weights, ``best_file_name(epoch, metrics)`` that of the best. facts: JSON values for
    every manifest. Kept are the latest two, the best, the last, and every ``config.save_frequency``-th.
    """

    def __init__(self, config, task, net, trainer, scaler, record, facts, resumed=None):
        self.config, self.net, self.trainer, self.scaler = config, net, trainer, scaler
        self.task, self.record, self.facts = task, record, facts
        manifest = resumed[1] if resumed else {'best': None, 'metrics': {}, 'epoch': None}
        self.best, self.metrics, self.epoch = manifest['best'], manifest['metrics'], manifest['epoch']
        record.last_checkpoint = resumed[0] if resumed else None

    def save(self, epoch, metrics):
        """Write the checkpoint of `epoch` with its validation metrics ({} without validation); returns its path."""
        directory = self.config.save_dir
        name = checkpoint.name_of(epoch)
        better = bool(metrics) and (self.best is None or metrics[self.task.headline] > self.best[self.task.headline])
        if better:
            self.best = dict({key: value for key, value in metrics.items() if isinstance(value, (int, float))},
                             epoch=epoch, checkpoint=name)
        self.metrics, self.epoch = metrics, epoch
        path = checkpoint.save(directory, epoch, self.net, self.trainer, dict(
            self.facts, config=self.config.to_dict(), best=self.best, metrics=metrics,
            scaler=self.scaler.state() if self.scaler else None), self.config.save_dtype)
        if better:
            checkpoint.point(directory, 'best', name)
            checkpoint.export(path, os.path.join(directory, self.task.best_file_name(epoch, metrics)))
        if self._stays(epoch):
            checkpoint.export(path, os.path.join(directory, self.task.file_name(epoch, metrics)))
        checkpoint.prune(directory, [other for other in checkpoint.names(directory) if self._keeps(other, epoch)])
        self.record.last_checkpoint = path
        return path

    def _stays(self, epoch):
        frequency = self.config.save_frequency
        return epoch == self.config.num_epochs - 1 or bool(frequency) and (epoch + 1) % frequency == 0

    def _keeps(self, name, epoch):
        other = checkpoint.epoch_of(name)
        return self._stays(other) or other >= epoch - 1 or bool(self.best) and name == self.best['checkpoint']

    @property
    def result(self):
        """The last epoch's figures for ``run.json``: the metrics that the task names, and the epoch."""
        numbers = {key: value for key, value in (self.metrics or {}).items() if key in self.task.result_names}
        return dict(numbers, epoch=self.epoch)
