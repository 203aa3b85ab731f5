"""ResNet-B, ResNet-C and ResNet-D (paper sections 4.1 and 4.2, Figures 1 and 2; He et al. 2018).

Figure 1, the plain network: an input stem, four stages and an output layer. A stage is one downsampling block, whose
path B is a convolution, followed by residual blocks, whose path B is the identity. The tweaks of Figure 2 add up:

    v1b = ResNet-B   Figure 2a   the stride of 2 in path A moves from the first to the second convolution
    v1c = ResNet-C   Figure 2b   and the stem's 7x7 convolution becomes three 3x3 convolutions
    v1d = ResNet-D   Figure 2c   and path B averages 2x2 pixels before its convolution, which loses its stride

The plain network of Figure 1 is GluonCV's ``resnet50_v1``. Attribute names, child order and parameter prefixes are
those of GluonCV's ResNetV1b, so that ``.params`` files go both ways and patterns on names (``layers2_conv``,
``down2_conv``) hold. Shapes in comments are for a 224x224 image, bottleneck blocks and the paper's width of 64.
Worked example: docs/tricks/resnet_tweaks.md.
"""
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.names import VARIANTS

nn = mx.gluon.nn


class BasicBlock(mx.gluon.HybridBlock):
    """Two 3x3 convolutions, the block of ResNet-18 and -34 (section 4.1; He et al. 2015).

    ``dilations`` are those of the two convolutions. ``downsample`` is path B, None where it is the identity.
    """

    expansion = 1

    def __init__(self, in_channels, channels, strides, dilations, downsample, norm):
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2D(channels, 3, strides, padding=first, dilation=first, use_bias=False,
                               in_channels=in_channels)
        self.bn1 = norm(channels)
        self.relu1 = nn.Activation('relu')
        self.conv2 = nn.Conv2D(channels, 3, padding=second, dilation=second, use_bias=False, in_channels=channels)
        self.bn2 = norm(channels)
        self.relu2 = nn.Activation('relu')
        self.downsample = downsample

    def hybrid_forward(self, F, x):
        path_a = self.relu1(self.bn1(self.conv1(x)))
        path_a = self.bn2(self.conv2(path_a))
        path_b = x if self.downsample is None else self.downsample(x)
        return self.relu2(path_a + path_b)


class Bottleneck(mx.gluon.HybridBlock):
    """Convolutions 1x1, 3x3 and 1x1 (section 4.1), the stride in the second one: ResNet-B (Figure 2a).

    "ResNet-B switches the strides size of the first two convolutions in path A, ... so no information is ignored."
    Of ``dilations`` only the first is used: there is one 3x3 convolution.
    """

    expansion = 4

    def __init__(self, in_channels, channels, strides, dilations, downsample, norm):
        super().__init__()
        dilation = dilations[0]
        self.conv1 = nn.Conv2D(channels, 1, use_bias=False, in_channels=in_channels)  # Figure 1 has the stride here
        self.bn1 = norm(channels)
        self.relu1 = nn.Activation('relu')
        self.conv2 = nn.Conv2D(channels, 3, strides, padding=dilation, dilation=dilation, use_bias=False,
                               in_channels=channels)
        self.bn2 = norm(channels)
        self.relu2 = nn.Activation('relu')
        self.conv3 = nn.Conv2D(channels * 4, 1, use_bias=False, in_channels=channels)
        self.bn3 = norm(channels * 4)
        self.relu3 = nn.Activation('relu')
        self.downsample = downsample

    def hybrid_forward(self, F, x):                               # stage 2's first block: (N, 256, 56, 56)
        path_a = self.relu1(self.bn1(self.conv1(x)))              # (N, 128, 56, 56)
        path_a = self.relu2(self.bn2(self.conv2(path_a)))         # (N, 128, 28, 28)
        path_a = self.bn3(self.conv3(path_a))                     # (N, 512, 28, 28)
        path_b = x if self.downsample is None else self.downsample(x)
        return self.relu3(path_a + path_b)


