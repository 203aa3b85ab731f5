"""A trial is held against the run itself: tests/slow/test_doctor.py. Here: that it ends well, and how it ends badly."""
import os
import sys

import pytest

from gluon_tricks.commands.train import configuration
from gluon_tricks.doctor import trial
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.classification.assembly import resolve


@pytest.fixture
def config(tiny_arguments, tmp_path):
    words = [*tiny_arguments, '--save-dir', str(tmp_path / 'run')]
    return resolve(configuration.from_namespace(configuration.parser().parse_args(words)))[0]


@pytest.mark.parametrize('workers, images, updates', [pytest.param(1, 16, 4, marks=pytest.mark.slow), (2, 32, 2)])
def test_a_trial(workers, images, updates, config, tmp_path):
    """Of several workers one is measured, over its share of the 64 images."""
    found = trial.measure(config, 0.5, workers)
    assert (found.images, found.devices, found.updates, found.epochs) == (images, 1, updates, 2)
    assert found.device_peak is None and 1e8 < found.peak < 4e9
    assert min(found.start, found.update, found.step, found.read, found.evaluation, found.checkpoint) > 0
    assert not (tmp_path / 'run').exists()


def test_what_the_run_would_be_refused_for(config):
    with pytest.raises(UsageError, match='fewer than one batch of 512'):
        trial.measure(config.replace(batch_size=512), 0.5)


@pytest.mark.parametrize('code, words', [
    ('import os, signal; os.kill(os.getpid(), signal.SIGKILL)', 'was killed (SIGKILL), as a system does'),
    ('import sys; sys.exit("cudaMalloc retry failed: out of memory")', 'for lack of memory on a device (cudaMalloc retry'),
    ('import sys; sys.exit("MXNetError: no kernel image")', 'ended with code 1 (MXNetError: no kernel image)'),
    ('import sys; sys.exit(7)', 'ended with code 7 (it said nothing)')])
def test_a_trial_that_ends_badly(config, tmp_path, monkeypatch, code, words):
    stand_in = tmp_path / 'python'
    (tmp_path / 'code.py').write_text(code)
    stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/code.py\n')
    os.chmod(str(stand_in), 0o755)
    monkeypatch.setattr(trial.sys, 'executable', str(stand_in))
    with pytest.raises(UsageError) as caught:
        trial.measure(config, 0.5)
    assert words in str(caught.value) and '\n' not in str(caught.value)
