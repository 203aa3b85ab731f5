"""Images packed per second: `prepare folder` against MXNet's own im2rec.py, on the same JPEGs.

    python benchmarks/records.py

Each command is a process of its own, as a user starts it, in turn, several times: 5,000 JPEGs of 500 x 375 in class
folders, copied as they are and brought to a short side of 480, with 1 and 2 processes. What im2rec needs first, a list,
is made beforehand and not counted. The files' pages are in memory for both.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALIASES = ('import sys, numpy, runpy, warnings; warnings.simplefilter("ignore");'
           '[setattr(numpy, k, v) for k, v in dict(bool=bool, int=int, float=float, object=object).items()];'
           'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")')


def make_tree(folder, images):
    """FOLDER/train and FOLDER/val with class folders of photograph-like JPEGs, 500 x 375, about 60 kB each."""
    import cv2
    rng = np.random.RandomState(0)
    for number in range(images + 10):
        part = 'train' if number < images else 'val'
        place = os.path.join(folder, part, f'class{number % 10}')
        os.makedirs(place, exist_ok=True)
        smooth = cv2.resize(rng.randint(0, 256, (47, 63, 3)).astype('float32'), (500, 375),
                            interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(smooth + rng.normal(0, 6, (375, 500, 1)), 0, 255).astype('uint8')
        cv2.imwrite(os.path.join(place, f'{number}.jpg'), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])


def timed(command, folder):
    os.sync()  # what the command before left in memory is not this one's to write
    started = time.time()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f'{command}\n{done.stdout.decode(errors="replace")[-2000:]}')
    return time.time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=5000)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    arguments = parser.parse_args()
    sys.path.insert(0, ROOT)
    import gluon_tricks.compat as compat
    im2rec = os.path.join(os.path.dirname(compat.mx.__file__), 'tools', 'im2rec.py')
    with tempfile.TemporaryDirectory() as folder:
        tree = os.path.join(folder, 'tree')
        make_tree(tree, arguments.images)
        size = sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(tree) for name in names)
        print(f'{arguments.images} JPEGs of 500 x 375, {size / 1000.0 / (arguments.images + 10):.0f} kB each')
        timed([sys.executable, '-c', ALIASES, im2rec, '--list', '--recursive', 'train', os.path.join(tree, 'train')],
              folder)
        environment_path = dict(os.environ, PYTHONPATH=ROOT)
        os.environ.update(environment_path)
        for words, theirs, ours in (('as they are', ['--pass-through'], []),
                                    ('short side 480', ['--resize', '480'], ['--resize', '480'])):
            for processes in arguments.processes:
                times = {'im2rec': [], 'ours': []}
                for _ in range(arguments.repeats):
                    times['im2rec'].append(timed([sys.executable, '-c', ALIASES, im2rec, '--num-thread', str(processes)]
                                                 + theirs + ['train', os.path.join(tree, 'train')], folder))
                    out = os.path.join(folder, 'out')
                    times['ours'].append(timed([sys.executable, '-m', 'gluon_tricks', 'prepare', 'folder', tree,
                                                '--out', out, '--processes', str(processes)] + ours, folder))
                    shutil.rmtree(out)
                speeds = {name: arguments.images / statistics.median(each) for name, each in times.items()}
                print('%-15s %d processes: im2rec %6.0f images/s (%s s), ours %6.0f (%s s), ratio %.2f' % (
                    words, processes, speeds['im2rec'], ', '.join(f'{each:.2f}' for each in times['im2rec']),
                    speeds['ours'], ', '.join(f'{each:.2f}' for each in times['ours']),
                    speeds['ours'] / speeds['im2rec']), flush=True)


if __name__ == '__main__':
    main()
