"""The options of train_faster_rcnn.py, under the names of GluonCV's script (paper section 6.1, Table 8).

GluonCV's published command gives the configuration of its published log. Standard library only.
"""
import dataclasses

from gluon_tricks.config import options
from gluon_tricks.config.options import floats, option
from gluon_tricks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class RCNNConfig(options.Options):
    """One run of Faster-RCNN. An option left at None is resolved when the run is assembled.

    Raises UsageError for a value outside its range or options that contradict each other.

    >>> import gluon_tricks as gt
    >>> gt.RCNNConfig(network='resnet50_v1d').replace(num_epochs=10).command()
    'python transfer/train_faster_rcnn.py --network resnet50_v1d --epochs 10'
    """

    # The base network: the axis of Table 8
    network: str = option('resnet50_v1b', 'base network: a ResNet-B, -C or -D', group='network')
    base_params: str = option('', 'the base network\'s weights: a .params file of its training as a classifier, '
                              'or timm\'s .safetensors', group='network')
    train_layers: str = option('paper', 'paper: the stem, stage 1 and all batch normalisation are frozen; all: only '
                               'batch normalisation is', choices=('paper', 'all'), group='network')
    calibrate: int = option(0, 'set the base network\'s running statistics from N training images first (for new '
                            'weights, which have none)', group='advanced', at_least=0)

    # The detector (Detectron's numbers, as GluonCV has them)
    rpn_channel: int = option(1024, 'channels of the proposal network', group='advanced', at_least=1)
    anchor_scales: tuple = option((2.0, 4.0, 8.0, 16.0, 32.0), 'sides of the anchors, in 16 pixels', type=floats,
                                  group='advanced', above=0)
    rpn_train_pre_nms: int = option(12000, 'training: proposals before suppression', group='advanced', at_least=1)
    rpn_train_post_nms: int = option(2000, 'training: proposals after it', group='advanced', at_least=1)
    rpn_test_pre_nms: int = option(6000, 'testing: proposals before suppression', group='advanced', at_least=1)
    rpn_test_post_nms: int = option(300, 'testing: proposals after it', group='advanced', at_least=1)
    rpn_min_size: int = option(16, 'smallest side of a proposal in pixels', group='advanced', at_least=1)
    num_sample: int = option(128, 'regions of an image that are trained on', flags=('--rcnn-num-samples',),
                             group='advanced', at_least=1)
    rpn_smoothl1_rho: float = option(1.0 / 9.0, 'where the proposal network\'s box loss turns from L2 to L1',
                                     group='advanced', above=0)
    rcnn_smoothl1_rho: float = option(1.0, 'where the regions\' box loss turns from L2 to L1', group='advanced',
                                      above=0)

    # The data
    dataset: str = option('voc', 'VOC 2007 and 2012 trainval to train on, 2007 test to test on', choices=('voc',),
                          group='data')
    data_dir: str = option('~/.mxnet/datasets/voc', 'holds VOC2007 and VOC2012, as `prepare voc` writes them',
                           group='data', free_on_resume=True)
    image_short: int = option(600, 'short side of the images in pixels', group='data', at_least=32, at_most=4096)
    image_max_size: int = option(1000, 'longest side of the images in pixels', group='data', at_least=32, at_most=4096)
    no_mirror: bool = option(False, 'no horizontal flips in training (for data that a flip makes wrong)', group='data')
    loader_processes: int = option(4, 'processes that load images (0: the main process loads them)',
                                   flags=('--num-workers', '-j'), group='data', at_least=0, at_most=64,
                                   free_on_resume=True)

    # Training
    total_batch_size: int = option(None, 'images per update, over all devices (default: one on each)',
                                   flags=('--batch-size',), type=int, group='training', at_least=1, at_most=65536)
    gpus: str = option('', 'GPUs by number, such as 0,1,2,3 (default: all visible, else the CPU)', group='training')
    num_epochs: int = option(20, 'passes through the training images', flags=('--epochs',), group='training',
                             at_least=1, at_most=1000000)
    lr: float = option(0.001, 'learning rate', group='training', above=0)
    lr_decay: float = option(0.1, 'factor of each drop', group='training', above=0)
    lr_decay_epoch: str = option('14,20', 'epochs of the drops', group='training')
    lr_warmup: int = option(-1, 'updates of linear warmup (0 or less: none)', group='training')
    lr_warmup_factor: float = option(1.0 / 3.0, 'share of the learning rate that warmup starts with', group='advanced',
                                     at_least=0, at_most=1)
    momentum: float = option(0.9, 'momentum', group='training', at_least=0, below=1)
    wd: float = option(0.0005, 'weight decay', group='training', at_least=0)
    clip_gradient: float = option(5.0, 'each number of the gradient is kept within plus and minus this (0: off); 5 '
                                  'made the published numbers', group='advanced', at_least=0)
    amp: bool = option(False, 'the same as --dtype float16', group='training')
    disable_hybridization: bool = option(False, 'do not compile the network', group='advanced')
    static_alloc: bool = option(False, 'compile it with fixed memory', group='advanced')

    # The run
    seed: int = option(233, 'seed of the new weights, the order of the data and all draws', at_least=0, below=2 ** 31)
    save_dir: str = option('faster_rcnn', 'everything the run writes goes here', free_on_resume=True)
    save_prefix: str = option('', 'put before the names of exported .params', group='advanced')
    save_frequency: int = option(1, 'keep the checkpoint of every N-th epoch (0: the latest and the best only)',
                                 flags=('--save-interval',), group='run', at_least=0, free_on_resume=True)
    val_interval: int = option(1, 'epochs from one evaluation to the next', group='run', at_least=1)
    log_interval: int = option(100, 'batches between two log lines', at_least=0, free_on_resume=True)
    logging_file: str = option('train_faster_rcnn.log', 'name of the log, in SAVE_DIR', group='advanced',
                              free_on_resume=True)

    HEADINGS = {
        'network': 'base network (paper section 6.1, Table 8)', 'data': 'data', 'training': 'training', 'run': 'run',
        'advanced': 'advanced: the detector (Detectron\'s numbers), files, runs'}
    TASK = 'detection'
    PROGRAM = 'transfer/train_faster_rcnn.py'
    RENAMED = {'num_workers': 'loader_processes', 'batch_size': 'total_batch_size'}  # since 0.1.0
    # Flags of GluonCV's script that have no meaning here, and what to do instead.
    REFUSED = {
        '--use-fpn': 'feature pyramids are not part of the paper: drop --use-fpn',
        '--norm-layer': 'batch normalisation is frozen, as in the paper: drop --norm-layer',
        '--mixup': 'mixup of detection images is not part of the paper; its mixup is in the base network\'s training: '
                   'drop --mixup',
        '--no-mixup-epochs': 'there is no --mixup here: drop --no-mixup-epochs',
        '--horovod': 'drop --horovod: several GPUs are named by --gpus 0,1,2,3',
        '--executor-threads': 'MXNet\'s engine runs the devices side by side by itself: drop --executor-threads',
        '--start-epoch': '--resume auto finds the epoch itself: drop --start-epoch',
        '--verbose': 'run.json and log.jsonl hold every detail: drop --verbose',
    }

    def __post_init__(self):
        super().__post_init__()
        self.rule('image_max_size', self.image_max_size >= self.image_short, 'at least --image-short '
                                                                             f'{self.image_short}')
        self.rule('dtype', self.dtype != 'bfloat16', 'float32 or float16: MXNet has no bfloat16 form of the detector')
        self.rule('save_prefix', '/' not in self.save_prefix, 'a beginning of names without a directory')
        drops = self.decay_epochs
        self.rule('lr_decay_epoch', all(a < b for a, b in zip((0,) + drops, drops)),
                  'increasing positive epochs, such as 14,20')
        if self.resume.endswith('.params'):
            raise UsageError(f'--resume {self.resume}: weights alone cannot resume a run; give --resume auto, or test '
                             f'them with --eval --params {self.resume}')
        if self.devices and self.gpus:
            raise UsageError(f'--devices {self.devices} and --gpus {self.gpus} name the devices twice: give one of '
                             'them')

    @property
    def decay_epochs(self):
        """Epochs of the drops as a tuple of ints."""
        return options.epochs(self.lr_decay_epoch)


def from_namespace(namespace, base=None):
    """RCNNConfig from parsed flags, over a recipe's configuration or the defaults. Raises UsageError."""
    typed = options.typed_options(RCNNConfig, namespace)
    if typed.get('amp') and typed.get('dtype', 'float16') != 'float16':
        raise UsageError(f'--amp is --dtype float16 and --dtype is {typed["dtype"]}: give one of them')
    if base is not None and 'devices' in typed:
        typed = dict({'gpus': ''}, **typed)
    if base is not None and 'gpus' in typed:
        typed = dict({'devices': ''}, **typed)
    config = (base or RCNNConfig()).replace(**typed)
    if config.amp:
        config = config.replace(amp=False, dtype='float16')
    config.check_typed(typed)
    return config
