"""A working directory from which a command resumes after a kill: one process at a time, of one plan.

``plan`` in it is a digest of all that decides what is made; what belongs to another plan is thrown away. Files whose
names end with ``.partial`` were being written.
"""
import contextlib
import os
import shutil

from gluon_tricks.files import LOCK, Lock, write_whole


@contextlib.contextmanager
def parts(folder, plan, what):
    """Directory `folder`, locked, holding only what belongs to `plan`; it is removed at the end,
    and on an error when nothing was made yet.

    what: the thing that is made, for the sentence when another process makes it (UsageError).
    """
    try:
        with Lock(folder, what, 'wait for it, or choose another place'):
            _clean(folder, plan)
            try:
                yield folder
            except BaseException:
                if all(name in (LOCK, 'plan') or name.endswith('.partial')
                       or os.path.getsize(os.path.join(folder, name)) == 0 for name in os.listdir(folder)):
                    _empty(folder)  # nothing to resume
                raise
            _empty(folder)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # where nothing is left, and no other process has begun


def _clean(folder, plan):
    try:
        with open(os.path.join(folder, 'plan')) as stream:
            same = stream.read() == plan
    except FileNotFoundError:
        same = False
    _empty(folder, lambda name: same and not name.endswith('.partial'))
    if not same:
        write_whole(os.path.join(folder, 'plan'), plan.encode())


def _empty(folder, kept=lambda name: False):
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name != LOCK and not kept(name):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
