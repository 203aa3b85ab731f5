import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_tricks.compat import mx
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.distributed.workers import connect
from gluon_tricks.tasks.detection.data import DetectionStream, open_voc
from gluon_tricks.tasks.detection.task import Detection, create_optimizer, evaluate
from gluon_tricks.tasks.gluoncv_log import LOSSES, METRICS
from gluon_tricks.training import loop
from gluon_tricks.training.state import TrainState, draw_seed
from gluon_tricks.tricks.low_precision import LossScaler, precision
from support.detection import build_detector, write_tree

from gluoncv.model_zoo.rcnn.faster_rcnn.data_parallel import ForwardBackwardTask
from gluoncv.utils.metrics.rcnn import RCNNAccMetric, RCNNL1LossMetric, RPNAccMetric, RPNL1LossMetric
from gluoncv.utils.metrics.voc_detection import VOC07MApMetric

CPU = [mx.cpu()]


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    return open_voc(str(write_tree(tmp_path_factory.mktemp('voc'))))


def sgd(net, half=False):
    optimizer = create_optimizer(RCNNConfig(dtype='float16' if half else 'float32', clip_gradient=0.0))
    trainer = mx.gluon.Trainer(net.collect_train_params(), optimizer, update_on_kvstore=False)
    connect(trainer)
    return trainer


def task_of(net, sets, devices=CPU, dtype='float32', batch=2, **options):
    stream = DetectionStream(sets[0], net, len(devices), batch, seed=3)
    low = precision(dtype, devices)
    return Detection(net, RCNNConfig(dtype=dtype, total_batch_size=batch, **options), devices, stream, sets[1], low,
                     sets[0].classes)


def batches(task, number):
    found, epoch = [], 0
    while len(found) < number:
        found += list(task.batches(epoch))
        epoch += 1
    return found[:number]


def weights(net):
    return {name: param.data(param.list_ctx()[0]).asnumpy().astype('float64')
            for name, param in net._collect_params_with_prefix().items()}


def test_ten_updates_are_those_of_gluoncvs_script(sets):
    """Its ForwardBackwardTask with the same images, weights, samples and optimizer: four losses, metrics, weights."""
    ours, theirs = (build_detector(classes=sets[0].classes, images_per_device=2) for _ in range(2))
    for a, b in zip(ours._collect_params_with_prefix().values(), theirs._collect_params_with_prefix().values()):
        b.set_data(a.data()) if not isinstance(b, mx.gluon.Constant) else None
    task = task_of(ours, sets)
    trainer, their_trainer = sgd(ours), sgd(theirs)
    reference = ForwardBackwardTask(theirs, their_trainer, mx.gluon.loss.SigmoidBinaryCrossEntropyLoss(False),
                                    mx.gluon.loss.HuberLoss(1.0 / 9), mx.gluon.loss.SoftmaxCrossEntropyLoss(),
                                    mx.gluon.loss.HuberLoss(1.0), 1.0, False)
    state = TrainState(ours, trainer, task.sums, CPU, 10, 2)
    for update, batch in enumerate(batches(task, 10), 1):
        metrics = [RPNAccMetric(), RPNL1LossMetric(), RCNNAccMetric(), RCNNL1LossMetric()]
        mx.random.seed(draw_seed(0, update))
        result = reference.forward_backward([each[0] if isinstance(each, (list, tuple)) else each for each in batch])
        their_trainer.set_learning_rate(0.01)
        their_trainer.step(2)
        for metric, pair in zip(metrics, result[4:]):
            metric.update(*pair)
        loop.step(task, state, batch, lambda update: 0.01)
        found = task.train_metrics()
        for name, loss in zip(LOSSES, result[:4]):
            assert found[name] == pytest.approx(float(loss.asnumpy().mean()), rel=1e-5, abs=1e-7), (update, name)
        for name, metric in zip(METRICS, metrics):
            assert found[name] == pytest.approx(metric.get()[1], rel=1e-5, abs=1e-7), (update, name)
    one, two = weights(ours), weights(theirs)
    moved = 0
    for name in one:
        assert np.allclose(one[name], two[name], rtol=1e-5, atol=1e-7), name
    for name, start in weights(build_detector(classes=sets[0].classes, images_per_device=2)).items():
        moved += bool((one[name] != start).any())
    assert moved > 10


