"""Orders of labels, told from predictions: on synthetic maps of 10 and of ImageNet's 1000 classes."""
import numpy as np
import pytest

from gluon_tricks.compat import mx  # noqa: F401  sets what GluonCV reads
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange.label_orders import _ILSVRC, best_permutation, known_orders

from gluoncv.data import ImageNet1kAttr

SYNSETS = list(ImageNet1kAttr().synset)
NAMES = [f'n{number:08d}' for number in range(10, 20)]


def predictions(number, each, right=0.79, seed=0):
    """(true classes, predicted ones) of `each` images a class, of which the share `right` is hit."""
    rng = np.random.RandomState(seed)
    classes = np.repeat(np.arange(number), each)
    missed = rng.rand(len(classes)) >= right
    return classes, np.where(missed, rng.randint(number, size=len(classes)), classes)


def best_known(labels, predicted, orders):
    return max(orders, key=lambda order: order.hits(labels, predicted).mean())


def ilsvrc_ids(seed=0):
    """{id: WordNet id} of 1000 classes that keeps the ids which are known."""
    rest = [wnid for wnid in SYNSETS if wnid not in _ILSVRC.values()]
    np.random.RandomState(seed).shuffle(rest)
    return {number: _ILSVRC.get(number) or rest.pop() for number in range(1, 1001)}


def test_the_known_ids_are_ilsvrcs():
    """As in public lists: val_00000001 has id 490 and shows a sea snake, val_00000002 361, an alp, and so on."""
    assert [SYNSETS.index(_ILSVRC[number]) for number in (490, 361, 171)] == [65, 970, 230]
    words = ImageNet1kAttr().classes_long
    shown = {number: words[SYNSETS.index(wnid)].split(',')[0] for number, wnid in _ILSVRC.items()}
    assert shown == {1: 'kit fox', 2: 'English setter', 3: 'Siberian husky', 171: 'Shetland sheepdog', 361: 'alp',
                     490: 'sea snake', 1000: 'dumbbell'}


@pytest.mark.parametrize('relabelled, words', [
    (lambda k: k + 1, 'one too high: the first class has label 1'), (lambda k: k - 1, 'one too low: the second class'),
    (lambda k: (k + 1) % 1000, 'one too high, and the last'), (lambda k: (k - 1) % 1000, 'one too low, and the first'),
    (lambda k: sorted(range(1000), key=str).index(k), 'folders 0 to 999 that were sorted as text'),
    (lambda k: sorted(range(1, 1001), key=str).index(k + 1), 'folders 1 to 1000 that were sorted as text')])
def test_a_known_order_is_found(relabelled, words):
    classes, predicted = predictions(1000, 2)
    labels = np.array([relabelled(k) for k in range(1000)])[classes]
    order = best_known(labels, predicted, known_orders(SYNSETS))
    assert words in order.text
    assert order.hits(labels, predicted).sum() >= (classes == predicted).sum() - 2


@pytest.mark.parametrize('relabelled, words', [
    (lambda ids, k: ids[k] - 1, 'ILSVRC2012 ids less one'), (lambda ids, k: ids[k], 'ILSVRC2012 ids,')])
def test_wordnet_against_ilsvrc_ids_with_a_devkit(relabelled, words):
    """A synthetic map of ten classes: the order is exact."""
    ids = dict(enumerate(np.random.RandomState(3).permutation(10) + 1))
    by_id = {number: NAMES[index] for index, number in ids.items()}
    classes, predicted = predictions(10, 20)
    labels = np.array([relabelled(ids, k) for k in range(10)])[classes]
    order = best_known(labels, predicted, known_orders(NAMES, by_id))
    assert (order.hits(labels, predicted) == (classes == predicted)).all()
    assert words in order.text


def test_a_network_in_the_order_of_ilsvrc_ids():
    by_id = {number + 1: NAMES[index] for number, index in enumerate(np.random.RandomState(3).permutation(10))}
    classes, predicted = predictions(10, 20)  # of the ids less one
    labels = np.array([NAMES.index(by_id[k + 1]) for k in range(10)])[classes]
    order = best_known(labels, predicted, known_orders(NAMES, by_id))
    assert "the network's classes are in the order of the ILSVRC2012 ids" in order.text
    assert (order.hits(labels, predicted) == (classes == predicted)).all()


@pytest.mark.parametrize('first', [0, 1])
def test_ilsvrc_ids_are_named_without_a_devkit(first):
    """Two images a class, as of `--quick 2000`: the permutation is found, and a few classes tell whose it is."""
    by_id = ilsvrc_ids()
    number = {wnid: each for each, wnid in by_id.items()}
    classes, predicted = predictions(1000, 2)
    labels = np.array([number[wnid] - 1 + first for wnid in SYNSETS])[classes]
    hits, order = best_permutation(labels, predicted, SYNSETS)
    assert order.text.startswith('ILSVRC2012 ids, and' if first else 'ILSVRC2012 ids less one, and')
    assert 0.5 < hits.mean() < 0.7  # 0.79 squared: an image votes, another is hit


def test_the_devkit_of_other_classes_is_refused():
    with pytest.raises(UsageError, match='--devkit names 1000 classes'):
        known_orders(NAMES, ilsvrc_ids())


def test_the_certificates_order():
    order = [order for order in known_orders(NAMES, of_records=NAMES[::-1]) if 'certificate' in order.text]
    assert [each.classes[0] for each in order] == [9]
    assert not [order for order in known_orders(NAMES, of_records=NAMES) if 'certificate' in order.text]
    assert not [order for order in known_orders(NAMES, of_records=['cat'] * 10) if 'certificate' in order.text]


def test_a_permutation_is_measured_on_images_that_it_was_not_made_from():
    """Of predictions by chance it hits no more than chance; fitted and measured on the same it would hit half."""
    rng = np.random.RandomState(0)
    labels, predicted = np.repeat(np.arange(1000), 2), rng.randint(1000, size=2000)
    hits, order = best_permutation(labels, predicted, [str(k) for k in range(1000)])
    assert hits.mean() < 0.005


def test_two_folders_that_were_exchanged_are_named():
    classes, predicted = predictions(10, 30, right=0.9)
    labels = np.array([0, 1, 2, 5, 4, 3, 6, 7, 8, 9])[classes]
    hits, order = best_permutation(labels, predicted, NAMES)
    assert order.text.endswith('label 3 is class 5, label 5 is class 3')
    assert (hits == (classes == predicted)).all()
