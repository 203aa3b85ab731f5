"""Whole epochs: training, evaluation and checkpoint, by GluonCV's reference script and by ours, on the same records.

    python benchmarks/end_to_end.py --reference PATH/gluon-cv/scripts/classification/imagenet/train_imagenet.py
    python benchmarks/end_to_end.py --reference PATH --models demo --epochs 16 --repeats 5

Each command is a process of its own, started in turn, with the same options; both evaluate and save after each epoch.
An epoch reaches from one line with validation figures to the next: the checkpoint of the epoch before, training, and
evaluation; the first, in which the graph is built, is left out. Images per second are training images of that whole
time. CPU seconds are those of all threads in these epochs, the mean of an epoch. Ratios are to GluonCV's run with all
cores of the same repeat, the median: the speed of a machine may vary. Waiting is the share of the training time for
which the loop had no batch; ours writes it in its log, GluonCV's script does not know it. Memory is the greatest
resident size of the process.

GluonCV's script is started with the NumPy aliases that MXNet needs to be imported. `demo` is the demo's network, which
the script is given in the place of its zoo's, at 32 px, with smoothing, mixup, zero gamma, no bias decay and cosine
decay, in float32; the script has 1,000 classes, so that ours is given as many. `--recipe demo` is another run of the
same images, as `make demo` trains them, in emulated float16.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from step import ALIASES, ROOT, RUN, environments, make_records, record_flags

VALIDATION, TIME = re.compile(r'^\[Epoch \d+\] validation: '), re.compile(r'time cost: ([\d.]+)')
DEMO = 'resnet10_v1d_demo'
OUR_NETWORK = f'''
sys.path.insert(0, {ROOT!r})
import gluon_tricks as gt, gluoncv.model_zoo
def _our_network(name, ctx, pretrained, classes, last_gamma):
    net = gt.get_model(name, classes=classes)
    gt.tricks.zero_gamma(net)
    return net
gluoncv.model_zoo.get_model = _our_network
'''


def make_demo(folder, batch_size):
    """The demo's images as train and val records, as many as whole batches hold: of others GluonCV counts some
    twice."""
    from gluon_tricks.data.prepare.folder import packed_files
    from gluon_tricks.data.records.packing import pack
    from gluon_tricks.data.records.record_file import read_records
    tree = os.path.join(folder, 'demo')
    subprocess.run([sys.executable, '-m', 'gluon_tricks', 'prepare', 'demo', '--out', tree], check=True, cwd=ROOT,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    counts = []
    for part, (rec, idx) in packed_files(tree).items():
        items = [(image, int(label), str(key)) for key, label, image in read_records(rec, idx)]
        counts.append(len(items) // batch_size * batch_size)
        pack(items[:counts[-1]], os.path.join(folder, part))
    return counts[0]


def commands(arguments, model, folder, images):
    """{name: (command, environment)} of GluonCV's script and ours."""
    demo = model == 'demo'
    flags = record_flags(folder) + ['--use-rec', '--model', DEMO if demo else model, '--mode', 'hybrid',
                                    '--batch-size', str(arguments.batch_size), '--num-epochs', str(arguments.epochs),
                                    '--lr', '0.01', '--log-interval', '20', '--save-frequency', '1']
    if not model.startswith('resnet18'):  # whose block has no such option in GluonCV
        flags += ['--last-gamma']
    if demo:
        flags += ['--input-size', '32', '--label-smoothing', '--mixup', '--no-wd', '--warmup-epochs', '1', '--lr-mode',
                  'cosine']
    plain, equal = environments()
    cores = [str(max(1, int(equal['OMP_NUM_THREADS']) // part)) for part in (2, 1)]
    reference = [sys.executable, '-c', ALIASES + (OUR_NETWORK if demo else '') + RUN,
                 arguments.reference] + flags + ['--num-training-samples', str(images), '--lr-decay-epoch', '1000']
    ours = [sys.executable, os.path.join(ROOT, 'train_imagenet.py'), '--num-gpus', '0']
    result = {} if arguments.equal else {
        'GluonCV, as it starts': (reference, dict(plain, OMP_NUM_THREADS=cores[0]))}
    result['GluonCV, all cores'] = reference, dict(plain, OMP_NUM_THREADS=cores[1])
    result['ours'] = ours + flags + ['--lr-decay-epoch', '1000'], plain
    if demo:
        result['ours, --recipe demo'] = ours + ['--recipe', 'demo', '--num-epochs', str(arguments.epochs)] + \
            record_flags(folder), plain
    return result


def measure(command, environment, folder, images):
    """Figures of a process: {name: median over its epochs}, and `process`, the seconds from its start to its end."""
    save_dir = os.path.join(folder, 'run')
    shutil.rmtree(save_dir, ignore_errors=True)
    os.sync()  # what the process before left in memory is not this one's to write
    started, ends, cpu, lines = time.time(), [], [], []
    process = subprocess.Popen(command + ['--save-dir', save_dir], cwd=folder, env=environment, text=True,
                               errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in process.stdout:
        lines.append(line)
        if VALIDATION.search(line):
            ends.append(time.time())
            cpu.append(cpu_seconds(process.pid))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status or len(ends) < 2:
        sys.exit('%s\n%s ended with status %d after %d epochs' % (''.join(lines)[-3000:], command, status, len(ends)))
    epochs = [end - begin for begin, end in zip(ends, ends[1:])]
    training = [float(found.group(1)) for found in map(TIME.search, lines) if found][1:]
    return {'epoch': statistics.median(epochs), 'speed': images / statistics.median(epochs),
            'training': statistics.median(training), 'cpu': (cpu[-1] - cpu[0]) / len(epochs),
            'wait': our_wait(save_dir), 'process': time.time() - started, 'memory': usage.ru_maxrss / 1024.0}


def cpu_seconds(number):
    """CPU seconds of all threads of a process so far."""
    with open(f'/proc/{number}/stat') as stream:
        return sum(map(int, stream.read().rpartition(')')[2].split()[11:13])) / os.sysconf('SC_CLK_TCK')


def our_wait(save_dir):
    """Percent of the training time that the log tells, the median of the epochs after the first; NaN without a log."""
    log = os.path.join(save_dir, 'log.jsonl')
    if not os.path.exists(log):
        return float('nan')
    with open(log) as stream:
        epochs = [event for event in map(json.loads, stream) if event['event'] == 'epoch']
    return 100 * statistics.median(event['wait'] for event in epochs[1:])


def compare(title, arguments, model, folder, images):
    """Run every command `arguments.repeats` times, in turn, and print the medians as lines of a table."""
    figures = {}
    for _ in range(arguments.repeats):
        for name, (command, environment) in commands(arguments, model, folder, images).items():
            figures.setdefault(name, []).append(measure(command, environment, folder, images))
    print(f'\n{title}; {arguments.epochs - 1} epochs of a process, median of {arguments.repeats} processes\n')
    print('| program | images/s | ratio | epoch, s | of it training | CPU, s | ratio | waiting | process, s | memory, '
          'MiB |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    bases = figures['GluonCV, all cores']
    for name, runs in figures.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        speed, cpu = (statistics.median(run[key] / base[key] for run, base in zip(runs, bases))
                      for key in ('speed', 'cpu'))
        print('| %s | %.2f (%s) | %.2f | %.2f | %.2f | %.2f (%s) | %.2f | %.1f %% (%s) | %.1f | %.0f |' % (
            name, middle['speed'], ', '.join('%.2f' % run['speed'] for run in runs), speed, middle['epoch'],
            middle['training'], middle['cpu'], ', '.join('%.2f' % run['cpu'] for run in runs), cpu, middle['wait'],
            ', '.join('%.1f' % run['wait'] for run in runs), middle['process'], middle['memory']), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', required=True, help="GluonCV's train_imagenet.py")
    parser.add_argument('--models', nargs='+', default=['resnet18_v1b', 'resnet50_v1d', 'demo'])
    parser.add_argument('--batch-size', type=int, help='default: 16, of the demo 32')
    parser.add_argument('--images', type=int, default=160, help='of an epoch at 224 px, in whole batches')
    parser.add_argument('--val-images', type=int, default=32, help='of an evaluation at 224 px')
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--equal', action='store_true', help="leave GluonCV's script with half the cores out")
    arguments = parser.parse_args()
    arguments.reference, chosen = os.path.abspath(arguments.reference), arguments.batch_size
    sys.path.insert(0, ROOT)
    for model in arguments.models:
        arguments.batch_size = chosen or (32 if model == 'demo' else 16)
        with tempfile.TemporaryDirectory() as folder:
            if model == 'demo':
                images = make_demo(folder, arguments.batch_size)
            else:
                images = arguments.images // arguments.batch_size * arguments.batch_size
                make_records(folder, images, arguments.val_images)
            side = 32 if model == 'demo' else 224
            compare(f'{model}, {side} px, batch {arguments.batch_size}, {images} images', arguments, model, folder,
                    images)


if __name__ == '__main__':
    main()
