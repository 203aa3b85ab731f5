"""A segmentation run from its configuration: the scenes, the dilated network with its heads, schedule and optimizer."""
import os

from gluon_tricks.compat import mx
from gluon_tricks.config import segmentation as configuration
from gluon_tricks.cores import available_cores
from gluon_tricks.distributed.workers import connect
from gluon_tricks.errors import UsageError
from gluon_tricks.models.zoo import own_names, place
from gluon_tricks.tasks.segmentation.data import ROOT, EvalStream, Scenes, TrainStream, class_names
from gluon_tricks.tasks.segmentation.network import build_fcn, choose_norm
from gluon_tricks.tasks.segmentation.task import Segmentation
from gluon_tricks.training.run import Setup
from gluon_tricks.training.schedule import Schedule
from gluon_tricks.tricks.low_precision import precision
from gluon_tricks.tricks.no_bias_decay import no_bias_decay


def resolve(config):
    """(the configuration with what depends on data and devices filled in, notices). Raises UsageError."""

    changes = {'backbone': configuration.backbone_of(config), 'save_dir': configuration.save_dir_of(config)}
    notices = []
    if changes['backbone'] not in own_names():
        raise UsageError(f'--backbone {config.backbone}: the base network is one of {", ".join(own_names())}')
    if changes['backbone'] != config.backbone:
        notices.append(f"--backbone {config.backbone} is {changes['backbone']} here, the paper's ResNet-B; GluonCV "
                       "takes a ResNet with a stem twice as wide")
    if not config.devices:
        changes['num_gpus'] = mx.context.num_gpus() if config.num_gpus is None else config.num_gpus
    if config.num_classes is None:
        changes['num_classes'] = len(class_names(os.path.expanduser(config.data_dir)))
    return config.replace(**changes), notices


def assemble(config, devices, workers, notices=(), resumed=False):
    """The Setup of a resolved configuration; notices: of `resolve`; resumed: --base-params is not read. Raises
    UsageError."""
    check_batches(config, devices)

    # The data, and what the user should know of them
    train_stream, eval_stream, facts = open_data(config)
    low_precision = precision(config.dtype, devices)
    notices = list(notices) + facts.pop('notices')

    # The network: the classifier, dilated, with new heads
    mx.random.seed(config.seed)
    net, notice = build_net(config.replace(base_params='') if resumed else config, devices, low_precision)
    notices = [low_precision.description] + notices + [notice] + loss_notices(config, len(devices))

    # SGD, and a learning rate that falls to 0
    schedule = Schedule(lr=config.lr, mode='poly', power=0.9, updates_per_epoch=train_stream.updates_per_epoch,
                        epochs=config.num_epochs, warmup_epochs=config.warmup_epochs)
    optimizer = mx.optimizer.create('sgd', momentum=config.momentum, wd=config.wd,
                                    multi_precision=config.dtype == 'float16')
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer, kvstore=config.kv_store, update_on_kvstore=False)
    connect(trainer)

    task = Segmentation(net, config, devices, train_stream, eval_stream, low_precision)
    manifest = {'classes': facts['classes'], 'data': facts.pop('identity')}
    return Setup(task, trainer, schedule, train_stream.updates_per_epoch, config.total_batch_size,
                 tuple(line for line in notices if line), manifest=manifest,
                 facts=dict(data=facts, precision=low_precision.description))


def check_batches(config, devices):
    """Raise UsageError for a batch that does not divide over the devices."""
    for flag, size in (('--batch-size', config.total_batch_size), ('--test-batch-size', config.test_batch_size)):
        if size % len(devices):
            raise UsageError(f'{flag} {size} does not divide over {len(devices)} devices: it counts the images of all '
                             'of them')


def open_data(config):
    """(training stream, evaluation stream or None, facts about the data). Raises UsageError."""
    training, names = open_scenes(config, 'training')
    threads = threads_of(config)
    train_stream = TrainStream(training, config.total_batch_size, config.base_size, config.crop_size, config.seed,
                               threads, config.scales, not config.no_mirror)
    facts = {'train': len(training), 'val': 0, 'classes': names, 'identity': {'train': training.identity()},
             'notices': [f'data: {len(training)} training images, {len(names)} classes']}
    if config.no_val:
        return train_stream, None, facts
    validation, _ = open_scenes(config, 'validation')
    facts['val'], facts['identity']['val'] = len(validation), validation.identity()
    facts['notices'][0] += f', {len(validation)} validation images'
    return train_stream, EvalStream(validation, config.test_batch_size, config.crop_size, threads), facts


def open_scenes(config, part):
    """(Scenes, class names) of one part of --data-dir. Raises UsageError."""
    folder = os.path.expanduser(config.data_dir)
    scenes, names = Scenes(folder, part, config.num_classes), class_names(folder)
    if len(names) != config.num_classes:
        if os.path.isfile(os.path.join(folder, ROOT, 'objectInfo150.txt')):
            raise UsageError(f'--num-classes {config.num_classes}: {config.data_dir} has {len(names)} classes; drop '
                             '--num-classes')
        names = [f'class {number}' for number in range(1, config.num_classes + 1)]
    return scenes, names


def threads_of(config):
    return config.decode_threads or available_cores()


def build_net(config, devices, low_precision):
    """(the initialised network in the precision of the run, a notice or '')."""
    norm_layer, norm_kwargs, notice = choose_norm(config.syncbn, devices)
    net = build_fcn(config.backbone, config.num_classes, config.aux, os.path.expanduser(config.base_params), norm_layer,
                    norm_kwargs)
    if config.no_wd:
        no_bias_decay(net)
    place(net, devices, low_precision, config.mode == 'hybrid')
    return net, notice


def loss_notices(config, num_devices):
    lines = []
    if not config.base_params:
        lines.append('Warning: the base network starts from new weights, and the paper\'s from a classifier\'s: give '
                     '--base-params FILE')
    if config.loss == 'gluoncv':
        lines.append('--loss gluoncv: with %d device%s and a batch of %d, --lr %g acts as %g' % (
            num_devices, '' if num_devices == 1 else 's', config.total_batch_size, config.lr,
            config.lr * num_devices / config.total_batch_size))
    return lines

