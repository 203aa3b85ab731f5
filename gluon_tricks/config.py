"""TrainConfig: every option of a training run, once (the flags, the printed command and the recipes are views of it).

The flag names and their meanings are those of GluonCV's ``train_imagenet.py``, whose published commands parse
unchanged; the options that choose between the paper's equation and GluonCV's code stand in ``docs/differences.md``.
Standard library only.
"""
import argparse
import dataclasses
import json
import math
import shlex

from gluon_tricks.errors import Parser, UsageError

DTYPES = ('float32', 'float16', 'bfloat16')
KV_STORES = ('device', 'local', 'nccl')


def _option(default, help, flags=None, choices=None, type=None, group='run'):
    """A dataclass field that knows its flag. ``type``: what makes the value from the flag's text."""
    return dataclasses.field(default=default, metadata=dict(help=help, flags=flags, choices=choices, type=type,
                                                            group=group))


def _floats(text):
    try:
        return tuple(float(part) for part in text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError('%r must be numbers separated by commas' % text) from None


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One classification run. An option left at None is resolved when the run is assembled (`train_imagenet.resolve`).

    Raises UsageError for a value outside its range or options that contradict each other.
    """

    # The network (sections 2.1 and 4)
    model: str = _option('resnet50_v1d', 'network, by its GluonCV name', group='network')
    num_classes: int = _option(1000, 'number of classes', group='network')
    input_size: int = _option(None, 'side of the input images in pixels (default: the network\'s own, 224 for most, '
                              '299 for inceptionv3)', type=int, group='network')
    use_se: bool = _option(False, 'squeeze-and-excitation layers in a resnext', flags=('--use_se', '--use-se'),
                           group='network')
    use_pretrained: bool = _option(False, 'start from GluonCV\'s published weights (downloads them)', group='network')
    init: str = _option('xavier', 'initial weights: xavier as the paper says, msra (MSRAPrelu) as GluonCV does',
                        choices=('xavier', 'msra'), group='network')

    # The data (section 2.1)
    data_backend: str = _option('mxnet', 'mxnet reads records; synthetic measures speed without data',
                                choices=('mxnet', 'synthetic'), group='data')
    data_dir: str = _option('~/.mxnet/datasets/imagenet', 'holds rec/train.rec and rec/val.rec, or train/CLASS/*.JPEG '
                            'and val/CLASS/*.JPEG, which are packed once', group='data')
    rec_train: str = _option('', 'training records (default: DATA_DIR/rec/train.rec)', group='data')
    rec_train_idx: str = _option('', 'their index (default: the same name, .idx)', group='data')
    rec_val: str = _option('', 'validation records (default: DATA_DIR/rec/val.rec)', group='data')
    rec_val_idx: str = _option('', 'their index (default: the same name, .idx)', group='data')
    use_rec: bool = _option(False, 'read records only; never pack a folder of images', group='data')
    num_training_samples: int = _option(None, 'number of training images: records that hold another number are '
                                        'refused (default: what the index says; synthetic: 1281167)', type=int,
                                        group='data')
    num_workers: int = _option(None, 'parts of the record file that are decoded at the same time (default: all cores)',
                               flags=('-j', '--num-data-workers'), type=int, group='data')
    crop_ratio: float = _option(0.875, 'validation: side of the crop over the resized short side', group='data')
    rgb_mean: tuple = _option((123.68, 116.779, 103.939), 'mean of the channels', type=_floats, group='data')
    rgb_std: tuple = _option((58.393, 57.12, 57.375), 'standard deviation of the channels', type=_floats, group='data')
    min_area: float = _option(0.08, 'random crop: least share of the image\'s area', group='data')
    jitter: float = _option(0.4, 'brightness, contrast and saturation are scaled by 1 +- this', group='data')
    pca_noise: float = _option(0.1, 'standard deviation of the PCA noise\'s coefficients', group='data')
    no_mirror: bool = _option(False, 'no horizontal flips (for data that a flip makes wrong)', group='data')

    # Efficient training (section 3)
    batch_size: int = _option(32, 'images per device and update', group='training')
    num_gpus: int = _option(None, 'GPUs to use, 0 for the CPU (default: all visible, else the CPU)', type=int,
                            group='training')
    devices: str = _option('', 'devices by name instead of --num-gpus, such as "gpu(0),gpu(2)" or "cpu(0),cpu(1)"',
                           group='training')
    kv_store: str = _option('device', 'how gradients of several devices are added', choices=KV_STORES,
                            group='training')
    num_epochs: int = _option(120, 'passes through the training images', group='training')
    lr: float = _option(None, 'initial learning rate (default: 0.1 * total batch size / 256)', type=float,
                        group='training')
    warmup_epochs: int = _option(0, 'epochs of linear warmup', group='training')
    last_gamma: bool = _option(False, 'zero gamma: residual blocks start as the identity', group='training')
    no_wd: bool = _option(False, 'no bias decay: weight decay on the weights of convolutions and dense layers only',
                          group='training')
    dtype: str = _option('float32', 'precision: float16 keeps float32 master weights', choices=DTYPES,
                         group='training')
    loss_scale: str = _option('dynamic', 'float16: dynamic, or a fixed positive number', group='training')
    momentum: float = _option(0.9, 'momentum of Nesterov\'s accelerated gradient', group='training')
    wd: float = _option(0.0001, 'weight decay', group='training')
    nag: str = _option('paper', 'Nesterov\'s accelerated gradient: paper (MXNet 1.3\'s formula) or mxnet (1.9.1\'s)',
                       choices=('paper', 'mxnet'), group='training')
    mode: str = _option('hybrid', 'hybrid compiles the network, imperative does not; the numbers are equal',
                        choices=('hybrid', 'imperative'), group='training')

    # Training refinements (section 5, and the slides)
    lr_mode: str = _option('step', 'decay of the learning rate', choices=('step', 'cosine', 'poly'),
                           group='refinements')
    lr_decay: float = _option(0.1, 'step: factor of each drop', group='refinements')
    lr_decay_epoch: str = _option('30,60,90', 'step: epochs of the drops', group='refinements')
    lr_decay_period: int = _option(0, 'step: a drop every so many epochs instead (0: off)', group='refinements')
    schedule: str = _option('paper', 'formula of warmup and decay: the paper\'s, GluonCV\'s of 2018 (that made its '
                            'published logs) or its last', choices=('paper', 'gluoncv-2018', 'gluoncv'),
                            group='refinements')
    label_smoothing: bool = _option(False, 'label smoothing', group='refinements')
    epsilon: float = _option(0.1, 'label smoothing: probability taken from the label', group='refinements')
    smoothing: str = _option('paper', 'label smoothing: epsilon/(K-1) for the others (paper) or epsilon/K for all '
                             '(gluoncv)', choices=('paper', 'gluoncv'), group='refinements')
    teacher: str = _option('', 'distillation: the teacher network\'s name', group='refinements')
    teacher_params: str = _option('', 'distillation: the teacher\'s .params file', group='refinements')
    temperature: float = _option(20.0, 'distillation: temperature T', group='refinements')
    distill_loss: str = _option('paper', 'distillation: hard + T^2 soft (paper) or w hard + (1-w) T^2 soft (gluoncv)',
                                choices=('paper', 'gluoncv'), group='refinements')
    hard_weight: float = _option(0.5, 'distillation: w of --distill-loss gluoncv', group='refinements')
    mixup: bool = _option(False, 'mixup', group='refinements')
    mixup_alpha: float = _option(0.2, 'mixup: lambda ~ Beta(alpha, alpha)', group='refinements')
    mixup_off_epoch: int = _option(0, 'mixup: train so many last epochs without it', group='refinements')
    mixup_pairs: str = _option('random', 'mixup, cutmix: partners by a random permutation, or by reversing the '
                               'device\'s batch as GluonCV does', choices=('random', 'reverse'), group='refinements')
    cutmix: bool = _option(False, 'CutMix; with --mixup one of the two is drawn for each batch', group='refinements')
    cutmix_alpha: float = _option(1.0, 'CutMix: lambda ~ Beta(alpha, alpha)', group='refinements')
    cutout: int = _option(0, 'Cutout: side of the square set to the mean, in pixels (0: off)', group='refinements')

    # The run
    seed: int = _option(0, 'seed of the initial weights, the order of the data and all draws')
    save_dir: str = _option('params', 'everything the run writes goes here')
    save_frequency: int = _option(10, 'keep the checkpoint of every so many epochs (0: the latest and the best only)')
    save_dtype: str = _option('float32', 'precision of the exported .params', choices=('float32', 'float16'))
    resume: str = _option('', 'auto: go on from SAVE_DIR/latest if there is one; or a checkpoint\'s directory')
    resume_epoch: int = _option(0, 'start at this epoch (with --resume-params)')
    resume_params: str = _option('', 'start from the weights of this .params file')
    log_interval: int = _option(50, 'batches between two log lines')
    logging_file: str = _option('train_imagenet.log', 'name of the log, in SAVE_DIR')
    tensorboard: bool = _option(False, 'write TensorBoard events to SAVE_DIR/tensorboard (needs tensorboardX)')

    def __post_init__(self):
        _check(self)

    @property
    def decay_epochs(self):
        """Epochs of the step decay as a tuple of ints."""
        if self.lr_decay_period > 0:
            return tuple(range(self.lr_decay_period, self.num_epochs, self.lr_decay_period))
        return _epochs(self.lr_decay_epoch)

    def replace(self, **changes):
        """A copy with some options changed; an unknown name is a TypeError."""
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        """Plain dict in the order of the fields; tuples become lists, as JSON has them."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self).items()}

    def to_json(self):
        return json.dumps(self.to_dict(), indent=2)

    def arguments(self):
        """The flags that make this configuration, as a list; options at their default are left out."""
        words = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            flag = _flags(field)[-1]
            if isinstance(value, bool):
                words.append(flag)
                continue
            text = ','.join('%r' % part for part in value) if isinstance(value, tuple) else str(value)
            # argparse takes a separate word that starts with a dash for a flag
            words += ['%s=%s' % (flag, text)] if text.startswith('-') else [flag, text]
        return words

    def command(self):
        """The plain command of this run, as a user would type it."""
        return ' '.join(['python', 'train_imagenet.py'] + [shlex.quote(word) for word in self.arguments()])

    @classmethod
    def from_dict(cls, values):
        """From `to_dict`; raises UsageError for a name this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise UsageError('option %r of the stored configuration is unknown to this version of gluon_tricks: '
                                 'use the version that wrote it' % name)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


# ---------------------------------------------------------------------------------------------------------------------
# Rules

def _epochs(text):
    try:
        return tuple(int(part) for part in text.split(',') if part.strip())
    except ValueError:
        raise UsageError('--lr-decay-epoch %r must be epochs separated by commas, such as 30,60,90' % text) from None


def _rule(config, name, holds, rule):
    if not holds:
        field = next(f for f in dataclasses.fields(config) if f.name == name)
        raise UsageError('%s %s must be %s' % (_flags(field)[-1], getattr(config, name), rule))


def _check(config):
    """Ranges of single options, then the options that need or exclude each other."""
    for field in dataclasses.fields(config):
        value, choices = getattr(config, field.name), field.metadata['choices']
        if choices:
            _rule(config, field.name, value in choices, 'one of: %s' % ', '.join(choices))
        numbers = value if isinstance(value, tuple) else (value,)
        _rule(config, field.name, all(math.isfinite(n) for n in numbers if isinstance(n, float)),
              'finite: inf and nan are no values')
    for name in ('num_classes', 'batch_size', 'num_epochs'):
        _rule(config, name, getattr(config, name) >= 1, 'at least 1')
    for name in ('input_size', 'num_workers', 'num_training_samples'):
        value = getattr(config, name)
        _rule(config, name, value is None or value >= 1, 'at least 1')
    for name in ('warmup_epochs', 'wd', 'lr_decay_period', 'mixup_off_epoch', 'cutout', 'seed', 'save_frequency',
                 'resume_epoch', 'jitter', 'pca_noise', 'log_interval'):
        _rule(config, name, getattr(config, name) >= 0, '0 or more')
    for name in ('mixup_alpha', 'cutmix_alpha', 'temperature', 'lr_decay'):
        _rule(config, name, getattr(config, name) > 0, 'above 0')
    for name in ('crop_ratio', 'min_area'):
        _rule(config, name, 0 < getattr(config, name) <= 1, 'above 0 and at most 1')
    _rule(config, 'seed', config.seed < 2 ** 31, 'below 2147483648')
    _rule(config, 'jitter', config.jitter <= 1, 'at most 1')
    _rule(config, 'lr', config.lr is None or config.lr > 0, 'above 0')
    _rule(config, 'momentum', 0 <= config.momentum < 1, 'at least 0 and below 1')
    _rule(config, 'epsilon', 0 <= config.epsilon < 1, 'at least 0 and below 1')
    _rule(config, 'hard_weight', 0 <= config.hard_weight <= 1, 'between 0 and 1')
    _rule(config, 'num_gpus', config.num_gpus is None or config.num_gpus >= 0, '0 or more')
    _rule(config, 'warmup_epochs', config.warmup_epochs < config.num_epochs,
          'fewer than --num-epochs %d: warmup would never end' % config.num_epochs)
    _rule(config, 'mixup_off_epoch', config.mixup_off_epoch < config.num_epochs,
          'below --num-epochs %d: nothing would ever be mixed' % config.num_epochs)
    _rule(config, 'rgb_mean', len(config.rgb_mean) == 3, 'three numbers separated by commas')
    _rule(config, 'rgb_std', len(config.rgb_std) == 3 and min(config.rgb_std) > 0, 'three positive numbers')
    _rule(config, 'loss_scale', config.loss_scale == 'dynamic' or _positive(config.loss_scale),
          'dynamic or a positive number')
    drops = config.decay_epochs
    _rule(config, 'lr_decay_epoch', all(a < b for a, b in zip(drops, drops[1:])) and min(drops, default=1) > 0,
          'increasing positive epochs, such as 30,60,90')
    _rule(config, 'logging_file', config.logging_file and '/' not in config.logging_file,
          'a file name without a directory: the log goes to SAVE_DIR')
    _rule(config, 'save_dir', bool(config.save_dir), 'a directory, such as params')
    if config.devices and config.num_gpus is not None:
        raise UsageError('--devices %s and --num-gpus %d name the devices twice: give one of them'
                         % (config.devices, config.num_gpus))
    if config.resume not in ('', 'auto') and config.resume_params:  # auto: the weights are for the run's beginning
        raise UsageError('--resume %s and --resume-params are two ways to start: give one of them' % config.resume)
    if config.resume_epoch and not config.resume_params:
        raise UsageError('--resume-epoch %d needs the weights to start from: give --resume-params FILE, or use '
                         '--resume auto, which finds the epoch itself' % config.resume_epoch)
    _rule(config, 'resume_epoch', config.resume_epoch < config.num_epochs, 'below --num-epochs %d' % config.num_epochs)
    if config.last_gamma and config.use_pretrained:
        raise UsageError('--last-gamma is for new weights and --use-pretrained loads trained ones: drop one of them')
    if config.resume_params and config.use_pretrained:
        raise UsageError('--resume-params and --use-pretrained both give the first weights: drop one of them')
    if config.teacher_params and not config.teacher:
        raise UsageError('--teacher-params %s needs the network\'s name: give --teacher NAME' % config.teacher_params)
    if config.teacher and not config.teacher_params:
        raise UsageError('--teacher %s needs its weights: give --teacher-params FILE, a .params file trained by a '
                         'teacher recipe (see `python -m gluon_tricks recipes`)' % config.teacher)
    if config.label_smoothing and config.num_classes < 2:
        raise UsageError('--label-smoothing needs at least 2 classes: --num-classes is %d' % config.num_classes)


def _positive(text):
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


# ---------------------------------------------------------------------------------------------------------------------
# Flags

# Flags of GluonCV's script that have no meaning here, and what to do instead.
REFUSED = {
    '--use-gn': 'group normalisation is not part of the paper: drop --use-gn',
    '--batch-norm': '--batch-norm is for VGG, which is not part of the paper: take a vgg16_bn model by its name',
    '--warmup-lr': 'warmup starts at 0, as in the paper; GluonCV reads --warmup-lr and ignores it: drop it',
    '--resume-states': 'a .states file is a Python pickle, which can run code when it is read: it is not loaded; '
                       'resume a run of this project with --resume auto, or start from weights with --resume-params',
}
_REFUSED_VALUES = {
    ('--mode', 'symbolic'): '--mode symbolic is not supported (GluonCV\'s own script ignores it): use --mode hybrid',
    ('--data-backend', 'dali-gpu'): '--data-backend dali-gpu is not supported: use --data-backend mxnet',
    ('--data-backend', 'dali-cpu'): '--data-backend dali-cpu is not supported: use --data-backend mxnet',
}
# An option that would do nothing is refused when it is typed: option -> the option it belongs to.
_NEEDS = {'mixup_alpha': ('mixup',), 'mixup_off_epoch': ('mixup', 'cutmix'), 'mixup_pairs': ('mixup', 'cutmix'),
          'cutmix_alpha': ('cutmix',), 'epsilon': ('label_smoothing',), 'smoothing': ('label_smoothing',),
          'temperature': ('teacher',), 'distill_loss': ('teacher',), 'hard_weight': ('teacher',)}
_NEEDS_VALUE = {'hard_weight': ('distill_loss', 'gluoncv'), 'loss_scale': ('dtype', 'float16')}


def _flags(field):
    return field.metadata['flags'] or ('--' + field.name.replace('_', '-'),)


class _Refuse(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        raise UsageError(REFUSED[option_string])


def add_arguments(parser):
    """Add one flag per option of TrainConfig to an argparse parser; absent flags leave no attribute."""
    groups = {}
    for field in dataclasses.fields(TrainConfig):
        meta = field.metadata
        if meta['group'] not in groups:
            groups[meta['group']] = parser.add_argument_group(meta['group'])
        arguments = dict(dest=field.name, default=argparse.SUPPRESS, help=meta['help'].replace('%', '%%'))
        if isinstance(field.default, bool):
            arguments['action'] = 'store_true'
        else:
            arguments['type'] = meta['type'] or type(field.default)
            arguments['metavar'] = '{%s}' % ','.join(meta['choices']) if meta['choices'] else field.name.upper()
            if field.default not in (None, ''):
                shown = ','.join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
                arguments['help'] += ' (default: %s)' % shown
        groups[meta['group']].add_argument(*_flags(field), **arguments)
    for flag in REFUSED:
        parser.add_argument(flag, nargs='?', action=_Refuse, help=argparse.SUPPRESS)


def parser(prog='train_imagenet.py', description=None):
    """The parser of the training command: every option, and ``--recipe`` and ``--print-config``."""
    result = Parser(prog=prog, description=description)
    result.add_argument('--recipe', metavar='NAME', help='start from this recipe; other flags override it '
                        '(`python -m gluon_tricks recipes` lists them)')
    result.add_argument('--print-config', action='store_true', help='print the resolved configuration as JSON and end')
    add_arguments(result)
    return result


def from_namespace(namespace, base=None):
    """TrainConfig from parsed flags, over a recipe's configuration or the defaults.

    Raises UsageError for a flag that has no meaning here, or that would do nothing.
    """
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    typed = {name: value for name, value in vars(namespace).items() if name in names}
    for (flag, value), sentence in _REFUSED_VALUES.items():
        if typed.get(flag[2:].replace('-', '_')) == value:
            raise UsageError(sentence)
    config = (base or TrainConfig()).replace(**_other_devices(base, typed))
    for name, needed in _NEEDS.items():
        if name in typed and not any(getattr(config, other) for other in needed):
            _does_nothing(name, ' or '.join(map(_flag, needed)))
    for name, (other, value) in _NEEDS_VALUE.items():
        if name in typed and getattr(config, other) != value:
            _does_nothing(name, '%s %s' % (_flag(other), value))
    return config


def _flag(name):
    return '--' + name.replace('_', '-')


def _does_nothing(name, needed):
    raise UsageError('%s does nothing without %s: add it, or drop %s' % (_flag(name), needed, _flag(name)))


def _other_devices(base, typed):
    """Devices typed over a recipe replace its devices, and its learning rate follows the new total batch size."""
    if base is not None and 'devices' in typed and 'num_gpus' not in typed:
        typed = dict(typed, num_gpus=None)
    if base is not None and 'num_gpus' in typed and 'devices' not in typed:
        typed = dict(typed, devices='')
    return typed
