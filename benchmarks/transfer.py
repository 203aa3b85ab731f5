"""Seconds per update of Faster-RCNN and FCN: GluonCV's scripts and ours, from the same weights, on the same trees.

    python benchmarks/transfer.py --detection PATH/gluon-cv/scripts/detection/faster_rcnn/train_faster_rcnn.py \\
                                  --segmentation PATH/gluon-cv/scripts/segmentation/train.py

One CPU, batch 2, resnet50_v1b. Faster-RCNN: images of 341 x 256, the detector's published numbers. FCN: crops of 128,
two heads. Each command is a process of its own, in turn, several times; its figure is the median of the time between
two of its log lines, of which it writes one every second update. Quote the ratios: below 1 is faster than GluonCV.

GluonCV's scripts are started with these changes, none of which is in an update:

* NumPy's old aliases, which MXNet needs to be imported;
* the environment that a script sets before it imports MXNet is set before it starts: MXNet is imported earlier here;
* the base network's weights come from a file that the benchmark makes, which ours get too, and are not downloaded;
* Faster-RCNN, whose script has no option for it: the images' size, set on the network once it is made;
* FCN, whose builder knows a ResNet with a wider stem only: the base network is resnet50_v1b.
"""
import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.dirname(os.path.abspath(__file__))]

from step import ALIASES, RUN, compare, environments, noise  # noqa: E402

BATCH, INTERVAL = 2, 2
SHORT, LONGEST = 256, 427  # of 600 and 1000, VOC's sizes in the paper
CROP, BASE = 128, 139      # of 480 and 520, ADE20K's
LINE = re.compile(r'\[Epoch 0\]\[Batch (\d+)\]|Epoch 0 iteration (\d+)/')
WEIGHTS = 'import gluoncv.model_zoo.model_store as store; store.get_model_file = lambda *_, **__: %r\n'
DETECTION = '''
import gluoncv.model_zoo as zoo
get_model = zoo.get_model
def sized(*words, **options):
    net = get_model(*words, **options)
    net.short, net.max_size = %d, %d
    return net
zoo.get_model = sized
''' % (SHORT, LONGEST)
SEGMENTATION = '''
import gluoncv.model_zoo.segbase as segbase
from gluoncv.model_zoo.resnetv1b import resnet50_v1b
segbase.get_backbone = lambda name, **options: resnet50_v1b(**options)
'''


# ---------------------------------------------------------------------------------------------------------------------
# Data and weights

def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as stream:
        stream.write(content)


def encoded(pixels, extension='.jpg'):
    import cv2
    return cv2.imencode(extension, pixels)[1].tobytes()


def annotation(rng):
    """VOC's XML for an image of 500 x 375 with one to five objects."""
    from gluon_tricks.data.prepare.voc import CLASSES
    objects = ''
    for _ in range(rng.randint(1, 6)):
        left, top = rng.randint(1, 300), rng.randint(1, 225)
        objects += '<object><name>%s</name><difficult>0</difficult><bndbox><xmin>%d</xmin><ymin>%d</ymin>' \
                   '<xmax>%d</xmax><ymax>%d</ymax></bndbox></object>' % (
                       CLASSES[rng.randint(20)], left, top, left + rng.randint(40, 200), top + rng.randint(40, 150))
    return ('<annotation><size><width>500</width><height>375</height><depth>3</depth></size>%s</annotation>'
            % objects).encode()


