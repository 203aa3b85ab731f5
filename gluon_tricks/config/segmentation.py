"""FCNConfig: every option of a segmentation run, once (paper section 6.2; the flags are views of it).

The flag names and their meanings are those of GluonCV's ``scripts/segmentation/train.py``, whose published command
parses unchanged. Standard library only.
"""
import dataclasses
import re

from gluon_tricks.config import options
from gluon_tricks.config.options import floats, option
from gluon_tricks.errors import UsageError

PLACE = 'runs/DATASET/MODEL/NAME'  # GluonCV's; `save_dir_of` fills it in
_LARGEST = 4 * 4096  # side of a scaled image, in pixels
_SHORT = re.compile(r'resnet(18|34|50|101|152)$')


@dataclasses.dataclass(frozen=True)
class FCNConfig(options.Options):
    """One segmentation run. An option left at None is resolved when the run is assembled (`train_fcn.resolve`).

    Raises UsageError for a value outside its range or options that contradict each other.

    >>> import gluon_tricks as gt
    >>> gt.FCNConfig(backbone='resnet50_v1d').replace(aux=True).command()
    'python transfer/train_fcn.py --backbone resnet50_v1d --aux'
    """

    # The network
    model: str = option('fcn', 'segmentation network', choices=('fcn',), group='network')
    backbone: str = option('resnet50', 'base network: a ResNet-B, -C or -D by its name, such as resnet50_v1d; a short '
                           'name such as resnet50 is resnet50_v1b', group='network')
    base_params: str = option('', 'the base network\'s weights: a .params file of its classifier, as train_imagenet.py '
                              'writes it, or timm\'s .safetensors', group='network')
    aux: bool = option(False, 'a second head on the third stage, with a loss of its own', group='network')
    aux_weight: float = option(0.5, 'weight of the second head\'s loss', group='advanced', at_least=0, needs='aux')
    syncbn: bool = option(False, 'batch statistics over all GPUs, not each GPU\'s own', group='network')
    num_classes: int = option(None, 'number of classes, where the data have no objectInfo150.txt (default: 150)',
                              type=int, group='network', at_least=1, at_most=255)

    # The data
    dataset: str = option('ade20k', 'data set', choices=('ade20k',), group='data')
    data_dir: str = option('~/.mxnet/datasets/ade', 'holds ADEChallengeData2016 (`python -m gluon_tricks prepare '
                           'ade20k` writes it)', group='data', free_on_resume=True)
    train_split: str = option('train', 'images to train on', choices=('train',), group='advanced')
    base_size: int = option(520, 'long side of the images, which training scales, in pixels', group='data',
                            at_least=8, at_most=4096)
    scales: tuple = option((0.5, 2.0), 'training: smallest and largest factor of the scaling', type=floats,
                           group='advanced', above=0)
    no_mirror: bool = option(False, 'no horizontal flips in training (for data that a flip makes wrong)', group='data')
    crop_size: int = option(480, 'side of the square that is cut from them, in pixels', group='data',
                            at_least=8, at_most=4096)
    decode_threads: int = option(None, 'images that are read at the same time (default: all cores)',
                                 flags=('-j', '--workers'), type=int, group='data', at_least=1, at_most=1024,
                                 free_on_resume=True)

    # Training
    total_batch_size: int = option(16, 'images per update, over all devices', flags=('--batch-size',), group='training',
                                   at_least=1, at_most=65536)
    test_batch_size: int = option(16, 'images at a time in validation, over all devices', group='advanced',
                                  at_least=1, at_most=65536)
    num_gpus: int = option(None, 'GPUs to use, 0 for the CPU (default: all visible, else the CPU)',
                           flags=('--num-gpus', '--ngpus'), type=int, group='training', at_least=0, at_most=64)
    kv_store: str = option('device', 'how gradients of several devices are added', flags=('--kv-store', '--kvstore'),
                           choices=options.KV_STORES, group='advanced')
    num_epochs: int = option(120, 'passes through the training images', flags=('--num-epochs', '--epochs'),
                             group='training', at_least=1, at_most=1000000)
    optimizer: str = option('sgd', 'SGD with momentum', choices=('sgd',), group='advanced')
    lr: float = option(0.01, 'initial learning rate of the base network (10 times it in the heads); it falls to 0 as '
                       '(1 - t / T) ** 0.9', group='training', above=0)
    warmup_epochs: int = option(0, 'epochs of linear warmup', group='training', at_least=0)
    momentum: float = option(0.9, 'momentum', group='training', at_least=0, below=1)
    wd: float = option(0.0001, 'weight decay', flags=('--weight-decay',), group='training', at_least=0)
    no_wd: bool = option(False, 'no bias decay: weight decay on the weights of convolutions only', group='training')
    loss: str = option('ours', 'ours: mean over the pixels, --aux-weight honoured; gluoncv: the gradient of GluonCV\'s '
                       'loss, smaller by devices / batch size, second head at weight 1', choices=('ours', 'gluoncv'),
                       group='advanced')
    mode: str = option('hybrid', 'hybrid compiles the network, imperative does not', choices=('hybrid', 'imperative'),
                       group='training')

    # The run
    checkname: str = option('', 'last part of the default --save-dir (default: the backbone)', group='advanced')
    save_frequency: int = option(10, 'keep the checkpoint of every N-th epoch (0: the latest and the best only)',
                                 at_least=0, free_on_resume=True)
    save_dir: str = option(PLACE, 'everything the run writes goes here', free_on_resume=True)
    log_interval: int = option(20, 'batches between two log lines', at_least=0, free_on_resume=True)
    no_val: bool = option(False, 'train without validation')

    HEADINGS = {
        'network': 'network (paper section 6.2, Table 9)', 'data': 'data', 'training': 'training', 'run': 'run',
        'advanced': 'advanced'}
    TASK = 'segmentation'
    PROGRAM = 'transfer/train_fcn.py'
    RENAMED = {'workers': 'decode_threads', 'batch_size': 'total_batch_size', 'weight_decay': 'wd'}  # since 0.1.0
    # Flags of GluonCV's script that have no meaning here, and what to do instead.
    REFUSED = {
        '--pretrained': '--pretrained: GluonCV\'s weights are of other networks than the paper\'s; give the '
                        'classifier\'s with --base-params FILE',
        '--model-zoo': '--model-zoo: GluonCV\'s networks stand on ResNets with a wider stem than the paper\'s; give '
                       '--backbone NAME',
        '--start_epoch': '--start_epoch: --resume auto finds the epoch itself',
        '--no-cuda': '--no-cuda: give --ngpus 0',
    }
    REFUSED_VALUES = {
        ('--dtype', 'bfloat16'): '--dtype bfloat16: MXNet has no bfloat16 form of this network\'s dropout; use --dtype '
                                 'float32 or float16',
    }

    def __post_init__(self):
        super().__post_init__()
        _check(self)


