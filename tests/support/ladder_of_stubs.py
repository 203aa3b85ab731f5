"""A ladder whose runs take a moment: `python ladder_of_stubs.py OUT RUNS AT_ONCE`, or `python ladder_of_stubs.py --run
FOLDER`, a run of it.

A run counts from 0 to STEPS, resumes where it was killed, and adds a line to FOLDER/starts and to FOLDER/ends. The run 0
is a teacher of run 1.
"""
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from gluon_tricks.errors import UsageError  # noqa: E402
from gluon_tricks.files import Lock, write_whole  # noqa: E402
from gluon_tricks.results.jobs import Job, Jobs  # noqa: E402

STEPS, STEP = 10, 0.02


def append(path, text):
    with open(str(path), 'a') as stream:
        stream.write(text + '\n')


def run(folder):
    folder = Path(folder)
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(STEP), os._exit(143)))  # as a run that saves before it ends
    try:
        lock = Lock(str(folder), 'the run', 'wait')
    except UsageError as error:
        append(folder / 'refused', str(error))
        return 2
    with lock:
        append(folder / 'starts', str(os.getpid()))
        at = int((folder / 'at').read_text()) if (folder / 'at').exists() else 0
        for step in range(at, STEPS):
            time.sleep(STEP)
            if (folder / 'fails').exists():
                print('error: as it was told', file=sys.stderr)
                return 3
            write_whole(str(folder / 'at'), str(step + 1).encode())
        append(folder / 'ends', str(STEPS))
    return 0


def finished(job):
    path = Path(job.folder) / 'ends'
    return f'at {path.read_text().split()[0]}' if path.exists() else None


def jobs(out, number):
    folders = [str(Path(out) / f'run{i}') for i in range(number)]
    return [Job(f'run {i}', folder, (sys.executable, '-S', __file__, '--run', folder), 1.0, folders[0] if i == 1 else '')
            for i, folder in enumerate(folders)]


if __name__ == '__main__':
    if sys.argv[1] == '--run':
        sys.exit(run(sys.argv[2]))
    out, number, at_once = sys.argv[1:]
    sys.exit(Jobs(out, int(at_once), 1, finished, lambda line: print(line, flush=True)).work(jobs(out, int(number))))
