"""TrainConfig: every option of a training run, once (the flags, the printed command and the recipes are views of it).

The flag names and their meanings are those of GluonCV's ``train_imagenet.py``, whose published commands parse
unchanged; the options that choose between the paper's equation and GluonCV's code stand in ``docs/differences.md``.
Standard library only.
"""
import argparse
import dataclasses
import re

from gluon_tricks.config import options
from gluon_tricks.config.options import KV_STORES, MOST_CLASSES, WORKER_STORES, floats, option
from gluon_tricks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class TrainConfig(options.Options):
    """One classification run. An option left at None is resolved before the run is assembled
    (`tasks.classification.assembly.resolve`).

    Raises UsageError for a value outside its range or options that contradict each other.

    >>> import gluon_tricks as gt
    >>> gt.TrainConfig(batch_size=64).replace(mixup=True).command()
    'python train_imagenet.py --batch-size 64 --mixup'
    """

    # The network (sections 2.1 and 4)
    model: str = option('resnet50_v1d', 'network, by its GluonCV name', group='network')
    num_classes: int = option(1000, 'number of classes', group='network',
                              at_least=1, at_most=MOST_CLASSES, origin='fixed')
    input_size: int = option(None, 'side of the input images in pixels (default: the network\'s own, 224 for most, '
                             '299 for inceptionv3)', type=int, group='network', at_least=8, at_most=2048)
    use_se: bool = option(False, 'squeeze-and-excitation layers in a resnext', flags=('--use_se', '--use-se'),
                          group='network')
    use_pretrained: bool = option(False, 'start from GluonCV\'s published weights (downloads them)', group='network')
    base_params: str = option('', 'fine-tuning: start from the weights of this network in a .params file, or timm\'s '
                              '.safetensors, of any number of classes: all but the output layer, which is always new '
                              '(--resume-params takes it over)', group='network', origin='here')
    train_layers: str = option('all', 'with --base-params: train all layers, or the head alone, which is the output '
                               'layer; the rest then stays as it is, batch normalisation\'s statistics too',
                               choices=('all', 'head'), group='network', origin='here')
    init: str = option('xavier', 'initial weights: xavier as the paper says, msra (MSRAPrelu) as GluonCV does',
                       choices=('xavier', 'msra'), group='advanced', origin='fixed')

    # The data (section 2.1)
    data_backend: str = option('mxnet', 'mxnet reads records; synthetic measures speed without data',
                               choices=('mxnet', 'synthetic'), group='data')
    data_dir: str = option('~/.mxnet/datasets/imagenet', 'holds rec/train.rec and rec/val.rec, or train/CLASS/*.JPEG '
                           'and val/CLASS/*.JPEG, which are packed once', group='data', free_on_resume=True)
    rec_train: str = option('', 'training records (default: DATA_DIR/rec/train.rec)', group='data',
                            free_on_resume=True)
    rec_train_idx: str = option('', 'their index (default: the same name, .idx)', group='data', free_on_resume=True)
    rec_val: str = option('', 'validation records (default: DATA_DIR/rec/val.rec)', group='data', free_on_resume=True)
    rec_val_idx: str = option('', 'their index (default: the same name, .idx)', group='data', free_on_resume=True)
    use_rec: bool = option(False, 'read records only; never pack a folder of images', group='data',
                           free_on_resume=True)
    num_training_samples: int = option(None, 'number of training images: records that hold another number are '
                                       'refused (default: what the index says; synthetic: 1281167)', type=int,
                                       group='advanced', at_least=1)
    decode_threads: int = option(None, 'threads that decode images (default: all cores)',
                              flags=('-j', '--num-data-workers'), type=int, group='data',
                                 at_least=1, at_most=1024, free_on_resume=True)
    crop_ratio: float = option(0.875, 'validation: side of the crop over the resized short side', group='advanced',
                               at_least=0.25, at_most=1)
    rgb_mean: tuple = option((123.68, 116.779, 103.939), 'mean of the channels', type=floats, group='advanced')
    rgb_std: tuple = option((58.393, 57.12, 57.375), 'standard deviation of the channels', type=floats,
                            group='advanced', above=0)
    min_area: float = option(0.08, 'random crop: smallest share of the image\'s area', group='advanced',
                             above=0, at_most=1, origin='fixed')
    jitter: float = option(0.4, 'brightness, contrast and saturation are scaled by 1 - X to 1 + X', group='advanced',
                           at_least=0, at_most=1, origin='fixed')
    pca_noise: float = option(0.1, 'standard deviation of the PCA noise\'s coefficients', group='advanced',
                              at_least=0, origin='fixed')
    no_mirror: bool = option(False, 'no horizontal flips (for data that a flip makes wrong)', group='data',
                             origin='fixed')

    # Efficient training (section 3)
    batch_size: int = option(32, 'images per device and update', group='training', at_least=1, at_most=65536)
    num_gpus: int = option(None, 'GPUs to use, 0 for the CPU (default: all visible, else the CPU)', type=int,
                           group='training', at_least=0, at_most=64)
    num_epochs: int = option(120, 'passes through the training images', group='training', at_least=1, at_most=1000000)
    lr: float = option(None, 'initial learning rate (default: 0.1 * total batch size / 256)', type=float,
                       group='training', above=0)
    warmup_epochs: int = option(0, 'epochs of linear warmup', group='training', at_least=0)
    last_gamma: bool = option(False, 'zero gamma: residual blocks start as the identity', group='training')
    no_wd: bool = option(False, 'no bias decay: weight decay on the weights of convolutions and dense layers only',
                         group='training')
    momentum: float = option(0.9, 'momentum of Nesterov\'s accelerated gradient', group='training',
                             at_least=0, below=1)
    wd: float = option(0.0001, 'weight decay', group='training', at_least=0)
    nag: str = option('paper', 'Nesterov\'s accelerated gradient: paper (MXNet 1.3\'s formula) or mxnet (1.9.1\'s)',
                      choices=('paper', 'mxnet'), group='advanced', origin='fixed')
    kv_store: str = option('device', 'how gradients of several devices are added; dist_sync and horovod: of several '
                           'workers, see `python -m gluon_tricks launch`', choices=KV_STORES + WORKER_STORES,
                           group='advanced', origin='fixed')
    mode: str = option('hybrid', 'hybrid compiles the network, imperative does not; the numbers are equal',
                       choices=('hybrid', 'imperative'), group='training')

    # Training refinements (section 5, and the slides)
    lr_mode: str = option('step', 'decay of the learning rate', choices=('step', 'cosine', 'poly'),
                          group='refinements')
    lr_decay: float = option(0.1, 'step: factor of each drop', group='refinements', above=0)
    lr_decay_epoch: str = option('30,60,90', 'step: epochs of the drops', group='refinements')
    lr_decay_period: int = option(0, 'step: a drop every N epochs instead (0: off)', group='refinements',
                                  at_least=0)
    schedule: str = option('paper', 'formula of warmup and decay: the paper\'s, GluonCV\'s of 2018 (which made its '
                           'published logs) or its latest', choices=('paper', 'gluoncv-2018', 'gluoncv'),
                           group='advanced', origin='fixed')
    label_smoothing: bool = option(False, 'label smoothing', group='refinements')
    epsilon: float = option(0.1, 'label smoothing: probability taken from the label', group='refinements',
                            at_least=0, below=1, needs='label_smoothing', origin='fixed')
    smoothing: str = option('paper', 'label smoothing: epsilon/(K-1) for the others (paper) or epsilon/K for all '
                            '(gluoncv)', choices=('paper', 'gluoncv'), group='advanced',
                            needs='label_smoothing', origin='fixed')
    teacher: str = option('', 'distillation: the teacher network\'s name', group='refinements')
    teacher_params: str = option('', 'distillation: the teacher\'s weights, a .params file or timm\'s .safetensors',
                                 group='refinements', origin='here')
    temperature: float = option(20.0, 'distillation: temperature T', group='refinements', above=0, needs='teacher')
    distill_loss: str = option('paper', 'distillation: hard + T^2 soft (paper) or w hard + (1-w) T^2 soft (gluoncv)',
                               choices=('paper', 'gluoncv'), group='advanced', needs='teacher', origin='fixed')
    hard_weight: float = option(0.5, 'distillation: w of --distill-loss gluoncv', group='advanced',
                                at_least=0, at_most=1, needs='distill_loss=gluoncv')
    mixup: bool = option(False, 'mixup', group='refinements')
    mixup_alpha: float = option(0.2, 'mixup: lambda ~ Beta(alpha, alpha)', group='refinements', above=0, needs='mixup')
    mixup_off_epoch: int = option(0, 'mixup, CutMix: the last N epochs are without (0: none)', group='refinements',
                                  at_least=0, needs=('mixup', 'cutmix'))
    mixup_pairs: str = option('random', 'mixup, cutmix: partners by a random permutation, or by reversing the '
                              'device\'s batch as GluonCV does', choices=('random', 'reverse'), group='advanced',
                              needs=('mixup', 'cutmix'), origin='fixed')
    cutmix: bool = option(False, 'CutMix; with --mixup one of the two is drawn for each batch', group='refinements',
                          origin='here')
    cutmix_alpha: float = option(1.0, 'CutMix: lambda ~ Beta(alpha, alpha)', group='refinements',
                                 above=0, needs='cutmix', origin='here')
    cutout: int = option(0, 'Cutout: side of the square set to the mean, in pixels (0: off)', group='refinements',
                         at_least=0, origin='here')

    # The run
    save_frequency: int = option(10, 'keep the checkpoint of every N-th epoch (0: the latest and the best only)',
                                 at_least=0, free_on_resume=True)
    resume_epoch: int = option(0, 'start at this epoch (with --resume-params)', at_least=0, group='advanced')
    resume_params: str = option('', 'start from the weights of this .params file, or timm\'s .safetensors')
    logging_file: str = option('train_imagenet.log', 'name of the log, in SAVE_DIR', group='advanced',
                              free_on_resume=True)

    HEADINGS = {
        'network': 'network (paper sections 2.1 and 4)', 'data': 'data (section 2.1)',
        'training': 'efficient training (sections 2.1 and 3)', 'refinements': 'training refinements (section 5)',
        'run': 'run', 'advanced': 'advanced'}
    TASK = 'classification'
    PROGRAM = 'train_imagenet.py'
    RENAMED = {'num_workers': 'decode_threads'}  # since 0.1.0
    # Flags of GluonCV's script that have no meaning here, and what to do instead.
    REFUSED = {
        '--use-gn': 'group normalisation is not part of the paper: drop --use-gn',
        '--warmup-lr': 'warmup starts at 0, as in the paper; GluonCV reads --warmup-lr and ignores it: drop it',
        '--resume-states': 'a .states file is a Python pickle, which can run code when it is read: it is not loaded; '
                           'resume a run of this project with --resume auto, or start from weights with '
                           '--resume-params',
    }
    REFUSED_VALUES = {
        ('--mode', 'symbolic'): '--mode symbolic is not supported (GluonCV\'s own script ignores it): use --mode '
                                'hybrid',
        ('--data-backend', 'dali-gpu'): '--data-backend dali-gpu is not supported: use --data-backend mxnet',
        ('--data-backend', 'dali-cpu'): '--data-backend dali-cpu is not supported: use --data-backend mxnet',
    }

    def __post_init__(self):
        super().__post_init__()
        _check(self)

    @property
    def decay_epochs(self):
        """Epochs of the step decay as a tuple of ints."""
        if self.lr_decay_period > 0:
            return tuple(range(self.lr_decay_period, self.num_epochs, self.lr_decay_period))
        return options.epochs(self.lr_decay_epoch)


