"""Every classification network by its name (paper sections 2.2, 4 and Table 1): ours, or GluonCV's.

ResNet-B, -C, -D and the demo network are built by ``resnet``; everything else (resnet50_v1, inceptionv3, mobilenet1.0,
Table 1's rivals) by GluonCV's model zoo. Nothing is downloaded unless ``pretrained`` is asked for. Detection and
segmentation networks are built in ``transfer/``.
"""
import contextlib
import difflib
import inspect
import io
import json
import os
import re
from typing import Any, List, Optional, Union

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import resnet as own
from gluon_tricks.models.names import DEMO, DEMOS, VARIANTS, default_input_size  # noqa: F401  DEMO: for who builds it
from gluon_tricks.models.weights import load_params, load_weights, matched_params, read_weights
from gluon_tricks.tricks.low_precision import refuse_bfloat16

DEFAULT_ROOT = os.path.join('~', '.mxnet', 'models')

_OWN_RESNET = {f'resnet{depth}_{variant}': (depth, variant)
               for variant in VARIANTS for depth in own.DEPTHS if depth != 10}
_ALIASES = {'se_resnet50': 'se_resnet50_v1'}  # Table 1's name: GluonCV's

# Names in GluonCV's zoo that are not image classifiers: detection, segmentation, pose, tracking, depth, video.
_OTHER_TASKS = re.compile(
    r'^(ssd|yolo3|faster_|mask_|doublehead_|custom_|center_net|fcn|psp|deeplab|icnet|fastscnn|danet)|^hrnet_.*_s$|'
    r'^(simple_pose|mobile_pose|alpha_pose|siamrpn|monodepth)|'
    r'^(c3d|p3d|i3d|r2plus1d|slowfast)|kinetics|ucf101|hmdb51|sthsth|_custom$')
# Classifiers of GluonCV's zoo that cannot be built to train here, and why.
_BROKEN = ((re.compile(r'_gn$'), "GluonCV's group normalisation does not run on MXNet 1.9.1"),
           (re.compile(r'_int8$'), 'a quantised network only predicts, and exists only as a download'))
_PRUNED = re.compile(r'_v1[bd]_0\.\d+$')


def own_names() -> List[str]:
    """Names of the networks built here, a sorted list."""
    return sorted(_OWN_RESNET) + sorted(DEMOS)


def all_names() -> List[str]:
    """All names that `get_model` takes, a sorted list."""
    return sorted(set(own_names()) | {name for name in _gluoncv_names() if not _refusal(name)} | set(_ALIASES))


def get_model(name: str, classes: int = 1000, pretrained: Union[bool, str] = False, root: str = DEFAULT_ROOT,
              ctx: Optional[Any] = None, **kwargs: Any) -> mx.gluon.HybridBlock:
    """The network called ``name`` (upper or lower case), not initialised unless pretrained.

    classes: number of outputs. pretrained: True, or the first 8 digits of a published file's hash, loads GluonCV's
    weights from ``root``, where they are downloaded to if they are not there. ctx: where pretrained weights go; the
    CPU by default. kwargs: the network's own options, such as dilated, use_global_stats, norm_layer, norm_kwargs,
    final_drop; ``use_se`` for a resnext only. Dicts among them are not changed.
    Raises UsageError for a name that is unknown or no classifier, an option the network cannot take, and weights that
    cannot be had.
    GluonCV: use_se does nothing, because resnext50_32x4d overwrites it, and ResNets of the v1b kind take any option
    without a word. Here: use_se=True builds se_resnext50_32x4d, and an option without effect is an error.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> net = gt.get_model('resnet50_v1d')  # section 4's
    >>> net = gt.get_model('resnet10_v1d_demo', classes=10)
    >>> net.initialize()
    >>> net(mx.nd.zeros((1, 3, 32, 32))).shape
    (1, 10)
    """
    name = _with_se(_known(name), kwargs.pop('use_se', False))
    kwargs = {key: dict(value) if isinstance(value, dict) else value for key, value in kwargs.items()}
    if name in own_names():
        net = _own_net(name, classes, kwargs)
        if pretrained:
            load_params(net, _published(name, lambda: _model_file(name, pretrained, root)), ctx)
        return net
    if name.startswith('nasnet') and not pretrained:
        kwargs.setdefault('use_aux', False)  # one output, as all others; published files hold the auxiliary classifier
    return _gluoncv_net(name, classes, pretrained, root, ctx or mx.cpu(), kwargs)


