"""Keeps from the terminal what C++ libraries write though nothing is wrong; whatever else they write gets there.

MXNet tells of each average pooling that it trains, and libpng of colour profiles in PNGs. Both write to file descriptor
2 by themselves, so their lines pass through a small process of its own, which copies all others: what is written in a
crash, or by a process that takes this one's place, is not lost with it. Python's own stderr does not go through it.
"""
import contextlib
import os
import re
import subprocess
import sys

NOISE = re.compile(rb'(\[\d\d:\d\d:\d\d\] \S+: )?MKLDNN Pooling: training with prop_kind is forward_scoring|'
                   rb'libpng warning: .*')
_WAIT = 0.2  # seconds: the beginning of a line is not held back for longer
_START = 'import sys; sys.path.insert(0, %r); from gluon_tricks import noise; noise.copy()'
_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@contextlib.contextmanager
def quiet():
    """While it is entered, lines of `NOISE` do not reach stderr. Nothing is done where stderr is not the process's."""
    try:
        own = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        own = False
    if not own:
        yield
        return
    sys.stderr.flush()
    end, begin = os.pipe()
    terminal, before = os.dup(2), sys.stderr
    # A session of its own: Ctrl-C, or the end of the process's group, is not for it. It ends when nobody can write.
    process = subprocess.Popen([sys.executable, '-I', '-S', '-c', _START % _FOLDER], stdin=end, stdout=terminal,
                               start_new_session=True)
    os.close(end)
    os.dup2(begin, 2)
    os.close(begin)
    sys.stderr = os.fdopen(terminal, 'w', 1, encoding=before.encoding, errors='backslashreplace')
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        sys.stderr.close()
        sys.stderr = before
        with contextlib.suppress(subprocess.TimeoutExpired):  # a child of this process may still be able to write
            process.wait(2)


def copy(source=0, target=1):
    """Copy lines from one file descriptor to another, but those of `NOISE`, until the first one's end."""
    import select
    line, shown = b'', False  # of the line that has not ended; whether its beginning was copied
    while True:
        if line and not select.select([source], [], [], _WAIT)[0]:
            os.write(target, line)
            line, shown = b'', True
        block = os.read(source, 1 << 16)
        *whole, line = (line + block).split(b'\n')
        for each in whole:
            if shown or not NOISE.fullmatch(each):
                os.write(target, each + b'\n')
            shown = False
        if not block:
            os.write(target, b'' if not shown and NOISE.fullmatch(line) else line)
            return
