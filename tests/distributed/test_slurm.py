import os
import signal
import subprocess
import sys
import time

import pytest

from gluon_tricks.distributed.slurm import Batch, script, seconds_of
from gluon_tricks.errors import UsageError

COMMAND = ('python', 'train.py', '--save-dir', "a b'c")
# Saves for a moment when it is told to, and then ends with the code that training has; or with its argument.
SAVES = '''
import signal, sys, time
def save(number, frame):
    time.sleep(0.3)
    print('saved', flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print('ready', sys.argv[1:], flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
'''


def options(batch):
    return [line[len('#SBATCH '):] for line in script(batch).splitlines() if line.startswith('#SBATCH ')]


@pytest.mark.parametrize('limit, seconds', [
    ('90', 5400), ('90:30', 5430), ('12:00:00', 43200), ('2-12', 216000), ('1-02:03', 93780), ('1-02:03:04', 93784)])
def test_times_as_slurm_writes_them(limit, seconds):
    assert seconds_of(limit) == seconds


@pytest.mark.parametrize('limit', ['', 'x', '-1', '1:', '1-', '1h', '1:2:3:4', '1.5', '１'])
def test_another_time_is_refused(limit):
    with pytest.raises(UsageError, match='--time'):
        seconds_of(limit)


def test_the_options_of_a_job():
    assert options(Batch('mixup', '/home/me/my "runs"', COMMAND, gpus=8, cpus=48, limit='1-0', others=('--qos=long',))) == [
        '--job-name=mixup', '--chdir="/home/me/my \\"runs\\""', '--output=%x-%j.out', '--open-mode=append', '--nodes=1',
        '--ntasks-per-node=1', '--gpus-per-node=8', '--cpus-per-task=48', '--time=1-0', '--signal=B:USR1@180',
        '--requeue', '--qos=long']
    found = options(Batch('ladder', '/', COMMAND, tasks=(('--rows', 'a'), ('--rows', 'b', 'c')), at_once=1))
    assert found[2:5] == ['--output=%x-%A_%a.out', '--open-mode=append', '--array=0-1%1']
    assert not [each for each in found if each.startswith(('--time', '--gpus', '--cpus'))]


def test_a_limit_without_time_for_the_signal_is_refused():
    with pytest.raises(UsageError, match='--time 3 must be longer than --lead 180'):
        script(Batch('x', '/', COMMAND, limit='3'))


def test_several_nodes_by_the_launcher_or_horovod():
    text = script(Batch('x', '/', COMMAND, python='.venv/bin/python', nodes=2, store='dist_sync'))
    assert ".venv/bin/python -m gluon_tricks launch -n 2 -s 2 -H slurm --grace 160 -- python train.py" in text
    text = script(Batch('x', '/', COMMAND, python='.venv/bin/python', nodes=2, store='horovod'))
    assert '.venv/bin/horovodrun --gloo -np 2 -H "$(scontrol show hostnames' in text


# ---------------------------------------------------------------------------------------------------------------------
# The shell's part, by bash and a scontrol that writes down what it is asked

class Job:
    """The file of a command, run by bash as by Slurm's batch step; `asked`: what scontrol was asked for."""

    def __init__(self, folder, seconds, code, **more):
        (folder / 'bin').mkdir()
        (folder / 'bin' / 'scontrol').write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n')
        (folder / 'bin' / 'scontrol').chmod(0o755)
        (folder / 'saves.py').write_text(SAVES)
        environment = dict(os.environ, PATH=f'{folder}/bin:{os.environ["PATH"]}', SLURM_JOB_ID='7', SLURM_ARRAY_JOB_ID='5',
                           SLURM_ARRAY_TASK_ID='1', **more.pop('environment', {}))
        batch = Batch('x', str(folder), (sys.executable, 'saves.py', str(seconds), str(code)), **more)
        (folder / 'job').write_text(script(batch))
        self.folder = folder
        self.process = subprocess.Popen(['bash', str(folder / 'job')], env=environment, stdout=subprocess.PIPE, text=True)
        self.said = self.process.stdout.readline()

    def end(self):
        """(exit code, what the command and the file said, what scontrol was asked)."""
        out = self.said + self.process.communicate(timeout=60)[0]
        asked = self.folder / 'asked'
        return self.process.returncode, out, asked.read_text().splitlines() if asked.exists() else []


def test_a_command_that_ends_by_itself_is_not_queued_again(tmp_path):
    code, out, asked = Job(tmp_path, 0, 3).end()
    assert (code, asked) == (3, []) and out == "ready ['0', '3']\n"


def test_near_the_limit_it_saves_and_is_queued_again(tmp_path):
    job = Job(tmp_path, 60, 0)
    job.process.send_signal(signal.SIGUSR1)
    code, out, asked = job.end()
    assert (code, asked) == (143, ['requeue 7'])
    assert out.splitlines()[1:] == ['saved', 'ended with code 143 for its time limit: queued again']


def test_a_task_of_an_array_has_its_words_and_is_queued_again_by_itself(tmp_path):
    job = Job(tmp_path, 60, 0, tasks=(('--rows', 'a'), ('--rows', 'b', '*')))
    assert job.said == "ready ['60', '0', '--rows', 'b', '*']\n"
    job.process.send_signal(signal.SIGUSR1)
    assert job.end()[2] == ['requeue 5_1']


def test_one_that_has_ended_well_when_the_signal_comes_is_not(tmp_path):
    job = Job(tmp_path, 0.5, 0)
    os.kill(job.process.pid, signal.SIGSTOP)
    time.sleep(1)  # the command ends well
    os.kill(job.process.pid, signal.SIGUSR1)
    os.kill(job.process.pid, signal.SIGCONT)
    code, _, asked = job.end()
    assert (code, asked) == (0, [])


def test_a_cancelled_one_saves_and_is_not(tmp_path):
    job = Job(tmp_path, 60, 0)
    for _ in range(2):
        job.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    code, out, asked = job.end()
    assert (code, asked) == (143, []) and out.splitlines()[1:] == ['saved']


def test_the_number_of_restarts_is_limited(tmp_path):
    job = Job(tmp_path, 60, 0, restarts=2, environment={'SLURM_RESTART_COUNT': '2'})
    job.process.send_signal(signal.SIGUSR1)
    code, out, asked = job.end()
    assert (code, asked) == (143, []) and 'after 2 restarts: not queued again' in out


def test_where_the_folder_is_gone_nothing_starts(tmp_path):
    text = script(Batch('x', str(tmp_path / 'gone'), ('echo', 'begun')))
    done = subprocess.run(['bash', '-c', text], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, '')