def make_voc(root, images):
    """VOC2007 and VOC2012 with so many images to train on in all, and one to test on."""
    rng = np.random.RandomState(0)
    for year, part, number in (('VOC2007', 'trainval', images // 2), ('VOC2012', 'trainval', images - images // 2),
                               ('VOC2007', 'test', 1)):
        names = [f'{part}_{each}' for each in range(number)]
        write(os.path.join(root, year, 'ImageSets', 'Main', part + '.txt'), ('\n'.join(names) + '\n').encode())
        for name in names:
            write(os.path.join(root, year, 'JPEGImages', name + '.jpg'), encoded(noise(rng)))
            write(os.path.join(root, year, 'Annotations', name + '.xml'), annotation(rng))


def make_ade(root, images):
    """ADEChallengeData2016 with so many images to train on, and two to validate on; masks are blocks of classes."""
    rng = np.random.RandomState(0)
    for part, number in (('training', images), ('validation', BATCH)):
        for each in range(number):
            mask = np.kron(rng.randint(0, 151, (3, 4)), np.ones((125, 125), int)).astype('uint8')
            folder, name = os.path.join(root, 'ADEChallengeData2016'), f'{part}_{each}'
            write(os.path.join(folder, 'images', part, name + '.jpg'), encoded(noise(rng)))
            write(os.path.join(folder, 'annotations', part, name + '.png'), encoded(mask, '.png'))


def make_weights(path):
    """A classifier of 1000 classes with new weights, and the running statistics of an image of noise.

    A detector's base network is frozen with them: 0 and 1, which new ones are, would not normalise.
    """
    from gluon_tricks.compat import mx
    from gluon_tricks.models.zoo import get_model, know_shapes
    from gluon_tricks.tasks.detection.network import calibrate
    net = get_model('resnet50_v1b', classes=1000)
    net.initialize(mx.init.Xavier())
    know_shapes(net, 64)
    image = (noise(np.random.RandomState(0)).transpose(2, 0, 1)[None] / 255.0 - 0.45) / 0.225
    calibrate(net, [mx.nd.array(image)])
    net.save_parameters(path)


# ---------------------------------------------------------------------------------------------------------------------
# Processes

def seconds_per_update(command, environment, folder):
    """The median time between two log lines of one process, over the updates between them."""
    lines, text = [], ''
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as run:
        for line in run.stdout:
            line = line.decode(errors='replace')
            found, text = LINE.search(line), text + line
            if found:
                lines.append((time.monotonic(), int(found.group(1) or found.group(2))))
    if run.returncode or len(lines) < 3:
        sys.exit(f'{text[-3000:]}\n{command} ended with code {run.returncode} after {len(lines)} log lines')
    return statistics.median((after - before) / (last - first)
                             for (before, first), (after, last) in zip(lines, lines[1:]))


def starts(script, changes, flags, folder):
    """{name: (command, environment)} of GluonCV's script: as a user starts it, and with all cores."""
    with open(script) as stream:
        own = dict(re.findall(r"^os\.environ\['(\w+)'\] = '(\w+)'", stream.read(), re.MULTILINE))
    code = ALIASES + WEIGHTS % os.path.join(folder, 'base.params') + changes + RUN
    plain, equal = (dict(each, HOME=folder, **own) for each in environments())
    command = [sys.executable, '-c', code, os.path.abspath(script)] + flags
    return {'GluonCV': (command, plain), 'GluonCV, all cores': (command, equal)}


def ours(program, flags, folder):
    """(command, environment) of our program, as a user starts it."""
    return [sys.executable, os.path.join(ROOT, 'transfer', program), '--devices', 'cpu(0)', '--base-params',
            os.path.join(folder, 'base.params')] + flags, dict(environments()[0], HOME=folder)


def common():
    """The flags that all take."""
    return ['--epochs', '1', '--batch-size', str(BATCH), '--log-interval', str(INTERVAL), '--lr', '0.001']


def detection(script, folder):
    """{name: (command, environment)} of Faster-RCNN."""
    flags = common() + ['--network', 'resnet50_v1b', '--val-interval', '2', '--save-interval', '0', '--kv-store',
                        'device', '--num-workers', str(len(os.sched_getaffinity(0)))]
    result = starts(script, DETECTION, flags + ['--gpus', ''], folder)
    result['ours'] = ours('train_faster_rcnn.py', flags + ['--image-short', str(SHORT), '--image-max-size',
                                                           str(LONGEST)], folder)
    return result


def segmentation(script, folder):
    """{name: (command, environment)} of FCN."""
    flags = common() + ['--dataset', 'ade20k', '--backbone', 'resnet50', '--aux', '--no-val', '--crop-size', str(CROP),
                        '--base-size', str(BASE), '--workers', str(len(os.sched_getaffinity(0)))]
    result = starts(script, SEGMENTATION, flags + ['--no-cuda'], folder)
    for loss in ('gluoncv', 'ours'):
        result['ours, --loss ' + loss] = ours('train_fcn.py', flags + ['--loss', loss], folder)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--detection', metavar='FILE', help="GluonCV's train_faster_rcnn.py")
    parser.add_argument('--segmentation', metavar='FILE', help="GluonCV's scripts/segmentation/train.py")
    parser.add_argument('--updates', type=int, default=12, help='of each process')
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.detection and not arguments.segmentation:
        parser.error('give --detection, --segmentation, or both')
    with tempfile.TemporaryDirectory() as folder:
        weights = multiprocessing.get_context('spawn').Process(target=make_weights, args=(
            os.path.join(folder, 'base.params'),))
        weights.start()
        weights.join()
        if weights.exitcode:
            sys.exit('the weights could not be made')
        data = os.path.join(folder, '.mxnet', 'datasets')
        if arguments.detection:
            make_voc(os.path.join(data, 'voc'), arguments.updates * BATCH)
            compare(f'Faster-RCNN, resnet50_v1b, batch {BATCH}, short side {SHORT}',
                    detection(arguments.detection, folder), arguments.repeats, folder, seconds_per_update,
                    'seconds per update')
        if arguments.segmentation:
            make_ade(os.path.join(data, 'ade'), arguments.updates * BATCH)
            compare(f'FCN, resnet50_v1b, batch {BATCH}, crop {CROP}',
                    segmentation(arguments.segmentation, folder), arguments.repeats, folder, seconds_per_update,
                    'seconds per update')


if __name__ == '__main__':
    main()
