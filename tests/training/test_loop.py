import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.data.pipeline import Batch
from gluon_tricks.distributed.workers import connect
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.training import callbacks, loop, multi_tensor
from gluon_tricks.training.divergence import Diverged
from gluon_tricks.training.optimizer import create_optimizer
from gluon_tricks.training.signals import Guard
from gluon_tricks.training.state import TrainState
from gluon_tricks.tricks import low_precision
from gluon_tricks.tricks.low_precision import LossScaler, precision
from gluon_tricks.tricks.no_bias_decay import no_bias_decay
from gluon_tricks.tricks.zero_gamma import zero_gamma

from gluoncv.model_zoo import get_model as gluoncv_model

CLASSES, SIZE, LR = 10, 32, 0.001


class Stored:
    """A stream of stored batches, the same in every epoch."""

    def __init__(self, batches, batch_size=8, seed=0, scale=1.0):
        rng = np.random.RandomState(seed)
        self.batches = [(scale * rng.normal(size=(batch_size, 3, SIZE, SIZE)).astype('float32'),
                         rng.randint(CLASSES, size=batch_size).astype('float32')) for _ in range(batches)]
        self.updates_per_epoch = batches

    def epoch(self, epoch, first=0):
        for x, y in self.batches:
            yield Batch([mx.nd.array(x)], [mx.nd.array(y)])


def make(devices=(mx.cpu(0),), dtype='float32', nag='paper', stream=None, gamma_zero=True, **options):
    devices = list(devices)
    low_precision = precision(dtype, devices)
    mx.random.seed(3)
    net = get_model('resnet10_v1d_demo', classes=CLASSES)
    if gamma_zero:
        zero_gamma(net)
    net.initialize(mx.init.Xavier(), ctx=devices)
    for device in devices:
        net(mx.nd.zeros((1, 3, SIZE, SIZE), ctx=device))
    low_precision.prepare(net)
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer(nag, 0.9, 1e-4, dtype == 'float16'),
                               update_on_kvstore=False)
    connect(trainer)
    batch_size = len(stream.batches[0][1]) // len(devices)
    config = TrainConfig(num_classes=CLASSES, input_size=SIZE, batch_size=batch_size, lr=0.1, dtype=dtype, **options)
    teacher = None
    if config.teacher:
        teacher = get_model('resnet10_v1d_demo', classes=CLASSES)
        teacher.initialize(mx.init.Xavier(), ctx=devices)
        for device in devices:
            teacher(mx.nd.zeros((1, 3, SIZE, SIZE), ctx=device))
        low_precision.prepare(teacher)
    return Classification(net, config, devices, stream, None, low_precision, teacher), trainer, devices


def weights(net, device=0):
    return {name: param.list_data()[device].asnumpy().astype('float32')
            for name, param in net._collect_params_with_prefix().items()}


def difference(ours, theirs):
    """Largest |difference| of a parameter over its largest |value|."""
    return max(np.abs(ours[name] - theirs[name]).max() / max(np.abs(theirs[name]).max(), 1e-3) for name in theirs)


def state_of(task, trainer, devices, updates, scaler=None):
    return TrainState(task.net, trainer, task.sums, devices, updates, task.config.batch_size * len(devices),
                      scaler=scaler)


def run(task, trainer, devices, updates, lr=0.05, scaler=None):
    state, batches = state_of(task, trainer, devices, updates, scaler), list(task.batches(0))
    for update in range(updates):
        loop.step(task, state, batches[update % len(batches)], lambda update: lr)


class Record:
    """Takes everything and keeps the events."""

    def __init__(self):
        self.events = []

    def event(self, kind, **values):
        self.events.append((kind, values))

    def __getattr__(self, name):
        return lambda *rest, **values: None


class Keeper:
    def save(self, *rest):
        pass


def fit(task, trainer, devices, updates, lr=0.05, log_interval=50):
    """One epoch of `loop.fit` with its four callbacks; returns its Record."""
    record, state = Record(), state_of(task, trainer, devices, updates)
    divergence = callbacks.Divergence(lambda: [0, 0])
    checkpoint = callbacks.Checkpoint(Keeper(), divergence)
    told = [divergence, callbacks.Log(record, task, lambda update: lr, log_interval), checkpoint,
            callbacks.Stop(Guard('.'), divergence, checkpoint, 1)]
    loop.fit(task, state, lambda update: lr, 1, told)
    return record


