"""The bits of six short trainings, to prove that a change of the code changed no number.

    .venv/bin/python tests/slow/fingerprint.py OUT            # on the commit before, then on the commit after
    diff OUT_BEFORE/fingerprint.json OUT_AFTER/fingerprint.json

Both on one machine: another processor rounds otherwise. Each case is a digest of the last checkpoint's arrays and of
the figures in log.jsonl but for times. Cases can be named; ten minutes on two cores for all. Standard library only.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMES = {'time', 'time_stamp', 'speed', 'wait', 'evaluation_time'}
IMAGENET, DETECTION, SEGMENTATION = ('train_imagenet.py', 'transfer/train_faster_rcnn.py', 'transfer/train_fcn.py')
BASE = 'runs/demo-seed0/best/net.params'
TRICKS = ['--recipe', 'demo', '--num-epochs', '2', '--batch-size', '16', '--devices', 'cpu(0),cpu(1)', '--teacher',
          'resnet10_v1d_demo', '--teacher-params', BASE]
CASES = {
    'demo-seed0': [IMAGENET, '--recipe', 'demo', '--seed', '0'],
    'demo-seed1': [IMAGENET, '--recipe', 'demo', '--seed', '1'],
    'two-devices': [IMAGENET] + TRICKS,
    'detection': [DETECTION, '--recipe', 'demo-detection', '--base-params', BASE, '--epochs', '1',
                  '--lr-decay-epoch', '1'],
    'segmentation': [SEGMENTATION, '--recipe', 'demo-segmentation', '--base-params', BASE, '--epochs', '1'],
    'two-workers': ['-m', 'gluon_tricks', 'launch', '-n', '2', '--', sys.executable, str(ROOT / IMAGENET), '--recipe',
                    'demo', '--num-epochs', '2', '--warmup-epochs', '0', '--batch-size', '64', '--kv-store',
                    'dist_sync'],
}


def without_times(value):
    """A JSON value without the figures that differ from run to run."""
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def fingerprint(save_dir):
    """{'net.params', 'optimizer.params', 'log'}: SHA-256 each, and the run's result."""
    found = {name: hashlib.sha256((save_dir / 'latest' / name).read_bytes()).hexdigest()
             for name in ('net.params', 'optimizer.params')}
    lines = [without_times(json.loads(line)) for line in (save_dir / 'log.jsonl').read_text().splitlines()]
    figures = [json.dumps(line, sort_keys=True) for line in lines if line.get('event') in ('batch', 'epoch')]
    return dict(found, log=hashlib.sha256('\n'.join(figures).encode()).hexdigest(), events=len(figures))


def carry_out(words, out, log):
    """Run a program of this tree in `out`, its output in a file; SystemExit where it fails."""
    if not words[0].startswith('-'):
        words = [str(ROOT / words[0])] + words[1:]
    with open(str(log), 'wb') as stream:
        code = subprocess.call([sys.executable] + words, cwd=str(out), stdout=stream, stderr=subprocess.STDOUT,
                               env=dict(os.environ, PYTHONPATH=str(ROOT)))
    if code:
        sys.exit(f'{" ".join(words)}: exit code {code}, see {log}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='an empty directory: data, runs and fingerprint.json go there')
    parser.add_argument('cases', nargs='*', metavar='CASE', help=', '.join(CASES))
    arguments = parser.parse_args()
    cases = arguments.cases or list(CASES)
    if set(cases) - set(CASES):
        parser.error(f'CASE is one of {", ".join(CASES)}')
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / 'runs').mkdir(exist_ok=True)
    carry_out(['-m', 'gluon_tricks', 'prepare', 'demo', '--out', 'runs/demo-data'], out, out / 'data.log')
    carry_out(['-m', 'gluon_tricks', 'prepare', 'demo', '--scenes', '--out', 'runs/demo-scenes'], out, out / 'data.log')
    found = {}
    for case in ['demo-seed0'] * ('demo-seed0' not in cases) + cases:  # the others' base network
        carry_out(CASES[case] + ['--save-dir', 'runs/' + case], out, out / (case + '.log'))
        found[case] = fingerprint(out / 'runs' / case)
        print('%-14s %s' % (case, ' '.join(str(value)[:12] for value in found[case].values())), flush=True)
    (out / 'fingerprint.json').write_text(json.dumps(found, indent=1, sort_keys=True) + '\n')


if __name__ == '__main__':
    main()
