"""A detection run from its configuration: the sets, the detector over its base network, schedule and optimizer."""
import os

from gluon_tricks.compat import mx
from gluon_tricks.cores import available_cores
from gluon_tricks.distributed.devices import find_devices
from gluon_tricks.distributed.workers import connect
from gluon_tricks.errors import UsageError
from gluon_tricks.models.backbone import build_backbone
from gluon_tricks.tasks.detection.data import DetectionStream, check_batch, identity_of, open_voc, test_images
from gluon_tricks.tasks.detection.network import DetectorOptions, build_faster_rcnn, calibrate
from gluon_tricks.tasks.detection.schedule import DetectionSchedule
from gluon_tricks.tasks.detection.task import Detection, create_optimizer
from gluon_tricks.training.run import Setup
from gluon_tricks.tricks.low_precision import precision


def resolve(config):
    """(the configuration with the devices and the batch size, notices). Raises UsageError."""
    changes = {}
    if not config.devices:
        named = config.gpus.strip()
        if named and not all(part.strip().isdigit() for part in named.split(',')):
            raise UsageError(f'--gpus {config.gpus}: write the numbers of GPUs, such as 0,1,2,3; to name devices use '
                             '--devices')
        wanted = ','.join(f'gpu({int(part)})' for part in named.split(',')) if named else \
            ','.join(str(device) for device in find_devices())
        changes['devices'], changes['gpus'] = wanted, ''
    number = len((changes.get('devices') or config.devices).split(','))
    if config.total_batch_size is None:
        changes['total_batch_size'] = number
    elif config.total_batch_size % number:
        raise UsageError(f'--batch-size {config.total_batch_size} does not divide over {number} devices: it counts '
                         'the images of all of them')
    return config.replace(**changes), []


def assemble(config, devices, workers, notices=(), resumed=False):
    """The Setup of a resolved configuration; resumed: --base-params is not read. Raises UsageError."""
    train_set, test_set = open_data(config)
    low_precision = precision(config.dtype, devices)
    mx.random.seed(config.seed)
    net = build_net(without_base(config) if resumed else config, train_set, devices)
    stream = DetectionStream(train_set, net, len(devices), config.total_batch_size, config.seed,
                             config.loader_processes,
                             not config.no_mirror)
    low_precision.prepare(net)
    schedule = DetectionSchedule(config.lr, stream.updates_per_epoch, config.decay_epochs, config.lr_decay,
                                 max(config.lr_warmup, 0), config.lr_warmup_factor)
    trainer = mx.gluon.Trainer(net.collect_train_params(), create_optimizer(config), kvstore=config.kv_store,
                               update_on_kvstore=False)
    connect(trainer)
    task = Detection(net, config, devices, stream, test_set, low_precision, train_set.classes)
    notices = [line for line in [*notices, low_precision.description] if line]
    notices.append(f'data: {len(train_set)} images to train on, {len(test_set)} to test on, {len(train_set.classes)} '
                   'classes')
    if not config.base_params:
        notices.append('Warning: without --base-params the base network starts with new weights')
    manifest = {'classes': list(train_set.classes),
                'data': {'train': identity_of(train_set), 'val': identity_of(test_set)}}
    facts = {'data': {'train': len(train_set), 'test': len(test_set), 'classes': list(train_set.classes)},
             'precision': low_precision.description}
    return Setup(task, trainer, schedule, stream.updates_per_epoch, config.total_batch_size,
                 tuple(notices), manifest=manifest, facts=facts)


def open_data(config):
    """(training set, test set), enough for a batch. Raises UsageError."""
    sets = open_voc(config.data_dir, available_cores())
    check_batch(sets[0], config.total_batch_size)
    return sets


def without_base(config):
    """The configuration of the same network where its weights will be a checkpoint's."""
    return config.replace(base_params='', calibrate=0)


def build_net(config, train_set, devices, classes=None):
    """The detector of a configuration on its devices, in float32; its statistics calibrated where that is asked for."""
    base = build_backbone(config.network, os.path.expanduser(config.base_params), use_global_stats=True)
    if config.calibrate:
        images = test_images(train_set, config.image_short, config.image_max_size)
        calibrate(base, [image for (image, _, _), _ in zip(images, range(config.calibrate))])
    net = build_faster_rcnn(base, classes or train_set.classes, config.total_batch_size // len(devices),
                            DetectorOptions.of(config))
    net.collect_params().reset_ctx(devices)
    return net

