"""The known-answer test on planted faults: each is named, and a clean set passes."""
import cv2
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import EvalStream
from gluon_tricks.exchange import known_answer
from gluon_tricks.exchange.known_answer import Scorer, examine, sample, standard_error, trial, verdict
from gluon_tricks.tasks.classification import evaluation
from support import tinted


@pytest.fixture(scope='module')
def images():
    pytest.importorskip('sklearn')
    return tinted.pictures()


@pytest.fixture(scope='module')
def net(images):
    return tinted.trained(images)


def scorer(net, files, protocol=tinted.PROTOCOL, batch_size=32):
    return Scorer(net, *files, protocol, tinted.CLASSES, tinted.CPU, tinted.plain_precision(), batch_size)


@pytest.fixture(scope='module')
def clean(images, tmp_path_factory):
    return tinted.packed(tmp_path_factory.mktemp('clean'), images)


@pytest.fixture(scope='module')
def figure(net, clean):
    """The top-1 on the clean set, by what `evaluate` runs."""
    stream = EvalStream(*clean, worker_batch_size=32, input_size=tinted.SIZE)
    top1 = evaluation.evaluate(net, stream, tinted.CPU, tinted.plain_precision())['top1']
    assert top1 > 90
    return top1


def named(answer, kind, words):
    """Whether the cause is of this kind, and says so; -s shows the figures that docs/weights.md has."""
    print(f'{answer.metrics["top1"]:.2f} {answer.verdict}; {answer.cause.top1:.2f} {answer.cause.fault}')
    return answer.cause.kind == kind and words in answer.cause.fault


def test_a_clean_set_passes(net, clean, figure):
    answer = examine(scorer(net, clean), figure)
    assert answer.metrics['top1'] == figure and answer.metrics['num_images'] == 364
    assert answer.verdict == 'as expected' and not answer.trials and answer.cause is None
    assert answer.error == standard_error(figure, 364)
    quick = examine(scorer(net, clean), figure, quick=100)
    assert quick.verdict == 'as expected' and quick.metrics['num_images'] == 100


def test_gluoncvs_count(net, clean):
    """As `evaluate --gluoncv-padding`."""
    stream = EvalStream(*clean, worker_batch_size=100, input_size=tinted.SIZE, gluoncv_padding=True)
    theirs = evaluation.evaluate(net, stream, tinted.CPU, tinted.plain_precision())
    found = examine(scorer(net, clean, batch_size=100), 99.0).padded
    assert found['num_images'] == theirs['num_images'] == 400
    assert (found['top1'], found['top5']) == (pytest.approx(theirs['top1']), pytest.approx(theirs['top5']))


MOVED = np.array([7, 3, 9, 0, 2, 8, 1, 4, 5, 6])  # no folder stays


@pytest.mark.parametrize('fault, verdict, kind, words', [
    (dict(relabel=lambda k: int(MOVED[k])), 'at chance', 'labels',
     'permuted, as of folders in another order: label 0 is class 3, label 1 is class 6, label 2 is class 4'),
    (dict(relabel=lambda k: {3: 5, 5: 3}.get(k, k)), 'too low', 'labels', 'label 3 is class 5, label 5 is class 3'),
    (dict(relabel=lambda k: k + 1), 'at chance', 'labels', 'one too high: the first class has label 1'),
    (dict(relabel=lambda k: (k + 1) % 10), 'at chance', 'labels', 'one too high, and the last class has label 0'),
    (dict(change=lambda pixels: pixels[:, :, ::-1]), 'too low', 'channels', 'red and blue are exchanged'),
    (dict(change=lambda pixels: cv2.resize(pixels, (48, 48))), 'too low', 'shape',
     'resized to a square before they were packed: 100 % of them'),
], ids=['folders permuted', 'two folders exchanged', 'shifted', 'shifted round', 'BGR', 'squares'])
def test_a_fault_of_the_records_is_named(fault, verdict, kind, words, net, images, figure, tmp_path):
    answer = examine(scorer(net, tinted.packed(tmp_path, images, **fault)), figure)
    assert answer.verdict == verdict and answer.sampled == 364
    assert named(answer, kind, words)
    if kind != 'shape':  # the shape is lost for good
        assert answer.cause == answer.trials[0] and answer.cause.top1 == pytest.approx(figure, abs=1.5)


@pytest.mark.parametrize('changes, kind, words', [
    (dict(square=True), 'shape', 'images are resized to a square, and the network'),
    (dict(mean=(0,) * 3, std=(1,) * 3), 'normalisation', 'pixels normalised by the mean and deviation of ImageNet'),
    (dict(mean=(70,) * 3, std=(105,) * 3), 'normalisation', 'pixels normalised by the mean and deviation of ImageNet')],
    ids=['squares', 'not normalised', 'a mean and deviation that cost few points'])
