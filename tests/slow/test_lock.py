"""Starts of a second run on the directory of a first: none begins, and the first ends as if nothing had been."""
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from support import ROOT
from support.runs import outcome

pytestmark = pytest.mark.slow

STARTS = 20


def memory():
    """A directory on a tmpfs."""
    if not os.path.isdir('/dev/shm'):
        pytest.skip('there is no tmpfs')
    return tempfile.mkdtemp(dir='/dev/shm')


def words(tiny_arguments, folder, *more):
    return [sys.executable, str(ROOT / 'train_imagenet.py')] + tiny_arguments + [
        '--num-epochs', '150', '--log-interval', '3', '--checkpoint-minutes', '0.005', '--save-dir', str(folder)] + list(
            more)


def begin(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize('place', [memory, tempfile.mkdtemp], ids=['tmpfs', 'disk'])
def test_twenty_starts_of_a_second_run(place, tiny_arguments, tmp_path, capsys):
    root, rng, refused, runs = Path(place()), random.Random(0), 0, 0
    run, whole = root / 'run', root / 'whole'
    try:
        began = time.time()
        assert begin(words(tiny_arguments, whole)).wait() == 0
        took = time.time() - began
        while refused < STARTS:  # in one run, if it is long enough
            shutil.rmtree(str(run), ignore_errors=True)
            first, others, runs = begin(words(tiny_arguments, run, '--resume', 'auto')), [], runs + 1
            while not (run / '.lock').exists():
                time.sleep(0.01)
            while first.poll() is None and refused + len(others) < STARTS:
                time.sleep(rng.uniform(0, took / STARTS))
                others.append(begin(words(tiny_arguments, run, '--resume', rng.choice(['auto', 'auto', '']))))
                if len(others) % 3 == 0:
                    others[-3].wait()
            for other in others:
                said = other.communicate()[1].decode()
                if first.poll() is None or f'by process {first.pid} on' in said:  # else it began after the first
                    assert (other.returncode, said) == (
                        2, f'error: --save-dir {run} is being written by process {first.pid} on '
                           f'{socket.gethostname()}: wait for its end, or give another --save-dir\n')
                    refused += 1
            assert first.wait() == 0 and outcome(run) == outcome(whole)
            assert not (run / '.lock').exists()

        # After SIGKILL of the first, the next one starts.
        shutil.rmtree(str(run))
        first = begin(words(tiny_arguments, run, '--resume', 'auto'))
        while not (run / 'latest').exists():
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (run / '.lock').exists()
        assert begin(words(tiny_arguments, run, '--resume', 'auto')).wait() == 0
        assert outcome(run) == outcome(whole)
        with capsys.disabled():
            print(f'\n{refused} starts beside {runs} runs on {root}: all refused, the runs are bit-identical')
    finally:
        shutil.rmtree(str(root))