@pytest.mark.parametrize('clip', [5.0, 0.0])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_gradients_are_clipped_as_mxnets_sgd_does(clip, dtype):
    """Five updates of four images at a loss scale of 8 against MXNet's SGD, and against the formula of MXNet 1.3."""
    rng, rate, half = np.random.RandomState(0), 0.01, dtype == 'float16'
    start, velocity = rng.normal(size=1000), np.zeros(1000)
    reference = mx.optimizer.SGD(learning_rate=rate, momentum=0.9, wd=0.0005, multi_precision=half, rescale_grad=1 / 32,
                                 **({'clip_gradient': 5} if clip else {}))
    param = mx.gluon.Parameter('weight', shape=(1000,), dtype=dtype)
    param.initialize()
    param.set_data(mx.nd.array(start, dtype=dtype))
    trainer = mx.gluon.Trainer([param], create_optimizer(RCNNConfig(dtype=dtype, clip_gradient=clip)),
                               update_on_kvstore=False)
    trainer.set_learning_rate(rate)
    theirs = param.data().copy()
    state = reference.create_state_multi_precision(0, theirs)
    expected = theirs.asnumpy().astype('float64')
    for _ in range(5):
        gradient = mx.nd.array(32 * rng.normal(scale=5, size=1000), dtype=dtype)
        with mx.autograd.record():
            product = param.data() * gradient
        product.backward()
        trainer.update(4 * 8)
        reference.update_multi_precision([0], [theirs], [gradient], [state])
        each = gradient.asnumpy().astype('float64') / 32
        each = np.clip(each, -clip, clip) if clip else each
        velocity = 0.9 * velocity - rate * (each + 0.0005 * expected)
        expected = expected + velocity
    assert (param.data() == theirs).asnumpy().all()
    assert np.allclose(param.data().asnumpy(), expected, rtol=1e-3 if half else 1e-5, atol=1e-3 if half else 1e-6)


def test_two_devices_keep_the_same_weights_and_both_count(sets):
    devices = [mx.cpu(0), mx.cpu(1)]
    net = build_detector(classes=sets[0].classes)
    net.collect_params().reset_ctx(devices)
    task, trainer = task_of(net, sets, devices), sgd(net)
    before = weights(net)
    loop.step(task, TrainState(net, trainer, task.sums, devices, 1, 2), batches(task, 1)[0], lambda update: 0.01)
    assert task.sums.count == 2
    metrics = task.train_metrics()
    assert set(LOSSES + METRICS + ('loss',)) == set(metrics) and metrics['loss'] > 0
    first, second = (weights_on(net, device) for device in devices)
    assert all((first[name] == second[name]).all() for name in first)
    assert any((first[name] != before[name]).any() for name in first)


def weights_on(net, device):
    return {name: param.data(device).asnumpy() for name, param in net._collect_params_with_prefix().items()}


@pytest.mark.parametrize('hybrid', [True, False])
def test_float16_is_near_float32_and_learns(sets, hybrid):
    totals = {}
    for dtype in ('float32', 'float16'):
        net = build_detector(classes=sets[0].classes, images_per_device=2)
        task = task_of(net, sets, dtype=dtype, disable_hybridization=not hybrid)
        task.precision.prepare(net)
        trainer, scaler = sgd(net, dtype == 'float16'), LossScaler() if dtype == 'float16' else None
        totals[dtype] = []
        state = TrainState(net, trainer, task.sums, CPU, 3, 2, scaler=scaler)
        for batch in batches(task, 3):
            loop.step(task, state, batch, lambda update: 0.01)
            totals[dtype].append(task.train_metrics()['loss'])
        assert scaler is None or scaler.skipped == 0
    assert totals['float16'] == pytest.approx(totals['float32'], rel=0.1)
    assert totals['float16'] != totals['float32']


# ---------------------------------------------------------------------------------------------------------------------
# Mean average precision

