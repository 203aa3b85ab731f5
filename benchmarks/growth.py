"""How the cost of training grows with its size, as an exponent: what is steeper than linear.

    python benchmarks/growth.py                                              # all of them
    python benchmarks/growth.py --what classes --sizes 10 100 --repeats 1    # one, with other sizes

    devices   host time of an update by CPU contexts, 2 images each, float32 and emulated float16: as benchmarks/host.py
              has it, with mixup and smoothing, and the update of the weights that GPUs get
    workers   seconds of an update of the demo's network by workers, all on this machine with one parameter server; each
              has 32 synthetic images, whatever their number
    classes   CPU seconds of an update by classes, 32 synthetic images of 32 px; what comes before: the configuration,
              and from there to the first update; memory
    side      CPU seconds an image of an update by the side of the images, 8 synthetic ones; memory
    records   seconds to open an index of so many records, and memory: as benchmarks/start.py --records has it

The network is resnet18_v1b but for workers. Each repeat of each size is a process of its own with one thread (of each
worker, one), in turn; its figure is the median of some updates after the first ones. Memory is the greatest of the
process, and how much that is above the greatest after its imports.

Printed are the median of the repeats and their range, and exponents of cost = size ** exponent: from the row above to
this one, with the range that the ranges of both rows allow, and by least squares over the medians of all sizes. A row
is marked where all of its range is above linear, which is 1, and for the side 2: linear in the pixels. What costs the
same at any size lowers an exponent, so that the last rows tell most. A busy machine moves seconds, CPU seconds less.
"""
import argparse
import collections
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.dirname(os.path.abspath(__file__))]

from start import make_index, peak, read_index  # noqa: E402

ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=ROOT)
MODEL, SIDE, LR = 'resnet18_v1b', 32, 1e-3
WARM, UPDATES, HOST_UPDATES = 2, 3, 5  # updates of a process: not counted; counted; of devices, whose times scatter
INTERVAL, INTERVALS = 20, 5  # of workers: updates between two lines of the log, and lines; the first is not counted
DEMO = ['--model', 'resnet10_v1d_demo', '--num-classes', '10', '--input-size', '32', '--num-gpus', '0']

Quantity = collections.namedtuple('Quantity', 'sizes linear measure')  # linear: the exponent of what is linear


# ---------------------------------------------------------------------------------------------------------------------
# In a process of its own: each returns {figure: value}

def host_time(number, dtype):
    """Of an update on so many devices."""
    import host
    host.multi_tensor.DEVICES = host.low_precision.BY_OPERATOR = ('cpu', 'gpu')
    program = host.Ours([host.mx.cpu(index) for index in range(number)], dtype, 'mixup',
                        argparse.Namespace(model=MODEL, side=SIDE, nag='paper'))
    whole, after_flag = zip(*[host.milliseconds(program) for _ in range(WARM + HOST_UPDATES)][WARM:])
    found = {f'host time of an update, {dtype}, ms': statistics.median(whole)}
    if dtype == 'float16':
        found['host time after the flag, float16, ms'] = statistics.median(after_flag)
    return found


def update(classes, side, images):
    """CPU seconds of an update and of what comes before it, MiB."""
    from gluon_tricks.compat import mx
    from gluon_tricks.config.classification import TrainConfig
    from gluon_tricks.distributed.workers import Workers
    from gluon_tricks.tasks.classification import assembly
    from gluon_tricks.training.loop import step
    imported, times = peak(), [time.process_time()]
    config, _ = assembly.resolve(TrainConfig(model=MODEL, data_backend='synthetic', num_classes=classes, num_gpus=0,
                                             input_size=side, batch_size=images, lr=LR))
    times.append(time.process_time())
    setup = assembly.assemble(config, [mx.cpu()], Workers())
    task, state = setup.task, setup.new_state(config)
    batch = next(iter(task.batches(0)))
    mx.nd.waitall()
    times.append(time.process_time())
    for _ in range(WARM + UPDATES):
        step(task, state, batch, setup.schedule)
        mx.nd.waitall()
        times.append(time.process_time())
    configured, assembled, *updates = (after - before for before, after in zip(times, times[1:]))
    return {'update': statistics.median(updates[WARM:]), 'configuration': configured, 'assembly': assembled,
            'memory': peak(), 'memory beyond the imports': peak() - imported}


