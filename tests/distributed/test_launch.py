import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.distributed import launch
from gluon_tricks.errors import UsageError
from support import ROOT

pytestmark = pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks for processes in /proc')

# The command line, with another program than MXNet for the servers and the scheduler, unless it is None.
DRIVER = '''
import sys
sys.path.insert(0, %r)
from gluon_tricks import __main__
from gluon_tricks.distributed import launch
serve = %r
if serve is not None:
    launch._SERVE = [sys.executable, '-c', serve]
sys.exit(__main__.main(['launch'] + sys.argv[1:]))
'''
WAIT = 'import time; time.sleep(60)'
IGNORE = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("deaf"); time.sleep(60)'
SAVE = '''
import signal, sys, time
def save(number, frame):
    time.sleep(0.5)
    print('saved')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
print('ready')
time.sleep(60)
'''


def hear():
    """Signals that pytest may have been started without, as in the background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Job:
    """A launcher that was started, and all processes that carry its mark in their environment."""

    def __init__(self, *words, serve=WAIT, before=(), **environment):
        self.mark = 'DMLC_TEST_MARK=' + uuid.uuid4().hex
        environment = dict(os.environ, DMLC_TEST_MARK=self.mark.split('=')[1], **environment)
        self.started = time.time()
        self.process = subprocess.Popen(
            list(before) + [sys.executable, '-c', DRIVER % (str(ROOT), serve)] + list(words), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True, env=environment, preexec_fn=hear)

    def end(self, timeout=40):
        """(exit code, stdout, stderr); nothing is left of it, but what the kernel has yet to end."""
        out, err = self.process.communicate(timeout=timeout)
        self.seconds = time.time() - self.started
        assert not self.all_left(2), self.all()
        return self.process.returncode, out, err

    def all(self, role=''):
        """Process numbers of the job, but for the launcher's; those of a role are without the guards."""
        found = []
        for name in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{name}/environ') as stream:
                    variables = stream.read().split('\0')
            except OSError:
                continue
            if int(name) != self.process.pid and self.mark in variables:
                if not role or 'DMLC_ROLE=' + role in variables:
                    found.append(int(name))
        return sorted(found)

    def all_left(self, seconds=10):
        """What is left of the job after so many seconds at most."""
        limit = time.time() + seconds
        while self.all() and time.time() < limit:
            time.sleep(0.1)
        return self.all()

    def wait_for(self, number, role):
        """The process numbers of a role, once there are so many."""
        limit = time.time() + 20
        while len(self.all(role)) < number:
            assert time.time() < limit and self.process.poll() is None, self.all(role)
            time.sleep(0.05)
        return self.all(role)


def python(program):
    return ['--', sys.executable, '-c', program]


# ---------------------------------------------------------------------------------------------------------------------
# What the processes get, and what is seen of them

def test_workers_know_the_job_and_share_the_cores():
    names = ('DMLC_ROLE', 'DMLC_PS_ROOT_URI', 'DMLC_NUM_WORKER', 'DMLC_NUM_SERVER', 'DMLC_NODE_HOST', 'DMLC_WORKER_ID')
    job = Job('-n', '2', '-s', '3', '--grace', '0.1', *python(
        f'import os; print(*[os.environ[name] for name in {names!r}], os.environ["DMLC_PS_ROOT_PORT"].isdigit(), '
        'os.environ["OMP_NUM_THREADS"])'), OMP_NUM_THREADS='7')
    code, out, err = job.end()
    assert (code, err) == (0, '')
    assert sorted(out.splitlines()) == [f'[worker {i}] worker 127.0.0.1 2 3 127.0.0.1 {i} True 7' for i in (0, 1)]