# ---------------------------------------------------------------------------------------------------------------------
# Rules

def _check(config):
    """The rules between options: those that bound, need or exclude each other."""
    rule = config.rule
    rule('warmup_epochs', config.warmup_epochs < config.num_epochs,
          f'fewer than --num-epochs {config.num_epochs}: warmup would never end')
    rule('mixup_off_epoch', config.mixup_off_epoch < config.num_epochs,
          f'below --num-epochs {config.num_epochs}: nothing would ever be mixed')
    rule('rgb_mean', len(config.rgb_mean) == 3, 'three numbers separated by commas')
    rule('rgb_std', len(config.rgb_std) == 3, 'three positive numbers')
    drops = config.decay_epochs
    rule('lr_decay_epoch', all(a < b for a, b in zip(drops, drops[1:])) and min(drops, default=1) > 0,
          'increasing positive epochs, such as 30,60,90')
    if config.devices and config.num_gpus is not None:
        raise UsageError(f'--devices {config.devices} and --num-gpus {config.num_gpus} name the devices twice: give '
                         'one of them')
    if config.resume not in ('', 'auto') and config.resume_params:  # auto: the weights are for the run's beginning
        raise UsageError(f'--resume {config.resume} and --resume-params are two ways to start: give one of them')
    if config.resume_epoch and not config.resume_params:
        raise UsageError(f'--resume-epoch {config.resume_epoch} needs the weights to start from: give --resume-params '
                         'FILE, or use --resume auto, which finds the epoch itself')
    rule('resume_epoch', config.resume_epoch < config.num_epochs, f'below --num-epochs {config.num_epochs}')
    if config.last_gamma and config.use_pretrained:
        raise UsageError('--last-gamma is for new weights and --use-pretrained loads trained ones: drop one of them')
    starts = [config.flag(name) for name in ('base_params', 'resume_params', 'use_pretrained') if getattr(config, name)]
    if len(starts) > 1:
        raise UsageError(f'{starts[0]} and {starts[1]} both give the first weights: drop one of them')
    if config.train_layers == 'head' and not config.base_params:
        raise UsageError('--train-layers head trains the output layer on what the other layers have learned before: '
                         'give their weights with --base-params FILE')
    if config.teacher_params and not config.teacher:
        raise UsageError(f"--teacher-params {config.teacher_params} needs the network's name: give --teacher NAME")
    if config.teacher and not config.teacher_params:
        raise UsageError(f'--teacher {config.teacher} needs its weights: give --teacher-params FILE, a .params file '
                         'trained by a teacher recipe (see `python -m gluon_tricks recipes`)')
    if config.label_smoothing and config.num_classes < 2:
        raise UsageError(f'--label-smoothing needs at least 2 classes: --num-classes is {config.num_classes}')


