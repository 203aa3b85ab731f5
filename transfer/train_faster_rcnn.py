"""Train Faster-RCNN on VOC over a classifier of ours (paper section 6.1, Table 8).

    python transfer/train_faster_rcnn.py --network resnet50_v1d --base-params SAVE_DIR/best/net.params
    python transfer/train_faster_rcnn.py --eval --params FILE
    python transfer/train_faster_rcnn.py --predict photo.jpg --params FILE --out pictures
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # the repository, installed or not

from gluon_tricks.config import detection as rcnn_config  # noqa: E402
from gluon_tricks.config import options  # noqa: E402
from gluon_tricks.errors import UsageError, exit_code  # noqa: E402
from gluon_tricks.noise import quiet  # noqa: E402


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for wrong usage, or as `run.Run.train`."""
    return exit_code(run, argv)


@quiet()
def run(argv):
    """The same, with a UsageError for wrong usage."""
    parser = options.parser(rcnn_config.RCNNConfig, description=__doc__.splitlines()[0])
    parser.add_argument('--eval', action='store_true', help='test the weights of --params and end')
    parser.add_argument('--predict', nargs='+', metavar='IMAGE', help='draw what --params finds, and end')
    parser.add_argument('--params', metavar='FILE', help='weights of the whole detector, for --eval and --predict')
    parser.add_argument('--out', metavar='DIR', default='pictures', help='where --predict writes (default: pictures)')
    arguments = parser.parse_args(argv)
    base = None
    if arguments.recipe:
        from gluon_tricks.config import recipes_transfer as tables
        base = tables.get(arguments.recipe, rcnn_config.RCNNConfig)
    config = resolve(rcnn_config.from_namespace(arguments, base))
    if arguments.print_config:
        print(config.to_json())
        return 0
    if (arguments.eval or arguments.predict) and not arguments.params:
        raise UsageError('--eval and --predict need the detector\'s weights: give --params FILE, such as '
                         'SAVE_DIR/best/net.params')
    if arguments.params and not (arguments.eval or arguments.predict):
        raise UsageError('--params %s is for --eval and --predict: add one of them; to begin training with a '
                         'classifier\'s weights give --base-params' % arguments.params)
    if arguments.eval:
        return test(config, arguments.params)
    if arguments.predict:
        return predict(config, arguments.params, arguments.predict, arguments.out)
    return train(config)


def resolve(config):
    """Fill in the devices and the batch size. Raises UsageError."""
    from gluon_tricks.distributed.devices import find_devices
    changes = {}
    if not config.devices:
        named = config.gpus.strip()
        if named and not all(part.strip().isdigit() for part in named.split(',')):
            raise UsageError('--gpus %s: write the numbers of GPUs, such as 0,1,2,3; to name devices use --devices'
                             % config.gpus)
        wanted = ','.join('gpu(%d)' % int(part) for part in named.split(',')) if named else \
            ','.join(str(device) for device in find_devices())
        changes['devices'], changes['gpus'] = wanted, ''
    number = len((changes.get('devices') or config.devices).split(','))
    if config.total_batch_size is None:
        changes['total_batch_size'] = number
    elif config.total_batch_size % number:
        raise UsageError('--batch-size %d does not divide over %d devices: it counts the images of all of them'
                         % (config.total_batch_size, number))
    return config.replace(**changes)


