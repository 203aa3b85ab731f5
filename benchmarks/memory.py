"""Memory of a training run by epoch: what a leak would show.

    python benchmarks/memory.py --after 10 -- python train_imagenet.py --epochs 200 --save-dir runs/long ...

Runs the command, any of the programs that train, and twice a second adds up the resident memory of it and of the
processes it started (a page that several share counts for each). Epochs are those of SAVE_DIR/log.jsonl, whose events
tell when each ended: evaluation is within its epoch, the checkpoint after it in the next. Printed are the greatest
figure of each epoch, in no more than 20 lines, and the growth from epoch --after to the end, each the median of
several epochs. Without --save-dir, or without an epoch in its log, minutes take the place of epochs. Linux.

The exit code is the command's.
"""
import argparse
import bisect
import json
import os
import statistics
import subprocess
import sys
import time

PAGE, INTERVAL = os.sysconf('SC_PAGESIZE') / 2.0 ** 20, 0.5
LINES, SEVERAL = 20, 5


def resident(root):
    """MiB of a process and all that it started, directly or not."""
    children, sizes = {}, {}
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{name}/stat') as stream:
                fields = stream.read().rpartition(')')[2].split()  # a program's name may hold spaces
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        sizes[int(name)] = int(fields[21]) * PAGE
    total, waiting = 0.0, [root]
    while waiting:
        process = waiting.pop()
        total += sizes.get(process, 0.0)
        waiting += children.get(process, [])
    return total


def run(command):
    """(exit code, [(time, MiB)]) of a command; Ctrl-C, which it gets as well, is left to it."""
    samples = []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            try:
                samples.append((time.time(), resident(process.pid)))
                time.sleep(INTERVAL)
            except KeyboardInterrupt:
                pass
    return process.returncode, samples


def log_of(command):
    """SAVE_DIR/log.jsonl of a command line, '' where it does not name one."""
    for word, after in zip(command, command[1:] + ['']):
        if word == '--save-dir' or word.startswith('--save-dir='):
            return os.path.join(after if word == '--save-dir' else word.partition('=')[2], 'log.jsonl')
    return ''


def epoch_ends(path, start):
    """[(epoch, when it ended)] of the epochs that ended after `start`: an older run may have written before."""
    try:
        with open(path) as stream:
            events = [json.loads(line) for line in stream]
    except (OSError, ValueError):
        return []
    return [(event['epoch'], event['time_stamp']) for event in events
            if event['event'] == 'epoch' and event['time_stamp'] >= start]


def peaks(samples, ends):
    """[(epoch, greatest MiB)]: samples after the last epoch, its checkpoint and the end of the process, count to it."""
    times, result = [end for _, end in ends], {}
    for when, size in samples:
        epoch = ends[min(bisect.bisect_left(times, when), len(ends) - 1)][0]
        result[epoch] = max(result.get(epoch, 0.0), size)
    return sorted(result.items())


def minutes(samples):
    """Minutes in the place of `epoch_ends`."""
    start, last = samples[0][0], samples[-1][0]
    return [(minute, start + 60 * (minute + 1)) for minute in range(int((last - start) / 60) + 1)]


def report(unit, rows, after):
    """The table, and the growth from row `after` on."""
    print('\n%8s %10s' % (unit, 'MiB'))
    lines = min(LINES, len(rows))
    for line in range(lines):
        print('%8d %10.1f' % rows[line * (len(rows) - 1) // max(lines - 1, 1)])
    later = [size for place, size in rows if place >= after]
    count = min(SEVERAL, len(later) // 2)
    if not count:
        print(f'growth: there are not two {unit}s from {unit} {after} on')
        return
    first, last = statistics.median(later[:count]), statistics.median(later[-count:])
    print('growth from %s %d on: %+.2f %% (%.1f to %.1f MiB, medians of %d %s%s)' % (
        unit, after, 100 * (last / first - 1), first, last, count, unit, 's' if count > 1 else ''))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], usage='%(prog)s [--after N] -- COMMAND...')
    parser.add_argument('--after', type=int, metavar='N', help='epoch that growth counts from (default: 10; of a run '
                        'of fewer than 30 epochs, a third of them)')
    parser.add_argument('command', nargs='+', help='what to run')
    arguments = parser.parse_args()
    try:
        code, samples = run(arguments.command)
    except OSError as error:
        parser.error(f'{arguments.command[0]} cannot be started: {error.strerror}')
    if not samples:
        return code
    ends = epoch_ends(log_of(arguments.command), samples[0][0])
    rows = peaks(samples, ends or minutes(samples))
    first, number = rows[0][0], len(rows)
    after = arguments.after if arguments.after is not None else first + min(10, number // 3)
    report('epoch' if ends else 'minute', rows, after)
    return code if code >= 0 else 128 - code


if __name__ == '__main__':
    sys.exit(main())