@pytest.mark.parametrize('updates, bound', [(1, 1e-6), (10, 1e-4), pytest.param(20, 1e-4, marks=pytest.mark.slow)])
def test_ours_is_gluoncvs_loop(updates, bound):
    """GluonCV's network, MXNet's loss, Trainer and NAG, called as a GluonCV user does, against our step.

    The learning rate is small because that loop does not repeat itself: two runs of it part by 6e-6 after 20 updates
    at 0.001, and by 5e-4 at 0.003.
    """
    stream, name = Stored(20), 'resnet18_v1b'
    mx.random.seed(0)
    reference = gluoncv_model(name, classes=CLASSES, pretrained=False)
    zero_gamma(reference)
    reference.initialize(mx.init.MSRAPrelu())
    reference(mx.nd.zeros((1, 3, SIZE, SIZE)))
    net = get_model(name, classes=CLASSES)
    net.initialize()
    for parameter, value in zip(net._collect_params_with_prefix().values(),
                                reference._collect_params_with_prefix().values()):
        parameter.set_data(value.data())
    for each in (net, reference):
        each.hybridize(static_alloc=True, static_shape=True)

    optimizer = mx.gluon.Trainer(reference.collect_params(), 'nag', {'learning_rate': LR, 'momentum': 0.9, 'wd': 1e-4})
    criterion = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    for x, y in stream.batches[:updates]:
        with mx.autograd.record():
            loss = criterion(reference(mx.nd.array(x)), mx.nd.array(y))
        loss.backward()
        optimizer.step(len(y))

    trainer = mx.gluon.Trainer(net.collect_params(), create_optimizer('mxnet', 0.9, 1e-4, False),
                               update_on_kvstore=False)
    config = TrainConfig(num_classes=CLASSES, input_size=SIZE, batch_size=8, lr=LR)
    task = Classification(net, config, [mx.cpu()], stream, None, precision('float32', [mx.cpu()]))
    run(task, trainer, [mx.cpu()], updates, lr=LR)
    assert difference(weights(net), weights(reference)) <= bound


MIXED = {'mixup': True, 'label_smoothing': True}
TAUGHT = {'teacher': 'a network', 'teacher_params': 'its weights'}


@pytest.mark.parametrize('options', [{}, MIXED, TAUGHT, dict(MIXED, **TAUGHT), {'cutmix': True}])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_two_devices_are_one_that_takes_both_slices(dtype, options):
    """The same slices one after the other on one device, gradients added: the same weights to rounding."""
    stream = Stored(3, batch_size=16)
    devices = [mx.cpu(0), mx.cpu(1)]
    task, trainer, _ = make(devices, dtype, stream=stream, **options)
    run(task, trainer, devices, 3)

    single, single_trainer, _ = make([mx.cpu(0)], dtype, stream=stream, **options)
    single.config, single.devices = task.config, [mx.cpu(0), mx.cpu(0)]  # the same draws, for two slices
    single.net.collect_params().setattr('grad_req', 'add')
    for name, param in single.net.collect_params().items():
        if 'running' in name:
            param.grad_req = 'null'
    for update, batch in enumerate(single.batches(0), 1):
        for shard in single.preprocess(batch, update):
            with mx.autograd.record():
                loss = single.loss(shard)
            loss.backward()
        single_trainer.set_learning_rate(0.05)
        single_trainer.update(16)
        for param in single.net.collect_params().values():
            param.zero_grad()
    trained = [name for name in weights(task.net) if 'running' not in name]
    ours, theirs = weights(task.net), weights(single.net)
    bound = 2e-5 if dtype == 'float32' else 6e-3
    assert difference({name: ours[name] for name in trained}, {name: theirs[name] for name in trained}) < bound
    for name, value in weights(task.net, 1).items():
        if name in trained:
            np.testing.assert_array_equal(value, ours[name])


@pytest.mark.parametrize('number', [1, 2])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_the_update_of_gpus_has_the_bits_of_the_one_of_a_cpu(dtype, number, monkeypatch):
    results = []
    for kinds in (('gpu',), ('cpu', 'gpu')):
        monkeypatch.setattr(multi_tensor, 'DEVICES', kinds)
        task, trainer, devices = make([mx.cpu(index) for index in range(number)], dtype, stream=Stored(3, 16), **MIXED)
        no_bias_decay(task.net)
        run(task, trainer, devices, 3, scaler=LossScaler() if dtype == 'float16' else None)
        results.append([weights(task.net, device) for device in range(number)])
    for ours, theirs in zip(*results):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_imperative_and_hybrid_give_the_same_numbers():
    stream, results = Stored(3), []
    for hybrid in (True, False):
        task, trainer, devices = make(stream=stream, mixup=True, label_smoothing=True)
        task.net.hybridize(hybrid)
        run(task, trainer, devices, 3)
        results.append(weights(task.net))
    assert difference(*results) == 0