def child(function, *arguments):
    """What a function above returns, called in a process of its own."""
    words = [sys.executable, os.path.abspath(__file__), '--child', json.dumps([function.__name__, *arguments])]
    done = subprocess.run(words, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------------------------------------------------------------
# Quantities: {figure: value} of one repeat at a size

def devices(number, folder):
    return {**child(host_time, number, 'float32'), **child(host_time, number, 'float16')}


def workers(number, folder):
    images = 32
    with tempfile.TemporaryDirectory(dir=folder) as save_dir:
        subprocess.run(
            [sys.executable, '-m', 'gluon_tricks', 'launch', '-n', str(number), '-s', '1', '--', sys.executable,
             os.path.join(ROOT, 'train_imagenet.py'), *DEMO, '--kv-store', 'dist_sync', '--batch-size', str(images),
             '--data-backend', 'synthetic', '--num-training-samples', str(images * number * INTERVAL * INTERVALS),
             '--num-epochs', '1', '--lr', str(LR), '--log-interval', str(INTERVAL), '--save-dir', save_dir],
            env=ENVIRONMENT, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        with open(os.path.join(save_dir, 'log.jsonl')) as stream:
            speeds = [event['speed'] for event in map(json.loads, stream) if event['event'] == 'batch']
    return {'seconds of an update': images * number / statistics.median(speeds[1:])}


def classes(number, folder):
    found = child(update, number, SIDE, 32)
    return {'CPU seconds of an update': found['update'], 'CPU seconds of the configuration': found['configuration'],
            'CPU seconds from there to the first update': found['assembly'], 'memory, MiB': found['memory'],
            'memory beyond the imports, MiB': found['memory beyond the imports']}


def side(pixels, folder):
    images = 8
    found = child(update, 1000, pixels, images)
    return {'CPU seconds an image': found['update'] / images, 'memory, MiB': found['memory'],
            'memory beyond the imports, MiB': found['memory beyond the imports']}


def records(number, folder):
    files = [os.path.join(folder, f'{number}{end}') for end in ('.rec', '.idx')]
    found = read_index(*(files if os.path.isfile(files[1]) else make_index(number, folder)), ENVIRONMENT)
    return {'seconds to read and check the index': found[0], 'seconds to open it: index, stream and identity':
            sum(found[:3]), 'seconds to draw the order of an epoch': found[3],
            'memory beyond the imports, without that order, MiB': found[4],
            'memory beyond the imports, with that order, MiB': found[5]}


QUANTITIES = {
    'devices': Quantity([1, 2, 4, 8], 1, devices), 'workers': Quantity([1, 2], 1, workers),
    'classes': Quantity([10, 100, 1000, 10000], 1, classes), 'side': Quantity([32, 64, 112, 224, 448], 2, side),
    'records': Quantity([10 ** power for power in range(3, 8)], 1, records)}


# ---------------------------------------------------------------------------------------------------------------------
# Tables

def exponent(sizes, costs):
    """Of cost = size ** exponent by least squares; NaN where fewer than two costs are positive."""
    points = [(math.log(size), math.log(cost)) for size, cost in zip(sizes, costs) if cost > 0]
    return np.polyfit(*zip(*points), 1)[0] if len(points) > 1 else math.nan


def table(title, rows, linear):
    """Print one figure. rows: {size: values of all repeats}."""
    print(f'\n{title}\n{"size":>10} {"median":>10}  {"range":<24} {"exponent":>8}  range')
    before = None
    for size, values in rows.items():
        line = f'{size:10d} {statistics.median(values):10.4g}  {f"{min(values):.4g} to {max(values):.4g}":<24}'
        if before:
            middle, low, high = (exponent((before[0], size), pair) for pair in (
                (statistics.median(before[1]), statistics.median(values)), (max(before[1]), min(values)),
                (min(before[1]), max(values))))
            steep = '  steeper than linear' if len(values) > 1 and low > linear else ''
            line += f' {middle:8.2f}  {low:.2f} to {high:.2f}{steep}'
        print(line.rstrip())
        before = size, values
    if len(rows) > 1:
        whole = exponent(rows, [statistics.median(values) for values in rows.values()])
        print(f'over all sizes {whole:.2f}, linear is {linear}', flush=True)


def measure(name, sizes, repeats):
    """Print the tables of one quantity."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for size in sizes:
                for title, value in QUANTITIES[name].measure(size, folder).items():
                    figures.setdefault(title, {}).setdefault(size, []).append(value)
    print(f'\n== By {name}, n = {repeats}')
    for title, rows in figures.items():
        table(title, rows, QUANTITIES[name].linear)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--what', nargs='+', default=list(QUANTITIES), choices=list(QUANTITIES))
    parser.add_argument('--sizes', type=int, nargs='+', help='in place of the usual ones, of one quantity')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--child', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        function, *values = json.loads(arguments.child)
        print(json.dumps({'host_time': host_time, 'update': update}[function](*values)))
        return
    if arguments.sizes and len(arguments.what) > 1:
        parser.error('--sizes are those of one quantity: name it with --what')
    if arguments.repeats < 1 or min(arguments.sizes or [1]) < 1:
        parser.error('--repeats and --sizes must be at least 1')
    for name in arguments.what:
        measure(name, sorted(set(arguments.sizes or QUANTITIES[name].sizes)), arguments.repeats)


if __name__ == '__main__':
    main()
