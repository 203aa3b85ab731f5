"""FCN on a dilated ResNet-B, -C or -D: the segmentation network (paper section 6.2; Long et al. 2015).

    image -> base network, stride 8 -> head -> scores of the classes -> bilinear to the image's size
                    stage 3 -> second head, in training only an auxiliary loss

Attribute names are those of GluonCV's FCN, so that ``.params`` files go both ways. GluonCV's can stand on ResNets with
a wider stem only (resnet50_v1s); Table 9 compares ResNet-B and ResNet-D. The heads start as GluonCV's do.
"""
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.backbone import MOST_CLASSES, build_backbone
from gluon_tricks.models.resnet import ResNet
from gluon_tricks.models.weights import load_weights, read_weights

nn = mx.gluon.nn

HEAD_LR = 10  # learning rate of the heads over the base network's, as in GluonCV
# The heads' weights are uniform within plus and minus this: MXNet's default and so GluonCV's, whose rate was chosen
# with it. Xavier's are 4.3 times smaller in the main head's first convolution, and the rate would act 19 times larger
# there.
HEAD_INIT = 0.07


class Head(mx.gluon.HybridBlock):
    """Features (N, C, h, w) to scores (N, classes, h, w): a 3x3 convolution to C / 4 channels, then a 1x1 one."""

    def __init__(self, in_channels, classes, norm_layer=nn.BatchNorm, norm_kwargs=None):
        super().__init__()
        inner = in_channels // 4
        with self.name_scope():
            self.block = nn.HybridSequential()
            with self.block.name_scope():
                self.block.add(nn.Conv2D(inner, 3, padding=1, use_bias=False, in_channels=in_channels),
                               norm_layer(in_channels=inner, **(norm_kwargs or {})),
                               nn.Activation('relu'),
                               nn.Dropout(0.1),
                               nn.Conv2D(classes, 1, in_channels=inner))

    def hybrid_forward(self, F, x):
        return self.block(x)


def resize_like(F, scores, image):
    """Scores (N, K, h, w) at the image's height and width, bilinear, corners on corners; float32.

    The same as MXNet's BilinearResize2D(mode='like'), as two products with matrices of weights. On a CPU that operator
    adds up its gradient in the order in which its threads come: no run would equal another.
    """
    scores = F.cast(scores, dtype='float32')
    wide = F.dot(scores, _weights(F, scores, image, axis=3))                                    # (N, K, h, W)
    high = F.dot(F.transpose(wide, (0, 1, 3, 2)), _weights(F, scores, image, axis=2))           # (N, K, W, H)
    return F.transpose(high, (0, 1, 3, 2))


def _weights(F, scores, image, axis):
    """(n, N) weights that take n points, the scores' along an axis, to the image's N: 1 - distance, where positive."""
    few = F.contrib.arange_like(F.stop_gradient(scores), axis=axis)
    many = F.cast(F.contrib.arange_like(F.stop_gradient(image), axis=axis), dtype='float32')
    step = F.max(few) / F.broadcast_maximum(F.max(many), F.ones_like(F.max(many)))
    places = F.broadcast_mul(many, step)
    return F.relu(1 - F.abs(F.broadcast_sub(F.expand_dims(few, axis=1), F.expand_dims(places, axis=0))))


class FCN(mx.gluon.HybridBlock):
    """Scores of every pixel from a base network's stages, the base's weights as they are and new heads.

    base: a dilated `models.resnet.ResNet`, which gives its layers away. Called with images (N, 3, H, W) of any size it
    returns the tuple (scores,), with ``aux`` (scores, the second head's scores), each (N, classes, H, W).
    """

    stages = ResNet.stages  # the base's attributes are this network's

    def __init__(self, base, classes, aux=False, norm_layer=nn.BatchNorm, norm_kwargs=None):
        super().__init__(prefix='fcn_')
        channels = base.fc.weight.shape[1]
        with self.name_scope():
            self.conv1, self.bn1, self.relu, self.maxpool = base.conv1, base.bn1, base.relu, base.maxpool
            self.layer1, self.layer2, self.layer3, self.layer4 = base.layer1, base.layer2, base.layer3, base.layer4
            self.head = Head(channels, classes, norm_layer, norm_kwargs)
            self.auxlayer = Head(channels // 2, classes, norm_layer, norm_kwargs) if aux else None
        for head in filter(None, (self.head, self.auxlayer)):
            head.initialize(mx.init.Uniform(HEAD_INIT))
            head.collect_params().setattr('lr_mult', HEAD_LR)

    def hybrid_forward(self, F, x):                               # (N,    3, 480, 480)
        c3, c4 = self.stages(x)[2:]                               # (N, 1024,  60,  60), (N, 2048, 60, 60)
        outputs = [self.head(c4)]                                 # (N,  150,  60,  60)
        if self.auxlayer is not None:
            outputs.append(self.auxlayer(c3))
        return tuple(resize_like(F, output, x) for output in outputs)


def build_fcn(backbone, classes, aux=False, base_params='', norm_layer=nn.BatchNorm, norm_kwargs=None):
    """An initialised FCN on the CPU; base_params: the classifier's weights, else the base's are new (Xavier).

    norm_layer, norm_kwargs: the normalisation of base and heads. Raises UsageError as `backbone.build_backbone`.
    """
    options = dict(norm_layer=norm_layer, norm_kwargs=norm_kwargs)
    return FCN(build_backbone(backbone, base_params, dilated=True, **options), classes, aux, **options)


def load_fcn(path, backbone):
    """(FCN with the weights of a .params file, its number of classes), on the CPU, for inference.

    The file may be GluonCV's, where the base networks agree. Raises UsageError for a file that does not fit.
    """
    weights = read_weights(path)
    arrays = weights.arrays
    shape = arrays['head.block.4.weight'].shape if 'head.block.4.weight' in arrays else ()
    if len(shape) != 4 or not 0 < shape[0] <= MOST_CLASSES:
        raise UsageError('--params %s: not the weights of an FCN (it has %s head.block.4.weight); give SAVE_DIR/best/'
                         'net.params of a segmentation run' % (path, 'a wrong' if shape else 'no'))
    classes = shape[0]
    net = build_fcn(backbone, classes, aux='auxlayer.block.4.weight' in arrays)
    load_weights(net, weights)
    net.collect_params().setattr('grad_req', 'null')
    return net, classes


def choose_norm(syncbn, devices):
    """(norm_layer, norm_kwargs, notice or '') of --syncbn on these devices.

    Raises UsageError on several CPU devices: MXNet 1.9.1's SyncBatchNorm waits there for ever once a network has two.
    """
    if not syncbn:
        return nn.BatchNorm, None, ''
    if len(devices) == 1:
        return nn.BatchNorm, None, '--syncbn: one device has the statistics of the whole batch already'
    if any(device.device_type == 'cpu' for device in devices):
        raise UsageError(f"--syncbn with {len(devices)} CPU devices: MXNet's synchronised batch normalisation hangs "
                         "there; take one CPU device, which has the whole batch's statistics, or drop --syncbn")
    return mx.gluon.contrib.nn.SyncBatchNorm, {'num_devices': len(devices)}, ''
