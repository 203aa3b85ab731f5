"""One training run, whatever the task: resumed, recorded, kept, and ended with an exit code."""
from gluon_tricks import checkpoint
from gluon_tricks.distributed import Workers
from gluon_tricks.experiments.record import Record, Silence
from gluon_tricks.keeper import Keeper, find_to_resume
from gluon_tricks.loop import Diverged, fit
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.low_precision import LossScaler


class Run:
    """A run of a resolved configuration: made before the data are opened, so that a wrong --resume is told at once.

    workers: distributed.Workers; all of them compute the run, and the first writes it down. Raises UsageError as
    `keeper.find_to_resume`, and where the workers do not find the same checkpoint.
    """

    def __init__(self, config, workers=None):
        self.config, self.workers = config, workers or Workers()
        self.resumed, self.notices = find_to_resume(config, self.workers.number)
        found = int(self.resumed[1]['digest'][:12], 16) if self.resumed else -1
        self.workers.check_same([found], 'another checkpoint', '--save-dir %s must be on a disk that all workers share'
                                % config.save_dir)
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
        config, workers = self.config, self.workers
        if self.resumed:
            path, stored = self.resumed
            checkpoint.restore(path, net, trainer)
            start_epoch = stored['epoch'] + 1
            if self.scaler:
                self.scaler.restore(stored['scaler'])
        record = (Silence if workers.rank else Record)(config)
        try:
            record.line('Namespace(%s)' % ', '.join('%s=%r' % pair for pair in sorted(config.to_dict().items())))
            for line in list(notices) + self.notices:
                record.line(line)
            record.facts(devices=[str(device) for device in devices], updates_per_epoch=updates_per_epoch,
                         workers=workers.number, **facts)
            keeper = Keeper(config, task, net, trainer, self.scaler, record,
                            dict(manifest or {}, workers=workers.number), self.resumed)
            images = updates_per_epoch * total_batch_size
            record.begin_run(images * epochs, images * start_epoch)
            seed = config.seed + 104729 * workers.rank  # of dropout and sampling
            save = (lambda epoch, metrics: None) if workers.rank else keeper.save
            fit(task, trainer, devices, schedule, epochs, updates_per_epoch, total_batch_size, seed, record, save,
                self.scaler, start_epoch, config.log_interval, lambda: workers.average(trainer._params))
            workers.finish()
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