def average_precision(found, wanted):
    """VOC 2007's, worked out anew: found = [(image, score, box)], wanted = {image: [(box, difficult)]}.

    A box holds its last row and column of pixels, as in VOC's own program.
    """
    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0]) + 1
        height = min(a[3], b[3]) - max(a[1], b[1]) + 1
        if width <= 0 or height <= 0:
            return 0.0
        areas = [(each[2] - each[0] + 1) * (each[3] - each[1] + 1) for each in (a, b)]
        return width * height / (sum(areas) - width * height)
    total = sum(not difficult for boxes in wanted.values() for _, difficult in boxes)
    taken, right, wrong, curve = set(), 0, 0, []
    for image, _score, box in sorted(found, key=lambda each: -each[1]):
        best = max(enumerate(wanted.get(image, [])), key=lambda each: overlap(box, each[1][0]), default=None)
        if best is not None and overlap(box, best[1][0]) >= 0.5:
            if best[1][1]:
                continue  # difficult: neither right nor wrong
            if (image, best[0]) in taken:
                wrong += 1
            else:
                taken.add((image, best[0]))
                right += 1
        else:
            wrong += 1
        curve.append((right / total if total else 0.0, right / (right + wrong)))
    points = [max([precision for recall, precision in curve if recall >= level], default=0.0)
              for level in np.arange(0, 1.1, 0.1)]  # in floating point: a recall of 0.6 does not reach 0.6000...01
    return sum(points) / 11 if total else float('nan')


class Boxes:
    """A detector that answers with what it is given, and a set of images whose boxes are given."""

    short, max_size = 40, 60

    def __init__(self, answers):
        self.answers = iter(answers)

    def __call__(self, image):
        rows = np.array(next(self.answers) or [[-1, -1, 0, 0, 0, 0]], 'float32')
        return tuple(mx.nd.array(rows[None, :, part]) for part in (slice(0, 1), slice(1, 2), slice(2, 6)))


class Images:
    def __init__(self, boxes):
        self.boxes = boxes

    def __len__(self):
        return len(self.boxes)

    def __getitem__(self, index):
        return mx.nd.zeros((40, 60, 3), dtype='uint8'), np.array(self.boxes[index], 'float32').reshape(-1, 6)


def box(draw):
    x, y = draw(st.integers(0, 40)), draw(st.integers(0, 25))
    return [x, y, x + draw(st.integers(3, 18)), y + draw(st.integers(3, 13))]


@st.composite
def scenes(draw):
    """(boxes of each image with class and difficult flag, finds of each image with class and score)."""
    truth, finds, score = [], [], iter(draw(st.permutations(range(1, 60))))
    for _ in range(draw(st.integers(1, 4))):
        boxes = [box(draw) + [draw(st.integers(0, 1)), draw(st.integers(0, 1))] for _ in range(draw(st.integers(1, 3)))]
        near = [[each[4], next(score) / 60.0] + [side + draw(st.integers(-1, 1)) for side in each[:4]]
                for each in boxes if draw(st.booleans())]
        far = [[draw(st.integers(0, 1)), next(score) / 60.0] + box(draw) for _ in range(draw(st.integers(0, 3)))]
        truth.append(boxes)
        finds.append([[each[0], each[1]] + np.clip(each[2:], 0, [60, 40, 60, 40]).tolist() for each in near + far])
    return truth, finds


@given(scenes())
@settings(max_examples=200, deadline=None)
def test_map_is_gluoncvs_and_that_of_another_computation(scene):
    truth, finds = scene
    low = precision('float32', CPU)
    figures = evaluate(Boxes(finds), Images(truth), CPU, ('cat', 'dog'), low)
    metric = VOC07MApMetric(0.5, ('cat', 'dog'))
    for boxes, found in zip(truth, finds):
        boxes, found = np.array(boxes, 'float32')[None], np.array(found, 'float32').reshape(1, -1, 6)
        metric.update(found[..., 2:], found[..., 0], found[..., 1], boxes[..., :4], boxes[..., 4], boxes[..., 5])
    theirs = dict(zip(*metric.get()))
    for label, name in enumerate(('cat', 'dog')):
        ap = average_precision(
            [(image, each[1], each[2:]) for image, found in enumerate(finds) for each in found if each[0] == label],
            {image: [(each[:4], each[5]) for each in boxes if each[4] == label] for image, boxes in enumerate(truth)})
        shown = figures['ap'].get(name, float('nan'))
        assert shown == pytest.approx(100 * theirs[name], nan_ok=True)
        assert shown == pytest.approx(100 * ap, nan_ok=True, abs=1e-6)
    assert figures['num_images'] == len(truth)


def test_evaluation_skips_epochs_and_counts_every_image(sets):
    net = build_detector(classes=sets[0].classes)
    task = task_of(net, sets, val_interval=2)
    task.epoch = 0
    assert task.evaluate() == {}
    task.epoch = 1
    figures = task.evaluate()
    assert figures['num_images'] == 8 and set(figures['ap']) == {'cat', 'dog'}