def _known(name):
    """The zoo's name for what the user typed, or UsageError with the nearest names."""
    lowered = name.lower()
    lowered = _ALIASES.get(lowered, lowered)
    if lowered in own_names():
        return lowered
    if lowered not in _gluoncv_names():
        near = difflib.get_close_matches(lowered, all_names(), n=4, cutoff=0.5)
        raise UsageError('model %s: no such network; %s' % (
            name, f'the nearest names are {", ".join(near)}' if near else 'give a name such as resnet50_v1d'))
    refusal = _refusal(lowered)
    if refusal:
        raise UsageError(f'model {name}: {refusal}')
    return lowered


def _refusal(name):
    """Why a network of GluonCV's zoo is not offered, or None."""
    if _OTHER_TASKS.search(name):
        return ('this network does not classify images; Faster-RCNN and FCN are trained by the scripts in transfer/, '
                'here give a classification network such as resnet50_v1d')
    for pattern, reason in _BROKEN:
        if pattern.search(name):
            return f'{reason}; give another network, such as resnet50_v1d'
    return None


def _with_se(name, use_se):
    if not use_se or name.startswith('se_resnext'):
        return name
    if not name.startswith('resnext'):
        raise UsageError('--use_se: squeeze-and-excitation layers are an option of resnext networks only and the '
                         f'model is {name}; drop the flag, or name a model such as se_resnet50_v1')
    return 'se_' + name


def _own_net(name, classes, kwargs):
    taken = sorted(set(inspect.signature(own.resnet).parameters) - {'depth', 'variant', 'classes'})
    for key in kwargs:
        if key not in taken:
            raise _not_taken(name, key, taken)
    if name in DEMOS:
        return own.demo(*DEMOS[name], classes=classes, **kwargs)
    return own.resnet(*_OWN_RESNET[name], classes=classes, **kwargs)


def _gluoncv_names():
    from gluoncv.model_zoo.model_zoo import get_model_list
    return set(get_model_list())


def _gluoncv_net(name, classes, pretrained, root, ctx, kwargs):
    import gluoncv
    constructor = gluoncv.model_zoo.model_zoo._models[name]
    if _PRUNED.search(name) and classes != 1000:
        raise UsageError(f"model {name}: GluonCV's pruned networks have 1000 classes and no other number, not "
                         f"{classes}; give another network, such as resnet50_v1d")
    options = dict(kwargs, root=root, ctx=ctx)
    options['num_classes' if name.startswith('hrnet') else 'classes'] = classes  # an HRNet takes 1000 for `classes`
    if 'pretrained_base' in inspect.signature(constructor).parameters:
        options['pretrained_base'] = False
    try:
        net = gluoncv.model_zoo.get_model(name, pretrained=False, **options)
    except TypeError as error:
        culprit = re.search(r"argument '(\w+)'", str(error))
        if culprit is None or culprit.group(1) not in kwargs:
            raise
        raise _not_taken(name, culprit.group(1)) from error
    # Some constructors swallow what they do not know: an option must be named somewhere on the way.
    taken = set(inspect.signature(constructor).parameters)
    for cls in type(net).__mro__:
        taken |= set(inspect.signature(cls.__init__).parameters)
    for key in kwargs:
        if key not in taken:
            raise _not_taken(name, key)
    if pretrained:
        net = _published(name, lambda: gluoncv.model_zoo.get_model(name, pretrained=pretrained, **options))
    return net