def test_a_fault_of_the_preparation_is_named(changes, kind, words, net, clean, figure):
    answer = examine(scorer(net, clean, tinted.PROTOCOL._replace(**changes)), figure)
    assert answer.verdict == 'too low' and named(answer, kind, words)
    assert answer.cause.top1 == pytest.approx(figure, abs=0.3)


class Prepared:
    """A network in front of which the input is changed: weights that want another preparation."""

    def __init__(self, net, change):
        self.net, self.change = net, change

    def __call__(self, x):
        return self.net(self.change(x))


def of_pixels(x):
    """Pixels from 0 to 255, normalised: of a network that does that itself."""
    mean, std = (mx.nd.array(each).reshape((1, 3, 1, 1)) for each in (tinted.PROTOCOL.mean, tinted.PROTOCOL.std))
    return (x - mean) / std


@pytest.mark.parametrize('change, kind, words', [
    (lambda x: x.flip(axis=1), 'channels', 'or by the network'),
    (of_pixels, 'normalisation', 'missing, or another: the network was trained on pixels from 0 to 255')])
def test_weights_that_want_another_preparation_are_named(change, kind, words, net, clean, figure):
    answer = examine(scorer(Prepared(net, change), clean), figure)
    assert named(answer, kind, words)
    assert answer.cause.top1 == pytest.approx(figure, abs=2.5)  # the means of red and blue are exchanged too


def test_wordnet_against_ilsvrc_ids_on_a_synthetic_map(net, images, figure, tmp_path):
    by_id = {number + 1: tinted.CLASSES[index] for number, index in enumerate(MOVED)}
    number = {name: each for each, name in by_id.items()}
    files = tinted.packed(tmp_path, images, relabel=lambda k: number[tinted.CLASSES[k]] - 1)
    answer = examine(scorer(net, files), figure, by_id=by_id)
    assert 'ILSVRC2012 ids less one' in answer.cause.fault and answer.cause.top1 == figure


def test_a_network_of_noise_has_no_cause(images, clean, figure):
    net = tinted.network()
    net.initialize(mx.init.Normal(0.05))
    answer = examine(scorer(net, clean), figure, quick=200)
    assert answer.verdict in ('at chance', 'too low')
    assert answer.cause is None or answer.cause.top1 < 40


def test_a_figure_that_is_too_good_is_said(net, clean, figure):
    assert examine(scorer(net, clean), figure - 20).verdict == 'too high'


def test_a_sample_is_of_all_labels_and_always_the_same():
    labels = np.repeat(np.arange(100), 50)
    rows = sample(labels, 250)
    assert len(set(rows.tolist())) == 250 and (np.diff(rows) > 0).all()
    assert set(np.bincount(labels[rows]).tolist()) == {2, 3}
    assert np.array_equal(rows, sample(labels, 250))
    assert len(set((rows % 50).tolist())) > 40  # not the first of each label
    assert sample(np.array([0, 0, 0, 1]), 3).tolist().count(3) == 1


def test_verdicts():
    assert standard_error(79.15, 50000) == pytest.approx(0.1817, abs=1e-4)
    assert standard_error(79.15, 2000) == pytest.approx(0.908, abs=1e-3)
    assert standard_error(100, 50) == pytest.approx(100 * (0.02 * 0.98 / 50) ** 0.5)
    assert [verdict(top1, 79.15, 0.9, 1000, 2000) for top1 in (79.1, 77.4, 80.9, 77.3, 81, 2, 0.3, 0)] == [
        'as expected', 'as expected', 'as expected', 'too low', 'too high', 'too low', 'at chance', 'at chance']


def test_a_gain_is_measured_on_pairs():
    """A thousand images, 40 hit by the trial alone and 10 by neither but the other: McNemar's z is 30 / sqrt(50)."""
    before, after = np.zeros(1000, bool), np.zeros(1000, bool)
    before[:710], after[10:740] = True, True
    after[740:750] = True
    found = trial('channels', '', before, after)
    assert (found.top1, found.gain) == (pytest.approx(74), pytest.approx(3))
    assert found.gain / found.error == pytest.approx(30 / 50 ** 0.5) and found.gains
    assert not trial('channels', '', before, before).gains


def test_all_were_scored_and_faults_are_tried_on_a_sample(net, images, figure, tmp_path, monkeypatch):
    monkeypatch.setattr(known_answer, 'SAMPLE', 120)
    answer = examine(scorer(net, tinted.packed(tmp_path, images, relabel=lambda k: k + 1)), figure)
    assert answer.metrics['num_images'] == 364 and answer.sampled == 120
    assert 'one too high' in answer.cause.fault
