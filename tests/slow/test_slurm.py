"""Files of `launch --slurm` in a real Slurm: jobs that their time limits end, and that are queued again."""
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gluon_tricks.training import history
from support import ROOT
from support.runs import outcome
from support.slurm import Slurm, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f'{missing()}: apt-get install slurm-wlm')]

VARIABLES = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')


@pytest.fixture
def home():
    """A directory for Slurm: its path is short enough for a socket's, and has no space."""
    with tempfile.TemporaryDirectory(prefix='slurm-') as name:
        yield Path(name)


@pytest.fixture
def folder(tmp_path):
    """Where the trainings are."""
    (tmp_path / 'my runs').mkdir()
    return tmp_path / 'my runs'


def run(words, cwd):
    subprocess.run([sys.executable, *words], cwd=str(cwd), env=VARIABLES, check=True, stdout=subprocess.DEVNULL)


def written(cwd, flags, command):
    """The path of the file that `launch --slurm` writes."""
    run(['-m', 'gluon_tricks', 'launch', '--slurm', '-o', 'job.sbatch', *flags, '--', *command], cwd)
    return cwd / 'job.sbatch'


def started(slurm):
    slurm.environment.update(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return slurm


def test_a_job_that_its_time_limit_ends_three_times_has_the_bits_of_an_undisturbed_run(folder, home, capsys):
    """The demo; a limit of a minute, of which Slurm takes 15 to 45 seconds away (it looks every 30)."""
    pytest.importorskip('sklearn')
    run(['-m', 'gluon_tricks', 'prepare', 'demo', '--out', 'data'], folder)
    demo = [str(ROOT / 'train_imagenet.py'), '--recipe', 'demo', '--data-dir', 'data', '--save-dir']
    run([*demo, 'first', '--num-epochs', '3'], folder)
    quickest = min(history.epochs(history.read_events(str(folder / 'first')))['time'])
    epochs = ['--num-epochs', str(math.ceil(160 / quickest))]
    began = time.monotonic()
    run([*demo, 'whole', *epochs], folder)
    seconds = time.monotonic() - began
    with started(Slurm(home / 's')) as slurm:
        job = slurm.submit(written(folder, ['--time', '1', '--lead', '45'], [sys.executable, *demo, 'mine', *epochs]))
        slurm.wait(lambda: not slurm.jobs(), 3000)
        facts, said = slurm.facts(job), (folder / f'mine-{job}.out').read_text()
    assert (facts['JobState'], facts['TimeLimit']) == ('COMPLETED', '00:01:00'), said
    assert int(facts['Restarts']) == said.count('ended with code 143 for its time limit: queued again') >= 3
    assert outcome(folder / 'mine') == outcome(folder / 'whole')
    saved = re.findall(r'stopped by SIGTERM, (\S+) is saved', said)
    with capsys.disabled():
        print(f'\n{epochs[1]} epochs of the demo, {seconds:.0f} s undisturbed: ended by the limit of 1 minute '
              f'{facts["Restarts"]} times ({len(saved)} with a checkpoint), the same bits')


def test_two_nodes_train_together_and_are_queued_again_together(folder, home, tiny_arguments):
    flags = [str(ROOT / 'train_imagenet.py'), *tiny_arguments, '--num-epochs', '40', '--kv-store', 'dist_sync']
    run(['-m', 'gluon_tricks', 'launch', '-n', '2', '-s', '2', '--', sys.executable, *flags, '--save-dir', 'whole'], folder)
    with started(Slurm(home / 's', nodes=2)) as slurm:
        path = written(folder, ['--time', '30', '--nodes', '2', '--lead', '60'],
                       [sys.executable, *flags, '--save-dir', 'mine'])
        job, log, stops = slurm.submit(path), folder / 'mine' / 'log.jsonl', 0
        for epoch in (5, 15):
            slurm.wait(lambda epoch=epoch: log.exists() and f'"epoch": {epoch},' in log.read_text())
            slurm.near_limit(job)
            stops += 1
            slurm.wait(lambda stops=stops: int(slurm.facts(job)['Restarts']) == stops)
        slurm.wait(lambda: not slurm.jobs())
        facts, said = slurm.facts(job), (folder / f'mine-{job}.out').read_text()
    assert (facts['JobState'], facts['NodeList'], facts['Restarts']) == ('COMPLETED', '127.0.0.[1-2]', '2'), said
    assert said.count('stopped by SIGTERM') == 2 and said.count('] exact: ') == 40  # one of the two speaks
    assert outcome(folder / 'mine') == outcome(folder / 'whole')


def test_a_ladder_is_an_array_whose_tasks_are_queued_again_each_by_itself(folder, home):
    pytest.importorskip('sklearn')
    rows = [f'table6/resnet50_v1d/{name}' for name in ('efficient', 'cosine', 'label_smoothing')]
    ladder = ['-m', 'gluon_tricks', 'ladder', '6', '--scale', 'demo', '--epochs', '12', '--rows', *rows, '--out', 'runs']
    with started(Slurm(home / 's')) as slurm:
        job = slurm.submit(written(folder, ['--time', '30', '--at-once', '2'], [sys.executable, *ladder]))
        assert set(slurm.jobs()) == {f'{job}_{task}' for task in range(3)}
        # The last task of an array has the array's own number: by it, all of them would be queued again.
        last = folder / 'runs' / 'table6-resnet50_v1d-label_smoothing-seed0' / 'log.jsonl'
        slurm.wait(lambda: last.exists() and '"epoch": 2,' in last.read_text())
        slurm.near_limit(f'{job}_2')
        slurm.wait(lambda: not slurm.jobs())
        facts = [slurm.facts(f'{job}_{task}') for task in range(3)]
    assert [(each['JobState'], each['Restarts']) for each in facts] == [
        ('COMPLETED', '0'), ('COMPLETED', '0'), ('COMPLETED', '1')]
    for task, row in enumerate(['table5/resnet50_v1d', *rows[1:]]):  # by the first table that has the run
        said = (folder / f'ladder-6-{job}_{task}.out').read_text()
        assert [line for line in said.splitlines() if line.startswith('[1/1]') and row in line], said
