"""A training as a job of Slurm: the file for sbatch. The job ends before its time limit, with all saved, and is queued
again until the training has finished.

Slurm signals the file's shell alone (`--signal=B:USR1@SECONDS`), up to a minute earlier than that. The shell passes
SIGTERM to the command, which saves and ends (`training/signals.py`), and then has the job queued again; `--resume auto`
goes on from what was saved. A node that fails, or a preemption, has Slurm queue it again (`--requeue`).
"""
import dataclasses
import os
import re
import shlex
from typing import Optional, Sequence, Tuple

from gluon_tricks.config.options import WORKER_STORES
from gluon_tricks.errors import UsageError

_LEEWAY = 20  # seconds between the end of the workers' time to save and the job's

_TIMES = (  # https://slurm.schedmd.com/sbatch.html, --time, N for a number, and the seconds of each
    ('N', (60,)), ('N:N', (60, 1)), ('N:N:N', (3600, 60, 1)), ('N-N', (86400, 3600)), ('N-N:N', (86400, 3600, 60)),
    ('N-N:N:N', (86400, 3600, 60, 1)))

_BODY = '''
cd {folder} || exit 2
asked='' heard=0 command=''
pass_on() {{ heard=$((heard + 1)); [ -z "$command" ] || kill -TERM "$command" 2>/dev/null; }}
trap 'asked=1; pass_on' USR1  # the time limit is near
trap pass_on TERM             # scancel, a preemption
{before}
{command} &
command=$!
[ "$heard" = 0 ] || kill -TERM "$command"  # it was asked before it had begun
while :; do
    seen=$heard
    wait "$command"
    code=$?
    [ "$heard" = "$seen" ] && break  # else a signal ended the waiting, not the command
done
if [ -n "$asked" ] && [ "$code" != 0 ]; then
    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
        echo "ended with code $code for its time limit: queued again"
        scontrol requeue "{job}"
    else
        echo "ended with code $code for its time limit, after {restarts} restarts: not queued again"
    fi
fi
exit "$code"
'''


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a file for sbatch says.

    command: the words that each worker runs; tasks: words to add to them, for each task of a job array, () for no
    array. nodes: of a job, each with one worker; gpus, cpus: of a node, None for Slurm's default; limit: as
    Slurm writes times; lead: seconds from the signal to it. store: the key-value store of the workers; python: that
    starts the launcher on several nodes. others: further options of sbatch.
    """

    name: str
    folder: str
    command: Tuple[str, ...]
    python: str = 'python'
    tasks: Tuple[Tuple[str, ...], ...] = ()
    at_once: Optional[int] = None
    nodes: int = 1
    store: str = 'device'
    gpus: Optional[int] = None
    cpus: Optional[int] = None
    limit: Optional[str] = None
    lead: int = 180
    restarts: int = 100
    others: Tuple[str, ...] = ()


def seconds_of(limit: str) -> int:
    """The seconds of a time as Slurm writes it, such as 90 (minutes), 12:00:00 or 2-12. Raises UsageError."""
    for form, units in _TIMES:
        found = re.fullmatch(form.replace('N', '([0-9]+)'), limit)
        if found:
            return sum(int(number) * unit for number, unit in zip(found.groups(), units))
    raise UsageError(f'--time {limit} is not a time as Slurm writes it: MINUTES, HOURS:MINUTES:SECONDS, DAYS-HOURS or '
                     'DAYS-HOURS:MINUTES:SECONDS')


def script(batch: Batch) -> str:
    """The text of the file for sbatch. Raises UsageError for a time limit that leaves no time before the signal."""
    if batch.limit is not None and seconds_of(batch.limit) <= batch.lead:
        raise UsageError(f'--time {batch.limit} must be longer than --lead {batch.lead} seconds, of which the signal '
                         'comes before')
    job = '$SLURM_JOB_ID'
    if batch.tasks:  # the number of its last task may be that of the whole array
        job = '${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID'
    body = _BODY.format(folder=shlex.quote(batch.folder), before=_rows(batch.tasks), command=_command(batch),
                        restarts=batch.restarts, job=job)
    return '\n'.join(['#!/bin/bash', *(f'#SBATCH {option}' for option in _options(batch))]) + '\n' + body


def _options(batch):
    yield f'--job-name={batch.name}'
    yield '--chdir=' + '"%s"' % re.sub(r'(["\\\\])', r'\\\1', batch.folder)  # sbatch knows no single quotes
    yield f'--output=%x-{"%A_%a" if batch.tasks else "%j"}.out'
    yield '--open-mode=append'
    if batch.tasks:
        yield f'--array=0-{len(batch.tasks) - 1}' + (f'%{batch.at_once}' if batch.at_once else '')
    yield f'--nodes={batch.nodes}'
    yield '--ntasks-per-node=1'
    if batch.gpus:
        yield f'--gpus-per-node={batch.gpus}'
    if batch.cpus:
        yield f'--cpus-per-task={batch.cpus}'
    if batch.limit is not None:
        yield f'--time={batch.limit}'
    yield f'--signal=B:USR1@{batch.lead}'
    yield '--requeue'
    yield from batch.others


def _rows(tasks: Sequence[Sequence[str]]) -> str:
    """A shell array with the words that each task of a job array adds to the command."""
    if not tasks:
        return ''
    lines = '\n'.join('    ' + shlex.quote(' '.join(map(shlex.quote, words))) for words in tasks)
    return f'tasks=(\n{lines}\n)\neval "task=(${{tasks[$SLURM_ARRAY_TASK_ID]}})"'


def _command(batch):
    words = ' '.join(map(shlex.quote, batch.command)) + (' "${task[@]}"' if batch.tasks else '')
    if batch.store not in WORKER_STORES:
        return words
    if batch.store == 'horovod':  # it starts its workers by ssh, and leaves them 5 seconds to save
        run = os.path.join(os.path.dirname(batch.python), 'horovodrun')
        hosts = '''$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed 's/$/:1/' | paste -sd, -)'''
        return f'{shlex.quote(run)} --gloo -np {batch.nodes} -H "{hosts}" {words}'
    return (f'{shlex.quote(batch.python)} -m gluon_tricks launch -n {batch.nodes} -s {batch.nodes} -H slurm '
            f'--grace {max(1, batch.lead - _LEEWAY)} -- {words}')
