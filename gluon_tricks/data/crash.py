"""When MXNet's decoder kills the process, say which record did it.

MXNet divides by the height of an image that cannot be decoded, and aborts on a damaged record: the process dies of a
signal, and nothing can be caught. `watch` has the dying process replaced by one that scans the record files.
"""
import ctypes
import os
import signal
import sys

from gluon_tricks.data.records import find_bad_record
from gluon_tricks.errors import UsageError

_SIGNALS = ('SIGFPE', 'SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL')
_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_START = 'import sys; sys.path.insert(0, %r); from gluon_tricks.data import crash; sys.exit(crash.main(sys.argv[1:]))'
_handlers = []  # kept alive: C calls them


def watch(files, going_on):
    """From now on a crash of this process ends with a sentence that names the bad record of `files`, and code 1.

    files: [(rec, idx)]; going_on: the command that goes on after the last checkpoint, for a crash of another cause.
    """
    words = [sys.executable, '-c', _START % _FOLDER, '', going_on] + [path for pair in files for path in pair]

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
    name, going_on = signal.Signals(int(words[0])).name, words[1]
    for rec, idx in zip(words[2::2], words[3::2]):
        try:
            found = find_bad_record(rec, idx)
        except (UsageError, OSError) as error:
            found = str(error)
        if found:
            print('error: MXNet crashed (%s). %s' % (name, found), file=sys.stderr)
            return 1
    print('error: MXNet crashed (%s), although every record can be decoded; go on after the last checkpoint with %s'
          % (name, going_on), file=sys.stderr)
    return 1
