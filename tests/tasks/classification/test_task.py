
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


def test_draws_depend_on_seed_update_and_worker_alone():
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
