"""Runs at once: each a process of its own, started as a user would start it, until all of a ladder are finished.

Two ladders may work on one directory. Who starts a run has its claim, a lock of OUT/.ladder/NAME; the run itself has
the lock of its SAVE_DIR, so that one whose ladder was killed is not started twice. A process ends with its ladder,
after it has saved a checkpoint, and the next ladder resumes it there.
"""
import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from gluon_tricks.errors import UsageError
from gluon_tricks.files import Lock, python_path

_TICK = 0.1  # seconds between two looks at the processes
_AGAIN = 1.0  # seconds before a run that another ladder has is looked at again
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Job(NamedTuple):
    """One run. label: what it is called; folder: its SAVE_DIR; words: the command; size: by which the time that is left
    is reckoned; after: SAVE_DIR of the run that must be finished before, '' for none."""

    label: str
    folder: str
    words: Tuple[str, ...]
    size: float = 1.0
    after: str = ''


class _Process:
    """A job that runs; `code` is its exit code, None while it runs."""

    def __init__(self, job: Job, claim: Lock, threads: int):
        self.job, self.claim, self.began = job, claim, time.monotonic()
        self._errors = tempfile.TemporaryFile()
        try:  # in a session of its own: Ctrl-C is for the ladder, which passes it on once
            self._process = subprocess.Popen(
                job.words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors,
                start_new_session=True, preexec_fn=_ends_with(os.getpid()),
                env=dict(os.environ, OMP_NUM_THREADS=str(threads), PYTHONPATH=python_path()))
        except (OSError, subprocess.SubprocessError) as error:
            raise UsageError(f'{job.label} cannot be started ({error}): give a smaller --jobs, and type the command '
                             'again') from error

    @property
    def code(self) -> Optional[int]:
        return self._process.poll()

    def send(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self._process.send_signal(number)

    def end(self) -> str:
        """Let others have the run; returns the last line that the process, which has ended, wrote to stderr."""
        self._process.wait()
        self.claim.release()
        with self._errors as stream:
            stream.seek(0)
            lines = [line for line in stream.read().decode('utf-8', 'replace').splitlines() if line.strip()]
        return lines[-1].strip() if lines else 'it said nothing'


def _ends_with(parent):
    """For the child, before its program: SIGTERM when its parent, however that ends, is gone (Linux)."""
    prctl = getattr(ctypes.CDLL(None), 'prctl', None)

    def prepare():
        if prctl:
            prctl(_DIE_WITH_PARENT, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
    return prepare


def claim(out: str, name: str) -> Optional[Lock]:
    """The claim of a run in a ladder's directory, None while another ladder has it. Raises UsageError."""
    try:
        return Lock(os.path.join(out, '.ladder', name), name, '')
    except UsageError:
        return None
    except OSError as error:
        raise UsageError(f'--out {out} cannot be written ({error.strerror}): choose another directory') from error


def wait_for_claim(out: str, name: str) -> Lock:
    """The claim of a name in a ladder's directory, once no other ladder has it. Raises UsageError."""
    held = claim(out, name)
    while held is None:
        time.sleep(_TICK)
        held = claim(out, name)
    return held


def _is_trained(job):
    """Whether a process without a claim has the run, such as one that its killed ladder left, or the user's own."""
    if not os.path.isdir(job.folder):
        return False
    try:
        Lock(job.folder, '', '').release()
        return False
    except UsageError:
        return True


class Jobs:
    """Works off the runs of a ladder.

    out: the ladder's directory; at_once: as many run; threads: of each; finished(job): its result in words, None where
    it has none yet; say: takes a line of text. `failed` has those that ended with an error: {SAVE_DIR: exit code}.
    """

    def __init__(self, out: str, at_once: int, threads: int, finished: Callable[[Job], Optional[str]],
                 say: Callable[[str], None]):
        self.out, self.at_once, self.threads, self.finished, self.say = out, at_once, threads, finished, say
        self.failed: Dict[str, int] = {}
        self._running: List[_Process] = []
        self._later: Dict[str, float] = {}  # SAVE_DIR: when it is looked at again
        self._waits = False

    def work(self, jobs: Sequence[Job]) -> int:
        """Run what is missing; returns 0, the exit code of the first that failed, or 128 + a stop signal's number.

        Raises UsageError as `finished`, and where OUT cannot be written.
        """
        self._waiting, self._all, self._done = list(jobs), list(jobs), {}
        self._began, self._worked = time.monotonic(), 0.0
        with _heard() as signals:
            try:
                while (self._waiting or self._running) and not signals:
                    self._reap()
                    self._start()
                    time.sleep(_TICK)
            finally:
                self._stop(signals)
        if signals:
            self.say(f'stopped by {signal.Signals(signals[0]).name}: the same command resumes')
            return 128 + signals[0]
        return next(iter(self.failed.values()), 0)

    # -- those that begin -------------------------------------------------------------------------------------------

    def _start(self):
        now = time.monotonic()
        for job in [job for job in self._waiting if self._later.get(job.folder, 0) <= now]:
            if len(self._running) == self.at_once:
                return
            if job.after in self.failed:
                self._fail(job, self.failed[job.after], 'the run that it needs failed')
            elif not job.after or job.after in self._done:
                self._try(job)
        if self._waiting and not self._running and not self._waits:
            self._waits = True
            self.say(f'another ladder has what is left ({len(self._waiting)}): waiting for its end')

    def _try(self, job):
        """Start the run, unless another ladder has it or has finished it."""
        held = claim(self.out, os.path.basename(job.folder))
        try:
            if held and self._finish(job):
                return
            if held and not _is_trained(job):
                self._running.append(_Process(job, held, self.threads))
                self._waiting.remove(job)
                held = None
            else:
                self._later[job.folder] = time.monotonic() + _AGAIN
        finally:
            if held:
                held.release()

    # -- those that end ---------------------------------------------------------------------------------------------

    def _reap(self):
        for each in [each for each in self._running if each.code is not None]:
            self._running.remove(each)
            code, words = each.code, each.end()
            if not self._finish(each.job, time.monotonic() - each.began):
                self._fail(each.job, code if code > 0 else 128 - code if code else 1, words)

    def _finish(self, job, seconds=None):
        """Take note of a run that is finished; returns whether it is. seconds: since this ladder started it."""
        result = self.finished(job)
        if result is None:
            return False
        if job in self._waiting:
            self._waiting.remove(job)
        self._done[job.folder] = job
        if seconds is not None:
            self._worked += job.size
        took = 'it was there' if seconds is None else f'{seconds:.0f} s{self._left()}'
        self.say(f'[{len(self._done):{len(str(len(self._all)))}d}/{len(self._all)}] {job.label}: {result}; {took}')
        return True

    def _left(self):
        """The time that is left, by the sizes of what this ladder has run."""
        left = sum(job.size for job in self._all if job.folder not in self._done and job.folder not in self.failed)
        minutes = (time.monotonic() - self._began) * left / self._worked / 60
        return f'; about {minutes:.0f} min left' if left else ''

    def _fail(self, job, code, words):
        if job in self._waiting:
            self._waiting.remove(job)
        self.failed[job.folder] = code
        self.say(f'{job.label} failed with code {code}: {words}')

    def _stop(self, signals: List[int]) -> None:
        """End all processes: they save a checkpoint; at a second signal, at once."""
        for each in self._running:
            each.send(signals[0] if signals else signal.SIGTERM)
        while any(each.code is None for each in self._running) and len(signals) < 2:
            time.sleep(_TICK)
        for each in self._running:
            each.send(signal.SIGKILL)
            each.end()
        self._running = []


@contextlib.contextmanager
def _heard() -> Iterator[List[int]]:
    """The stop signals that were heard while it is entered: a list that grows."""
    signals: List[int] = []

    def hear(number: int, frame: Any) -> None:
        signals.append(number)
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN}  # ignored: nohup
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