# depth: (block, number of blocks of each stage). 10 is the smallest true four-stage network, for demonstrations.
DEPTHS = {10: (BasicBlock, (1, 1, 1, 1)),
          18: (BasicBlock, (2, 2, 2, 2)),
          34: (BasicBlock, (3, 4, 6, 3)),
          50: (Bottleneck, (3, 4, 6, 3)),
          101: (Bottleneck, (3, 4, 23, 3)),
          152: (Bottleneck, (3, 8, 36, 3))}


class ResNet(mx.gluon.HybridBlock):
    """The network of Figure 1 with the tweaks that ``variant`` names; build it with `resnet`.

    Called with images (N, 3, H, W), it returns class scores (N, classes). `stages` gives the four feature maps.
    """

    def __init__(self, block, blocks, variant, classes, dilated, norm, final_drop, width):
        super().__init__(prefix=f'resnet{variant}_')
        with self.name_scope():
            self.conv1 = _plain_stem(width) if variant == 'v1b' else _deep_stem(width, norm)
            self.bn1 = norm(width)
            self.relu = nn.Activation('relu')
            self.maxpool = nn.MaxPool2D(pool_size=3, strides=2, padding=1)
            in_channels = width
            # Segmentation keeps stride 8: stages 3 and 4 give up their stride and look 2 and 4 pixels apart instead.
            strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))
            for stage in (1, 2, 3, 4):
                channels = width * 2 ** (stage - 1)
                layer = _stage(stage, block, blocks[stage - 1], in_channels, channels, strides[stage - 1],
                               dilations[stage - 1], average=variant == 'v1d', norm=norm)
                setattr(self, f'layer{stage}', layer)
                in_channels = channels * block.expansion
            self.avgpool = nn.GlobalAvgPool2D()
            self.flat = nn.Flatten()
            self.drop = nn.Dropout(final_drop) if final_drop > 0 else None
            self.fc = nn.Dense(classes, in_units=in_channels)

    def stages(self, x):
        """Outputs (c1, c2, c3, c4) of the four stages for images x (N, 3, H, W), for networks built on this one.

        Strides 4, 8, 16 and 32 (dilated: 4, 8, 8 and 8); channels 256, 512, 1024 and 2048 (basic blocks: a quarter).
        """
        x = self.relu(self.bn1(self.conv1(x)))                    # (N,   64, 112, 112)
        x = self.maxpool(x)                                       # (N,   64,  56,  56)
        c1 = self.layer1(x)                                       # (N,  256,  56,  56)
        c2 = self.layer2(c1)                                      # (N,  512,  28,  28)
        c3 = self.layer3(c2)                                      # (N, 1024,  14,  14)
        c4 = self.layer4(c3)                                      # (N, 2048,   7,   7)
        return c1, c2, c3, c4

    def hybrid_forward(self, F, x):
        x = self.flat(self.avgpool(self.stages(x)[-1]))           # (N, 2048)
        if self.drop is not None:
            x = self.drop(x)
        return self.fc(x)                                         # (N, classes)


def _plain_stem(width):
    """Figure 1's input stem: "a 7x7 convolution with an output channel of 64 and a stride of 2"."""
    return nn.Conv2D(width, 7, 2, padding=3, use_bias=False, in_channels=3)


def _deep_stem(width, norm):
    """ResNet-C (Figure 2b): three 3x3 convolutions with 32, 32 and 64 channels instead of the 7x7.

    Paper: "the first and second convolutions have their output channel of 32 and a stride of 2". Here and in GluonCV
    the strides are 2, 1, 1: only these give the 4.3 G multiply-adds of the paper's Table 5.
    """
    half = width // 2
    stem = nn.HybridSequential(prefix='conv1')
    stem.add(nn.Conv2D(half, 3, 2, padding=1, use_bias=False, in_channels=3),      # (N, 32, 112, 112)
             norm(half),
             nn.Activation('relu'),
             nn.Conv2D(half, 3, padding=1, use_bias=False, in_channels=half),      # (N, 32, 112, 112)
             norm(half),
             nn.Activation('relu'),
             nn.Conv2D(width, 3, padding=1, use_bias=False, in_channels=half))     # (N, 64, 112, 112)
    return stem


