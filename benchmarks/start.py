"""Seconds from the start of each command to its first useful output, beside what importing MXNet costs by itself.

    python benchmarks/start.py [--repeats 5] [--byte-code whole made none] [--skip-updates] [--skip-commands]
    python benchmarks/start.py --records 1000 1000000 10000000      # what opening an index of so many records takes

Commands that train nothing run to their end, on small inputs, beside `import mxnet` without scikit-learn (MXNet imports
it where it finds it). Trainings run to the loss of their second batch, which waits for the first update, beside a
script that imports MXNet and GluonCV, builds the same network, compiles it, and trains it on a batch of zeros with
MXNet's NAG and as many threads, to its second loss. All are processes of their own, in turn; printed are medians, their
ratios to the bare cost, and each figure.

Byte code lies in a directory of its own, PYTHONPYCACHEPREFIX, for the standard library, every package and the project:

    whole   all that the commands import, written by a first, unmeasured start of each
    made    what `make .venv` leaves (.ci/compile_imported.py wrote it), and PYTHONDONTWRITEBYTECODE=1
    none    the standard library's alone, and PYTHONDONTWRITEBYTECODE=1: after `pip install --no-compile`
"""
import argparse
import importlib.util
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.dirname(os.path.abspath(__file__))]

from step import environments, make_records, noise, record_flags  # noqa: E402

BARE = '''
import os, sys, warnings
warnings.simplefilter('ignore')
sys.modules['sklearn'] = None
import numpy
for name, value in dict(bool=bool, int=int, float=float, object=object, str=str, complex=complex).items():
    setattr(numpy, name, value)
import mxnet as mx
del sys.modules['sklearn']
'''
BARE_UPDATE = BARE + '''
from gluoncv.model_zoo import get_model
model, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
net = get_model(model, classes=1000)
net.initialize(mx.init.MSRAPrelu())
net.hybridize(static_alloc=True, static_shape=True)
trainer = mx.gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.01, 'momentum': 0.9, 'wd': 1e-4})
criterion = mx.gluon.loss.SoftmaxCrossEntropyLoss()
x, y = mx.nd.zeros((batch, 3, size, size)), mx.nd.zeros((batch,))
for _ in range(2):
    with mx.autograd.record():
        loss = criterion(net(x), y)
    loss.backward()
    trainer.step(batch)
    print('Batch', loss.mean().asscalar(), flush=True)
'''
LOSS, WHICH = re.compile(rb'Batch'), 2
UPDATES = [('cifar_resnet20_v1', 32, 64), ('resnet18_v1b', 224, 16), ('resnet50_v1d', 224, 16)]
READING = '''
import sys, time
import gluon_tricks.compat
from gluon_tricks.data.pipeline import TrainStream
from gluon_tricks.data.records import identity
from gluon_tricks.data.records.record_file import checked_index
from start import peak
before, times = peak(), [time.perf_counter()]
def note():
    times.append(time.perf_counter())
rec, idx = sys.argv[1:]
index = checked_index(rec, idx); note()
stream = TrainStream(rec, idx, 256, 224, seed=0, index=index); note()
identity.of_records(rec, idx); note()
opened = peak()
stream.epoch(0); note()
print(*(b - a for a, b in zip(times, times[1:])), opened - before, peak() - before)
'''


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def small_records(folder):
    """Noise JPEGs of 32 x 32, ten classes, as folders of images and as records: what the small commands read."""
    import cv2
    import numpy as np

    from gluon_tricks.data.prepare.folder import pack_folder
    rng = np.random.RandomState(0)
    for part, number in (('train', 64), ('val', 16)):
        for each in range(number):
            place = os.path.join(folder, 'images', part, str(each % 10))
            os.makedirs(place, exist_ok=True)
            cv2.imwrite(os.path.join(place, f'{each}.jpg'), cv2.resize(noise(rng), (32, 32)))
    pack_folder(os.path.join(folder, 'images'))


def ours(*words):
    return [sys.executable, os.path.join(ROOT, 'train_imagenet.py'), '--num-gpus', '0', *words]


def finished_run(folder, environment):
    """SAVE_DIR of a run of one epoch on the small records."""
    run = os.path.join(folder, 'run')
    subprocess.run(ours('--data-dir', os.path.join(folder, 'images'), '--model', 'resnet10_v1d_demo', '--num-classes',
                        '10', '--batch-size', '16', '--num-epochs', '1', '--save-dir', run), env=environment,
                   stdout=subprocess.DEVNULL, check=True)
    return run


