"""``python -m gluon_tricks launch``: one training over several workers (paper section 2; Li et al. 2014).

Starts what MXNet's parameter server consists of, a scheduler, servers and workers, here or over ssh, and ends all of
them when one dies: those that are left would wait for it for ever.

Each process runs under a guard (`guard`), a small process beside it. The launcher holds the guard's standard input: a
line there is a signal for the process and all its children; its end is their end. That also reaches over ssh, and
happens by itself when the launcher or the connection is gone. A guard that is killed takes all of them with it.
"""
import collections
import contextlib
import ctypes
import json
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

import gluon_tricks
from gluon_tricks.cores import available_cores
from gluon_tricks.errors import Parser, UsageError

_MOST = 64  # workers, and servers, of a host
_SSH = 'ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=3'
# In a job of Slurm: a step beside the others, which share the cores and GPUs of the job.
_SRUN = 'srun --overlap --nodes=1 --ntasks=1 --cpu-bind=none --nodelist={host} sh -c'
# What the processes on other hosts take over from the launcher's environment: names that begin so.
_CARRIED = ('CUDA_', 'DMLC_', 'LD_LIBRARY_PATH', 'MXNET_', 'NCCL_', 'OMP_', 'PATH', 'PS_', 'PYTHON')
_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(gluon_tricks.__file__)))
_PATH = f'import sys; sys.path.insert(0, {_FOLDER!r}); '
_GUARD = [sys.executable, '-c', _PATH + 'from gluon_tricks.distributed import launch; launch.guard()']
_SERVE = [sys.executable, '-c', _PATH + 'import gluon_tricks.compat']  # MXNet serves when it is imported
_LEEWAY = 8.0  # seconds that workers may outlive servers, which end as soon as the last worker says goodbye
_LONGEST = 1 << 16  # bytes of a line; longer ones are cut

Job = collections.namedtuple('Job', 'workers servers hosts ssh address port grace command')


def parser():
    result = Parser(prog='python -m gluon_tricks launch', usage='%(prog)s -n WORKERS [options] -- COMMAND...',
                    description='Run COMMAND in several processes that train together with --kv-store dist_sync.',
                    epilog='`launch --slurm` writes a file for sbatch instead: `launch --slurm --help`.')
    result.add_argument('-n', dest='workers', type=int, required=True, help='workers: each runs COMMAND')
    result.add_argument('-s', dest='servers', type=int, default=1, help='servers, which add the gradients (default: 1)')
    result.add_argument('-H', dest='hostfile', metavar='FILE', help='hosts, one a line, reached with ssh: worker i and '
                        'server i run on the i-th, in turn (default: all processes run here); slurm: the nodes of the '
                        'job that this runs in, reached with srun')
    result.add_argument('--ssh', metavar='COMMAND', help=f'in place of `{_SSH}`; the host follows it, or stands where '
                        'it has {host}')
    result.add_argument('--port', type=int, help='port of the scheduler, which runs here (default: a free one)')
    result.add_argument('--grace', type=float, metavar='SECONDS', default=20.0,
                        help='time to end between SIGTERM and SIGKILL (default: 20)')
    return result


def main(argv):
    """Run the job; returns its exit code: 0, that of the process that died first, or 128 + the launcher's signal."""
    split = argv.index('--') if '--' in argv else len(argv)
    arguments = parser().parse_args(argv[:split])
    for flag, value in (('-n', arguments.workers), ('-s', arguments.servers)):
        if value < 1:
            raise UsageError(f'{flag} {value} must be at least 1')
    if not 0 <= arguments.grace <= 86400:
        raise UsageError(f'--grace {arguments.grace:g} must be 0 to 86400 seconds')
    if not argv[split + 1:]:
        raise UsageError('no COMMAND: write it after two dashes, such as `launch -n 2 -s 1 -- python '
                         'train_imagenet.py --kv-store dist_sync`')
    if arguments.ssh is not None and not (arguments.hostfile and shlex.split(arguments.ssh)):
        raise UsageError(f'--ssh {arguments.ssh!r} needs a command, and -H FILE with the hosts')
    in_slurm = arguments.hostfile == 'slurm'
    hosts = slurm_hosts() if in_slurm else read_hosts(arguments.hostfile) if arguments.hostfile else [None]
    for flag, value in (('-n', arguments.workers), ('-s', arguments.servers)):
        if value > _MOST * len(hosts):
            raise UsageError(f'{flag} {value} over {len(hosts)} hosts: on each of them there must be at most {_MOST}')
    address = address_for(hosts)
    ssh = arguments.ssh or (_SRUN if in_slurm else _SSH)
    return _run(Job(arguments.workers, arguments.servers, hosts, shlex.split(ssh), address,
                    free_port(address, arguments.port), arguments.grace, argv[split + 1:]))