def backbone_of(config):
    """The base network's full name: short ones are the paper's ResNet-B (GluonCV's are ResNets with a wider stem)."""
    match = _SHORT.match(config.backbone)
    return config.backbone + '_v1b' if match else config.backbone


def save_dir_of(config):
    """--save-dir, GluonCV's runs/DATASET/MODEL/NAME unless it was given; NAME is --checkname or the backbone."""
    if config.save_dir != PLACE:
        return config.save_dir
    return '/'.join(['runs', config.dataset, config.model, config.checkname or backbone_of(config)])


# ---------------------------------------------------------------------------------------------------------------------
# Rules

def _check(config):
    """Ranges of single options, then the options that need or exclude each other."""
    rule = config.rule
    rule('scales', len(config.scales) == 2 and config.scales[0] <= config.scales[1],
         'two positive numbers, the smaller one first, such as 0.5,2')
    rule('scales', config.base_size * config.scales[1] <= _LARGEST,
         f'such that no image is scaled beyond {_LARGEST} pixels')
    rule('warmup_epochs', config.warmup_epochs < config.num_epochs,
          f'fewer than --epochs {config.num_epochs}: warmup would never end')
    rule('checkname', '/' not in config.checkname, 'a name without /')
    if config.dtype == 'bfloat16':
        raise UsageError(config.REFUSED_VALUES['--dtype', 'bfloat16'])
    if config.devices and config.num_gpus is not None:
        raise UsageError(f'--devices {config.devices} and --ngpus {config.num_gpus} name the devices twice: give one '
                         'of them')


