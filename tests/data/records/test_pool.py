import os
import signal
import subprocess
import sys
import time

import pytest

from gluon_tricks.data.records.pool import ordered
from gluon_tricks.errors import UsageError
from support import ROOT


@pytest.mark.parametrize('processes', [1, 2])
def test_results_come_in_order(processes):
    assert list(ordered(pow, ((base, 2) for base in range(20)), processes)) == [base ** 2 for base in range(20)]


@pytest.mark.parametrize('processes', [1, 2])
def test_an_error_of_the_function_is_raised(processes):
    with pytest.raises(ZeroDivisionError):
        list(ordered(divmod, [(1, 1), (1, 0), (1, 1)], processes))


def test_a_killed_worker_is_told():
    with pytest.raises(UsageError, match='killed'):
        list(ordered(os._exit, [(9,)] * 3, 2))


def test_workers_end_with_a_killed_parent(tmp_path):
    """No orphans: each writes its process id, and is gone soon after the parent was killed."""
    script = (f'import sys, time; sys.path.insert(0, {str(ROOT)!r})\nfrom gluon_tricks.data.records.pool import '
              'ordered\nif __name__ == "__main__":\n    list(ordered(time.sleep, [(0.1,)] * 600, 2))\n')
    (tmp_path / 'script.py').write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / 'script.py')])

    def children():
        found = []
        for name in os.listdir('/proc'):
            try:
                with open(f'/proc/{name}/stat') as stat, open(f'/proc/{name}/cmdline') as line:
                    words = stat.read().rsplit(')', 1)[1].split()
                    if int(words[1]) == parent.pid and words[0] != 'Z' and 'spawn_main' in line.read():
                        found.append(int(name))
            except (OSError, ValueError, IndexError):
                pass
        return found
    deadline = time.time() + 30
    while len(children()) < 2 and time.time() < deadline:
        time.sleep(0.1)
    workers = children()
    assert len(workers) == 2
    time.sleep(1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.time() + 10

    def alive(pid):
        try:
            with open(f'/proc/{pid}/stat') as stat:
                return stat.read().rsplit(')', 1)[1].split()[0] != 'Z'
        except OSError:
            return False
    while any(map(alive, workers)) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))
