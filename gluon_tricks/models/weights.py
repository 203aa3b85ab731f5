"""Weights of a file into a network: all or none. Wherever weights are taken, this module reads them.

A file is a ``.params`` of MXNet, GluonCV or ours, or a ``.safetensors`` of a network that timm has too.
"""
import os
import re
import shlex
from typing import Any, Collection, Dict, List, NamedTuple, Optional, Tuple

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file
from gluon_tricks.models import params_file, safetensors_file, timm

_PICKLES = ('.pth', '.pt', '.bin', '.ckpt', '.pkl', '.tar')
# The first bytes of what torch.save writes, today and before version 1.6. A safetensors file, which begins with the
# length of its header, may begin with the last of them too; its header begins with a brace.
_PICKLED = re.compile(rb'PK\x03\x04|\x80.{7}[^{]|\x80.{0,7}\Z', re.DOTALL)


def load_params(net: mx.gluon.Block, path: str, ctx: Optional[Any] = None) -> None:
    """Load the weights of a file into ``net``, all or none, cast to the network's types.

    A ``.params`` file may be GluonCV's or ours (structural names, ``conv1.0.weight``), or have full names
    (``resnetv1d0_conv0_weight``), as an export has them behind ``arg:`` and ``aux:``. A ``.safetensors`` file has
    timm's names, of a network that computes the same. float16 files go into float32 networks. ctx: as for
    ``Block.load_parameters``. Raises UsageError for a file that is missing, damaged, of another network or of another
    number of classes, and for a pickle.

    >>> import gluon_tricks as gt
    >>> net = gt.get_model('resnet10_v1d_demo', classes=10)
    >>> gt.load_params(net, 'runs/demo-seed0/best/net.params')
    """
    load_weights(net, read_weights(path), ctx)


class Weights(NamedTuple):
    """The content of a file of weights, once read.

    arrays: {name: NDArray}. network: timm's, whose names are then ours, structural; None for a ``.params`` file, whose
    names are the file's own. counters: how many of PyTorch's counters were left out.
    """

    path: str
    arrays: Dict[str, mx.nd.NDArray]
    network: Optional[timm.Network] = None
    counters: int = 0


def read_weights(path: str) -> Weights:
    """The Weights of a file. Raises UsageError for one that is missing or damaged, of no network, and for a pickle."""
    path = str(path)
    refuse_pickle(path)
    if not path.endswith('.safetensors'):
        return Weights(path, params_file.load(path))
    arrays, counters = timm.split_counters(safetensors_file.read(path))
    network, _ = timm.recognise(path, {name: array.shape for name, array in arrays.items()})
    ours = {our: mx.nd.array(arrays[name], dtype=arrays[name].dtype) for name, our, _ in network.arrays}
    return Weights(path, ours, network, len(counters))


def load_weights(net: mx.gluon.Block, weights: Weights, ctx: Optional[Any] = None,
                 kept: Collection[mx.gluon.Parameter] = ()) -> None:
    """`load_params` of what `read_weights` gave; kept: Parameters that stay as they are, see `matched_params`."""
    for param, array in matched_params(net, weights, kept):
        param._load_init(array, ctx, cast_dtype=True, dtype_source='current')


def matched_params(net: mx.gluon.Block, weights: Weights, kept: Collection[mx.gluon.Parameter] = ()
                   ) -> List[Tuple[mx.gluon.Parameter, mx.nd.NDArray]]:
    """[(Parameter, its array in the file)]; UsageError as `load_params`.

    kept: Parameters to leave out, those of the output layer, of which the file may have another number of rows.
    """
    arrays, params = _matched(net, weights)
    _check_shapes(weights.path, arrays, params, kept)
    return [(param, arrays[name]) for name, param in params.items() if param not in kept]


def classes_in(net: mx.gluon.Block, weights: Weights) -> int:
    """The number of classes that the weights of this classifier have, whatever the network's is. UsageError as
    `load_params`."""
    arrays, params = _matched(net, weights)
    return arrays[list(params)[-1]].shape[0]


