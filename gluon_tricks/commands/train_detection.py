"""``python -m gluon_tricks train-detection``: Faster-RCNN on VOC over a classifier, as
transfer/train_faster_rcnn.py."""
from gluon_tricks.commands.console import console
from gluon_tricks.config import detection as rcnn_config
from gluon_tricks.config import options
from gluon_tricks.errors import UsageError, exit_code
from gluon_tricks.noise import quiet

DESCRIPTION = 'Train Faster-RCNN on VOC over a classifier of ours (paper section 6.1, Table 8).'


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for wrong usage, or as `run.Run.train`."""
    return exit_code(run, argv)


@quiet()
def run(argv):
    """Run the command line. Raises UsageError for wrong usage; else as `main`."""
    parser = options.parser(rcnn_config.RCNNConfig, description=DESCRIPTION)
    parser.add_argument('--eval', action='store_true', help='instead of training: mAP of --params over the test images')
    parser.add_argument('--predict', nargs='+', metavar='IMAGE', help='instead of training: draw the boxes that '
                        '--params finds')
    parser.add_argument('--params', metavar='FILE', help='weights of the whole detector, for --eval and --predict')
    parser.add_argument('--out', metavar='DIR', default='pictures', help='--predict: the pictures go there '
                        '(default: pictures)')
    arguments = parser.parse_args(argv)
    base = None
    if arguments.recipe:
        from gluon_tricks.config import recipes_transfer as tables
        base = tables.get(arguments.recipe, rcnn_config.RCNNConfig)
    from gluon_tricks.tasks.detection.assembly import assemble, resolve
    asked = rcnn_config.from_namespace(arguments, base)
    config, notices = resolve(asked)
    if arguments.print_config:
        print(config.to_json())
        return 0
    if (arguments.eval or arguments.predict) and not arguments.params:
        raise UsageError('--eval and --predict need the detector\'s weights: give --params FILE, such as '
                         'SAVE_DIR/best/net.params')
    if arguments.params and not (arguments.eval or arguments.predict):
        raise UsageError(f"--params {arguments.params} is for --eval and --predict: add one of them; to begin "
                         "training with a classifier's weights give --base-params")
    if arguments.eval:
        return evaluate(config, arguments.params)
    if arguments.predict:
        return predict(config, arguments.params, arguments.predict, arguments.out)
    from gluon_tricks.doctor.examine import warnings
    from gluon_tricks.training.run import train
    with console():
        train(config, assemble, [*notices, *warnings(asked, config)])
    return 0


def evaluate(config, params):
    """Print the mean average precision of the weights in a file over the test set; returns the exit code."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.detection.trained import figures
    found = figures(params, config, find_devices(config.devices))
    for name, value in found['ap'].items():
        print(f'{name:<16} {value:6.2f}')
    print(f'mAP              {found["map_voc07"]:6.2f}  of {found["num_images"]} images: overlap 0.5, 11 points (VOC '
          f'2007), short side {config.image_short}')
    return 0


def predict(config, params, images, out):
    """Write OUT/NAME.png with boxes, classes and scores for each image; returns the exit code. Raises UsageError."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.detection.pictures import draw_detections, load_image, stored_classes
    from gluon_tricks.tasks.detection.trained import trained_net
    from gluon_tricks.tricks.low_precision import precision
    devices = find_devices(config.devices)
    low_precision = precision(config.dtype, devices)
    classes = stored_classes(params)
    photographs = [load_image(path, config.image_short, config.image_max_size) for path in images]
    net = trained_net(config, params, classes, devices, low_precision)
    for path, (photograph, image, scale) in zip(images, photographs):
        written, found = draw_detections(net, photograph, image, scale, devices[0], low_precision, classes, out, path)
        print('%s: %s' % (written, ', '.join(f'{name} {100 * score:.0f} %' for name, score in found) or 'nothing'))
    return 0


def predict_run(run, images, out):
    """`predict` with the best checkpoint of an api.Run."""
    return predict(run.config.replace(devices=str(run.devices()[0]), gpus=''), run.params, images, out)