def read_hosts(path):
    """Hosts in a file, one a line, perhaps as ``user@host``; what follows # is not read. Raises UsageError."""
    try:
        with open(path) as stream:
            hosts = [line.split('#')[0].strip() for line in stream]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError('-H %s cannot be read (%s): give a file with one host on each line'
                         % (path, getattr(error, 'strerror', None) or error)) from error
    hosts = [host for host in hosts if host]
    wrong = [host for host in hosts if host.startswith('-') or len(host.split()) > 1]
    if wrong or not hosts:
        raise UsageError('-H %s: %s; write one host on each line' % (path, f'{wrong[0]!r} is not a host' if wrong else
                                                                    'it lists no host'))
    return hosts


def slurm_hosts():
    """The nodes of the Slurm job that this process is of. Raises UsageError outside of one."""
    nodes = os.environ.get('SLURM_JOB_NODELIST')
    if not nodes:
        raise UsageError('-H slurm is for a job of Slurm, and SLURM_JOB_NODELIST is not set: type it in a job, or give '
                         'a file with one host on each line')
    try:
        return subprocess.run(['scontrol', 'show', 'hostnames', nodes], stdout=subprocess.PIPE, check=True,
                              text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UsageError(f'-H slurm: `scontrol show hostnames {nodes}` failed ({error}): give a file with one host on '
                         'each line') from error


def command_on(host, ssh):
    """The words that run a line of shell on a host, but for the line; ssh: those before the host, or around {host}."""
    placed = [word.replace('{host}', host) for word in ssh]
    return placed if placed != list(ssh) else placed + [host]


def address_towards(host, port=9):
    """This machine's IP address on the way to a host (nothing is sent). Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return probe.getsockname()[0]


def address_for(hosts):
    """The IP address under which all hosts reach this machine; [None]: there are none. Raises UsageError."""
    for host in filter(None, hosts):
        try:
            address = address_towards(host.rpartition('@')[2])
        except OSError as error:
            raise UsageError('host %s has no address that can be reached (%s): give its name or IP address in the file '
                             'of -H' % (host, error.strerror or error)) from error
        if not address.startswith('127.'):  # this machine may stand in its own list
            return address
    return '127.0.0.1'


def free_port(address, wanted=None):
    """A port that is free now, or the one that is wanted. Raises UsageError when it cannot be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, wanted or 0))
        except (OSError, OverflowError) as error:
            raise UsageError('--port %s cannot be used (%s): give another, or leave it out for a free one'
                             % (wanted, getattr(error, 'strerror', None) or error)) from error
        return probe.getsockname()[1]


# ---------------------------------------------------------------------------------------------------------------------
# The job

