import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import Batch
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.classification.evaluation import evaluate, predict
from gluon_tricks.tricks.low_precision import precision
from support.networks import Scores

CPU = [mx.cpu(0)]


class Eval:
    """An evaluation stream of stored scores; the last batch is filled up with its first rows."""

    def __init__(self, scores, labels, batch_size):
        self.scores, self.labels, self.batch_size, self.num_images = scores, labels, batch_size, len(labels)

    def batches(self):
        for first in range(0, self.num_images, self.batch_size):
            rows = np.arange(first, first + self.batch_size)
            valid = int((rows < self.num_images).sum())
            rows[valid:] = 0
            yield Batch([mx.nd.array(self.scores[rows])], [mx.nd.array(self.labels[rows])]), valid


def stream(images, classes, batch_size, seed=0):
    rng = np.random.RandomState(seed)
    return Eval(rng.normal(size=(images, 1, 1, classes)).astype('float32'),
                rng.randint(classes, size=images).astype('float32'), batch_size)


@pytest.mark.parametrize('images, batch_size, devices', [(50, 8, CPU), (48, 8, CPU), (7, 8, CPU), (1, 1, CPU),
                                                         (50, 8, [mx.cpu(0), mx.cpu(1)]), (3, 8, [mx.cpu(0), mx.cpu(1)])])
def test_every_image_is_counted_once(images, batch_size, devices):
    """Against scikit-learn over the images alone, whatever fills up the last batch."""
    data = stream(images, 10, batch_size)
    metrics = evaluate(Scores(), data, devices, precision('float32', devices))
    scores = data.scores.reshape(images, 10)
    for name, k in (('top1', 1), ('top5', 5)):
        expected = 100 * top_k_accuracy_score(data.labels, scores, k=k, labels=range(10))
        assert metrics[name] == pytest.approx(expected, abs=1e-9)
    assert metrics['num_images'] == images
    others = np.sort(scores)[:, :-1].mean(axis=1)
    assert metrics['gap_mean'] == pytest.approx((scores.max(axis=1) - others).mean(), rel=1e-5)
    assert sum(metrics['gap_histogram']) == images
    log_sum = np.log(np.exp(scores.astype('float64')).sum(axis=1))
    expected = (log_sum - scores[np.arange(images), data.labels.astype(int)]).mean()
    assert metrics['loss'] == pytest.approx(expected, rel=1e-5)


def test_a_collapsed_network_is_not_right():
    """Equal scores for all classes are one guess, not a hit for every label; scores that are no numbers are misses."""
    data = stream(40, 10, 8)
    data.scores[:] = 1.0
    assert evaluate(Scores(), data, CPU, precision('float32', CPU))['top1'] <= 30


def test_class_numbers_above_2048_are_exact():
    """A float16 argmax would round 2049 to 2048."""
    data = Eval(np.zeros((2, 1, 1, 2100), 'float32'), np.array([2049, 2051], 'float32'), 2)
    data.scores[0, 0, 0, 2049] = data.scores[1, 0, 0, 2051] = 1
    assert evaluate(Scores(), data, CPU, precision('float32', CPU))['top1'] == 100


def test_an_empty_stream_is_an_error():
    with pytest.raises(UsageError, match='no validation image'):
        evaluate(Scores(), stream(0, 10, 8), CPU, precision('float32', CPU))


@pytest.mark.parametrize('images, batch_size, devices', [(50, 8, CPU), (7, 8, CPU), (50, 8, [mx.cpu(0), mx.cpu(1)])])
def test_predictions_are_those_that_are_counted(images, batch_size, devices):
    data = stream(images, 10, batch_size)
    found = predict(Scores(), data, devices, precision('float32', devices))
    scores = data.scores.reshape(images, 10)
    assert found['labels'].tolist() == data.labels.tolist()
    assert found['predicted'].tolist() == scores.argmax(axis=1).tolist()
    assert found['gaps'] == pytest.approx(scores.max(axis=1) - np.sort(scores)[:, :-1].mean(axis=1), rel=1e-5)
    metrics = evaluate(Scores(), data, devices, precision('float32', devices))
    assert metrics['top1'] == 100 * np.mean(found['labels'] == found['predicted'])
    assert metrics['gap_std'] == float(found['gaps'].std())
