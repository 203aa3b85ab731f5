"""Images per second of training: GluonCV's reference script and ours on the same records, both as a user starts them.

    python benchmarks/step.py --reference PATH/gluon-cv/scripts/classification/imagenet/train_imagenet.py
    python benchmarks/step.py --paper     # Table 3's and section 4.3's ratios: precision by batch size, and v1, B, C, D

Each command is a process of its own, started in turn, several times; the figure of a process is the median of its log
lines after the first. Quote the ratios: single figures depend on the machine. GluonCV's script is started with
nothing but the compatibility that MXNet needs to be imported (NumPy's old aliases).
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPEED = re.compile(r'Speed: ([\d.]+) samples/sec')
ALIASES = ('import sys, numpy, runpy, warnings; warnings.simplefilter("ignore");'
           '[setattr(numpy, k, v) for k, v in dict(bool=bool, int=int, float=float, object=object).items()]\n')
RUN = 'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")'


def noise(rng):
    """(375, 500, 3) uint8: smooth noise."""
    import cv2
    return cv2.resize(rng.randint(0, 256, (47, 63, 3)).astype('uint8'), (500, 375))


def make_records(folder, images, val_images=32):
    """Noise JPEGs of 500 x 375, ImageNet's usual size, as train and val records."""
    import cv2
    sys.path.insert(0, ROOT)
    from gluon_tricks.data.records.packing import pack
    rng = np.random.RandomState(0)
    items = []
    for number in range(images):
        image = noise(rng)
        items.append((cv2.imencode('.jpg', image)[1].tobytes(), number % 1000, str(number)))
    for part, some in (('train', items), ('val', items[:val_images])):
        pack(some, os.path.join(folder, part))


def measure(command, environment, folder):
    """(images per second, its log) of one process: the median of its log lines but the first."""
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors='replace')
    speeds = [float(speed) for speed in SPEED.findall(text)]
    if done.returncode or len(speeds) < 2:
        sys.exit('%s\n%s ended with code %d after %d log lines' % (text[-2000:], command, done.returncode, len(speeds)))
    return statistics.median(speeds[1:])


def environments():
    """(as a user starts a program, with all cores): the second tells MXNet, which takes half of them by itself."""
    plain = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    return plain, dict(plain, OMP_NUM_THREADS=str(len(os.sched_getaffinity(0))))


def record_flags(folder):
    return [word for part in ('train', 'val') for word in (
        '--rec-' + part, os.path.join(folder, part + '.rec'), f'--rec-{part}-idx', os.path.join(folder, part + '.idx'))]


def commands(arguments, model, folder):
    """{name: (command, environment)} of GluonCV's script and ours."""
    common = record_flags(folder) + ['--use-rec', '--model', model, '--mode', 'hybrid', '--batch-size',
                                     str(arguments.batch_size),
                        '--num-epochs', '1', '--lr', '0.01', '--log-interval', '2', '--last-gamma']
    if model.startswith('resnet18'):
        common.remove('--last-gamma')  # GluonCV's basic block has no such option
    plain, equal = environments()
    reference = [sys.executable, '-c', ALIASES + RUN, arguments.reference] + common + [
        '--num-training-samples', str(arguments.images), '--lr-decay-epoch', '1', '--save-frequency', '0',
        '--save-dir', '']
    ours = [sys.executable, os.path.join(ROOT, 'train_imagenet.py'), '--num-gpus', '0'] + common
    result = {'GluonCV': (reference, plain), 'GluonCV, all cores': (reference, equal),
              'ours, NAG mxnet': (ours + ['--nag', 'mxnet'], plain), 'ours': (ours, plain)}
    for dtype in arguments.dtypes:
        result['ours, ' + dtype] = (ours + ['--dtype', dtype], plain)
    return result


def paper_commands(arguments, folder):
    """{name: (command, environment)}: ResNet-50 by batch size and precision (Table 3), then its tweaks (section
    4.3)."""
    plain, _ = environments()
    runs = [(f'B, batch {size}, {dtype}', 'resnet50_v1b', size, dtype)
            for size in arguments.batch_sizes for dtype in ['float32'] + arguments.dtypes]
    runs += [(f'{name}, batch {arguments.batch_size}, float32', model, arguments.batch_size, 'float32')
             for name, model in (('v1', 'resnet50_v1'), ('B', 'resnet50_v1b'), ('C', 'resnet50_v1c'),
                                 ('D', 'resnet50_v1d'))]
    ours = [sys.executable, os.path.join(ROOT, 'train_imagenet.py'), '--num-gpus', '0', '--use-rec', '--mode', 'hybrid',
            '--num-epochs', '1', '--lr', '0.01']
    return {name: (ours + record_flags(folder) + ['--model', model, '--batch-size', str(size), '--dtype', dtype,
                                                  '--log-interval', str(max(1, 32 // size))], plain)
            for name, model, size, dtype in runs}


def compare(title, commands_by_name, repeats, folder, measure=measure, unit='images per second'):
    """Run every command `repeats` times, in turn, and print the medians and their ratios to the first one's.

    measure(command, environment, folder) gives the figure of a process, in `unit`. Our programs get a --save-dir.
    """
    figures = {}
    for repeat in range(repeats):
        for number, (name, (command, environment)) in enumerate(commands_by_name.items()):
            if command[1].startswith(ROOT):
                command = command + ['--save-dir', os.path.join(folder, f'run-{number}-{repeat}')]
            figures.setdefault(name, []).append(measure(command, environment, folder))
    base = statistics.median(next(iter(figures.values())))
    print(f'\n{title}: {unit} (median of {repeats}), and as a ratio to the first')
    for name, speeds in figures.items():
        print('  %-24s %7.2f  x%.2f   (%s)' % (name, statistics.median(speeds), statistics.median(speeds) / base,
                                              ', '.join(f'{speed:.2f}' for speed in speeds)), flush=True)
    for name in os.listdir(folder):
        if name.startswith('run-'):
            shutil.rmtree(os.path.join(folder, name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--reference', help="GluonCV's scripts/classification/imagenet/train_imagenet.py")
    what.add_argument('--paper', action='store_true', help="Table 3's and section 4.3's ratios, ours alone")
    parser.add_argument('--models', nargs='+', default=['resnet18_v1b', 'resnet50_v1d'])
    parser.add_argument('--dtypes', nargs='*', default=['bfloat16', 'float16'])
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[8, 32], help='of --paper')
    parser.add_argument('--images', type=int, default=192)
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    if arguments.reference:
        arguments.reference = os.path.abspath(arguments.reference)
    with tempfile.TemporaryDirectory() as folder:
        make_records(folder, arguments.images)
        if arguments.paper:
            compare('ResNet-50, 224 px', paper_commands(arguments, folder), arguments.repeats, folder)
            return
        for model in arguments.models:
            compare(f'{model}, batch {arguments.batch_size}, 224 px', commands(arguments, model, folder),
                    arguments.repeats, folder)


if __name__ == '__main__':
    main()
