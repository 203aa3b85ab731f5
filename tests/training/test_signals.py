import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from gluon_tricks.training.signals import STALLED, Guard, Stopped
from support import ROOT


def run(program, tmp_path, stall=0.0, signals=(), apart=2.2):
    """(exit code, stderr) of a program with a Guard; the signals are sent once it has printed a line."""
    begin = 'import ctypes, os, time\nfrom gluon_tricks.training.signals import Guard\nguard = Guard(%r, %r, "python again.py")\n'
    process = subprocess.Popen([sys.executable, '-c', begin % (str(tmp_path), stall) + textwrap.dedent(program)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(ROOT))
    if signals:
        process.stdout.readline()
    for number in signals:
        os.kill(process.pid, number)
        time.sleep(apart)
    try:
        return process.returncode or process.wait(30), process.communicate()[1].decode()
    finally:
        process.kill()


# Waits in C for what never comes, as for a dead device: Python runs no handler meanwhile.
WAIT = '''
    mutex = ctypes.create_string_buffer(64)
    with guard:
        guard.interrupt(False)
        guard.beat()
        print('ready', flush=True)
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
'''


def test_the_first_signal_asks(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with Guard(str(tmp_path)) as guard:
        guard.interrupt(False)
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.time() + 5
        while not guard.asked and time.time() < deadline:
            time.sleep(0.01)
        assert guard.asked == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_where_it_may_interrupt_it_does(number, tmp_path):
    with pytest.raises(Stopped) as stopped:
        with Guard(str(tmp_path)):
            os.kill(os.getpid(), number)
            time.sleep(5)
    assert stopped.value.signal == number


@pytest.mark.parametrize('number', [
    signal.SIGINT, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGHUP))])
def test_a_second_signal_ends_it_even_while_it_waits_in_c(number, tmp_path):
    code, err = run(WAIT, tmp_path, signals=[number, number])
    assert code == 128 + number
    assert f'stopped at once by a second {signal.Signals(number).name}; resume with python again.py' in err


def test_the_same_signal_twice_at_once_counts_as_one(tmp_path):
    program = """
        with guard:
            guard.interrupt(False)
            print('ready', flush=True)
            time.sleep(1.2)
            sys.exit(7 if guard.asked else 8)
    """
    assert run('import sys\n' + textwrap.dedent(program), tmp_path, signals=[signal.SIGTERM] * 3, apart=0.3) == (7, '')


def test_a_stall_leaves_the_stacks_and_a_code_of_its_own(tmp_path):
    code, err = run(WAIT, tmp_path, stall=0.5 / 60)
    assert code == STALLED and err.count('--stall-minutes') == 1 and 'resume with python again.py' in err
    stacks = (tmp_path / 'stacks.txt').read_text()
    assert 'File "<string>", line' in stacks and 'signals.py' in stacks  # of the first thread, and the watching one


def test_a_stall_is_told_where_nothing_can_be_written(tmp_path):
    code, err = run(WAIT, tmp_path / 'missing', stall=0.5 / 60)
    assert code == STALLED and 'File "<string>", line' in err


def test_progress_is_no_stall_and_before_the_first_there_is_none(tmp_path):
    program = '''
        with guard:
            time.sleep(1)
            for _ in range(20):
                guard.beat()
                time.sleep(0.05)
    '''
    assert run(program, tmp_path, stall=0.5 / 60) == (0, '')


def test_a_loaders_process_ends_by_sigterm_and_leaves_ctrl_c_to_its_parent(tmp_path):
    program = '''
        import multiprocessing, signal
        context = multiprocessing.get_context('fork')
        with guard:
            guard.interrupt(False)
            child = context.Process(target=time.sleep, args=(20,))
            child.start()
            time.sleep(0.3)
            for number in (signal.SIGINT, signal.SIGHUP):
                os.kill(child.pid, number)
            child.join(0.5)
            assert child.is_alive()
            child.terminate()
            child.join(5)
            assert child.exitcode == -15 and not guard.asked, child.exitcode
            time.sleep(0.3)  # nor does the watching thread take it for its own
    '''
    assert run(program, tmp_path) == (0, '')


def test_a_hangup_is_not_heard_under_nohup(tmp_path):
    program = """
        with guard:
            print('ready', flush=True)
            time.sleep(0.7)
            sys.exit(7 if guard.asked else 0)
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run('import sys\n' + textwrap.dedent(program), tmp_path, signals=[signal.SIGHUP], apart=0.1) == (0, '')
    finally:
        signal.signal(signal.SIGHUP, before)