def train(config):
    """Carry out the run of a resolved configuration; returns the exit code. Raises UsageError."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.distributed.workers import check_kv_store
    from gluon_tricks.training.run import Run

    devices = find_devices(config.devices)
    check_kv_store(config.kv_store)
    with Run(config) as run:
        return carry_out(config, devices, run)


def carry_out(config, devices, run):
    """The training of a resolved configuration on these devices; returns the exit code. Raises UsageError."""
    from gluon_tricks.compat import mx
    from gluon_tricks.cores import available_cores
    from gluon_tricks.distributed.workers import connect
    from gluon_tricks.tasks.detection.data import DetectionStream, identity_of, open_voc
    from gluon_tricks.tasks.detection.schedule import DetectionSchedule
    from gluon_tricks.tasks.detection.task import Detection, create_optimizer
    from gluon_tricks.tricks.low_precision import precision

    train_set, test_set = open_voc(config.data_dir, available_cores())
    low_precision = precision(config.dtype, devices)
    mx.random.seed(config.seed)
    net = build_net(config, train_set, devices)
    stream = DetectionStream(train_set, net, len(devices), config.total_batch_size, config.seed, config.loader_processes,
                             not config.no_mirror)
    low_precision.prepare(net)
    schedule = DetectionSchedule(config.lr, stream.updates_per_epoch, config.decay_epochs, config.lr_decay,
                                 max(config.lr_warmup, 0), config.lr_warmup_factor)
    trainer = mx.gluon.Trainer(net.collect_train_params(), create_optimizer(config), kvstore=config.kv_store,
                               update_on_kvstore=False)
    connect(trainer)
    task = Detection(net, config, devices, stream, test_set, low_precision, train_set.classes)
    notices = [line for line in [low_precision.description] if line]
    notices.append('data: %d images to train on, %d to test on, %d classes' % (
        len(train_set), len(test_set), len(train_set.classes)))
    if not config.base_params:
        notices.append('Warning: without --base-params the base network starts with new weights')
    return run.train(task, net, trainer, devices, schedule, config.num_epochs, stream.updates_per_epoch,
                     config.total_batch_size, notices,
                     manifest={'classes': list(train_set.classes),
                               'data': {'train': identity_of(train_set), 'val': identity_of(test_set)}},
                     data={'train': len(train_set), 'test': len(test_set), 'classes': list(train_set.classes)},
                     precision=low_precision.description)


def build_net(config, train_set, devices, classes=None):
    """The detector of a configuration on its devices, in float32; its statistics calibrated where that is asked for."""
    from gluon_tricks.models.backbone import build_backbone
    from gluon_tricks.tasks.detection.data import test_images
    from gluon_tricks.tasks.detection.network import build_faster_rcnn, calibrate
    base = build_backbone(config.network, config.base_params, use_global_stats=True)
    if config.calibrate:
        images = test_images(train_set, config.image_short, config.image_max_size)
        calibrate(base, [image for (image, _, _), _ in zip(images, range(config.calibrate))])
    net = build_faster_rcnn(
        base, classes or train_set.classes, config.total_batch_size // len(devices), config.image_short,
        config.image_max_size, config.train_layers, config.rpn_channel, config.anchor_scales, config.rpn_train_pre_nms,
        config.rpn_train_post_nms, config.rpn_test_pre_nms, config.rpn_test_post_nms, config.rpn_min_size,
        config.num_sample)
    net.collect_params().reset_ctx(devices)
    return net


def trained_net(config, params, classes, devices, low_precision):
    """The detector with the weights of a file, only to be asked. Raises UsageError for a file that does not fit."""
    from gluon_tricks.models.weights import load_params
    net = build_net(config.replace(base_params='', calibrate=0), None, devices, classes)
    load_params(net, params)
    low_precision.prepare(net)
    if not config.disable_hybridization:
        net.hybridize(static_alloc=config.static_alloc)
    return net


def test(config, params):
    """Print the mean average precision of the weights in a file over the test set; returns the exit code."""
    from gluon_tricks.cores import available_cores
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.detection.data import open_voc
    from gluon_tricks.tasks.detection.task import evaluate
    from gluon_tricks.tricks.low_precision import precision
    devices = find_devices(config.devices)
    _, test_set = open_voc(config.data_dir, available_cores())
    low_precision = precision(config.dtype, devices)
    net = trained_net(config, params, test_set.classes, devices, low_precision)
    figures = evaluate(net, test_set, devices, test_set.classes, low_precision)
    for name, value in figures['ap'].items():
        print('%-16s %6.2f' % (name, value))
    print('mAP              %6.2f  of %d images: overlap 0.5, 11 points (VOC 2007), short side %d'
          % (figures['map_voc07'], figures['num_images'], config.image_short))
    return 0


def predict(config, params, images, out):
    """Write OUT/NAME.png with boxes, classes and scores for each image; returns the exit code. Raises UsageError."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.detection.pictures import draw_detections, load_image, stored_classes
    from gluon_tricks.tricks.low_precision import precision
    devices = find_devices(config.devices)
    low_precision = precision(config.dtype, devices)
    classes = stored_classes(params)
    photographs = [load_image(path, config.image_short, config.image_max_size) for path in images]
    net = trained_net(config, params, classes, devices, low_precision)
    for path, (photograph, image, scale) in zip(images, photographs):
        written, found = draw_detections(net, photograph, image, scale, devices[0], low_precision, classes, out, path)
        print('%s: %s' % (written, ', '.join('%s %.0f %%' % (name, 100 * score) for name, score in found) or 'nothing'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
