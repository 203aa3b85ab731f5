"""Runs at once, killed at any moment, by two ladders in one directory; the runs are stand-ins."""
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.files import Lock
from gluon_tricks.results.jobs import Jobs, claim
from support import ROOT
from support.ladder_of_stubs import STEPS, finished, jobs

PROGRAM = str(ROOT / 'tests' / 'support' / 'ladder_of_stubs.py')


def ladder(out, runs=4, at_once=2):
    return subprocess.Popen([sys.executable, PROGRAM, str(out), str(runs), str(at_once)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)


def ends(out, runs=4):
    """How often each run has ended; fails for one that ended with another figure."""
    lines = [(out / f'run{number}' / 'ends').read_text().split() for number in range(runs)]
    assert all(set(each) == {str(STEPS)} for each in lines)
    return [len(each) for each in lines]


def starts(out, runs=4):
    return [len((out / f'run{number}' / 'starts').read_text().split()) for number in range(runs)]


def begun(out):
    return sum(len(path.read_text().split()) for path in out.glob('run*/starts'))


def said(process):
    out, error = process.communicate()
    assert process.returncode == 0 and error == '', error
    return out.splitlines()


def work(out, number=4, at_once=2):
    lines = []
    works = Jobs(str(out), at_once, 1, finished, lines.append)
    return works.work(jobs(out, number)), lines, works


def test_each_run_once_and_a_teacher_before_its_student(tmp_path):
    code, lines, _ = work(tmp_path)
    assert code == 0 and ends(tmp_path) == starts(tmp_path) == [1, 1, 1, 1]
    order = [line.split('] ')[1].split(':')[0] for line in lines]
    assert order.index('run 0') < order.index('run 1') and len(order) == 4
    assert lines[-1].startswith('[4/4] ') and 'min left' in lines[0] and 'min left' not in lines[-1]
    assert not os.listdir(str(tmp_path / '.ladder'))  # no claim is left
    code, lines, _ = work(tmp_path, 5)
    assert code == 0 and starts(tmp_path, 5) == [1] * 5 and sum('it was there' in line for line in lines) == 4


def test_two_ladders_share_the_work(tmp_path):
    both = [ladder(tmp_path, 8, 2) for _ in range(2)]
    lines = [said(each) for each in both]
    assert ends(tmp_path, 8) == starts(tmp_path, 8) == [1] * 8
    counts = [sum('it was there' not in line and '/8]' in line for line in part) for part in lines]
    assert sum(counts) == 8 and min(counts) >= 2
    assert all(sum('/8]' in line for line in part) == 8 for part in lines)  # each tells all
    assert not list(tmp_path.glob('run*/refused'))


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    rng = random.Random(0)
    for _ in range(10):
        process, before = ladder(tmp_path, 6, 2), begun(tmp_path)
        while process.poll() is None and begun(tmp_path) == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
    assert said(ladder(tmp_path, 6, 2))
    assert ends(tmp_path, 6) == [1] * 6 and sum(starts(tmp_path, 6)) > 6
    assert not list(tmp_path.glob('run*/refused'))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_the_runs_first(tmp_path, number):
    process = ladder(tmp_path, 6, 2)
    while not list(tmp_path.glob('run*/starts')):
        time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == 128 + number and out.splitlines()[-1].endswith('the same command resumes')
    for path in tmp_path.glob('run*'):
        Lock(str(path), '', '').release()  # nobody has it
    assert len(said(ladder(tmp_path, 6, 2))) == 6 and ends(tmp_path, 6) == [1] * 6


def test_a_run_that_fails_is_told_and_the_others_go_on(tmp_path):
    (tmp_path / 'run0').mkdir()
    (tmp_path / 'run0' / 'fails').write_text('')
    code, lines, works = work(tmp_path)
    assert code == 3 and set(works.failed) == {str(tmp_path / 'run0'), str(tmp_path / 'run1')}
    assert 'run 0 failed with code 3: error: as it was told' in lines
    assert 'run 1 failed with code 3: the run that it needs failed' in lines
    assert (tmp_path / 'run2' / 'ends').exists() and (tmp_path / 'run3' / 'ends').exists()
    (tmp_path / 'run0' / 'fails').unlink()
    assert work(tmp_path)[0] == 0 and ends(tmp_path) == [1] * 4


def test_a_run_of_the_user_s_own_is_waited_for(tmp_path):
    process = subprocess.Popen([sys.executable, '-S', PROGRAM, '--run', str(tmp_path / 'run2')])
    while not (tmp_path / 'run2' / 'starts').exists():
        time.sleep(0.01)
    code, lines, _ = work(tmp_path, 3)
    assert code == 0 and process.wait() == 0 and ends(tmp_path, 3) == starts(tmp_path, 3) == [1] * 3
    assert any('run 2' in line and 'it was there' in line for line in lines)


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='--out .*file.* cannot be written'):
        claim(str(tmp_path / 'file'), 'x')
