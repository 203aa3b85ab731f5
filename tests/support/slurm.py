"""A real Slurm of its own on this machine: one or two nodes, its own ports, keys and directory; for root."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'scontrol', 'squeue')
# Nodes are named by addresses, which every machine has and the launcher finds. A job that is queued again begins once
# its old credential has expired; KillWait: from SIGTERM to SIGKILL.
CONFIG = '''
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
OverTimeLimit=0
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
'''


def missing():
    """Why there can be no Slurm here, '' where there can."""
    if os.geteuid():
        return 'starting Slurm takes root'
    return ', '.join(f'no {name}' for name in PROGRAMS if not shutil.which(name))


def free_ports(number):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(('127.0.0.1', 0))
        return [probe.getsockname()[1] for probe in probes]


class Slurm:
    """Started while it is entered. folder: empty, with a short path, of its own; nodes: how many it has."""

    def __init__(self, folder, nodes=1):
        self.folder, self.nodes = folder, [f'127.0.0.{number + 1}' for number in range(nodes)]
        self.environment = dict(os.environ, SLURM_CONF=str(folder / 'slurm.conf'))

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / 'state').mkdir()
        (self.folder / 'key').write_bytes(os.urandom(128))
        (self.folder / 'key').chmod(0o400)
        ports = free_ports(1 + len(self.nodes))
        nodes = '\n'.join(f'NodeName={name} NodeHostname={socket.gethostname()} NodeAddr={name} Port={port} CPUs=2'
                          for name, port in zip(self.nodes, ports[1:]))
        (self.folder / 'slurm.conf').write_text(CONFIG.format(folder=self.folder, host=socket.gethostname(),
                                                              ports=ports, nodes=nodes))
        try:
            self._start('munged', '--force', *(f'--{name}-file={self.folder}/{file}' for name, file in (
                ('key', 'key'), ('pid', 'munge.pid'), ('log', 'munge.log'), ('seed', 'munge.seed'))),
                f'--socket={self.folder}/munge.sock')
            self._start('slurmctld', '-c')
            for name in self.nodes:
                (self.folder / f'spool-{name}').mkdir()
                self._start('slurmd', '-N', name)
            self.wait(lambda: self.run('sinfo', '-h', '-t', 'idle', '-o', '%D').strip() == str(len(self.nodes)), 600)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *reason):
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            self.run('scancel', '--user=root')
            self.wait(lambda: not self.run('squeue', '-h').strip(), 30)
        for path in sorted(self.folder.glob('slurm*.pid')) + [self.folder / 'munge.pid']:
            with contextlib.suppress(OSError, ValueError):
                number = int(path.read_text())
                os.kill(number, signal.SIGTERM)
                for _ in range(100):
                    os.kill(number, 0)
                    time.sleep(0.1)

    def _start(self, *words):
        subprocess.run(words, env=self.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, *words):
        """The output of one of Slurm's commands."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, path):
        """The number of the job that a file for sbatch becomes."""
        return self.run('sbatch', '--parsable', str(path)).strip()

    def jobs(self):
        """{number, or ARRAY_TASK: state} of the jobs that have not ended."""
        return dict(line.split() for line in self.run('squeue', '-h', '-r', '-o', '%i %T').splitlines())

    def facts(self, job):
        """{name: value} of what Slurm tells of a job, for some minutes after its end as well."""
        words = self.run('scontrol', '-o', 'show', 'job', job).split()
        return dict(word.partition('=')[::2] for word in words if '=' in word)

    def near_limit(self, job):
        """Slurm's signal before the time limit, now: SIGUSR1 to the shell of the file alone (`--signal=B:USR1`)."""
        self.run('scancel', '--batch', '--signal=USR1', job)

    def wait(self, holds, seconds=3600):
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, '\n'.join(
                path.read_text(errors='replace')[-2000:] for path in sorted(self.folder.glob('slurm*.log')))
            time.sleep(0.5)