# ---------------------------------------------------------------------------------------------------------------------
# Flags

# What evaluation and prediction look at; --eval --multi-scale also at the sizes.
_EVALUATION = {'model', 'backbone', 'num_classes', 'dataset', 'data_dir', 'decode_threads', 'num_gpus', 'devices',
               'dtype'}
_PREDICTION = {'model', 'backbone', 'num_gpus', 'devices', 'dtype'}


def parser(description=None):
    """The parser of train_fcn.py: every option, and what to do instead of training."""
    result = options.parser(FCNConfig, description)
    result.add_argument('--eval', action='store_true', help='instead of training: pixAcc and mIoU of --params over '
                        'the validation images')
    result.add_argument('--multi-scale', action='store_true', help='--eval: six scales and flips, as GluonCV\'s test '
                        'script did in 2018')
    result.add_argument('--predict', nargs='+', metavar='IMAGE', help='instead of training: draw the segments that '
                        '--params finds')
    result.add_argument('--params', metavar='FILE', help='weights of the whole network, of GluonCV or of a run; or the '
                        'SAVE_DIR of a run: its best')
    result.add_argument('--out', metavar='DIR', help='--predict: the pictures go there (default: pictures)')
    return result


def from_namespace(namespace, base=None):
    """FCNConfig from parsed flags, over a recipe's configuration or the defaults.

    Raises UsageError for a flag that has no meaning here, or that would do nothing.
    """
    typed = options.typed_options(FCNConfig, namespace)
    if base is not None:  # devices typed over a recipe replace its devices
        changes = {'devices': {'num_gpus': None}, 'num_gpus': {'devices': ''}}
        for name in sorted(set(changes) & set(typed)):
            typed = dict(changes[name], **typed)
    config = (base or FCNConfig()).replace(**typed)
    _check_purpose(namespace, typed)
    config.check_typed(typed)
    if 'aux_weight' in typed and config.loss == 'gluoncv':
        _does_nothing('--aux-weight', 'with --loss gluoncv, whose gradient has the second head at weight 1: drop')
    if 'checkname' in typed and config.save_dir != PLACE:
        _does_nothing('--checkname', f'beside --save-dir {config.save_dir}: drop')
    if 'test_batch_size' in typed and config.no_val:
        _does_nothing('--test-batch-size', 'with --no-val: drop')
    return config


def _check_purpose(namespace, typed):
    """Rules of --eval and --predict, and what does nothing with and without them."""
    instead = '--eval' if namespace.eval else '--predict' if namespace.predict else ''
    if namespace.eval and namespace.predict:
        raise UsageError('--eval and --predict are two programs: give one of them')
    if instead and not namespace.params:
        raise UsageError(f'{instead} needs the weights: give --params FILE, a .params file or the SAVE_DIR of a run')
    if namespace.params and not instead:
        _does_nothing('--params', 'without --eval or --predict: add one (the classifier\'s weights to start from are '
                      '--base-params), or drop')
    if namespace.multi_scale and not namespace.eval:
        _does_nothing('--multi-scale', 'without --eval: add it, or drop')
    if namespace.out and not namespace.predict:
        _does_nothing('--out', 'without --predict: add it, or drop')
    if instead:
        used = (_EVALUATION if namespace.eval else _PREDICTION) | (
            {'base_size', 'crop_size'} if namespace.multi_scale else set())
        for name in sorted(set(typed) - used):
            _does_nothing(FCNConfig.flag(name), f'with {instead}: drop')


def _does_nothing(flag, words):
    raise UsageError(f'{flag} does nothing {words} {flag}')
