import re

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.data.pipeline import Batch
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.tricks.low_precision import precision
from support.networks import Scores

CPU = [mx.cpu(0)]


def task(**options):
    options = dict({'num_classes': 4, 'input_size': 8, 'batch_size': 6, 'num_epochs': 4, 'lr': 0.1}, **options)
    net = Scores()
    return Classification(net, TrainConfig(**options), CPU, None, None, precision('float32', CPU))


def shard(example, label=(0, 1, 2, 3, 0, 1), update=1, seed=0):
    rng = np.random.RandomState(seed)
    x = rng.normal(size=(6, 3, 8, 8)).astype('float32')
    return x, example.preprocess(Batch([mx.nd.array(x)], [mx.nd.array(label)]), update)[0]


def test_without_tricks_the_batch_is_untouched():
    x, result = shard(task())
    np.testing.assert_array_equal(result.x.asnumpy(), x)
    np.testing.assert_array_equal(result.target.asnumpy(), np.eye(4)[[0, 1, 2, 3, 0, 1]])


def test_mixup_mixes_images_and_smoothed_targets_alike():
    example = task(mixup=True, label_smoothing=True)
    x, result = shard(example)
    lam, partner = example.mixing.lam, example.mixing.partners[0]
    smooth = np.full((6, 4), 0.1 / 3)
    smooth[np.arange(6), [0, 1, 2, 3, 0, 1]] = 0.9
    np.testing.assert_allclose(result.x.asnumpy(), lam * x + (1 - lam) * x[partner], atol=1e-6)
    np.testing.assert_allclose(result.target.asnumpy(), lam * smooth + (1 - lam) * smooth[partner], atol=1e-6)


def test_mixup_stops_for_the_last_epochs():
    example = task(mixup=True, mixup_off_epoch=1)
    example.epoch = 2
    x, result = shard(example)
    assert example.mixing.kind == 'mixup' and 0 < example.mixing.lam < 1
    assert not np.array_equal(result.x.asnumpy(), x)
    example.epoch = 3
    x, result = shard(example)
    assert example.mixing.kind == 'none'
    np.testing.assert_array_equal(result.x.asnumpy(), x)


def test_draws_depend_on_seed_and_update_alone():
    def draws(seed, update, worker=0):
        example = task(mixup=True, seed=seed)
        example.workers.rank = worker
        example.draw(update)
        return example.mixing.lam, example.mixing.partners[0].tolist()

    assert draws(0, 1) == draws(0, 1)
    assert len({str(draws(seed, update)) for seed in (0, 1) for update in (1, 2, 3)}) == 6
    assert len({draws(0, 1, worker)[0] for worker in range(8)}) == 8  # each its own lambda


def test_mixup_and_cutmix_take_turns():
    example, kinds = task(mixup=True, cutmix=True), set()
    for update in range(1, 30):
        example.draw(update)
        kinds.add(example.mixing.kind)
    assert kinds == {'mixup', 'cutmix'}


def test_cutmix_takes_the_partners_pixels_and_its_share_of_the_target():
    example = task(cutmix=True)
    for update in range(1, 9):
        x, result = shard(example, update=update)
        partner = example.mixing.partners[0]
        same = np.isclose(result.x.asnumpy(), x).all(axis=1).mean(axis=(1, 2))
        moved = partner != np.arange(6)
        np.testing.assert_allclose(same[moved], example.mixing.lam, atol=1e-6)
        np.testing.assert_allclose(result.target.asnumpy().sum(axis=1), 1, atol=1e-6)


def test_cutout_sets_a_square_to_the_mean():
    x, result = shard(task(cutout=4))
    zero = (result.x.asnumpy() == 0).all(axis=1).sum(axis=(1, 2))
    assert zero.min() >= 4 and zero.max() <= 16


def test_the_training_accuracy_is_lambda_weighted_and_named_so():
    example = task(mixup=True)
    scores = mx.nd.array(np.eye(4)[[0, 1, 2, 3, 0, 0]].reshape(6, 1, 1, 4))
    label = np.array([0, 1, 2, 3, 0, 1])
    result = example.preprocess(Batch([scores], [mx.nd.array(label)]), 1)[0]._replace(x=scores)
    lam, partner = example.mixing.lam, example.mixing.partners[0]
    example.loss(result)
    metrics = example.train_metrics()
    best = np.array([0, 1, 2, 3, 0, 0])
    expected = (lam * (best == label) + (1 - lam) * (best == label[partner])).mean()
    assert list(metrics) == ['mix_acc', 'loss']
    assert metrics['mix_acc'] == pytest.approx(expected, rel=1e-6)


def test_the_log_lines_are_gluoncvs():
    example = task()
    line = example.batch_line(3, 50, 123.4, {'accuracy': 0.5, 'loss': 1.25}, 0.05, 0.1)
    assert line.startswith('Epoch[3] Batch [50]\tSpeed: 123.40 samples/sec\taccuracy=0.5000\tlr=0.050000')
    lines = example.epoch_lines(3, {'metrics': {'accuracy': 0.5}, 'speed': 99.9, 'time': 12.5},
                                {'top1': 80.0, 'top5': 95.0, 'num_images': 1000, 'loss': 1, 'gap_mean': 2, 'gap_std': 3})
    assert lines[:3] == ['[Epoch 3] training: accuracy=0.500000', '[Epoch 3] speed: 99 samples/sec\ttime cost: 12.500000',
                         '[Epoch 3] validation: err-top1=0.200000 err-top5=0.050000']


@pytest.mark.parametrize('options', [{}, {'mixup': True}])
def test_a_batch_line_fits_100_columns_and_gluoncvs_expression(options):
    example = task(**options)
    line = example.batch_line(999, 9999, 99999.99, {example.accuracy_name: 0.98765, 'loss': 6.9078}, 0.123456, 1.0)
    assert len(line.expandtabs(8)) <= 100
    assert re.match(r'Epoch\[(\d+)\] Batch \[(\d+)\]\tSpeed: ([.\d]+) samples/sec\t([\w-]+)=([.\d]+)\tlr=([.\d]+)',
                    line).groups() == ('999', '9999', '99999.99', example.accuracy_name, '0.9877', '0.123456')


@pytest.mark.parametrize('top1, warned', [(25.0, True), (24.0, True), (60.0, False)])
def test_accuracy_at_chance_is_said(top1, warned):
    lines = task().epoch_lines(2, {'metrics': {'accuracy': 0.5}, 'speed': 1, 'time': 1},
                               {'top1': top1, 'top5': 95.0, 'num_images': 1000, 'loss': 1, 'gap_mean': 2, 'gap_std': 3})
    assert any('chance' in line for line in lines) == warned