def test_an_overflow_skips_the_update_and_lowers_the_scale():
    stream = Stored(1)
    task, trainer, devices = make(dtype='float16', stream=stream, gamma_zero=False)
    scaler = LossScaler()
    scaler.scale = 2.0 ** 24
    before = weights(task.net)
    run(task, trainer, devices, 1, scaler=scaler)
    after = weights(task.net)
    trained = [name for name in before if 'running' not in name]
    assert scaler.skipped == 1 and scaler.scale == 2.0 ** 23
    assert all((before[name] == after[name]).all() for name in trained)
    scaler.scale = 1.0
    run(task, trainer, devices, 1, scaler=scaler)
    assert scaler.skipped == 1
    assert any((after[name] != value).any() for name, value in weights(task.net).items() if name in trained)


def test_the_loss_scale_does_not_change_the_update():
    stream, results = Stored(2), []
    for scale in (1.0, 256.0):
        task, trainer, devices = make(dtype='float16', stream=stream)
        run(task, trainer, devices, 2, scaler=LossScaler(scale, fixed=True))
        results.append(weights(task.net))
    assert difference(*results) < 5e-3


def test_a_loss_that_is_not_finite_is_named_with_its_update():
    stream = Stored(6)
    task, trainer, devices = make(stream=stream)
    real = task.draw

    def broken(update):  # a bias that is no number, before the fourth update
        real(update)
        if update == 4:
            task.net.fc.bias.set_data(task.net.fc.bias.data() * np.nan)

    task.draw = broken
    with pytest.raises(Diverged, match='update 4 .learning rate 0.05'):
        fit(task, trainer, devices, 6, log_interval=6)


def test_the_host_reads_one_number_an_update_of_one_that_is_done(monkeypatch):
    """The loss of the update before the last one, which ended long ago; besides, the metrics of the log interval."""
    reads, real, steps = [], mx.nd.NDArray.asnumpy, []
    monkeypatch.setattr(mx.nd.NDArray, 'asnumpy', lambda array: reads.append((array.size, len(steps))) or real(array))
    monkeypatch.setattr(mx.nd, 'waitall', lambda: None)
    real_step = loop.step
    monkeypatch.setattr(loop, 'step', lambda *rest: steps.append(1) or real_step(*rest))
    task, trainer, devices = make(stream=Stored(8), mixup=True, label_smoothing=True)
    task.evaluate, task.epoch_lines = (lambda beat: {}), (lambda *rest: [])
    fit(task, trainer, devices, 8, log_interval=8)
    assert [read for read in reads if read[1] < 8] == [(1, number) for number in range(3, 8)]
    assert reads[5:8] == [(1, 8)] * 3 and reads[8] == (2, 8)


def test_float16_reads_one_flag_an_update(monkeypatch):
    """On GPUs."""
    monkeypatch.setattr(low_precision, 'BY_OPERATOR', ('cpu',))
    reads, real = [], mx.nd.NDArray.asnumpy
    monkeypatch.setattr(mx.nd.NDArray, 'asnumpy', lambda array: reads.append(array.size) or real(array))
    counts = []
    for updates in (4, 8):
        task, trainer, devices = make(dtype='float16', stream=Stored(updates))
        reads.clear()
        run(task, trainer, devices, updates, scaler=LossScaler())
        counts.append(len(reads))
        assert max(reads) == 1
    assert counts == [4, 8]


def test_the_epochs_figures_cover_the_whole_epoch():
    """Metrics of intervals of unequal length are weighted by their images."""
    task, trainer, devices = make(stream=Stored(5))
    events = fit(task, trainer, devices, 5, lr=1e-9, log_interval=2).events
    assert [values['batch'] for kind, values in events if kind == 'batch'] == [2, 4, 5]
    losses = [values['loss'] for kind, values in events if kind == 'batch']
    facts = events[-1][1]
    assert facts['train']['loss'] == pytest.approx((2 * losses[0] + 2 * losses[1] + losses[2]) / 5)
    assert 0 <= facts['wait'] <= 1
