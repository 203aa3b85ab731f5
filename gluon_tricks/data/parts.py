"""A working directory from which a command goes on after a kill: one process at a time, of one plan.

``plan`` in it is a digest of all that decides what is made; what belongs to another plan is thrown away. Files whose
names end with ``.partial`` were being written.
"""
import contextlib
import fcntl
import os
import shutil

from gluon_tricks.errors import UsageError
from gluon_tricks.files import write_whole


@contextlib.contextmanager
def parts(folder, plan, what):
    """Directory `folder`, locked, holding only what belongs to `plan`; it is removed at the end,
    and on an error when nothing was made yet.

    what: the thing that is made, for the sentence when another process makes it (UsageError).
    """
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'lock'), 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError('%s is being written by another process: wait for it, or choose another place' % what) \
                from error
        _clean(folder, plan)
        try:
            yield folder
        except BaseException:
            if all(name in ('lock', 'plan') or name.endswith('.partial')
                   or os.path.getsize(os.path.join(folder, name)) == 0 for name in os.listdir(folder)):
                shutil.rmtree(folder)  # nothing to go on from
            raise
        shutil.rmtree(folder)


def _clean(folder, plan):
    try:
        with open(os.path.join(folder, 'plan')) as stream:
            same = stream.read() == plan
    except FileNotFoundError:
        same = False
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name == 'lock' or same and not name.endswith('.partial'):
            continue
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    if not same:
        write_whole(os.path.join(folder, 'plan'), plan.encode())
