"""What `doctor` says that a run takes, and what it takes: hours, memory, checkpoints.

    python benchmarks/estimates.py            # the demo, and resnet18_v1b for two epochs over ImageNet-shaped records
    python benchmarks/estimates.py --only resnet18

Each run is asked about first, and then made, as a user types both, on the CPU; the records are JPEGs of noise of 500 x
375. Nothing else should run on the machine.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

from step import ROOT, make_records

ENVIRONMENT = dict(os.environ, PYTHONPATH=ROOT)


def asked(words):
    """The doctor's answer."""
    done = subprocess.run([sys.executable, '-m', 'gluon_tricks', 'doctor', *words, '--json'], env=ENVIRONMENT,
                          stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def made(words):
    """(seconds, bytes of memory at most) of a run."""
    begin = time.time()
    process = subprocess.Popen([sys.executable, os.path.join(ROOT, 'train_imagenet.py'), *words], env=ENVIRONMENT,
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f'{words}: status {status}')
    return time.time() - begin, usage.ru_maxrss << 10


def compare(name, recipe, words, folder):
    """Print each figure beside its estimate."""
    words = [*words, '--num-gpus', '0', '--save-dir', os.path.join(folder, name)]
    answer = asked([*recipe, *words])
    seconds, memory = made([*(['--recipe', *recipe] if recipe else []), *words])
    disk = sum(os.path.getsize(path) for path in glob.glob(os.path.join(folder, name, 'epoch-*', '*')))
    print(f'{name}: findings: {[found["text"] for found in answer["findings"]]}')
    estimates = answer['estimates']
    for what, estimate, real in (('seconds', 3600 * estimates['hours'], seconds),
                                 ('memory, MB', estimates['memory'] / 1e6, memory / 1e6),
                                 ('checkpoints, MB', estimates['disk'] / 1e6, disk / 1e6)):
        print(f'{name}: {what}: estimated {estimate:.1f}, real {real:.1f}, {100 * (estimate / real - 1):+.1f} %',
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', choices=('demo', 'resnet18'))
    parser.add_argument('--images', type=int, default=640)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != 'demo':
            os.mkdir(os.path.join(folder, 'rec'))
            make_records(os.path.join(folder, 'rec'), arguments.images)
            compare('resnet18', [], ['--model', 'resnet18_v1b', '--data-dir', folder, '--num-epochs', '2'], folder)
        if arguments.only != 'resnet18':
            subprocess.run([sys.executable, '-m', 'gluon_tricks', 'prepare', 'demo', '--out',
                            os.path.join(folder, 'digits')], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
            compare('demo', ['demo'], ['--data-dir', os.path.join(folder, 'digits')], folder)


if __name__ == '__main__':
    main()
