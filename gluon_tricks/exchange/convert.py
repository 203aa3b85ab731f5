"""Files of weights to and from the names of others: import to ``.params``, and timm's safetensors."""
import os
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.files import check_writable, file_digest, remedy_for, replacing, unwritable, write_whole
from gluon_tricks.models import params_file, safetensors_file, timm
from gluon_tricks.models.backbone import MOST_CLASSES
from gluon_tricks.models.weights import classes_in, load_weights, read_weights, stored_params
from gluon_tricks.models.zoo import get_model


class Imported(NamedTuple):
    """The facts of an import: network, number of classes, arrays and values, SHA-256 of both files.

    timm: timm's name of the network, '' for a ``.params`` file. counters: PyTorch's counters in the file, which have no
    place here.
    """

    model: str
    classes: int
    arrays: int
    values: int
    source_sha256: str
    sha256: str
    timm: str
    counters: int


def import_weights(source: str, out: str, model: str, classes: Optional[int] = None) -> Imported:
    """Write the weights in a file of timm's, GluonCV's or MXNet's to OUT.params, with our names and in float32.

    source: ``.safetensors``, or ``.params`` of any age (see `models.weights.load_params`). model: its network here.
    classes: the number the file must have; without it, it has what it has. Every array of the file goes into the
    network, and every one of the network's comes from the file; only PyTorch's counters are left out. Raises
    UsageError, and then writes nothing.
    """
    from gluon_tricks.compat import mx
    if not out.endswith('.params'):
        raise UsageError(f'{out} must end with .params: it is written in the format of this project and GluonCV')
    if os.path.exists(out) and os.path.exists(source) and os.path.samefile(out, source):
        raise UsageError(f'{out} is the file that is read: give another name')
    check_writable(out, 'give a file in a directory that is there and can be written')
    outline = get_model(model)
    weights = read_weights(source)
    number = classes_in(outline, weights)
    if number != classes and (classes or not 0 < number <= MOST_CLASSES):
        raise UsageError(f'{source}: the file has {number} classes, and must have {classes or f"1 to {MOST_CLASSES}"}; '
                         'give another file, or --classes K as it is')
    net = get_model(model, classes=number)
    net.initialize(mx.init.Zero())
    load_weights(net, weights)
    arrays = {name: param.data().astype('float32') for name, param in stored_params(net).items()}
    try:
        with replacing(out) as partial:
            params_file.save(partial, arrays)
            digest = file_digest(partial)
    except OSError as error:
        raise unwritable(out, error, remedy_for(error)) from error
    return Imported(model, number, len(arrays), sum(each.size for each in arrays.values()), file_digest(source), digest,
                    weights.network.name if weights.network else '', weights.counters)


def timm_arrays(net: Any, model: str) -> Tuple[timm.Network, Dict[str, np.ndarray]]:
    """(timm's network, {timm's name: float32 array}) of a Gluon network called `model` here, in timm's order.

    Raises UsageError for a network that timm does not have, or that computes another way there.
    """
    network, params = timm.named(model), stored_params(net)
    if {ours for _, ours, _ in network.arrays} != set(params):
        raise UsageError(f"model {model}: the network given has other arrays than timm's {network.name}")
    timm.check_computing(f'model {model}', network, net)
    return network, {name: params[ours].data(params[ours].list_ctx()[0]).astype('float32').asnumpy()
                     for name, ours, _ in network.arrays}


def write_timm(net: Any, model: str, path: str) -> timm.Network:
    """Write the weights of a Gluon network as safetensors with timm's names; returns timm's network.

    ``timm.create_model(NAME, num_classes=K, checkpoint_path=PATH)`` opens it. Raises UsageError as `timm_arrays`, and
    where the file cannot be written.
    """
    network, arrays = timm_arrays(net, model)
    save_timm(path, arrays)
    return network


def save_timm(path: str, arrays: Dict[str, np.ndarray]) -> None:
    """Write {timm's name: array} as safetensors, whole or not at all. Raises UsageError."""
    content = safetensors_file.content(path, arrays, {'format': 'pt'})  # which timm and transformers ask for
    try:
        write_whole(path, content)
    except OSError as error:
        raise unwritable(path, error, remedy_for(error)) from error
