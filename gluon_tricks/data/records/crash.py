"""When MXNet's decoder kills the process, say which record did it.

MXNet divides by the height of an image that cannot be decoded, and aborts on a damaged record: the process dies of a
signal, and nothing can be caught. `watch` has the dying process replaced by one that scans the record files.
"""
import ctypes
import os
import signal
import sys

import gluon_tricks
from gluon_tricks.data.records.record_file import find_bad_record
from gluon_tricks.errors import UsageError

_SIGNALS = ('SIGFPE', 'SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL')
_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(gluon_tricks.__file__)))
_START = ('import sys; sys.path.insert(0, %r); from gluon_tricks.data.records import crash; '
          'sys.exit(crash.main(sys.argv[1:]))')
_AGAIN = 'start the same command again; if it crashes again, the cause is not in the records'
_handlers = []  # kept alive: C calls them


def watch(files, resume_command=None):
    """From now on a crash of this process ends with a sentence that names the bad record of `files`, and code 1.

    files: [(rec, idx)]; resume_command: the command that resumes the run, for a crash of another cause;
    None for a program that has no checkpoints.
    """
    remedy = f'resume from the last checkpoint with {resume_command}' if resume_command else _AGAIN
    words = [sys.executable, '-c', _START % _FOLDER, '', remedy] + [path for pair in files for path in pair]

    def replace(number):
        words[3] = str(number)
        os.execv(words[0], words)  # the same process, with none of its threads
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(replace)
    _handlers[:] = [handler]
    for name in _SIGNALS:
        # Not signal.signal: Python would handle it in its main thread, later, and it is another that dies.
        ctypes.CDLL(None).signal(int(getattr(signal, name)), handler)


def main(words):
    """Look for the record that killed the process before; prints one sentence and returns 1."""
    name, remedy = signal.Signals(int(words[0])).name, words[1]
    for rec, idx in zip(words[2::2], words[3::2]):
        try:
            found = find_bad_record(rec, idx)
        except (UsageError, OSError) as error:
            found = str(error)
        if found:
            print(f'error: MXNet crashed ({name}). {found}', file=sys.stderr)
            return 1
    print(f'error: MXNet crashed ({name}), although every record can be decoded; {remedy}', file=sys.stderr)
    return 1
