"""Time of one optimizer update: the paper's NAG (gluon_tricks.training.optimizer.PaperNAG) against MXNet's fused NAG.

    python benchmarks/optimizer.py [--model resnet50_v1d] [--repeats 15]

Both update arrays of the model's parameter shapes, in turn and in one process, in float32 and in float16 with float32
masters. Printed are the medians, the median and range of the ratio ours / MXNet's over the pairs, and the fastest of
each (what a busy machine disturbs least).
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import numpy as np  # noqa: E402

from gluon_tricks.compat import environment, mx  # noqa: E402
from gluon_tricks.models.zoo import get_model  # noqa: E402
from gluon_tricks.training.optimizer import create_optimizer  # noqa: E402


def parameter_shapes(model):
    """Shapes of the model's trained parameters."""
    net = get_model(model)
    net.initialize()
    net(mx.nd.zeros((1, 3, 64, 64))).wait_to_read()
    return [param.shape for param in net.collect_params().values() if param.grad_req != 'null']


class Update:
    """One optimizer with weights and gradients of its own."""

    def __init__(self, nag, shapes, dtype):
        self.weights = [mx.nd.random.normal(scale=0.05, shape=shape).astype(dtype) for shape in shapes]
        self.grads = [mx.nd.random.normal(shape=shape).astype(dtype) for shape in shapes]
        self.optimizer = create_optimizer(nag, momentum=0.9, wd=1e-4, multi_precision=dtype == 'float16')
        self.optimizer.rescale_grad = 1 / 256
        self.updater = mx.optimizer.get_updater(self.optimizer)
        self.indices = list(range(len(shapes)))

    def seconds(self, lr):
        """Seconds of one update, from the first call until the device has finished."""
        mx.nd.waitall()
        start = time.perf_counter()
        self.optimizer.set_learning_rate(lr)
        self.updater(self.indices, self.grads, self.weights)
        mx.nd.waitall()
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='resnet50_v1d')
    parser.add_argument('--repeats', type=int, default=15)
    arguments = parser.parse_args()
    shapes = parameter_shapes(arguments.model)
    print('%s: %d arrays, %.1f million numbers; %d threads, %d repeats' % (
        arguments.model, len(shapes), sum(np.prod(shape) for shape in shapes) / 1e6, environment()['threads'],
        arguments.repeats))
    for dtype in ('float32', 'float16'):
        paper, fused = Update('paper', shapes, dtype), Update('mxnet', shapes, dtype)
        pairs = []
        for repeat in range(arguments.repeats + 2):
            lr = 1e-3 * (1 + repeat)  # changes at each update, as under warmup and cosine decay
            order = (paper, fused) if repeat % 2 else (fused, paper)
            taken = {update: update.seconds(lr) for update in order}
            pairs.append((taken[paper], taken[fused]))
        pairs = np.array(pairs[2:])
        ratios = pairs[:, 0] / pairs[:, 1]
        fastest = pairs.min(axis=0)
        print('%s: ours %.1f ms, MXNet\'s NAG %.1f ms; ratio %.2f (%.2f to %.2f); fastest %.1f and %.1f ms, ratio %.2f'
              % ((dtype,) + tuple(1e3 * np.median(pairs, axis=0)) + (np.median(ratios), ratios.min(), ratios.max())
                 + tuple(1e3 * fastest) + (fastest[0] / fastest[1],)))


if __name__ == '__main__':
    main()