def test_cores_are_shared_where_their_number_is_not_set(monkeypatch):
    from gluon_tricks.cores import available_cores
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    for workers in (1, 2):
        job = Job('-n', str(workers), '--grace', '0.1', *python('import os; print(os.environ["OMP_NUM_THREADS"])'))
        assert {line.split()[-1] for line in job.end()[1].splitlines()} == {str(max(1, available_cores() // workers))}


def test_streams_are_kept_apart_and_come_at_once():
    job = Job('-n', '1', '--grace', '0.1', *python(
        'import sys, time; print("one"); print("two", file=sys.stderr); time.sleep(60)'))
    assert job.process.stdout.readline() == '[worker 0] one\n'
    assert job.process.stderr.readline() == '[worker 0] two\n'
    assert time.time() - job.started < 20
    job.process.terminate()
    assert job.end()[0] == 143


def test_output_of_the_servers_is_labelled():
    job = Job('-n', '1', '-s', '2', '--grace', '0.1', *python('import time; time.sleep(1)'), serve='print(1)\n' + WAIT)
    code, out, _ = job.end()
    assert (code, sorted(out.splitlines())) == (0, ['[scheduler 0] 1', '[server 0] 1', '[server 1] 1'])


@pytest.mark.parametrize('written, seen', [
    (['a\rb\rc\n'], ['c']), (['\r 10%', '\r 20%', '\nafter\n'], [' 20%', 'after']), (['10%\r20%\r\n'], ['20%']),
    (['\r 10%', '\r     \r', 'line\n'], ['line']), (['a\r', '\nb\n'], ['a', 'b']), (['no end'], ['no end']),
    (['\n'], ['']), (['\r 10%\r     \r'], []), (['\xe9\n'], ['\xe9'])])
def test_progress_bars_leave_what_would_be_seen_last(written, seen, capfdbinary):
    class Source:
        blocks = iter([text.encode('latin-1') for text in written] + [b''])

        def read1(self, size):
            return next(self.blocks)
    launch._copy(Source(), sys.stdout, b'[x] ')
    assert capfdbinary.readouterr().out == b''.join(b'[x] ' + line.encode('latin-1') + b'\n' for line in seen)


def test_lines_of_many_processes_stay_whole():
    job = Job('-n', '4', '--grace', '0.1', *python('for i in range(500): print("x" * 100, i)'))
    lines = job.end()[1].splitlines()
    assert sorted(lines) == sorted(f'[worker {w}] {"x" * 100} {i}' for w in range(4) for i in range(500))


def test_it_goes_on_when_nobody_reads_any_more(tmp_path):
    job = Job('-n', '1', '--grace', '0.1', *python(
        f'import time\nfor i in range(9): print(i); time.sleep(0.1)\nopen({str(tmp_path / "end")!r}, "w")'))
    job.process.stdout.readline()
    job.process.stdout.close()
    assert job.process.wait(timeout=20) == 0 and (tmp_path / 'end').exists() and not job.all()


# ---------------------------------------------------------------------------------------------------------------------
# One dies: all are ended

def test_all_well():
    job = Job('-n', '2', '--grace', '0.5', *python('print("hello")'))
    assert job.end()[::2] == (0, '')


def test_a_worker_may_end_well_before_the_others():
    job = Job('-n', '2', '--grace', '0.1', *python(
        'import os, time; time.sleep(1.5 * int(os.environ["DMLC_WORKER_ID"])); print("end")'))
    code, out, err = job.end()
    assert (code, err, out) == (0, '', '[worker 0] end\n[worker 1] end\n') and job.seconds > 1.5


@pytest.mark.parametrize('death, code, how', [
    ('sys.exit(5)', 5, 'ended with code 5'), ('os.kill(os.getpid(), 9)', 137, 'died of SIGKILL'),
    ('os.abort()', 134, 'died of SIGABRT')])
def test_the_first_death_ends_all_and_gives_the_code(death, code, how):
    program = 'import os, sys, time\nif os.environ["DMLC_WORKER_ID"] == "1":\n    print("last words"); %s\n%s' % (
        death, SAVE.replace('sys.exit(0)', 'sys.exit(9)'))
    job = Job('-n', '3', '-s', '2', *python(program))
    found, out, err = job.end()
    assert found == code and 'last words' in out
    assert err == f'error: worker 1 {how}: all others are ended\n'
    assert job.seconds < 10


def test_who_does_not_hear_is_killed_after_the_grace_period():
    job = Job('-n', '2', '--grace', '1', *python(
        'import os, sys, time\nif os.environ["DMLC_WORKER_ID"] == "1": time.sleep(1); sys.exit(3)\n' + IGNORE))
    code, out, _ = job.end()
    assert code == 3 and 'deaf' in out and 2 < job.seconds < 8


def test_children_of_a_worker_are_ended_too():
    """Here the worker's shell is gone at once, and its child saves: the group has the grace period."""
    job = Job('-n', '2', '--grace', '5', '--', 'sh', '-c',
              'test $DMLC_WORKER_ID = 1 && sleep 1 && exit 4; "$0" -c "$1" & wait', sys.executable, SAVE)
    code, out, _ = job.end()
    assert code == 4 and out.splitlines() == ['[worker 0] ready', '[worker 0] saved'] and job.seconds < 6


def test_what_a_worker_leaves_behind_is_ended():
    job = Job('-n', '1', '--grace', '3', '--', 'sh', '-c', 'sleep 60 & exit 0')
    assert job.end()[0] == 0


@pytest.mark.parametrize('role', ['server', 'scheduler'])
@pytest.mark.parametrize('signal_number, code', [(signal.SIGKILL, 137), (signal.SIGTERM, 143)])
def test_a_killed_server_or_scheduler_ends_all(role, signal_number, code):
    job = Job('-n', '2', '--grace', '2', *python(WAIT))
    job.wait_for(2, 'worker')
    os.kill(job.wait_for(1, role)[0], signal_number)
    found, _, err = job.end()
    assert (found, err) == (code, f'error: {role} 0 died of {signal.Signals(signal_number).name}: all others are '
                                  'ended\n')


@pytest.mark.slow
def test_a_server_that_ends_well_while_workers_go_on_is_a_failure():
    serve = 'import os, time\nif os.environ["DMLC_ROLE"] == "scheduler": time.sleep(60)'
    job = Job('-n', '1', *python(WAIT), serve=serve)
    code, _, err = job.end()
    assert (code, err) == (1, 'error: server 0 ended before the workers: all others are ended\n')
    assert launch._LEEWAY - 1 < job.seconds < 30


def test_servers_may_end_a_little_before_the_workers():
    job = Job('-n', '1', *python('import time; time.sleep(1)'), serve='')
    assert job.end()[::2] == (0, '')


def test_servers_that_die_after_the_workers_success_change_nothing():
    job = Job('-n', '1', '--grace', '5', *python('pass'), serve='import sys, time; time.sleep(1); sys.exit(3)')
    assert job.end()[::2] == (0, '') and job.seconds < 5


def test_a_killed_guard_ends_all():
    job = Job('-n', '2', '--grace', '2', *python(WAIT))
    worker = job.wait_for(2, 'worker')[1]
    with open(f'/proc/{worker}/stat') as stream:
        guard = int(stream.read().rsplit(')', 1)[1].split()[1])
    os.kill(guard, signal.SIGKILL)
    assert job.end()[0] == 137


def test_a_killed_guard_leaves_no_grandchildren():
    job = Job('-n', '1', '--grace', '2', '--', 'sh', '-c', '"$0" -c "$1" & "$0" -c "$1"; true', sys.executable, IGNORE)
    seen = ''
    while seen.count('deaf') < 2:  # the two may write into one line
        seen += job.process.stdout.readline()
    shell = next(pid for pid in job.all('worker') if b'sh\0-c' in open(f'/proc/{pid}/cmdline', 'rb').read())
    with open(f'/proc/{shell}/stat') as stream:
        os.kill(int(stream.read().rsplit(')', 1)[1].split()[1]), signal.SIGKILL)
    assert job.process.wait(timeout=40) == 137 and job.all_left(5) == []
    job.end()


# ---------------------------------------------------------------------------------------------------------------------
# The launcher is asked to end, or killed

@pytest.mark.parametrize('number, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_workers_hear_of_a_signal_and_may_save(number, code):
    program = SAVE.replace('signal.signal(signal.SIGINT', 'signal.signal(signal.SIGHUP, save); signal.signal('
                           'signal.SIGINT')
    job = Job('-n', '2', *python(program))
    for _ in range(2):
        assert 'ready' in job.process.stdout.readline()
    job.process.send_signal(number)
    found, out, err = job.end()
    assert found == code and sorted(out.splitlines()) == ['[worker 0] saved', '[worker 1] saved']
    assert err == f'{signal.Signals(number).name}: the workers have 20 seconds to save and end\n'
    assert job.seconds < 10


@pytest.mark.parametrize('grace, signals, longest', [('1', 1, 8), ('30', 2, 8)])
def test_their_time_to_save_is_limited_and_a_second_signal_ends_it(grace, signals, longest):
    job = Job('-n', '2', '--grace', grace, *python(IGNORE))
    for _ in range(2):
        assert 'deaf' in job.process.stdout.readline()
    for _ in range(signals):
        job.process.terminate()
        time.sleep(0.5)
    assert job.end()[0] == 143 and job.seconds < longest


def test_nothing_is_left_when_the_launcher_is_killed():
    job = Job('-n', '2', '-s', '2', '--grace', '1', *python(IGNORE))
    for _ in range(2):
        assert 'deaf' in job.process.stdout.readline()
    job.process.kill()
    job.process.wait()
    assert not job.all_left()


def test_a_hangup_is_not_heard_under_nohup():
    job = Job('-n', '1', '--grace', '1', *python('import time; print("ready"); time.sleep(2)'), before=['nohup'])
    assert 'ready' in job.process.stdout.readline()
    job.process.send_signal(signal.SIGHUP)
    assert job.end()[0] == 0


# ---------------------------------------------------------------------------------------------------------------------
# Over ssh

# Called as ssh is: the host, then one word for a shell there, which gets an environment of its own.
SSH = '''#!%s
import os, subprocess, sys
host, command = sys.argv[1:]
open(os.path.join(os.path.dirname(__file__), 'calls'), 'a').write(host + '\\n')
if host == 'nobody@127.0.0.9':
    print('ssh: no such host', file=sys.stderr)
    sys.exit(255)
process = subprocess.Popen(['sh', '-c', command], env={'HOME': '/'}, stdin=subprocess.PIPE, cwd='/')
while True:
    block = os.read(0, 4096)
    if not block:
        break
    process.stdin.write(block)
    process.stdin.flush()
process.stdin.close()
sys.exit(process.wait())
'''
# The same, but as sshd does it: the end of the process is the end of ssh.
SSH = SSH.replace('while True:', '''import threading
threading.Thread(target=lambda: os._exit(process.wait()), daemon=True).start()
while True:''')


@pytest.fixture
def ssh(tmp_path):
    """Words for the command line: a program in ssh's place, and a file of two hosts."""
    (tmp_path / 'ssh').write_text(SSH % sys.executable)
    (tmp_path / 'ssh').chmod(0o755)
    (tmp_path / 'hosts').write_text('# two machines\n127.0.0.1\n\nme@127.0.0.2  # the second\n')
    return ['-H', str(tmp_path / 'hosts'), '--ssh', str(tmp_path / 'ssh')]


def test_processes_take_turns_on_the_hosts_and_the_environment_comes_along(ssh, tmp_path):
    program = ('import os; print(*[os.environ.get(name) for name in ("DMLC_ROLE", "DMLC_NODE_HOST", "DMLC_NUM_WORKER", '
               '"MXNET_TEST", "OTHER")], os.getcwd() == %r, "it\'s $HOME")' % os.getcwd())
    job = Job('-n', '3', '-s', '2', '--grace', '0.1', *ssh, *python(program), MXNET_TEST='a "b" $c', OTHER='x')
    code, out, err = job.end()
    assert (code, err) == (0, '')
    assert sorted(out.splitlines()) == [
        '[worker %d] worker 127.0.0.1 3 a "b" $c None True it\'s $HOME' % i for i in range(3)]
    calls = (tmp_path / 'calls').read_text().split()
    assert sorted(calls) == ['127.0.0.1'] * 3 + ['me@127.0.0.2'] * 2  # servers 0, 1 and workers 0, 1, 2


def test_a_death_over_there_ends_all_over_there(ssh):
    job = Job('-n', '2', '--grace', '1', *ssh, *python(
        'import os, time\nif os.environ["DMLC_WORKER_ID"] == "1": time.sleep(1); os.abort()\n' + IGNORE))
    code, out, err = job.end()
    assert code == 134 and 'deaf' in out
    assert err == 'error: worker 1 on me@127.0.0.2 died of SIGABRT: all others are ended\n'


def test_signals_reach_over_there(ssh):
    job = Job('-n', '2', *ssh, *python(SAVE))
    for _ in range(2):
        assert 'ready' in job.process.stdout.readline()
    job.process.terminate()
    code, out, _ = job.end()
    assert code == 143 and out.count('saved') == 2


def test_a_lost_connection_ends_both_sides(ssh):
    job = Job('-n', '2', '--grace', '1', *ssh, *python(SAVE))
    for _ in range(2):
        assert 'ready' in job.process.stdout.readline()
    children = open(f'/proc/{job.process.pid}/task/{job.process.pid}/children').read().split()
    connection = [pid for pid in children if b'me@127.0.0.2' in open(f'/proc/{pid}/cmdline', 'rb').read()]
    os.kill(int(connection[-1]), signal.SIGKILL)
    assert job.process.wait(timeout=20) == 137
    assert not job.all_left()  # the other side hears of it a moment later
    job.end()


def test_a_host_that_cannot_be_reached(ssh, tmp_path):
    (tmp_path / 'hosts').write_text('127.0.0.1\nnobody@127.0.0.9\n')
    job = Job('-n', '2', '-s', '1', '--grace', '1', *ssh, *python(WAIT))
    code, _, err = job.end()
    assert (code, err.splitlines()) == (255, ['[worker 1] ssh: no such host', 'error: worker 1 on nobody@127.0.0.9 '
                                              'ended with code 255: all others are ended'])


# ---------------------------------------------------------------------------------------------------------------------
# Wrong usage

@pytest.mark.parametrize('words, part', [
    (['-n', '100000', '--', 'x'], '-n 100000'),
    ([], '-n'), (['-n', '2'], 'no COMMAND'), (['-n', '2', '--'], 'no COMMAND'), (['-n', '0', '--', 'x'], '-n 0'),
    (['-n', '1', '-s', '0', '--', 'x'], '-s 0'), (['-n', 'x', '--', 'x'], "'x'"), (['-n', '1', 'x', '--', 'x'], 'x'),
    (['-n', '1', '-H', '/nowhere', '--', 'x'], '/nowhere'), (['-n', '1', '--ssh', 'x', '--', 'x'], '-H'),
    (['-n', '1', '--grace', '-1', '--', 'x'], '--grace -1'), (['-n', '1', '--grace', 'nan', '--', 'x'], '--grace nan'),
    (['-n', '1', '--port', '99999', '--', 'x'], '--port 99999'), (['-n', '1', '--port', '-5', '--', 'x'], '--port -5')])
def test_wrong_usage_is_one_sentence(words, part, capsys):
    assert main(['launch'] + words) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and err.count('\n') == 1 and part in err


def test_a_port_that_is_taken(capsys):
    import socket
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen(1)
        port = other.getsockname()[1]
        assert main(['launch', '-n', '1', '--port', str(port), '--', 'x']) == 2
    assert f'--port {port} cannot be used' in capsys.readouterr().err


@pytest.mark.parametrize('content, part', [
    ('', 'no host'), ('# none\n\n', 'no host'), ('a b\n', "'a b'"), ('-oProxyCommand=x\n', "'-oProxyCommand=x'")])
def test_wrong_host_files(tmp_path, content, part):
    (tmp_path / 'hosts').write_text(content)
    with pytest.raises(UsageError) as error:
        launch.read_hosts(str(tmp_path / 'hosts'))
    assert part in str(error.value) and str(tmp_path / 'hosts') in str(error.value)


def test_hosts_and_programs_that_are_not_there(tmp_path, capfd):
    (tmp_path / 'hosts').write_text('no-such-host.invalid\n')
    assert main(['launch', '-n', '1', '-H', str(tmp_path / 'hosts'), '--', 'x']) == 2
    (tmp_path / 'hosts').write_text('127.0.0.1\n')
    hosts = ['-H', str(tmp_path / 'hosts')]
    assert main(['launch', '-n', '1'] + hosts + ['--ssh', '/no/ssh', '--grace', '0', '--', 'x']) == 2
    assert main(['launch', '-n', '1', '--grace', '0', '--', '/no/program']) == 127
    lines = [line for line in capfd.readouterr().err.splitlines() if 'scheduler' not in line]
    assert 'no-such-host.invalid' in lines[0] and '/no/ssh cannot be run' in lines[1]
    assert '[worker 0] error: /no/program cannot be run' in lines[2] and lines[3].endswith('all others are ended')


def test_the_address_that_others_reach():
    assert launch.address_for([None]) == launch.address_for(['127.0.0.1', 'me@localhost']) == '127.0.0.1'


# ---------------------------------------------------------------------------------------------------------------------
# MXNet's parameter server

TRAIN = '''
import sys
sys.path.insert(0, %r)
from gluon_tricks.compat import mx
store = mx.kv.create('dist_sync')
store.init(0, mx.nd.zeros(4))
for i in range(int(sys.argv[1])):
    store.push(0, mx.nd.ones(4))
    total = mx.nd.zeros(4)
    store.pull(0, out=total)
    total.wait_to_read()
    if i == 5:
        print('in mid-training', flush=True)
print(store.num_workers, total.asnumpy().tolist(), flush=True)
''' % str(ROOT)


def mxnet_job(updates):
    return Job('-n', '2', '-s', '1', '--', sys.executable, '-c', TRAIN, str(updates), serve=None)


def test_a_parameter_server():
    job = mxnet_job(10)
    code, out, err = job.end(60)
    assert code == 0, err
    assert sorted(line for line in out.splitlines() if '[2.0' in line) == [
        f'[worker {i}] 2 [2.0, 2.0, 2.0, 2.0]' for i in (0, 1)]
    assert job.seconds < 20  # servers and scheduler end by themselves


@pytest.mark.parametrize('role', ['worker', *(pytest.param(role, marks=pytest.mark.slow) for role in ('scheduler', 'server'))])
def test_a_kill_in_mid_training_ends_a_parameter_server(role):
    job = mxnet_job(10 ** 9)
    for _ in range(2):
        assert 'in mid-training' in job.process.stdout.readline()
    os.kill(job.wait_for(1, role)[-1], signal.SIGKILL)
    killed = time.time()
    code, _, err = job.end()
    assert code == 137 and 'died of SIGKILL: all others are ended' in err and role in err.splitlines()[-1]
    assert time.time() - killed < 30


# ---------------------------------------------------------------------------------------------------------------------
# In a job of Slurm

def test_the_nodes_of_a_slurm_job_are_the_hosts(tmp_path):
    """srun and scontrol are stand-ins; tests/slow/test_slurm.py has the real ones."""
    (tmp_path / 'scontrol').write_text('#!/bin/sh\n[ "$*" = "show hostnames 127.0.0.[1-2]" ] && printf "127.0.0.1\\n127.0.0.2\\n"\n')
    (tmp_path / 'srun').write_text(
        '#!/bin/sh\nfor word; do case $word in --nodelist=*) NODE=${word#*=}; export NODE;; esac; done\n'
        'while [ "$1" != sh ]; do shift; done\nexec "$@"\n')
    for name in ('scontrol', 'srun'):
        (tmp_path / name).chmod(0o755)
    job = Job('-n', '2', '-s', '2', '-H', 'slurm', '--grace', '0.1', *python(
        'import os; print(os.environ["NODE"])'), PATH=f'{tmp_path}:{os.environ["PATH"]}', SLURM_JOB_NODELIST='127.0.0.[1-2]')
    code, out, err = job.end()
    assert (code, sorted(out.splitlines()), err) == (0, ['[worker 0] 127.0.0.1', '[worker 1] 127.0.0.2'], '')


def test_outside_of_a_slurm_job_it_has_no_nodes(monkeypatch, tmp_path):
    monkeypatch.delenv('SLURM_JOB_NODELIST', raising=False)
    with pytest.raises(UsageError, match='SLURM_JOB_NODELIST is not set'):
        launch.slurm_hosts()
    monkeypatch.setenv('SLURM_JOB_NODELIST', 'x')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(UsageError, match='scontrol show hostnames x'):
        launch.slurm_hosts()
