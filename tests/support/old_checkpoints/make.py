"""Makes the archives beside it, by the code of COMMIT, whose stored options had other names.

    git worktree add --detach BEFORE 690aee077aeda0c53d21e8d8f75d745ca5ed4d88
    .venv/bin/python tests/support/old_checkpoints/make.py BEFORE

TASK.tar.xz holds
    stopped/epoch-0001-batch-000003      the checkpoint of a run that SIGTERM stopped inside its second epoch
    whole/run.json log.jsonl             the figures of the same run, undisturbed
    whole/latest/manifest.json           the digests of its last arrays
    machine.json                         what decides the last bits beside the configuration

The data are those of that commit's tests; today's make the same bytes. The network is the demo's with 2 channels
instead of 16, so that an archive has some kB. Every option that was renamed since is off its default.
"""
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMIT = '690aee077aeda0c53d21e8d8f75d745ca5ed4d88'
INSIDE = 'epoch-0001-batch-000003'
_LAST_UPDATE = 6 + 3  # of the stopped run; an epoch has 6
_NETWORK = 'resnet10_v1d_demo'

# task: flags, which both versions have. Renamed are num_workers or workers (-j), batch_size and weight_decay.
FLAGS = {
    'classification': [
        '--model', _NETWORK, '--num-classes', '4', '--input-size', '32', '--batch-size', '4', '--num-epochs', '2',
        '--lr', '0.005', '--lr-mode', 'cosine', '--devices', 'cpu(0),cpu(1)', '-j', '3', '--dtype', 'float16', '--mixup',
        '--label-smoothing', '--last-gamma', '--no-wd', '--log-interval', '2', '--seed', '7'],
    'detection': [
        '--network', _NETWORK, '--calibrate', '4', '--image-short', '96', '--image-max-size', '128', '--rpn-channel',
        '8', '--rpn-train-pre-nms', '200', '--rpn-train-post-nms', '60', '--rpn-test-pre-nms', '200',
        '--rpn-test-post-nms', '40', '--rpn-min-size', '4', '--anchor-scales', '1,2', '--rcnn-num-samples', '16', '-j',
        '1', '--devices', 'cpu(0)', '--batch-size', '2', '--epochs', '2', '--lr', '0.01', '--log-interval', '2'],
    'segmentation': [
        '--backbone', _NETWORK, '--aux', '--base-size', '40', '--crop-size', '32', '-j', '3', '--batch-size', '2',
        '--test-batch-size', '2', '--weight-decay', '0.001', '--epochs', '2', '--ngpus', '0', '--lr', '0.005',
        '--log-interval', '2'],
}


def narrow(resnet):
    """The demo's network with 2 channels in its stem; resnet: the module that has it."""
    return lambda **options: resnet.resnet(10, 'v1d', **dict({'width': 2}, **options))


def machine(environment):
    """What decides the last bits of a run: `compat.environment` and the processor, a dict."""
    try:
        found = re.findall(r'(?m)^(?:model name|flags)\s*:\s*(.*)', Path('/proc/cpuinfo').read_text())
    except OSError:
        found = []
    return dict(environment, processor=hashlib.sha256('\n'.join(sorted(set(found))).encode()).hexdigest())


def _make_data(task):
    """Write the data of a task with the makers of BEFORE."""
    if task == 'classification':
        from conftest import make_records
        make_records('data', train=48, val=12)
    elif task == 'detection':
        from test_detection_data import write_tree
        write_tree(Path('data'), images=6)
    else:
        from archive_makers import write_ade20k

        from gluon_tricks.data import prepare
        prepare.main(['ade20k', '--out', 'data'] + write_ade20k(Path('zip'), train=12, val=4))


def _train(task, save_dir, stop):
    """One run by the programs of BEFORE; its exit code. stop: SIGTERM comes at an update."""
    import train_imagenet
    from gluon_tricks import loop
    from gluon_tricks.models import resnet
    from transfer import train_faster_rcnn, train_fcn
    resnet.resnet10_v1d_demo, step = narrow(resnet), loop.step

    def stopped(*arguments):
        if stop and arguments[4] == _LAST_UPDATE:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)
    loop.step = stopped
    program = {'classification': train_imagenet, 'detection': train_faster_rcnn, 'segmentation': train_fcn}[task]
    try:
        return program.main(FLAGS[task] + ['--data-dir', 'data', '--save-dir', save_dir])
    finally:
        loop.step = step


def _make(task):
    """Write the archive of a task; the working directory is a new one."""
    from gluon_tricks.compat import environment
    _make_data(task)
    if _train(task, 'whole', False) or _train(task, 'stopped', True) != 143:
        sys.exit('%s: the runs did not end as they should' % task)
    Path('machine.json').write_text(json.dumps(machine(environment())))
    names = ['stopped/%s/%s' % (INSIDE, name) for name in sorted(os.listdir('stopped/' + INSIDE))]
    with tarfile.open(str(HERE / (task + '.tar.xz')), 'w:xz', preset=9) as archive:
        for name in names + ['whole/run.json', 'whole/log.jsonl', 'whole/latest/manifest.json', 'machine.json']:
            info = tarfile.TarInfo(name)
            info.size = os.path.getsize(name)
            with open(name, 'rb') as stream:
                archive.addfile(info, stream)


def main():
    before = Path(sys.argv[1]).resolve()
    commit = subprocess.check_output(['git', '-C', str(before), 'rev-parse', 'HEAD']).decode().strip()
    if commit != COMMIT:
        sys.exit('%s is at %s, not at %s' % (before, commit, COMMIT))
    if len(sys.argv) == 2:
        for task in FLAGS:
            subprocess.run([sys.executable, os.path.abspath(__file__), str(before), task], check=True)
        return
    sys.path[:0] = [str(before)] + [str(before / 'tests' / folder) for folder in ('', 'data', 'transfer')]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _make(sys.argv[2])


if __name__ == '__main__':
    main()