def _stage(stage, block, count, in_channels, channels, strides, dilation, average, norm):
    """One downsampling block, if size or channels change, and residual blocks with stride 1, ``count`` in all."""
    out_channels = channels * block.expansion
    path_b = None
    if strides != 1 or in_channels != out_channels:
        path_b = _path_b(stage, in_channels, out_channels, strides, average, norm)
    layer = nn.HybridSequential(prefix=f'layers{stage}_')
    with layer.name_scope():
        # The first convolution of a dilated stage still has the dilation of the stage before (1 in stage 3, 2 in 4).
        layer.add(block(in_channels, channels, strides, (max(1, dilation // 2), dilation), path_b, norm))
        for _ in range(count - 1):
            layer.add(block(out_channels, channels, 1, (dilation, dilation), None, norm))
    return layer


def _path_b(stage, in_channels, out_channels, strides, average, norm):
    """Path B of a downsampling block: a 1x1 convolution to the shape of path A's output.

    ResNet-D (Figure 2c), ``average``: "adding a 2x2 average pooling layer with a stride of 2 before the convolution,
    whose stride is changed to 1". Where nothing is downsampled (stage 1) the pooling is 1x1 and does nothing; it stays,
    because it counts in the names of the parameters behind it.
    """
    path = nn.HybridSequential(prefix=f'down{stage}_')
    with path.name_scope():
        if average:
            path.add(nn.AvgPool2D(strides, strides, ceil_mode=True, count_include_pad=False))
            strides = 1
        path.add(nn.Conv2D(out_channels, 1, strides, use_bias=False, in_channels=in_channels), norm(out_channels))
    return path


def resnet(depth, variant, classes=1000, dilated=False, use_global_stats=False, norm_layer=nn.BatchNorm,
           norm_kwargs=None, final_drop=0.0, width=64):
    """A ResNet-B, -C or -D of 10, 18, 34, 50, 101 or 152 layers, not initialised.

    variant: 'v1b', 'v1c' or 'v1d'. dilated: stride 8 for segmentation (section 6.2). use_global_stats: batch
    normalisation always with its running statistics (for fine-tuning). norm_layer, norm_kwargs: the normalisation and
    its options, for example SyncBatchNorm and its num_devices; the dict is left as it is. final_drop: dropout before
    the output layer. width: channels of the stem and of stage 1; 64 in the paper.
    Raises UsageError for an unknown depth or variant and for an odd or non-positive width.
    """
    if depth not in DEPTHS:
        raise UsageError(f'depth {depth}: a ResNet here has {", ".join(map(str, DEPTHS))} layers')
    if variant not in VARIANTS:
        raise UsageError(f'variant {variant}: a ResNet here is one of {", ".join(VARIANTS)}')
    if width < 2 or width % 2:
        raise UsageError(f'width {width}: the stem has half the width, so the width must be even and positive')
    options = dict(norm_kwargs or {})
    if use_global_stats:
        options['use_global_stats'] = True
    block, blocks = DEPTHS[depth]

    def norm(channels):
        return norm_layer(in_channels=channels, **options)

    return ResNet(block, blocks, variant, classes, dilated, norm, final_drop, width)


def demo(depth, variant, **kwargs):
    """A small network for demonstrations: basic blocks of 16 to 128 channels, for images of 32 to 64 pixels.

    A basic block has no 1x1 convolution whose stride ResNet-B could move: 'v1b' is the plain network of Figure 1 too.
    """
    return resnet(depth, variant, **dict({'width': 16}, **kwargs))
