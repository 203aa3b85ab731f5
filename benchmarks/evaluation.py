"""Images per second of an exact evaluation on the CPU: the fused graph against the usual one, and by batch.

    python benchmarks/evaluation.py [--models resnet50_v1d resnet18_v1b mobilenet1.0] [--images 304] [--repeats 3]
    python benchmarks/evaluation.py --batches 1 4 16 64 128     # the networks alone, without a reader
    python benchmarks/evaluation.py --against CHECKOUT          # the command `evaluate` of another checkout beside this

Records of JPEGs of 500 x 375, 224 px, two cores or what there is. Weights are random, statistics of batch
normalisation are not those of a new network. The time of an evaluation is all of it: reading, making the graph,
metrics. In turn, in one process; medians. `apart` is the largest difference of the scores over the largest score.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from step import noise  # noqa: E402

from gluon_tricks.compat import mx  # noqa: E402
from gluon_tricks.cores import available_cores  # noqa: E402
from gluon_tricks.data.pipeline import EvalStream  # noqa: E402
from gluon_tricks.data.records.packing import pack  # noqa: E402
from gluon_tricks.models.fused import for_inference  # noqa: E402
from gluon_tricks.models.zoo import default_input_size, get_model, know_shapes, place  # noqa: E402
from gluon_tricks.tasks.classification import evaluation  # noqa: E402
from gluon_tricks.tricks.low_precision import precision  # noqa: E402

CPU = [mx.cpu()]
MANY = 10 ** 9  # images, for which a fused graph pays


def network(model, classes=1000):
    """(network in inference on the CPU, its precision, side of its images)."""
    rng, side, how = np.random.RandomState(0), default_input_size(model), precision('float32', CPU)
    net = get_model(model, classes=classes)
    net.initialize(mx.init.MSRAPrelu())
    know_shapes(net, side)
    for param in net.collect_params('.*(gamma|beta|mean|var)$').values():
        low, high = (0.5, 1.5) if param.name.endswith(('gamma', 'var')) else (-0.2, 0.2)
        param.set_data(mx.nd.array(rng.uniform(low, high, param.shape)))
    net.collect_params().setattr('grad_req', 'null')
    place(net, CPU, how, hybridize=True)
    return net, how, side


def make_records(folder, images):
    """(rec, idx) of noise JPEGs."""
    import cv2
    rng, path = np.random.RandomState(0), os.path.join(folder, 'val')
    pack([(cv2.imencode('.jpg', noise(rng))[1].tobytes(), number % 1000, str(number)) for number in range(images)],
         path)
    return path + '.rec', path + '.idx'


def compare(model, files, batch_size, repeats):
    """Print images/s of both evaluations of a network."""
    net, how, side = network(model)
    stream = EvalStream(*files, worker_batch_size=batch_size, input_size=side, threads=available_cores())
    ways = {'usual': lambda x: net(x), 'fused': net}  # only a Block is fused
    speeds, classes = {name: [] for name in ways}, {}
    for _ in range(repeats):
        for name, way in ways.items():
            begin = time.perf_counter()
            classes[name] = evaluation.predict(way, stream, CPU, how)['predicted']
            speeds[name].append(stream.num_images / (time.perf_counter() - begin))
    same = np.array_equal(classes['usual'], classes['fused'])
    x = mx.nd.random.normal(shape=(batch_size, 3, side, side))
    usual, graph = net(x).asnumpy(), for_inference(net, how, CPU, MANY, side)
    apart = abs(graph(x).asnumpy() - usual).max() / abs(usual).max()
    for name in ways:
        print('%-14s batch %-3d %s %7.2f images/s  x%.2f  (%s)' % (
            model, batch_size, name, statistics.median(speeds[name]),
            statistics.median(speeds[name]) / statistics.median(speeds['usual']),
            ', '.join(f'{speed:.2f}' for speed in speeds[name])))
    print('%-14s same top-1: %s, apart %.1e' % (model, same, apart), flush=True)


def bare(model, batches, repeats):
    """Print images/s of a network alone by batch, usual and fused."""
    net, how, side = network(model)
    for size in batches:
        x, words = mx.nd.random.normal(shape=(size, 3, side, side)), []
        for name, graph in (('usual', net), ('fused', for_inference(net, how, CPU, MANY, side))):
            graph(x).wait_to_read()
            rounds, taken = max(1, 16 // size), []
            for _ in range(repeats):
                begin = time.perf_counter()
                for _ in range(rounds):
                    graph(x).wait_to_read()
                taken.append((time.perf_counter() - begin) / rounds)
            words.append(f'{name} {size / statistics.median(taken):7.2f}')
        print('%-14s batch %-3d images/s: %s' % (model, size, '  '.join(words)), flush=True)


def commands(model, files, folder, checkouts, repeats):
    """Print images/s of `python -m gluon_tricks evaluate` from start to end, by checkout: {name: folder}."""
    params, images = os.path.join(folder, model + '.params'), sum(1 for _ in open(files[1]))
    network(model)[0].save_parameters(params)
    speeds, found = {name: [] for name in checkouts}, {}
    for _ in range(repeats):
        for name, checkout in checkouts.items():
            begin = time.perf_counter()
            said = subprocess.run(
                [sys.executable, '-m', 'gluon_tricks', 'evaluate', params, '--model', model, '--rec-val', files[0],
                 '--num-gpus', '0', '--json'], cwd=checkout, env=dict(os.environ, PYTHONPATH=checkout), check=True,
                stdout=subprocess.PIPE, text=True).stdout
            speeds[name].append(images / (time.perf_counter() - begin))
            found[name] = [json.loads(said)[figure] for figure in ('top1', 'top5', 'num_images')]
    base = statistics.median(speeds['before'])
    for name, values in speeds.items():
        print('%-14s %d images, %-6s %7.2f images/s  x%.2f  (%s)' % (
            model, images, name, statistics.median(values), statistics.median(values) / base,
            ', '.join(f'{speed:.2f}' for speed in values)))
    print('%-14s same top-1 and top-5: %s' % (model, found['before'] == found['now']), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', nargs='+', default=['resnet50_v1d', 'resnet18_v1b', 'mobilenet1.0'])
    parser.add_argument('--images', type=int, default=304)
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--batches', type=int, nargs='+', help='the networks alone, by batch')
    parser.add_argument('--against', metavar='CHECKOUT', help='of this project: its command beside that of this one')
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    if arguments.batches:
        for model in arguments.models:
            bare(model, arguments.batches, arguments.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = make_records(folder, arguments.images)
        for model in arguments.models:
            if arguments.against:
                commands(model, files, folder, {'before': os.path.abspath(arguments.against), 'now': ROOT},
                         arguments.repeats)
                continue
            compare(model, files, arguments.batch_size, arguments.repeats)


if __name__ == '__main__':
    main()
