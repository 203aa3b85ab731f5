"""timm's networks that are GluonCV's, array by array: their names there and here (Wightman 2019).

timm (PyTorch Image Models) keeps GluonCV's trained networks as safetensors (the tag ``gluon_in1k``).
``timm_networks.json.gz`` lists, for every network that both have, timm's name of each array, ours and its shape, and
the activations, BatchNorms and max poolings that timm computes with; tests/support/timm_networks.py makes it from
timm's package. Two rules led from one name to the other, and every shape was asserted: of ResNet-B, -C, -D and -S the
names are equal once BatchNorm's weight and bias are called gamma and beta; of the others the order in which the layers
are registered is the same.

Shapes do not make a network. timm's ``mobilenetv1_100`` has those of mobilenet1.0 and clips its activations at 6; its
``senet154`` has those of senet_154 and pads its first pooling, where GluonCV's pools over what is there. So a network
takes a file only if it computes with the same activations, epsilons and poolings.
"""
import collections
import functools
import gzip
import json
import os
import re
from typing import Any, Dict, List, NamedTuple, Tuple

from gluon_tricks.errors import UsageError
from gluon_tricks.models.safetensors_file import COUNTER

_LIST = os.path.join(os.path.dirname(__file__), 'timm_networks.json.gz')


class Network(NamedTuple):
    """A network of timm's: ``model`` is its name here.

    ``timm.create_model(architecture, **options)`` builds it; name: the architecture, and a word where there are
    options. computes: what `computing` gives of the network here. arrays: (timm's name, ours, shape) in the order of
    the layers; the last two are the classifier's.
    """

    name: str
    architecture: str
    options: Dict[str, Any]
    model: str
    computes: Dict[str, Dict[str, int]]
    arrays: List[Tuple[str, str, Tuple[int, ...]]]

    def shapes(self, classes: int) -> Dict[str, Tuple[int, ...]]:
        """{timm's name: shape} with another number of classes."""
        output = [name for name, _, _ in self.arrays[-2:]]
        return {name: (classes, *shape[1:]) if name in output else shape for name, _, shape in self.arrays}


@functools.lru_cache(None)
def networks() -> Dict[str, Network]:
    """{timm's name: Network} of all that are listed."""
    with gzip.open(_LIST, 'rt', encoding='utf-8') as stream:
        return {name: Network(name, facts.get('architecture', name), facts.get('options', {}), facts['model'],
                              facts['computes'],
                              [(timm, ours, tuple(shape)) for timm, ours, shape in facts['arrays']])
                for name, facts in json.load(stream).items()}


def named(model: str) -> Network:
    """The Network with the arrays of the one called `model` here. Raises UsageError where timm has none."""
    for network in networks().values():
        if network.model == model:
            return network
    raise UsageError(f'model {model}: timm has no such network; it has those of '
                     f'{", ".join(sorted(each.model for each in networks().values()))}')


def recognise(path: str, shapes: Dict[str, Tuple[int, ...]]) -> Tuple[Network, int]:
    """(Network, number of classes) of a file's {timm's name: shape}, without the counters.

    Raises UsageError for a file that is of no network in the list: an array missing, one too many, another shape.
    """
    nearest: Tuple[int, str] = (0, '')
    for network in networks().values():
        classes = shapes.get(network.arrays[-1][0], ())[:1]
        wanted = network.shapes(classes[0] if classes else 0)
        if wanted == shapes:
            return network, classes[0]
        alike = sum(shapes.get(name) == shape for name, shape in wanted.items())
        nearest = max(nearest, (3 * alike - len(wanted), network.name))  # more than a third is alike
    if not nearest[1]:
        raise UsageError(f'{path}: not a network of timm that is known here (its first array is '
                         f'{next(iter(shapes), "missing")!r:.80}); those are {", ".join(networks())}')
    raise UsageError(f'{path}: not a network of timm that is known here; the nearest is {nearest[1]}, '
                     f'{_first_difference(networks()[nearest[1]], shapes)}; those known are {", ".join(networks())}')


def _first_difference(network, shapes):
    wanted = network.shapes((shapes.get(network.arrays[-1][0]) or (1000,))[0])
    for name in wanted:
        if name not in shapes:
            return f'whose {name} is not in the file'
    for name in shapes:
        if name not in wanted:
            return f'which has no {name!r:.80}'
    name = next(name for name in wanted if wanted[name] != shapes[name])
    return f'whose {name} has the shape {wanted[name]}, and {shapes[name]} in the file'


def split_counters(arrays: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """(arrays without PyTorch's counters, the names of these): each stands beside a BatchNorm's running variance."""
    counters = [name for name in arrays if name.endswith(COUNTER) and name[:-len(COUNTER)] + '.running_var' in arrays]
    return {name: array for name, array in arrays.items() if name not in set(counters)}, counters


def computing(net: Any) -> Dict[str, Dict[str, int]]:
    """{'activations', 'BatchNorm epsilons', 'max poolings': {which: how many}} of a Gluon network, from its graph.

    Of the poolings each kind is counted once: timm makes some of them as layers, and some as they are needed.
    """
    from gluon_tricks.compat import mx
    activations: Dict[str, int] = collections.Counter()
    epsilons: Dict[str, int] = collections.Counter()
    poolings: Dict[str, int] = {}
    for node in json.loads(net(mx.sym.var('data')).tojson())['nodes']:
        kind, attributes = node['op'], node.get('attrs', {})
        if kind.endswith('BatchNorm'):  # SyncBatchNorm too; MXNet's own default is 1e-3
            epsilons[f'{float(attributes.get("eps", 1e-3)):g}'] += 1
        elif kind in ('Activation', 'LeakyReLU'):
            activations[attributes.get('act_type', 'leaky')] += 1
        elif kind in ('relu', 'sigmoid', 'tanh', 'clip', 'hard_sigmoid', 'erf'):
            activations[kind] += 1
        elif kind == 'Pooling' and attributes.get('pool_type') == 'max' and attributes.get('global_pool') != 'True':
            window, stride, padding = (int(re.findall(r'\d+', attributes.get(name, default))[0])
                                       for name, default in (('kernel', '1'), ('stride', '1'), ('pad', '0')))
            poolings[pooling(window, stride, padding, attributes.get('pooling_convention') == 'full')] = 1
    return {'activations': dict(activations), 'BatchNorm epsilons': dict(epsilons), 'max poolings': poolings}


def pooling(window: int, stride: int, padding: int, ceil: bool) -> str:
    """The words for a max pooling; ceil: over what is left at the border too."""
    return f'{window}x{window} by {stride} with padding {padding}{" and what is left" if ceil else ""}'


def check_computing(path: str, network: Network, net: Any) -> None:
    """Raise UsageError unless a Gluon network computes with the activations, epsilons and poolings that timm's does."""
    here = computing(net)
    for what, theirs in network.computes.items():
        if theirs != here[what]:
            raise UsageError(f"{path}: timm's {network.name} has the arrays of {network.model} and other {what} "
                             f'({_counted(theirs)}; here {_counted(here[what])}): every shape fits and the outputs '
                             f'would be wrong; give a .params file that was trained as {network.model}')


def _counted(found):
    return ', '.join(f'{number} {name}' for name, number in sorted(found.items()))
