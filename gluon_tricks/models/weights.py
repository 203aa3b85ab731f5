"""Weights of a file into a network: all or none."""
from typing import Any, Dict, List, Optional, Tuple

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import params_file


def load_params(net: mx.gluon.Block, path: str, ctx: Optional[Any] = None) -> None:
    """Load the weights of a ``.params`` file into ``net``, all or none, cast to the network's types.

    The file may be GluonCV's or ours (structural names, ``conv1.0.weight``), or an export's (``arg:``, ``aux:`` and
    full names). float16 files go into float32 networks. ctx: as for ``Block.load_parameters``.
    Raises UsageError for a file that is missing, damaged, of another network or of another number of classes.

    >>> import gluon_tricks as gt
    >>> net = gt.get_model('resnet10_v1d_demo', classes=10)
    >>> gt.load_params(net, 'runs/demo-seed0/best/net.params')
    """
    for param, array in matched_params(net, path):
        param._load_init(array, ctx, cast_dtype=True, dtype_source='current')


def matched_params(net: mx.gluon.Block, path: str) -> List[Tuple[mx.gluon.Parameter, mx.nd.NDArray]]:
    """[(Parameter, its array in the file)]; UsageError as `load_params`."""
    arrays = params_file.load(path)
    structural = any('.' in name for name in arrays)
    params = stored_params(net) if structural else dict(net.collect_params().items())
    _check_names(net, path, list(arrays), list(params))
    _check_shapes(path, arrays, params)
    return [(param, arrays[name]) for name, param in params.items()]


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


def _check_shapes(path, arrays, params):
    """Shapes must agree; a 0 in the network's is one it does not know yet."""
    wrong = [name for name, param in params.items() if not _fits(param.shape, arrays[name].shape)]
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