def commands(folder, run):
    """{name: words} of the commands that train nothing, on small inputs."""
    def command(*words):
        return [sys.executable, '-m', 'gluon_tricks', *words]

    out, images = os.path.join(folder, 'out'), os.path.join(folder, 'images')
    params, rec = os.path.join(run, 'latest', 'net.params'), os.path.join(images, '.gluon_tricks', 'val.rec')
    found = {f'{name} --help': command(name, '--help') for name in ('train', 'evaluate', 'plan')}
    found.update({
        'recipes': command('recipes'), 'published': command('published'), 'table 6 RUN': command('table', '6', run),
        'plan 6': command('plan', '6'), 'complexity resnet50_v1d': command('complexity', 'resnet50_v1d'),
        'inspect RUN': command('inspect', run), 'compare RUN RUN': command('compare', run, run, '-o', out + '/compare'),
        'figure curves RUN': command('figure', 'curves', run, '-o', out + '/curves'),
        'report 6 RUN': command('report', '6', run, '-o', out + '/report.html'),
        'verify FILE.rec': command('verify', rec), 'evaluate RUN': command('evaluate', run),
        'predict RUN IMAGE': command('predict', run, os.path.join(images, 'val', '0', '0.jpg')),
        'import-weights': command('import-weights', params, out + '/in.params', '--model', 'resnet10_v1d_demo',
                                  '--classes', '10'),
        'prepare folder': command('prepare', 'folder', images, '--out', out + '/records'),
        'export RUN DIR': command('export', run, out + '/export'),
        'export-log RUN --to csv': command('export-log', run, '--to', 'csv', '--out', out + '/csv'),
        'launch --slurm': command('launch', '--slurm', '--time', '1:00:00', '-o', out + '/job.sbatch', '--', 'python',
                                  'train_imagenet.py', '--recipe', 'table6/resnet50_v1d/mixup'),
        'doctor': command('doctor'),
        'doctor, a run': command('doctor', '--seconds', '0', '--data-dir', images, '--model', 'resnet10_v1d_demo',
                                 '--num-classes', '10', '--batch-size', '16', '--save-dir', out + '/new')})
    for name, package in (('report 6 RUN', 'jinja2'), ('export RUN DIR', 'onnx')):
        if importlib.util.find_spec(package) is None:
            print(f'{name}: not run, {package} is not installed')
            del found[name]
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Measuring

def seconds(words, environment, folder, until=None):
    """Seconds from the start of a process to its end, or to the line with `until` for the WHICH-th time."""
    for name in ('out', 'update'):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    os.mkdir(os.path.join(folder, 'out'))
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        with subprocess.Popen(words, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=errors) as process:
            if until is None:
                process.communicate()
                taken, whole = time.perf_counter() - start, process.returncode == 0
            else:
                whole = sum(1 for _ in itertools.islice(filter(until.search, process.stdout), WHICH)) == WHICH
                taken = time.perf_counter() - start
                process.kill()
        if not whole:
            errors.seek(0)
            sys.exit(f'{words} failed:\n{errors.read().decode(errors="replace")[-2000:]}')
    return taken


def compare(title, cases, repeats, environment, folder, warm):
    """Run all cases in turn, the first of which is the bare cost, and print medians and ratios. cases: {name: (words,
    until)}; warm: one start of each before, which is not counted."""
    figures = {name: [] for name in cases}
    for repeat in range(repeats + warm):
        for name, (words, until) in cases.items():
            taken = seconds(words, environment, folder, until)
            if repeat >= warm:
                figures[name].append(taken)
    bare = statistics.median(next(iter(figures.values())))
    print(f'\n{title}: seconds (median of {repeats}), and as a ratio to the first')
    for name, taken in figures.items():
        middle = statistics.median(taken)
        print('  %-34s %6.2f  x%.2f   (%s)' % (name, middle, middle / bare, ', '.join(f'{one:.2f}' for one in taken)),
              flush=True)


def byte_code(kind, folder, plain):
    """The environment of one of the three kinds, its directory filled."""
    prefix = os.path.join(folder, 'byte-code-' + kind)
    environment = {name: value for name, value in plain.items() if name != 'PYTHONDONTWRITEBYTECODE'}
    environment['PYTHONPYCACHEPREFIX'] = prefix
    if kind == 'whole':
        return environment
    subprocess.run([sys.executable, os.path.join(ROOT, '.ci', 'compile_imported.py')], env=environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if kind == 'none':
        for place in (sysconfig.get_path('purelib'), sysconfig.get_path('platlib'), ROOT):
            shutil.rmtree(prefix + os.path.realpath(place), ignore_errors=True)
            shutil.rmtree(prefix + place, ignore_errors=True)
    return dict(environment, PYTHONDONTWRITEBYTECODE='1')


def peak():
    """MiB of this process at most. Linux counts in `ru_maxrss` what the process that started it had."""
    with open('/proc/self/status') as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith('VmHWM:')) / 1024


