import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.tasks.segmentation.data import Batch
from gluon_tricks.tasks.segmentation.task import Segmentation
from gluon_tricks.tricks.low_precision import precision

CLASSES = 4


class Net(mx.gluon.nn.HybridSequential):
    """Two heads without batch statistics, so that devices cannot differ."""

    def __init__(self):
        super().__init__()
        self.add(mx.gluon.nn.Conv2D(CLASSES, 3, padding=1, in_channels=3),
                 mx.gluon.nn.Conv2D(CLASSES, 1, in_channels=3))

    def forward(self, x):
        return self[0](x), self[1](x)


def make_task(devices, **options):
    mx.random.seed(1)
    net = Net()
    net.initialize(mx.init.Xavier(), ctx=devices)
    config = FCNConfig(aux=True, total_batch_size=4, num_classes=CLASSES, crop_size=16, **options)
    return Segmentation(net, config, devices, None, None, precision('float32', devices))


def make_batch(ignored=0.4):
    rng = np.random.RandomState(0)
    label = rng.randint(CLASSES, size=(4, 16, 16)).astype('int16')
    label[rng.uniform(size=label.shape) < ignored] = -1
    label[2, :12] = -1  # so that the devices have unequal numbers of pixels
    return Batch(rng.normal(size=(4, 3, 16, 16)).astype('float32'), label)


def gradients(task, devices):
    """{name: gradient summed over the devices}, after one batch; and the task's metrics."""
    shards = task.preprocess(make_batch(), 1)
    with mx.autograd.record():
        losses = [task.loss(shard) for shard in shards]
    for loss in losses:
        loss.backward()
    found = {name: sum(grad.asnumpy() for grad in param.list_grad())
             for name, param in task.net._collect_params_with_prefix().items()}
    return found, task.train_metrics()


def test_two_devices_have_the_gradient_of_one():
    one, two = [mx.cpu()], [mx.cpu(0), mx.cpu(1)]
    (wanted, metrics), (found, same) = gradients(make_task(one), one), gradients(make_task(two), two)
    assert metrics['loss'] == pytest.approx(same['loss'], rel=1e-5) and 0.5 < metrics['loss'] < 10
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)


def test_the_weight_of_the_second_head_reaches_it():
    device = [mx.cpu()]
    whole, half = (gradients(make_task(device, aux_weight=weight), device)[0] for weight in (1.0, 0.5))
    np.testing.assert_allclose(half['1.weight'], 0.5 * whole['1.weight'], rtol=1e-5)
    np.testing.assert_allclose(half['0.weight'], whole['0.weight'], rtol=1e-5)
    gluoncv = gradients(make_task(device, loss='gluoncv'), device)[0]
    np.testing.assert_allclose(4 * gluoncv['1.weight'], whole['1.weight'], rtol=1e-4, atol=1e-6)
