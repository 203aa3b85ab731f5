"""The base network of a detector or a segmenter: a ResNet-B, -C or -D with a classifier's weights (paper section 6)."""
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.weights import load_weights, read_weights
from gluon_tricks.models.zoo import get_model, know_shapes, own_names

MOST_CLASSES = 1 << 16  # a file could name any number, and a network of it would take all memory


def build_backbone(name, params='', input_size=64, **options):
    """The network `name` on the CPU, initialised; its output layer is whatever the classifier's was.

    params: a file of the same network's weights, of any number of classes, as training wrote it or timm's safetensors;
    without it the weights are new (Xavier). options: dilated, use_global_stats, norm_layer and norm_kwargs of
    `models.resnet.resnet`. Raises UsageError for another network and for a file that does not fit.
    """
    if name.lower() not in own_names():
        raise UsageError(f'--network {name}: the base network is a ResNet-B, -C or -D, such as resnet50_v1d')
    weights = read_weights(params) if params else None
    net = get_model(name, classes=classes_of(weights) if weights else 1, **options)
    net.initialize(mx.init.Xavier())
    know_shapes(net, input_size)
    if weights:
        load_weights(net, weights)
    return net


def classes_of(weights):
    """Number of classes of the classifier that Weights are of. Raises UsageError where there is none."""
    shape = weights.arrays['fc.weight'].shape if 'fc.weight' in weights.arrays else ()
    if len(shape) != 2 or not 0 < shape[0] <= MOST_CLASSES:
        raise UsageError('--base-params %s: not the weights of a ResNet-B, -C or -D classifier (it has %s fc.weight); '
                         'give SAVE_DIR/best/net.params of a training' % (weights.path, 'a wrong' if shape else 'no'))
    return shape[0]