def _not_taken(name, key, taken=()):
    return UsageError('option %s: the network %s cannot take it%s; leave it out' % (
        key, name, f', only {", ".join(taken)}' if taken else ''))


def _model_file(name, pretrained, root):
    from gluoncv.model_zoo.model_store import get_model_file
    return get_model_file(name, tag=pretrained, root=root)


def _published(name, fetch):
    """The result of ``fetch``, with its failures (network, server, hash, file) as one UsageError."""
    from gluoncv.model_zoo import model_store
    remedy = 'give a file you have by --params-file FILE or, to train, by --resume-params FILE'
    try:
        return fetch()
    except AssertionError as error:
        raise UsageError(f'pretrained {name}: the published weights do not fit a network with these options or this '
                         f'number of classes; leave the options out, or {remedy}') from error
    except ValueError as error:
        if 'not available' not in str(error):  # then the hash of what came is wrong, and GluonCV says so
            raise UsageError(f'pretrained {name}: the file is not the published one ({error}); {remedy}') \
                from error
        raise UsageError(f'pretrained {name}: GluonCV has published no weights of it; {remedy}') from error
    except Exception as error:  # requests, zipfile, portalocker and the system each have their own kinds
        raise UsageError('pretrained %s: the weights cannot be had from %s (%s); the host may be gone: %s' % (
            name, os.environ.get('MXNET_GLUON_REPO', model_store.apache_repo_url), type(error).__name__, remedy)) \
            from error


def know_shapes(net, input_size, name=None):
    """One forward pass in float32 on the CPU, which makes every parameter known before it is cast or loaded.

    name: of a classifier. Raises UsageError for images that the network cannot take, or of which less than a pixel is
    left in its last stage: all but those for small images halve the side five times.
    """
    if name and input_size < 32 < default_input_size(name):
        raise UsageError(f'--input-size {input_size}: {name} leaves less than one pixel of such images; give 32 or '
                         'more')
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints its arguments before it raises
            net(mx.nd.zeros((1, 3, input_size, input_size))).wait_to_read()
    except (mx.MXNetError, ValueError) as error:
        raise UsageError('--input-size %d: %s cannot take such images; give its own size, %d'
                         % (input_size, name or net.name, default_input_size(name or net.name))) from error


def draws(net):
    """Whether a network in training draws from MXNet's generators, as dropout does; True for one that has no graph."""
    if not isinstance(net, mx.gluon.HybridBlock):
        return True
    outputs = net(mx.sym.var('data'))
    graph = mx.sym.Group(list(outputs)) if isinstance(outputs, (list, tuple)) else outputs
    operators = [node['op'].lower() for node in json.loads(graph.tojson())['nodes']]
    return any(part in operator for operator in operators for part in ('dropout', 'random', 'sample'))


def trained_net(name, params, classes, input_size, devices, low_precision, hybridize=True, use_se=False):
    """A network with the weights of the file `params`, for inference: a teacher, or one to evaluate.

    devices: list of contexts. low_precision: a mode of tricks.low_precision. Raises UsageError as `load_params`,
    and as `refuse_bfloat16`.
    """
    net = get_model(name, classes=classes, **({'use_se': True} if use_se else {}))
    if low_precision.dtype == 'bfloat16':
        refuse_bfloat16(net, name)
    weights = read_weights(params)
    matched_params(net, weights)  # before a number of classes, which a run's file may say, takes memory
    net.initialize()
    know_shapes(net, input_size, name)
    load_weights(net, weights)
    net.collect_params().setattr('grad_req', 'null')
    place(net, devices, low_precision, hybridize)
    return net


def place(net, devices, low_precision, hybridize):
    """Put a network whose shapes are known on the devices, in the precision of the run, compiled where that is
    asked."""
    net.collect_params().reset_ctx(devices)
    low_precision.prepare(net)
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
