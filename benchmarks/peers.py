"""Images per second of one network in this project, in torch (timm's network) and in onnxruntime, on the CPU.

    python benchmarks/peers.py --model resnet50_v1d --batch-size 16 --do training inference [--ways W ...]

A step is what it takes without data: forward, loss, backward and an update of SGD with Nesterov's momentum; or a
forward pass in inference. `step of the program` is `loop.step` on one batch: also metrics, and the recipe's tricks
where the network is the demo's. The same batch and as many threads for all; each way is a process of its own, in turn,
`--repeats` times; the figure of a process is the median of its rounds after it has warmed up. Quote the ratios.
What is not installed is named and left out. timm's mobilenetv1_100 has ReLU6 in place of ReLU: the work is the same.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'tests')]

DEMO = 'resnet10_v1d_demo'
TIMM = {'resnet50_v1d': 'resnet50d', 'resnet18_v1b': 'resnet18', 'mobilenet1.0': 'mobilenetv1_100',
        DEMO: 'resnet18d-demo'}  # the last is of tests/support/timm_networks.py
WAYS = {
    'training': ['ours', 'ours bfloat16', 'step of the program', 'torch', 'torch channels-last', 'torch compiled',
                 'torch bfloat16', 'torch channels-last bfloat16', 'torch compiled bfloat16'],
    'inference': ['ours', 'ours unfused', 'ours bfloat16', 'torch', 'torch channels-last', 'torch compiled',
                  'torch bfloat16', 'torch channels-last bfloat16', 'torch compiled bfloat16', 'onnxruntime']}


# ---------------------------------------------------------------------------------------------------------------------
# A process: make(model, batch size, side, way, training) gives (step, wait): wait() ends when all steps are done

def ours(model, batch_size, side, way, training):
    from gluon_tricks.compat import mx
    from gluon_tricks.losses import cross_entropy
    from gluon_tricks.models.fused import for_inference
    from gluon_tricks.models.zoo import get_model, know_shapes, place
    from gluon_tricks.training.optimizer import create_optimizer
    from gluon_tricks.tricks.low_precision import enable_bfloat16, precision
    cpu, dtype = [mx.cpu()], 'bfloat16' if 'bfloat16' in way else 'float32'
    if dtype == 'bfloat16':
        enable_bfloat16()
    classes, how = classes_of(model), precision(dtype, cpu)
    net = get_model(model, classes=classes)
    net.initialize(mx.init.MSRAPrelu())
    know_shapes(net, side)
    place(net, cpu, how, hybridize=True)
    x, target = mx.nd.random.normal(shape=(batch_size, 3, side, side)), mx.nd.zeros((batch_size, classes))
    target[:, 0] = 1
    if not training:
        graph = net if 'unfused' in way else for_inference(net, how, cpu, 10 ** 9, side)
        return lambda: graph(x), mx.nd.waitall
    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer('paper', 0.9, 1e-4, False), kvstore=None)
    trainer.set_learning_rate(0.01)

    def step():
        with mx.autograd.record():
            loss = cross_entropy(net(x), target)
        loss.backward()
        trainer.step(batch_size)
    return step, mx.nd.waitall


def program(model, batch_size, side, way, training):
    from gluon_tricks.compat import mx
    from gluon_tricks.config import recipes
    from gluon_tricks.config.classification import TrainConfig
    from gluon_tricks.distributed.workers import Workers
    from gluon_tricks.tasks.classification import assembly
    from gluon_tricks.training import loop
    config = recipes.get('demo').config if model == DEMO else TrainConfig(model=model, lr=0.01)
    config, _ = assembly.resolve(config.replace(
        data_backend='synthetic', data_dir='', num_training_samples=batch_size * 10 ** 6, batch_size=batch_size,
        input_size=side, dtype='float32', num_gpus=0))
    setup = assembly.assemble(config, [mx.cpu()], Workers())
    task, state = setup.task, setup.new_state(config)
    batch = next(iter(task.batches(0)))
    return lambda: loop.step(task, state, batch, setup.schedule), mx.nd.waitall


def torchs(model, batch_size, side, way, training):
    from support.timm_networks import import_timm, timms
    torch, timm = import_timm()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    torch.manual_seed(0)
    net, x = timms(timm, TIMM[model]).train(training), torch.randn(batch_size, 3, side, side)
    if model == DEMO:
        net.reset_classifier(classes_of(model))
    if 'channels-last' in way or 'compiled' in way:
        net, x = (each.to(memory_format=torch.channels_last) for each in (net, x))
    label = torch.zeros(batch_size, dtype=torch.long)
    update = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    forward = torch.compile(net) if 'compiled' in way else net
    low = torch.autocast('cpu', dtype=torch.bfloat16, enabled='bfloat16' in way)

    def inference():
        with torch.inference_mode(), low:
            forward(x)

    def step():
        update.zero_grad(set_to_none=True)
        with low:
            loss = torch.nn.functional.cross_entropy(forward(x).float(), label)
        loss.backward()
        update.step()
    return step if training else inference, lambda: None


def onnxruntimes(model, batch_size, side, way, training):
    import numpy as np

    from gluon_tricks.compat import mx
    from gluon_tricks.exchange import onnx_graph
    from gluon_tricks.models.zoo import get_model, know_shapes
    _, ort = onnx_graph.require('onnx', 'onnxruntime')
    net = get_model(model, classes=classes_of(model))
    net.initialize(mx.init.MSRAPrelu())
    know_shapes(net, side)
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ['OMP_NUM_THREADS'])
    session = ort.InferenceSession(onnx_graph.classifier(net, side).SerializeToString(), options,
                                   providers=['CPUExecutionProvider'])
    x = np.random.RandomState(0).normal(size=(batch_size, 3, side, side)).astype('float32')
    return lambda: session.run(None, {'input': x}), lambda: None


def classes_of(model):
    return 10 if model == DEMO else 1000


def maker(way):
    """The function of a way that makes its step."""
    return {'ours': ours, 'step': program, 'torch': torchs, 'onnxruntime': onnxruntimes}[way.split()[0]]


def speed(step, wait, batch_size, seconds):
    """Images per second: the median of rounds of at least a quarter of a second."""
    for _ in range(3):
        step()
    wait()
    rates, number, end = [], 1, time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        begin = time.perf_counter()
        for _ in range(number):
            step()
        wait()
        taken = time.perf_counter() - begin
        rates.append(number * batch_size / taken)
        number = max(number, int(number * 0.25 / taken))
    return statistics.median(rates[1:])


# ---------------------------------------------------------------------------------------------------------------------
# All of them

def missing(way):
    """The first package that a way needs and that is not installed, else None."""
    needed = {'torch': ['torch', 'timm'], 'onnxruntime': ['onnx', 'onnxruntime']}.get(way.split()[0], ['mxnet'])
    from importlib.util import find_spec
    return next((name for name in needed if find_spec(name) is None), None)


def measured(arguments, what, way):
    """Images per second of a process, None where it failed."""
    words = [sys.executable, os.path.abspath(__file__), '--child', json.dumps(
        [arguments.model, arguments.batch_size, arguments.side, way, what == 'training', arguments.seconds])]
    done = subprocess.run(words, env=dict(os.environ, OMP_NUM_THREADS=str(arguments.threads)), capture_output=True)
    if done.returncode:
        print(f'  {way}: left out: {done.stderr.decode(errors="replace").strip().splitlines()[-1]}')
        return None
    return float(done.stdout.split()[-1])


def compare(arguments, what):
    """Print the figures of all ways, and their ratios to torch's eager one (or the first)."""
    figures = {}
    for way in [way for way in WAYS[what] if not arguments.ways or way in arguments.ways]:
        package = missing(way)
        if package:
            print(f'  {way}: left out: {package} is not installed')
        else:
            figures[way] = []
    for _ in range(arguments.repeats):
        for way in list(figures):
            found = measured(arguments, what, way)
            if found is None:
                del figures[way]
            else:
                figures[way].append(found)
    base = statistics.median(figures.get('torch') or next(iter(figures.values())))
    print(f'{arguments.model}, {arguments.side} px, batch {arguments.batch_size}, {arguments.threads} threads, {what}')
    for way, speeds in figures.items():
        print('  %-30s %8.2f  x%.2f   (%s)' % (way, statistics.median(speeds), statistics.median(speeds) / base,
                                               ', '.join(f'{each:.2f}' for each in speeds)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='resnet50_v1d', choices=sorted(TIMM))
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--do', nargs='+', default=list(WAYS), choices=list(WAYS))
    parser.add_argument('--ways', nargs='+', help='only these: ' + ', '.join(sorted(set(sum(WAYS.values(), [])))))
    parser.add_argument('--repeats', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=4, help='of each process, after it has warmed up')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--child', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        *what, seconds = json.loads(arguments.child)
        print(speed(*maker(what[3])(*what), what[1], seconds))
        return
    arguments.side = 32 if arguments.model == DEMO else 224
    for what in arguments.do:
        compare(arguments, what)


if __name__ == '__main__':
    main()
