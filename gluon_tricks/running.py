"""One training run, whatever the task: resumed, recorded, kept, and ended with an exit code."""
from gluon_tricks import checkpoint
from gluon_tricks.experiments.record import Record
from gluon_tricks.keeper import Keeper, find_to_resume
from gluon_tricks.loop import Diverged, fit
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.low_precision import LossScaler


class Run:
    """A run of a resolved configuration: made before the data are opened, so that a wrong --resume is told at once.

    Raises UsageError as `keeper.find_to_resume`.
    """

    def __init__(self, config):
        self.config = config
        self.resumed, self.notices = find_to_resume(config)
        self.scaler = None
        if config.dtype == 'float16':
            dynamic = config.loss_scale == 'dynamic'
            self.scaler = LossScaler() if dynamic else LossScaler(float(config.loss_scale), fixed=True)

    def train(self, task, net, trainer, devices, schedule, epochs, updates_per_epoch, total_batch_size, notices=(),
              start_epoch=0, manifest=None, **facts):
        """Algorithm 1, with everything around it; returns the exit code: 0, 3 for a diverged run, 130 for Ctrl-C.

        notices: lines for the log; manifest: JSON values for every checkpoint; facts: for run.json. start_epoch: where
        a run begins that is not resumed. Raises UsageError, which the record then tells as well.
        """
        config = self.config
        if self.resumed:
            path, stored = self.resumed
            checkpoint.restore(path, net, trainer)
            start_epoch = stored['epoch'] + 1
            if self.scaler:
                self.scaler.restore(stored['scaler'])
        record = Record(config)
        try:
            record.line('Namespace(%s)' % ', '.join('%s=%r' % pair for pair in sorted(config.to_dict().items())))
            for line in list(notices) + self.notices:
                record.line(line)
            record.facts(devices=[str(device) for device in devices], updates_per_epoch=updates_per_epoch, **facts)
            keeper = Keeper(config, task, net, trainer, self.scaler, record, manifest or {}, self.resumed)
            images = updates_per_epoch * total_batch_size
            record.begin_run(images * epochs, images * start_epoch)
            fit(task, trainer, devices, schedule, epochs, updates_per_epoch, total_batch_size, config.seed, record,
                keeper.save, self.scaler, start_epoch, config.log_interval)
            record.finish('finished', result=keeper.result, best=keeper.best)
            if task.headline in keeper.result:
                record.line(task.result_line(keeper.result, keeper.best))
            record.line('In %s: run.json, log.jsonl, latest/net.params, best/net.params' % record.save_dir)
            return 0
        except Diverged as error:
            record.finish('diverged', reason=str(error))
            record.line('error: %s' % error)
            return 3
        except KeyboardInterrupt:
            record.finish('interrupted')
            record.line('interrupted: go on with %s' % config.replace(resume='auto').command())
            return 130
        except UsageError as error:
            record.finish('failed', reason=str(error))
            raise
        finally:
            record.close()