# ---------------------------------------------------------------------------------------------------------------------
# Flags

def parser(description=None):
    """The parser of train_imagenet.py."""
    result = options.parser(TrainConfig, description)
    add_batch_norm(result)
    return result


def add_batch_norm(parser):
    """Add the flag that is no option of its own; parser: with `groups`, the parts of its help."""
    parser.groups['advanced'].add_argument(
        '--batch-norm', action='store_true', default=argparse.SUPPRESS,
        help='the form of a VGG with batch normalisation: --model vgg16 becomes vgg16_bn')


def from_namespace(namespace, base=None):
    """TrainConfig from parsed flags, over a recipe's configuration or the defaults.

    Raises UsageError for a flag that has no meaning here, or that would do nothing.
    """
    typed = options.typed_options(TrainConfig, namespace)
    config = (base or TrainConfig()).replace(**_other_devices(base, typed))
    config.check_typed(typed)
    return config.replace(model=_with_batch_norm(config.model)) if 'batch_norm' in namespace else config


def _with_batch_norm(model):
    vgg = re.match(r'(vgg\d+)(_bn)?$', model, re.IGNORECASE)
    if not vgg:
        raise UsageError(f'--batch-norm is for VGG, such as --model vgg16, and --model is {model}: drop --batch-norm')
    return vgg.group(1) + '_bn'


def _other_devices(base, typed):
    """Devices typed over a recipe replace its devices, and its learning rate follows the new total batch size."""
    if base is not None and 'devices' in typed and 'num_gpus' not in typed:
        typed = dict(typed, num_gpus=None)
    if base is not None and 'num_gpus' in typed and 'devices' not in typed:
        typed = dict(typed, devices='')
    return typed