def make_index(number, folder):
    """(rec, idx) of so many images: a sparse file, in which the records that are looked at are images."""
    import cv2
    import numpy as np

    from gluon_tricks.data.records.record_file import CHECK_ALL, record
    pixels = cv2.resize(noise(np.random.RandomState(0)), (32, 32))
    image = record(0, 1, cv2.imencode('.jpg', pixels)[1].tobytes())
    rec, idx = (os.path.join(folder, f'{number}{end}') for end in ('.rec', '.idx'))
    offsets = np.arange(number, dtype='int64') * len(image)
    np.savetxt(idx, np.stack([np.arange(number), offsets], 1), fmt='%d', delimiter='\t')
    with open(rec, 'wb') as stream:
        for row in np.unique(np.linspace(0, number - 1, min(CHECK_ALL, number)).astype('int64')):
            stream.seek(int(offsets[row]))
            stream.write(image)
        stream.truncate(number * len(image))
    return rec, idx


def read_index(rec, idx, environment):
    """What opening records takes, in a process of its own: seconds (index read and checked, stream, identity, order of
    an epoch), then MiB at most, without that order and with it."""
    path = os.pathsep.join((ROOT, os.path.join(ROOT, 'benchmarks')))
    return [float(one) for one in subprocess.run(
        [sys.executable, '-c', READING, rec, idx], env=dict(environment, PYTHONPATH=path), stdout=subprocess.PIPE,
        check=True, text=True).stdout.split()]


def read_indices(numbers, environment, folder):
    """Print what opening records of so many images takes."""
    print('\nrecords; seconds: index read and checked, stream, identity, order of an epoch; MiB at most, without that '
          'order and with it')
    for number in numbers:
        rec, idx = make_index(number, folder)
        found = read_index(rec, idx, environment)
        print('  %10d   %s   %s' % (number, '  '.join(f'{one:7.3f}' for one in found[:4]),
                                    '  '.join(f'{one:7.0f}' for one in found[4:])), flush=True)
        os.remove(rec)
        os.remove(idx)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--byte-code', nargs='+', default=['whole', 'made', 'none'], choices=['whole', 'made', 'none'])
    parser.add_argument('--only', default='', help='cases whose name has this, beside the bare cost')
    parser.add_argument('--skip-commands', action='store_true')
    parser.add_argument('--skip-updates', action='store_true')
    parser.add_argument('--records', nargs='+', type=int, help='numbers of records: measure the index, nothing else')
    arguments = parser.parse_args()
    _, plain = environments()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.records:
            return read_indices(arguments.records, plain, folder)
        small_records(folder)
        make_records(folder, 2 * max(batch for _, _, batch in UPDATES))
        run = finished_run(folder, plain)
        update = ours(*record_flags(folder), '--use-rec', '--mode', 'hybrid', '--num-epochs', '1', '--lr', '0.01',
                      '--log-interval', '1', '--save-dir', os.path.join(folder, 'update'))
        for kind in arguments.byte_code:
            environment = dict(byte_code(kind, folder, plain), PYTHONPATH=ROOT)
            warm = int(kind == 'whole')
            if not arguments.skip_commands:
                cases = {'import mxnet, no scikit-learn': ([sys.executable, '-c', BARE], None)}
                cases.update({name: (words, None) for name, words in commands(folder, run).items()
                              if arguments.only in name})
                compare(f'byte code: {kind}', cases, arguments.repeats, environment, folder, warm)
            for model, size, batch in () if arguments.skip_updates else UPDATES:
                if arguments.only not in model:
                    continue
                shape = [model, str(size), str(batch)]
                compare(f'byte code: {kind}; first update of {model}, batch {batch}, {size} px', {
                    'bare': ([sys.executable, '-c', BARE_UPDATE, *shape], LOSS),
                    'train_imagenet.py': (update + ['--model', model, '--input-size', str(size), '--batch-size',
                                                    str(batch)], LOSS)},
                        arguments.repeats, environment, folder, warm)


if __name__ == '__main__':
    main()