def _run(job):
    """Start all processes, wait, and see to it that none is left; returns the exit code."""
    events, processes = queue.SimpleQueue(), []  # a signal handler may put into a SimpleQueue at any time
    before = {number: signal.signal(number, lambda number, frame: events.put(number))
              for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if signal.getsignal(number) != signal.SIG_IGN}  # as under nohup
    try:
        for role, number in ([('scheduler', 0)] + [('server', i) for i in range(job.servers)]
                             + [('worker', i) for i in range(job.workers)]):
            processes.append(_Process(job, role, number, events))
        return _wait(job, processes, events)
    finally:
        for process in processes:
            process.end()
        limit = time.monotonic() + job.grace + 4  # less than 30 s with the default, and what is lost before and after
        for process in processes:
            process.join(limit)
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(job, processes, events):
    """Wait for the end of the job; returns its exit code when the rest is to be ended."""
    running, limit, stopped_by, early = set(processes), None, None, None
    while True:
        try:
            event = events.get(timeout=None if limit is None else max(0.0, limit - time.monotonic()))
        except queue.Empty:
            if early and not stopped_by:
                return _failed(early, 'ended before the workers')
            break
        if isinstance(event, _Process):
            running.discard(event)
            workers = any(process.role == 'worker' for process in running)
            if stopped_by is None and event.code and (workers or event.role == 'worker'):
                return _failed(event)
            if stopped_by is None and workers and event.role != 'worker' and early is None:
                early, limit = event, time.monotonic() + _LEEWAY
            elif stopped_by is None and not workers and event.role == 'worker':  # all have ended well
                early, limit = None, time.monotonic() + job.grace
            if not running or stopped_by and not workers:
                break
        elif stopped_by is None:
            stopped_by, limit = event, time.monotonic() + job.grace
            _say(f'{signal.Signals(event).name}: the workers have {job.grace:g} seconds to save and end')
            for process in running:
                if process.role == 'worker':
                    process.send(event)
        else:  # asked twice
            break
    for process in running if stopped_by else ():
        process.send(signal.SIGKILL)  # their time is over
    return 128 + stopped_by if stopped_by else 0


def _failed(process, how=None):
    """Name the process that ends the job; returns the exit code."""
    if how is None:
        try:
            how = f'died of {signal.Signals(process.code - 128).name}'
        except ValueError:
            how = f'ended with code {process.code}'
    _say(f'error: {process.name} {how}: all others are ended')
    return process.code or 1


def _say(line):
    _write(sys.stderr, line.encode())


class _Process:
    """A process of the job under its guard, which the launcher talks to; `code` is set when it has ended.

    It puts itself into `events` at its end.
    """

    def __init__(self, job, role, number, events):
        self.role, self.code = role, None
        host = None if role == 'scheduler' else job.hosts[number % len(job.hosts)]
        self.name = f'{role} {number}' + (f' on {host}' if host else '')
        environment = {'PYTHONUNBUFFERED': '1'}
        environment.update({name: value for name, value in os.environ.items() if name.startswith(_CARRIED)})
        environment.update(
            DMLC_ROLE=role, DMLC_PS_ROOT_URI=job.address, DMLC_PS_ROOT_PORT=str(job.port),
            DMLC_NUM_WORKER=str(job.workers), DMLC_NUM_SERVER=str(job.servers),
            **({} if role == 'scheduler' else {f'DMLC_{role.upper()}_ID': str(number)}))
        same_host = [i for i in range(job.workers) if job.hosts[i % len(job.hosts)] == host]
        task = dict(command=job.command if role == 'worker' else _SERVE, folder=os.getcwd(), environment=environment,
                    workers=len(same_host) or 1, grace=job.grace)
        words = command_on(host, job.ssh) + ['exec ' + ' '.join(map(shlex.quote, _GUARD))] if host else _GUARD
        try:
            self._guard = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise UsageError(f'{words[0]} cannot be run ({error.strerror}): give another --ssh') from error
        label = f'[{role} {number}] '
        self._copies = [threading.Thread(target=_copy, args=(*pair, label.encode()), daemon=True)
                        for pair in ((self._guard.stdout, sys.stdout), (self._guard.stderr, sys.stderr))]
        self._watch = threading.Thread(target=self._wait, args=(events,), daemon=True)
        for thread in self._copies + [self._watch]:
            thread.start()
        self.send(json.dumps(task))

    def _wait(self, events):
        code = self._guard.wait()
        for thread in self._copies:
            thread.join(2)  # what it wrote stands before what is said of its end
        self.code = code if code >= 0 else 128 - code
        events.put(self)

    def send(self, message):
        """Send a signal's number to the guard (or its task, at first)."""
        try:
            self._guard.stdin.write(b'%s\n' % str(int(message) if isinstance(message, int) else message).encode())
            self._guard.stdin.flush()
        except (OSError, ValueError):
            pass  # it is gone, and known to be in a moment

    def end(self):
        """Let the guard end the process: SIGTERM, and SIGKILL after the grace period."""
        try:
            self._guard.stdin.close()
        except OSError:
            pass

    def join(self, limit):
        """Wait for the end until a moment of time.monotonic(), then enforce it."""
        self._watch.join(max(0.0, limit - time.monotonic()))
        if self._watch.is_alive():
            self._guard.kill()
            self._watch.join(5)


