"""Whole epochs: training, evaluation and checkpoint, by GluonCV's reference script and by ours, on the same records.

    python benchmarks/end_to_end.py --reference PATH/gluon-cv/scripts/classification/imagenet/train_imagenet.py
    python benchmarks/end_to_end.py --reference PATH --models demo --epochs 16 --repeats 5

All programs are started with the same options, and take turns: one trains, evaluates and saves for an epoch while the
others are stopped (SIGSTOP), so that a machine whose speed varies is as fast for each of them. An epoch reaches from
one line with validation figures to the next: the checkpoint of the epoch before, training, and evaluation; the first,
in which the graph is built, is left out. Images per second are training images of that whole time. CPU seconds are
those of all threads in an epoch. Each program runs as it starts, and told to take all cores. Ratios are to the epoch of
the GluonCV row above in the same round: the median of all rounds, and for the speed that of each process. Waiting is
the share of the training time for which the loop had no batch; ours writes it in its log, GluonCV's script does not
know it. Memory is the greatest resident size of the process.

GluonCV's script is started with the NumPy aliases that MXNet needs to be imported. `demo` is the demo's network, which
the script is given in the place of its zoo's, at 32 px, with smoothing, mixup, zero gamma, no bias decay and cosine
decay, in float32; the script has 1,000 classes, so that ours is given as many. `--recipe demo` is another run of the
same images, as `make demo` trains them, in emulated float16.
"""
import argparse
import json
import math
import os
import re
import shutil
import signal
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
                                    '--lr', '0.01', '--lr-decay-epoch', '1000', '--log-interval', '20',
                                    '--save-frequency', '1']
    if not model.startswith('resnet18'):  # whose block has no such option in GluonCV
        flags += ['--last-gamma']
    if demo:
        flags += ['--input-size', '32', '--label-smoothing', '--mixup', '--no-wd', '--warmup-epochs', '1', '--lr-mode',
                  'cosine']
    plain, equal = environments()
    reference = [sys.executable, '-c', ALIASES + (OUR_NETWORK if demo else '') + RUN, arguments.reference] + flags + [
        '--num-training-samples', str(images)]
    ours = [sys.executable, os.path.join(ROOT, 'train_imagenet.py'), '--num-gpus', '0']
    result = {}
    if not arguments.equal:
        result = {'GluonCV, as it starts': (reference, plain), 'ours, as it starts': (ours + flags, plain)}
        if demo:
            result['ours, --recipe demo'] = ours + ['--recipe', 'demo', '--num-epochs', str(arguments.epochs)] + \
                record_flags(folder), plain
    result.update({'GluonCV, all cores': (reference, equal), 'ours, all cores': (ours + flags, equal)})
    return result


class Program:
    """A process that trains for one epoch whenever it is asked, and is stopped in between."""

    def __init__(self, command, environment, folder):
        self.command, self.save_dir, self.lines = command, os.path.join(folder, 'run'), []
        self.process = subprocess.Popen(command + ['--save-dir', self.save_dir], cwd=folder, env=environment, text=True,
                                        errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def epoch(self):
        """(seconds, CPU seconds) to the next line with validation figures."""
        began, cpu = time.time(), cpu_seconds(self.process.pid)
        self.process.send_signal(signal.SIGCONT)
        for line in self.process.stdout:
            self.lines.append(line)
            if VALIDATION.search(line):
                taken = time.time() - began
                self.process.send_signal(signal.SIGSTOP)
                return taken, cpu_seconds(self.process.pid) - cpu
        return self.fail()

    def end(self):
        """Let it run to its end; its figures besides those of its epochs."""
        self.process.send_signal(signal.SIGCONT)
        self.lines += self.process.stdout
        _, self.process.returncode, usage = os.wait4(self.process.pid, 0)
        if self.process.returncode:
            self.fail()
        training = [float(found.group(1)) for found in map(TIME.search, self.lines) if found][1:]
        return {'training': statistics.median(training), 'wait': our_wait(self.save_dir),
                'memory': usage.ru_maxrss / 1024.0}

    def fail(self):
        sys.exit('%s\n%s ended too early' % (''.join(self.lines)[-3000:], self.command))


def measure(commands_by_name, epochs, folder):
    """{name: figures} of one process of each command: medians of its epochs after the first; `epochs` is a list of
    (seconds, CPU seconds)."""
    programs = {}
    try:
        for number, (name, (command, environment)) in enumerate(commands_by_name.items()):
            own = os.path.join(folder, f'program-{number}')
            shutil.rmtree(own, ignore_errors=True)
            os.mkdir(own)
            programs[name] = Program(command, environment, own)
            programs[name].epoch()
        found = {name: [] for name in programs}
        for epoch in range(1, epochs):
            os.sync()  # what one has left in memory is not the next one's to write
            for name in list(programs)[::1 if epoch % 2 else -1]:
                found[name].append(programs[name].epoch())
        return {name: dict(program.end(), epochs=found[name]) for name, program in programs.items()}
    finally:
        for program in programs.values():
            program.process.kill()  # whether it runs or is stopped


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
    """Start all programs `arguments.repeats` times, and print the medians as lines of a table."""
    repeats = [measure(commands(arguments, model, folder, images), arguments.epochs, folder)
               for _ in range(arguments.repeats)]
    print(f'\n{title}; {arguments.epochs - 1} epochs of a process, {arguments.repeats} processes\n')
    print('| program | images/s | ratio (of each process) | epoch, s | of it training | CPU, s | ratio | waiting | '
          'memory, MiB |')
    print('|---|---|---|---|---|---|---|---|---|')
    base_name = ''
    for name in repeats[0]:
        base_name = name if name.startswith('GluonCV') else base_name
        runs = [(each[name], each[base_name]) for each in repeats]
        # a pair is an epoch of this program and GluonCV's beside it
        pairs = [list(zip(own['epochs'], base['epochs'])) for own, base in runs]
        speeds = [[base[0] / own[0] for own, base in some] for some in pairs]
        cpu = [own[1] / base[1] for some in pairs for own, base in some]
        second, cpu_second = (statistics.median(own[part] for some in pairs for own, _ in some) for part in (0, 1))
        middle = {key: statistics.median(own[key] for own, _ in runs) for key in ('training', 'wait', 'memory')}
        waits = [own['wait'] for own, _ in runs]
        waiting = 'not known' if math.isnan(waits[0]) else '%.1f %% (%s)' % (
            middle['wait'], ', '.join('%.1f' % wait for wait in waits))
        print('| %s | %.2f | %.2f (%s) | %.2f | %.2f | %.2f | %.2f | %s | %.0f |' % (
            name, images / second, statistics.median(sum(speeds, [])),
            ', '.join('%.2f' % statistics.median(some) for some in speeds), second, middle['training'], cpu_second,
            statistics.median(cpu), waiting, middle['memory']), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', required=True, help="GluonCV's train_imagenet.py")
    parser.add_argument('--models', nargs='+', default=['resnet18_v1b', 'resnet50_v1d', 'demo'])
    parser.add_argument('--batch-size', type=int, help='default: 16, of the demo 32')
    parser.add_argument('--images', type=int, default=160, help='of an epoch at 224 px, in whole batches')
    parser.add_argument('--val-images', type=int, default=32, help='of an evaluation at 224 px')
    parser.add_argument('--epochs', type=int, default=3, help='of a process, at least 2')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--equal', action='store_true', help='leave out the programs as they start')
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error('--epochs must be at least 2: the first, in which the graph is built, is left out')
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
