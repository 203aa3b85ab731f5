import os
import subprocess
import sys

import pytest

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.doctor import limits
from support import ROOT
from support.machines import machine


def test_open_files():
    config = TrainConfig(decode_threads=64)
    found, = limits.findings(machine(open_files=256), config)
    assert found.text.startswith('256 files may be open: a run with -j 64 opens up to 320; type `ulimit -n 4096`')
    assert not limits.findings(machine(open_files=320), config) and not limits.findings(machine(open_files=None), config)


@pytest.mark.slow
def test_a_run_opens_no_more_files_than_that(tiny_arguments, tmp_path):
    """Under the limit that is asked for it works."""
    for threads in (2, 32):
        limit = limits.FILES + 4 * threads
        code = ('import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d)); sys.argv[0] = "train_imagenet.py"\n'
                'from gluon_tricks.commands.train import main; sys.exit(main(sys.argv[1:]))' % (limit, limit))
        words = [*tiny_arguments[:-1], str(threads), '--save-dir', str(tmp_path / str(threads))]
        done = subprocess.run([sys.executable, '-c', code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=dict(os.environ, PYTHONPATH=str(ROOT)))
        assert done.returncode == 0, done.stdout[-2000:]


def test_shared_memory_of_loader_processes():
    config = RCNNConfig(loader_processes=4, total_batch_size=8, devices='cpu')
    found, = limits.findings(machine(shared_memory=64 << 20), config)  # a container's, by default
    assert found.text.startswith('/dev/shm has 67.1 MB free: 4 loader processes put up to 460.8 MB of batches there')
    assert '--shm-size 1g' in found.text
    for fine in (machine(shared_memory=1 << 30), machine(shared_memory=None)):
        assert not limits.findings(fine, config)
    assert not limits.findings(machine(shared_memory=0), config.replace(loader_processes=0))
    assert not limits.findings(machine(shared_memory=0), TrainConfig(decode_threads=8))


def test_disk():
    config = TrainConfig(save_dir='runs/x')
    found, = limits.disk(machine(free_disk=10 ** 9), config, 3, 300 * 10 ** 6)
    assert found.text.startswith('--save-dir runs/x: its disk has 1.00 GB free, and the run\'s checkpoints take 1.20 GB (4 '
                                 'of 300.0 MB at a time); free space')
    assert '--save-frequency' in found.text
    assert '--save-frequency' not in limits.disk(machine(free_disk=1), config.replace(save_frequency=0), 3, 9)[0].text
    assert not limits.disk(machine(free_disk=10 ** 9), config, 3, 300 * 10 ** 6, there=600 * 10 ** 6)


def test_weights_beside_the_checkpoints():
    """That the disk fails is not certain: it takes an epoch after epoch that is the best."""
    config = TrainConfig(save_dir='runs/x')
    found, = limits.disk(machine(free_disk=10 ** 9), config, 3, 10 ** 8, exported=7 * 10 ** 8)
    assert found.level == 'warning' and found.text.startswith(
        '--save-dir runs/x: its disk has 1.00 GB free, and beside checkpoints of 400.0 MB the weights of each epoch that is '
        'the best so far take up to 700.0 MB; free space')
    assert not limits.disk(machine(free_disk=10 ** 9), config, 3, 10 ** 8, exported=6 * 10 ** 8)
    assert limits.disk(machine(free_disk=10 ** 8), config, 3, 10 ** 8, exported=6 * 10 ** 8)[0].level == 'fails'
