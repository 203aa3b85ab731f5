"""The record of a run: its log, ``log.jsonl``, ``run.json``, the progress bar and TensorBoard, all in SAVE_DIR."""
import contextlib
import json
import logging
import math
import os
import sys
import time

from tqdm import tqdm

import gluon_tricks
from gluon_tricks.errors import UsageError
from gluon_tricks.files import remedy_for, unwritable, write_whole
from gluon_tricks.training.history import scalars, step_of

_logger = logging.getLogger('gluon_tricks')  # a program prints what it is given: commands.console


def finite(value):
    """Value as JSON can hold it: a float that is not finite becomes text."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if hasattr(value, 'item'):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def write_json(path, content):
    """Write a JSON file atomically."""
    write_whole(path, (json.dumps(finite(content), indent=1) + '\n').encode())


class Record:
    """Takes every line, figure and result of a run.

    save_dir: made if it is not there; config: the resolved TrainConfig; logs are appended to. On a terminal a
    progress bar shows images/s, loss, learning rate and the time left; elsewhere there are plain lines only. check():
    called before anything is written; raises UsageError where SAVE_DIR is not this run's any more. Raises UsageError
    when SAVE_DIR cannot be written.
    """

    def __init__(self, config, check=lambda: None):
        from gluon_tricks.compat import environment  # MXNet: who only reads a run's files does without
        self.save_dir, self.check = config.save_dir, check
        self.last_checkpoint = None
        self._bar, self._board = None, None
        try:
            os.makedirs(self.save_dir, exist_ok=True)
            self._log = _appended(os.path.join(self.save_dir, config.logging_file))
            self._events = _appended(os.path.join(self.save_dir, 'log.jsonl'))
        except OSError as error:
            raise UsageError(f'--save-dir {self.save_dir} cannot be written ({error.strerror}): choose another'
                             ) from error
        self._run = {'gluon_tricks': gluon_tricks.__version__, 'command': config.command(),
                     'config': config.to_dict(), 'environment': environment(), 'started': _now(), 'status': 'running'}
        if config.tensorboard:
            self._board = tensorboard(os.path.join(self.save_dir, 'tensorboard'))
        self._write()

    def _write(self):
        self.check()
        path = os.path.join(self.save_dir, 'run.json')
        try:
            write_json(path, self._run)
        except OSError as error:
            raise unwritable(path, error, f'{remedy_for(error)}, and resume with --resume auto') from error

    def line(self, text):
        """One line of the log, to the logger ``gluon_tricks`` and to the file. Raises UsageError for the file."""
        try:
            _logger.log(logging.WARNING if text.startswith('Warning: ') else logging.INFO, text)
        except OSError:  # who read the console has gone, as `| tee` does at Ctrl-C; the run continues
            self._leave_console()
        self._append(self._log, text)

    def _leave_console(self):
        """Discard what is for the console, the errors as well where it was a terminal with the bar."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1,) if self._bar is None else (1, 2):
            os.dup2(nowhere, number)
        os.close(nowhere)
        self._bar = None

    @contextlib.contextmanager
    def _drawing(self):
        """Around what draws the bar: its terminal may be closed, as by a lost connection."""
        try:
            yield self._bar
        except OSError:
            self._leave_console()

    def _append(self, stream, text):
        self.check()
        try:
            stream.write(text + '\n')
            stream.flush()
        except OSError as error:
            raise unwritable(stream.name, error, f'{remedy_for(error)}, and resume with --resume auto') from error

    def event(self, kind, **values):
        """One object of log.jsonl; its numbers also go to TensorBoard."""
        self._append(self._events, json.dumps(finite(dict(values, event=kind, time_stamp=time.time()))))
        if self._board is not None:
            for name, value in scalars(kind, finite(values)):
                self._board.add_scalar(name, value, step_of(values))

    def saved(self, path):
        """Take note of the newest checkpoint."""
        self.last_checkpoint = path

    def facts(self, **facts):
        """Add facts about the run (data, devices, parameters) to run.json."""
        self._run.update(facts)
        self._write()

    # -- progress bar -----------------------------------------------------------------------------------------------

    def begin_run(self, images, done):
        """The bar counts images over the whole run: `images` in all, `done` before this start."""
        if self._bar is not None:  # the run was rewound
            self._bar.close()
        if sys.stderr.isatty():
            self._bar = tqdm(total=images, initial=done, unit='img', unit_scale=True, dynamic_ncols=True,
                             mininterval=0.5, file=sys.stderr, smoothing=0.05)

    def begin_epoch(self, epoch, total_batch_size):
        self._images_per_update = total_batch_size
        if self._bar is not None:
            self._bar.set_description(f'epoch {epoch}', refresh=False)

    def progress(self, update=None, lr=None, metrics=None):
        """After each update its learning rate; at each log interval the metrics."""
        if self._bar is None:
            return
        if metrics:
            self._loss = metrics.get('loss')
        if update is not None:
            loss = getattr(self, '_loss', None)
            with self._drawing() as bar:
                bar.set_postfix_str('%slr=%.4g' % ('' if loss is None else f'loss={loss:.3f} ', lr), refresh=False)
                bar.update(self._images_per_update)

    def end_epoch(self):
        if self._bar is not None:
            with self._drawing() as bar:
                bar.refresh()

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self, status, **result):
        """Write run.json for the last time: status ``finished`` with the result, or why the run stopped."""
        self._run.update(result, status=status, ended=_now())
        self._write()

    def close(self):
        if self._bar is not None:
            with self._drawing() as bar:
                bar.close()
            self._bar = None
        if self._board is not None:
            self._board.close()
        for stream in (self._log, self._events):
            with contextlib.suppress(OSError):  # it was told when it was written
                stream.close()


class Silence:
    """The record of a worker that is not the first: takes everything and writes nothing."""

    last_checkpoint = None

    def __init__(self, config):
        self.save_dir = config.save_dir

    def __getattr__(self, name):
        return lambda *arguments, **values: None


def _appended(path):
    """A text file to append to; a last line that was cut short, as by a full disk, ends where it was cut."""
    stream = open(path, 'a', encoding='utf-8', errors='backslashreplace')
    if os.path.getsize(path):
        with open(path, 'rb') as before:
            before.seek(-1, os.SEEK_END)
            torn = before.read() != b'\n'
        if torn:
            stream.write('\n')
            stream.flush()
    return stream


def _now():
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())


def tensorboard(folder, flag='--tensorboard'):
    """tensorboardX's writer of a folder. Raises UsageError, which names the flag, where there is no such package."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError(f"{flag} needs the package tensorboardX: type `pip install '.[tensorboard]'`") from error
    return SummaryWriter(folder)
