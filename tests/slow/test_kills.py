"""SIGKILL at any moment: the same command with --resume auto ends with the bits of the undisturbed run."""
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from support import ROOT, SLICE
from support.runs import outcome

pytestmark = pytest.mark.slow

PHASES = ('decode', 'step', 'save', 'evaluate')
KILLS = 6 if SLICE else 32  # eight are tried in each
LEAST = 0 if SLICE else 5  # that must come in each
HARD = ['--mixup', '--label-smoothing', '--last-gamma', '--no-wd', '--lr-mode', 'cosine', '--warmup-epochs', '1',
        '--num-epochs', '4', '--log-interval', '3', '--batch-size', '8', '--checkpoint-minutes', '0.002']


@pytest.fixture(scope='module')
def teacher(tiny_arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp('teacher')
    command = [sys.executable, str(ROOT / 'train_imagenet.py')] + tiny_arguments + ['--save-dir', str(folder)]
    assert subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    return ['--teacher', 'resnet10_v1d_demo', '--teacher-params', str(folder / 'latest' / 'net.params')]


def command(tiny_arguments, save_dir, more):
    arguments = tiny_arguments + HARD + more
    if '--devices' in more:
        place = arguments.index('--num-gpus')
        del arguments[place:place + 2]
    return [sys.executable, str(ROOT / 'tests' / 'slow' / 'in_phases.py')] + arguments + [
        '--save-dir', str(save_dir), '--resume', 'auto']


def run(words):
    """Exit code of a run that nobody disturbs."""
    return subprocess.call(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(words, phase, turn, share):
    """The phase in which a run was killed, as its own output proves; 'ended' when it was faster."""
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          env=dict(os.environ, KILL=f'{phase} {turn} {share:f}'))
    phases = re.findall(rb'phase (\w+)', done.stderr)
    return phases[-1].decode() if done.returncode == -signal.SIGKILL else 'ended'


@pytest.mark.parametrize('more', [['--dtype', 'float16'], ['--devices', 'cpu(0),cpu(1)', '--batch-size', '4']],
                         ids=['one-device-float16', 'two-devices'])
def test_killed_at_any_moment(more, tiny_arguments, teacher, tmp_path, capsys):
    more = more + (teacher if 'float16' in more else [])
    assert run(command(tiny_arguments, tmp_path / 'whole', more)) == 0
    expected = outcome(tmp_path / 'whole')
    rng, where = random.Random(0), []
    for number in range(KILLS):
        phase = PHASES[number % len(PHASES)]
        folder = tmp_path / str(number)
        words = command(tiny_arguments, folder, more)
        turn = rng.randint(1, 4 if phase == 'evaluate' else 6 if phase == 'save' else 30)
        where.append(killed(words, phase, turn, rng.uniform(0, 0.9)))
        assert run(words) == 0
        assert outcome(folder) == expected, (phase, turn, where[-1])
    counts = {phase: where.count(phase) for phase in PHASES + ('between', 'ended')}
    with capsys.disabled():
        print(f'\n{KILLS} of {KILLS} kills ended bit-identical; they came in: {counts}')
    assert all(counts[phase] >= LEAST for phase in PHASES) and counts['ended'] <= KILLS // 6, counts


# ---------------------------------------------------------------------------------------------------------------------
# Two workers

def launched(words, grace='2'):
    return [sys.executable, '-m', 'gluon_tricks', 'launch', '-n', '2', '-s', '1', '--grace', grace, '--'] + words


def processes(role, parent):
    """Numbers of the processes of a role (DMLC_ROLE) among the descendants of a process."""
    found = []
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{name}/environ', 'rb') as stream:
                variables = stream.read().split(b'\0')
            if b'DMLC_ROLE=' + role.encode() in variables and b'TEST_JOB=%d' % parent in variables:
                found.append(int(name))
        except OSError:
            pass
    return sorted(found)


@pytest.mark.parametrize('role', ['worker', 'server', 'scheduler'])
def test_a_job_of_two_workers_ends_when_one_of_it_is_killed_and_goes_on(role, tiny_arguments, tmp_path, capsys):
    def words(folder):
        return launched(command(tiny_arguments, folder, ['--kv-store', 'dist_sync', '--batch-size', '4']))
    if not (tmp_path.parent / 'workers-whole').exists():
        assert run(words(tmp_path.parent / 'workers-whole')) == 0
    expected, took = outcome(tmp_path.parent / 'workers-whole'), []
    rng, job = random.Random(role), os.getpid()
    for number in range(3):
        folder = tmp_path / str(number)
        process = subprocess.Popen(words(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=str(ROOT),
                                   env=dict(os.environ, TEST_JOB=str(job)))
        steps, wanted = 0, rng.randint(3, 30)
        for line in process.stderr:
            steps += b'phase step' in line
            if steps == wanted:
                break
        os.kill(rng.choice(processes(role, job)), signal.SIGKILL)
        began = time.time()
        process.stderr.read()
        assert process.wait() != 0
        took.append(time.time() - began)
        assert took[-1] < 30 and not sum((processes(each, job) for each in ('worker', 'server', 'scheduler')), [])
        assert run(words(folder)) == 0
        assert outcome(folder) == expected
    with capsys.disabled():
        print('\nkilled %s: the job ended after %s s' % (role, ', '.join(f'{each:.1f}' for each in took)))