# ---------------------------------------------------------------------------------------------------------------------
# Output

_writing = threading.Lock()


def _write(stream, line):
    """Write a line of bytes at once; when nobody reads any more, nobody is written to."""
    with _writing:
        try:
            stream.flush()
            stream.buffer.write(line + b'\n')
            stream.buffer.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _copy(source, target, label):
    """Copy lines as they come, each with the label; of what a carriage return overwrites, the last is copied."""
    rest = b''
    for block in iter(lambda: source.read1(_LONGEST), b''):
        *lines, rest = (rest + block).split(b'\n')
        for line in lines:
            _write(target, label + line.rstrip(b'\r').rpartition(b'\r')[2])
        rest = rest[rest.rfind(b'\r', 0, len(rest) - 1) + 1:]
        if len(rest) > _LONGEST:
            _write(target, label + rest)
            rest = b''
    if rest.strip():
        _write(target, label + rest.rstrip(b'\r'))


# ---------------------------------------------------------------------------------------------------------------------
# The guard, on the host of its process

def guard():
    """Run the process that standard input describes until it ends or is to end; leaves with its exit code.

    Standard input: a line of JSON, then numbers of signals, one a line, for the process's group. At its end the group
    has the grace period from SIGTERM to SIGKILL.
    """
    task = json.loads(sys.stdin.buffer.readline() or '{}')
    if not task:
        os._exit(1)  # the launcher has gone already
    environment = dict(os.environ, **task['environment'])
    environment['DMLC_NODE_HOST'] = address_towards(environment['DMLC_PS_ROOT_URI'])
    environment.setdefault('OMP_NUM_THREADS', str(max(1, available_cores() // task['workers'])))
    prctl = getattr(ctypes.CDLL(None), 'prctl', None)  # Linux has it
    watcher = _watch_over_guard()

    def die_with_guard():
        os.write(watcher, b'%d\n' % os.getpid())
        if prctl:
            prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    try:
        process = subprocess.Popen(task['command'], cwd=task['folder'], env=environment, stdin=subprocess.DEVNULL,
                                   start_new_session=True, preexec_fn=die_with_guard)
    except OSError as error:
        print(f'error: {task["command"][0]} cannot be run in {task["folder"]} ({error.strerror})',
              file=sys.stderr, flush=True)
        os._exit(127)
    asked = []  # when the group was asked to end

    def pass_on(number, frame=None):
        asked.append(time.monotonic())
        _signal_group(process.pid, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    threading.Thread(target=_obey, args=(pass_on, task['grace']), daemon=True).start()
    code = process.wait()
    # A shell may be gone before what it runs: the group has its time, if it was asked to end.
    limit = asked[0] + task['grace'] if asked else 0
    while time.monotonic() < limit and _signal_group(process.pid, 0):
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.write(watcher, b'0\n')  # its number may be another's from now on
    os._exit(code if code >= 0 else 128 - code)


def _watch_over_guard():
    """Fork a process that kills the group of the guard's process once the guard is gone, whatever ended it: nothing
    else would reach that process's own children. Returns the pipe that takes the group's number, and 0 for none.
    """
    numbers, pipe = os.pipe()
    if os.fork():
        os.close(numbers)
        return pipe
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1, 2):  # the launcher waits for the end of these
            os.dup2(nowhere, handle)
        os.close(pipe)
        with os.fdopen(numbers) as lines:
            group = int((lines.read().split() or ['0'])[-1])
        if group:
            _signal_group(group, signal.SIGKILL)
    finally:
        os._exit(0)


def _obey(pass_on, grace):
    for line in sys.stdin.buffer:
        pass_on(int(line))
    pass_on(signal.SIGTERM)
    time.sleep(grace)
    pass_on(signal.SIGKILL)


def _signal_group(group, number):
    """Send a signal to a process group; returns whether there is one."""
    try:
        os.killpg(group, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False
