"""Images per second of training: GluonCV's reference script and ours on the same records, both as a user starts them.

    python benchmarks/step.py --reference PATH/gluon-cv/scripts/classification/imagenet/train_imagenet.py

Each command is a process of its own, started in turn, several times; the figure of a process is the median of its log
lines after the first. Quote the ratios: single figures depend on the machine. GluonCV's script is started with
nothing but the compatibility that MXNet needs to be imported (NumPy's old aliases).
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPEED = re.compile(r'Speed: ([\d.]+) samples/sec')
ALIASES = ('import sys, numpy, runpy, warnings; warnings.simplefilter("ignore");'
           '[setattr(numpy, k, v) for k, v in dict(bool=bool, int=int, float=float, object=object).items()];'
           'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")')


def make_records(folder, images):
    """Noise JPEGs of 500 x 375, ImageNet's usual size, as train and val records."""
    import cv2
    sys.path.insert(0, ROOT)
    from gluon_tricks.data.records import pack
    rng = np.random.RandomState(0)
    items = []
    for number in range(images):
        image = cv2.resize(rng.randint(0, 256, (47, 63, 3)).astype('uint8'), (500, 375))
        items.append((cv2.imencode('.jpg', image)[1].tobytes(), number % 1000, str(number)))
    for part, some in (('train', items), ('val', items[:32])):
        pack(some, os.path.join(folder, part))


def measure(command, environment, folder):
    """(images per second, its log) of one process: the median of its log lines but the first."""
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors='replace')
    speeds = [float(speed) for speed in SPEED.findall(text)]
    if done.returncode or len(speeds) < 2:
        sys.exit('%s\n%s ended with code %d after %d log lines' % (text[-2000:], command, done.returncode, len(speeds)))
    return statistics.median(speeds[1:])


def commands(arguments, model, folder):
    """{name: (command, environment)}."""
    records = [word for part in ('train', 'val') for word in (
        '--rec-' + part, os.path.join(folder, part + '.rec'), '--rec-%s-idx' % part, os.path.join(folder, part + '.idx'))]
    common = records + ['--use-rec', '--model', model, '--mode', 'hybrid', '--batch-size', str(arguments.batch_size),
                        '--num-epochs', '1', '--lr', '0.01', '--log-interval', '2', '--last-gamma']
    if model.startswith('resnet18'):
        common.remove('--last-gamma')  # GluonCV's basic block has no such option
    plain = {key: value for key, value in os.environ.items() if key != 'OMP_NUM_THREADS'}
    equal = dict(plain, OMP_NUM_THREADS=str(len(os.sched_getaffinity(0))))
    reference = [sys.executable, '-c', ALIASES, arguments.reference] + common + [
        '--num-training-samples', str(arguments.images), '--lr-decay-epoch', '1', '--save-frequency', '0',
        '--save-dir', '']
    ours = [sys.executable, os.path.join(ROOT, 'train_imagenet.py'), '--num-gpus', '0'] + common
    result = {'GluonCV': (reference, plain), 'GluonCV, all cores': (reference, equal),
              'ours, NAG mxnet': (ours + ['--nag', 'mxnet'], plain), 'ours': (ours, plain)}
    for dtype in arguments.dtypes:
        result['ours, ' + dtype] = (ours + ['--dtype', dtype], plain)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', required=True, help="GluonCV's scripts/classification/imagenet/train_imagenet.py")
    parser.add_argument('--models', nargs='+', default=['resnet18_v1b', 'resnet50_v1d'])
    parser.add_argument('--dtypes', nargs='*', default=['bfloat16', 'float16'])
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--images', type=int, default=192)
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    arguments.reference = os.path.abspath(arguments.reference)
    with tempfile.TemporaryDirectory() as folder:
        make_records(folder, arguments.images)
        for model in arguments.models:
            figures = {}
            for repeat in range(arguments.repeats):
                for name, (command, environment) in commands(arguments, model, folder).items():
                    if name.startswith('ours'):
                        command = command + ['--save-dir', os.path.join(folder, '%s-%s-%d' % (model, name, repeat))]
                    figures.setdefault(name, []).append(measure(command, environment, folder))
            base = statistics.median(figures['GluonCV'])
            print('\n%s, batch %d, 224 px, images per second (median of %d), and as a ratio to GluonCV'
                  % (model, arguments.batch_size, arguments.repeats))
            for name, speeds in figures.items():
                print('  %-20s %7.2f  x%.2f   (%s)' % (name, statistics.median(speeds), statistics.median(speeds) / base,
                                                      ', '.join('%.2f' % speed for speed in speeds)), flush=True)


if __name__ == '__main__':
    main()
