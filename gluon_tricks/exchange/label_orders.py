"""Which classes the labels of records stand for, told from the predictions of a network that is right.

A class's index is its place among the sorted WordNet ids, in GluonCV as in timm. Records may have another: the devkit's
ILSVRC2012_ID, a label that begins at 1, folders in another order. Each known order is tried; and the permutation that
fits best is found from one half of the images of each label, and measured on the other.
"""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from gluon_tricks.errors import UsageError

# Some classes by their ILSVRC2012_ID, by which that order is known where no devkit is given. The WordNet ids are kit
# fox, English setter, Siberian husky, Shetland sheepdog, alp, sea snake and dumbbell.
_ILSVRC = {1: 'n02119789', 2: 'n02100735', 3: 'n02110185', 171: 'n02105855', 361: 'n09193705', 490: 'n01751748',
           1000: 'n03255030'}
_ENOUGH = 2  # of these classes: so many fit by chance in one of 50,000 permutations


class Order(NamedTuple):
    """text: what the labels are; classes: {label: class}, of those it tells of."""

    text: str
    classes: Dict[int, int]

    def hits(self, labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """(N,) bool: whether each prediction is the class that the label stands for."""
        return np.array([self.classes.get(label, -1) for label in labels.tolist()]) == predicted


def known_orders(classes: Sequence[str], by_id: Optional[Dict[int, str]] = None,
                 of_records: Optional[Sequence[str]] = None) -> List[Order]:
    """The orders that records are known to have by mistake.

    classes: names of the network's classes, in its order. by_id: {ILSVRC2012_ID: name}, the devkit's. of_records: the
    names that the records' certificate has, in their order.
    """
    number = len(classes)
    place = {name: index for index, name in enumerate(classes)}
    orders = [Order('one too high: the first class has label 1, and not 0', {k + 1: k for k in range(number)}),
              Order('one too low: the second class has label 0', {k: k + 1 for k in range(number - 1)}),
              Order('one too high, and the last class has label 0', {(k + 1) % number: k for k in range(number)}),
              Order('one too low, and the first class has the last label',
                    {k: (k + 1) % number for k in range(number)})]
    for first in (0, 1):
        as_text = sorted(range(first, number + first), key=str)
        orders.append(Order(f'places of folders {first} to {number + first - 1} that were sorted as text, 10 before 2',
                            {label: int(each) - first for label, each in enumerate(as_text)}))
    if of_records and sorted(of_records) == sorted(classes):
        orders.append(Order("in the order of the classes of the records' certificate, which is not the network's",
                            {label: place[name] for label, name in enumerate(of_records)}))
    if by_id:
        if sorted(by_id.values()) != sorted(classes):
            raise UsageError(f"--devkit names {len(by_id)} classes that are not the network's {number} ("
                             f'{min(by_id.values())}, {min(classes)}): give the devkit of ILSVRC2012')
        orders += _ilsvrc_orders({each: place[name] for each, name in by_id.items()})
    identity = {k: k for k in range(number)}
    return [each for each in orders if each.classes != identity]


_ILSVRC_TEXT = 'ILSVRC2012 ids{}, and not places among the sorted WordNet ids'


def _ilsvrc_orders(by_id: Dict[int, int]) -> List[Order]:
    """Orders of {ILSVRC2012_ID: class}."""
    return [Order(_ILSVRC_TEXT.format(' less one'), {each - 1: index for each, index in by_id.items()}),
            Order(_ILSVRC_TEXT.format(''), dict(by_id)),
            Order("places among the sorted WordNet ids, and the network's classes are in the order of the ILSVRC2012 "
                  'ids', {index: each - 1 for each, index in by_id.items()})]


def best_permutation(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Tuple[np.ndarray, Order]:
    """((N,) hits, Order): the permutation of labels that fits best, and whether it hits an image it was not made from.

    The images of each label are dealt to two halves in turn; the permutation of each is measured on the other. The
    Order tells of the labels on which both agree.
    """
    seen: Dict[int, int] = {}
    turn = np.zeros(len(labels), int)
    for row, label in enumerate(labels.tolist()):
        seen[label] = seen.get(label, 0) + 1
        turn[row] = seen[label] % 2
    halves = [_assignment(labels[turn == each], predicted[turn == each], len(classes)) for each in (0, 1)]
    first, second = (Order('', halves[each]).hits(labels, predicted) for each in (1, 0))
    hits = np.where(turn == 0, first, second)
    agreed = {label: index for label, index in halves[0].items() if halves[1].get(label) == index}
    return hits, Order(_permutation_text(agreed, classes), agreed)


def _assignment(labels: np.ndarray, predicted: np.ndarray, number: int) -> Dict[int, int]:
    """{label: class}, one to one, with the most hits; where there are none, the label is left out."""
    from scipy.optimize import linear_sum_assignment
    names, rows = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), number), int)
    np.add.at(counts, (rows, predicted), 1)
    return {int(names[row]): int(index) for row, index in zip(*linear_sum_assignment(counts, maximize=True))
            if counts[row, index]}


def _permutation_text(order: Dict[int, int], classes: Sequence[str]) -> str:
    place = {name: index for index, name in enumerate(classes)}
    if set(_ILSVRC.values()) <= set(place):
        for each in _ilsvrc_orders({number: place[name] for number, name in _ILSVRC.items()}):
            if sum(order.get(label) == index for label, index in each.classes.items()) >= _ENOUGH:
                return each.text
    moved = {label: index for label, index in sorted(order.items()) if label != index}
    shown = ', '.join(f'label {label} is class {index}' for label, index in list(moved.items())[:5])
    return f'permuted, as of folders in another order: {shown}{" ..." if len(moved) > 5 else ""}'
