"""Stop signals and stalls: a run ends in order when it is told to, and does not wait for ever for what never comes."""
import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import sys
import threading
import time

STALLED = 4  # the exit code
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_APART = 2.0  # seconds: a batch system and a launcher may both pass on the same signal


class Stopped(BaseException):
    """A stop signal: `signal` is its number.

    >>> import signal
    >>> import gluon_tricks as gt
    >>> gt.Stopped(signal.SIGTERM).exit_code
    143
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal, self.exit_code = number, 128 + number


class Guard:
    """While it is entered, SIGINT, SIGTERM and SIGHUP ask for a stop; another one, seconds later, ends the process
    where it is. Under nohup SIGHUP stays unheard.

    `asked` is the first one's number, 0 before; the loop looks at it after each update. Where it may `interrupt`, as
    before the first update and in evaluation, the signal raises Stopped there and then. stall_minutes: without
    `beat()` this long, the stacks of all threads are written to SAVE_DIR/stacks.txt, and the process ends with code 4
    (0: never). resume_command: what the last words tell to type. In another thread than the first one there are no
    signals to hear.
    """

    def __init__(self, save_dir, stall_minutes=0.0, resume_command=''):
        self.save_dir, self.stall, self.resume_command = save_dir, 60 * stall_minutes, resume_command
        self.asked, self._interrupts, self._last, self._watches = 0, True, time.monotonic(), False
        self._owner = os.getpid()

    def interrupt(self, may):
        """Whether a signal from here on raises Stopped where the program is."""
        self._interrupts = may

    def beat(self):
        """There is progress."""
        self._last, self._watches = time.monotonic(), True

    def __enter__(self):
        self._ends = os.pipe()
        os.set_blocking(self._ends[1], False)
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS
                            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}
            # The number arrives in the pipe at once, even while Python waits for MXNet.
            self._wakeup = signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
            os.register_at_fork(after_in_child=self._leave)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *reason):
        if self._before is not None:
            signal.set_wakeup_fd(self._wakeup)
            for number, handler in self._before.items():
                signal.signal(number, handler)
        os.write(self._ends[1], b'\0')  # no signal's number: the thread ends
        self._thread.join()
        for end in self._ends:
            os.close(end)
        self._owner = None

    def _leave(self):
        """In a child that was forked, such as a loader's: it ends with its parent or by SIGTERM, and hears no signal
        that is for the parent's group."""
        if self._owner is not None and self._owner != os.getpid():
            self._owner = None
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.setpgid(0, 0)
            if sys.platform == 'linux':
                ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)

    def _hear(self, number, frame):
        if not self.asked:
            self.asked = number
            if self._interrupts:
                raise Stopped(number)

    def _watch(self):
        heard = None
        while True:
            ready, _, _ = select.select([self._ends[0]], [], [], min(max(self.stall / 10, 0.1), 10))
            for number in os.read(self._ends[0], 64) if ready else b'':
                if not number:
                    return
                if number in _SIGNALS and heard is None:
                    heard = time.monotonic()
                elif number in _SIGNALS and time.monotonic() - heard > _APART:
                    self._end(128 + number, f'stopped at once by a second {signal.Signals(number).name}')
            if self.stall and self._watches and time.monotonic() - self._last > self.stall:
                self._stalled()

    def _stalled(self):
        path = os.path.join(self.save_dir, 'stacks.txt')
        try:
            with open(path, 'w') as stream:
                faulthandler.dump_traceback(stream, all_threads=True)
        except OSError:
            path = 'stderr'
            faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
        self._end(STALLED, f'error: no progress for {self.stall / 60:g} minutes (--stall-minutes): the stacks of all '
                           f'threads are in {path}')

    def _end(self, code, words):
        """End the process, whatever its other threads are at; checkpoints are whole at any time."""
        with contextlib.suppress(OSError):  # nobody may read it any more
            os.write(2, (f'\n{words}; resume with {self.resume_command}\n').encode())
        os._exit(code)
