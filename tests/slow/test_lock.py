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

from conftest import ROOT
from test_kills import outcome

pytestmark = pytest.mark.slow

STARTS = 20


def memory():
    """A directory on a tmpfs."""
    if not os.path.isdir('/dev/shm'):
        pytest.skip('there is no tmpfs')
    return tempfile.mkdtemp(dir='/dev/shm')


def words(tiny_arguments, folder, *more):
    return [sys.executable, str(ROOT / 'train_imagenet.py')] + tiny_arguments + [
        '--num-epochs', '40', '--log-interval', '3', '--checkpoint-minutes', '0.002', '--save-dir', str(folder)] + list(
            more)


@pytest.mark.parametrize('place', [memory, tempfile.mkdtemp], ids=['tmpfs', 'disk'])
def test_twenty_starts_of_a_second_run(place, tiny_arguments, tmp_path, capsys):
    root, rng = Path(place()), random.Random(0)
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.PIPE}
    try:
        began = time.time()
        assert subprocess.call(words(tiny_arguments, root / 'whole'), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL) == 0
        took, at = time.time() - began, []
        first = subprocess.Popen(words(tiny_arguments, root / 'run', '--resume', 'auto'), **quiet)
        while len(at) < STARTS:
            if first.poll() is not None:  # it was faster: a new first run, and the others again at its moments
                assert first.returncode == 0 and outcome(root / 'run') == outcome(root / 'whole')
                shutil.rmtree(str(root / 'run'))
                first = subprocess.Popen(words(tiny_arguments, root / 'run', '--resume', 'auto'), **quiet)
            while not (root / 'run' / '.lock').exists() and first.poll() is None:
                time.sleep(0.01)
            started = time.time()
            time.sleep(rng.uniform(0, 0.1 * took))
            if first.poll() is not None:
                continue
            second = subprocess.run(words(tiny_arguments, root / 'run', '--resume', rng.choice(['auto', 'auto', ''])),
                                    **quiet)
            if first.poll() is None:
                sentence = 'error: --save-dir %s is being written by process %d on %s: wait for its end, or give ' \
                    'another --save-dir\n' % (root / 'run', first.pid, socket.gethostname())
                assert (second.returncode, second.stderr.decode()) == (2, sentence)
                at.append(time.time() - started)
        assert first.wait() == 0 and outcome(root / 'run') == outcome(root / 'whole')
        assert not (root / 'run' / '.lock').exists()

        # After SIGKILL of the first, the next one starts.
        shutil.rmtree(str(root / 'run'))
        first = subprocess.Popen(words(tiny_arguments, root / 'run', '--resume', 'auto'), **quiet)
        while not (root / 'run' / 'latest').exists():
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (root / 'run' / '.lock').exists()
        assert subprocess.call(words(tiny_arguments, root / 'run', '--resume', 'auto'), stdout=subprocess.DEVNULL) == 0
        assert outcome(root / 'run') == outcome(root / 'whole')
        with capsys.disabled():
            print('\n%d starts beside a run on %s: all refused, the run is bit-identical' % (len(at), root))
    finally:
        shutil.rmtree(str(root))