def _matched(net, weights):
    """({name: array}, {name: Parameter}) of the same names; shapes are not compared."""
    path, arrays, params = weights.path, weights.arrays, stored_params(net)
    if weights.network is not None:
        _check_network(net, path, weights.network, params)
    elif not any('.' in name for name in arrays):
        params = dict(net.collect_params().items())
        if _prefix(arrays).rstrip('0123456789_') == _prefix(params).rstrip('0123456789_'):
            arrays, params = ({name[len(_prefix(named)):]: value for name, value in named.items()}
                              for named in (arrays, params))
    _check_names(net, path, list(arrays), list(params))
    return arrays, params


def _prefix(names):
    """The beginning of all full names, such as ``resnetv1d0_``: Gluon counts the networks that a process makes."""
    return re.sub('[^_]*$', '', os.path.commonprefix(list(names)))


def refuse_pickle(path: str) -> None:
    """Raise UsageError for a file of PyTorch's that is a pickle: to read one is to run what it says."""
    try:
        with open_file(path) as stream:
            pickled = _PICKLED.match(stream.read(9)) is not None
    except OSError:
        pickled = False
    if pickled or path.endswith(_PICKLES):
        stem = re.sub(r'(\.pth)?\.\w+$', '', path) or path
        code = ('import torch, safetensors.torch as s; '
                f'w = torch.load({path!r}, map_location="cpu", weights_only=True); '
                's.save_file({k: v.contiguous() for k, v in w.get("state_dict", w).items()}, '
                f'{stem + ".safetensors"!r})')
        raise UsageError(f'{path}: a pickle, which may run any code when it is read, so that none is read here; where '
                         f'torch and safetensors are, type: python -c {shlex.quote(code)}')


def _check_network(net, path, network, params):
    """Raise UsageError unless a Gluon network is the one that timm's is here, and computes the same."""
    if {ours for _, ours, _ in network.arrays} != set(params):
        raise UsageError(f"{path}: the weights of another network: the file is timm's {network.name}, {network.model} "
                         f'here, and not of {net.name}; give --model {network.model}, or the file of the same model')
    timm.check_computing(path, network, net)


def stored_params(net: mx.gluon.Block) -> Dict[str, mx.gluon.Parameter]:
    """{structural name: Parameter} of what a ``.params`` file holds: without private children, which have constants.

    GluonCV's detector has such a child as soon as it trains, and not yet when it loads a file.
    """
    return {name: param for name, param in net._collect_params_with_prefix().items() if not name.startswith('_')}


def _check_names(net, path, found, needed):
    missing = [name for name in needed if name not in set(found)]
    extra = [name for name in found if name not in set(needed)]
    if not missing and not extra:
        return
    faults = [f'lacks {name}' for name in missing[:1]] + [f'has {name}, which the network lacks'
                                                            for name in extra[:1]]
    raise UsageError(f'{path}: the weights of another network: the file {" and ".join(faults)} (file: '
                     f'{_extent(found)}; network {net.name}: {_extent(needed)}); give the file of the same model')


def _extent(names):
    return f'{len(names)} arrays, {names[0]} to {names[-1]}'


def _check_shapes(path, arrays, params, kept=()):
    """Shapes must agree; a 0 in the network's is one it does not know yet. kept: Parameters of any number of rows."""
    wrong = [name for name, param in params.items()
             if not _fits((0, *param.shape[1:]) if param in kept else param.shape, arrays[name].shape)]
    if not wrong:
        return
    name = wrong[0]
    found, needed = arrays[name].shape, tuple(params[name].shape)
    output_rows = set(wrong) <= set(list(params)[-2:]) and _fits(needed[1:], found[1:])
    if output_rows and any(found[:1]):
        raise UsageError(f'{path}: the file has {found[0]} classes and the network {needed[0]}; give --num-classes '
                         f'{found[0]}, or a file with {needed[0]} classes')
    raise UsageError(f'{path}: the weights of another network: {name} has the shape {found} in the file and {needed} '
                     'in the network; give the file of the same model')


def _fits(needed, found):
    return needed is None or (len(needed) == len(found) and all(n in (0, -1, f) for n, f in zip(needed, found)))
