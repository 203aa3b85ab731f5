"""Work spread over processes or threads, its results in order; nothing stays behind when one of them dies."""
import collections
import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
import threading

from gluon_tricks.errors import UsageError


def ordered(function, tasks, processes):
    """Generator of function(*task) for every task, in the tasks' order; a few tasks are under way at a time.

    function: of a module, so that a new process finds it by name. With one process it is called in this one. An
    exception of the function is raised here. Raises UsageError when a process is killed.
    """
    if processes <= 1:
        keep_memory()
        for task in tasks:
            yield function(*task)
        return
    pool = concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context('spawn'), _follow_parent)
    try:
        yield from _in_order(pool, function, tasks, 2 * processes)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UsageError('a process of the pool was killed, perhaps for lack of memory: start the same command again, '
                         'it resumes where it was; --processes 1 takes the least memory') from error


def in_threads(function, tasks, threads, ahead, begin=None):
    """As `ordered`, in threads of this process; at most `ahead` results are made before they are asked for.

    begin(): called first in each of the threads.
    """
    return _in_order(concurrent.futures.ThreadPoolExecutor(threads, initializer=begin), function, tasks, ahead)


def _in_order(pool, function, tasks, ahead):
    waiting = collections.deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, *task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown()


def keep_memory():
    """Let glibc keep what is freed, up to 256 MB: to get fresh pages for every image takes a quarter of the time."""
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: smaller blocks come from the heap
        mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD: what the heap keeps


def _follow_parent():
    """Leave Ctrl-C to the parent, and end when it ends, however that happens."""
    keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=wait, daemon=True).start()
