"""``python -m gluon_tricks train-segmentation``: an FCN on ADE20K over a classifier, as transfer/train_fcn.py."""
import os
import sys

from gluon_tricks.commands.console import console
from gluon_tricks.config import segmentation as configuration
from gluon_tricks.errors import UsageError, exit_code
from gluon_tricks.noise import quiet

DESCRIPTION = ("Train an FCN on ADE20K from a classifier's weights, and measure or show what it does (section 6.2, "
               'Table 9).')


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for wrong usage, or as `run.Run.train`."""
    return exit_code(run, argv)


@quiet()
def run(argv):
    """Run the command line. Raises UsageError for wrong usage; else as `main`."""
    arguments = configuration.parser(DESCRIPTION).parse_args(argv)
    base = None
    if arguments.recipe:
        from gluon_tricks.config import recipes_transfer as tables
        base = tables.get(arguments.recipe, configuration.FCNConfig)
    config = configuration.from_namespace(arguments, base)
    weights = Weights(arguments.params) if arguments.params else None
    if weights and weights.backbone and not hasattr(arguments, 'backbone'):
        config = config.replace(backbone=weights.backbone)
    from gluon_tricks.tasks.segmentation.assembly import assemble, resolve
    asked = config
    config, notices = resolve(config)
    if arguments.print_config:
        print(config.to_json())
        return 0
    if arguments.eval:
        return evaluate(config, weights, arguments.multi_scale, notices)
    if arguments.predict:
        return predict(config, weights, arguments.predict, arguments.out or 'pictures')
    from gluon_tricks.doctor.examine import warnings
    from gluon_tricks.training.run import train
    with console():
        train(config, assemble, [*notices, *warnings(asked, config)])
    return 0


class Weights:
    """--params: `path` of the .params file; of a run also its `backbone` and `classes` (names), else None.

    manifest: the run's, where `checkpoint.read` has given it already. Raises UsageError for a directory that is not a
    run's.
    """

    def __init__(self, path, manifest=None):
        from gluon_tricks.training import checkpoint
        self.path, self.backbone, self.classes = os.path.expanduser(path), None, None
        if os.path.isdir(self.path):
            folder = checkpoint.best_of(self.path)
            manifest = manifest or checkpoint.read(folder)
            self.path, classes = os.path.join(folder, 'net.params'), manifest.get('classes')
            self.backbone = manifest['config'].get('backbone')
            named = isinstance(classes, (list, type(None))) and all(isinstance(name, str) for name in classes or [])
            if not named or not isinstance(self.backbone, (str, type(None))):
                raise UsageError(f'--params {path}: the manifest in {folder} has no names of classes, or none of a '
                                 'backbone; give its net.params')
            self.classes = classes


def evaluate(config, weights, multi_scale, notices):
    """Print the protocol, pixAcc and mIoU of the weights over the validation images; returns the exit code."""
    from tqdm import tqdm

    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.segmentation.assembly import open_scenes, threads_of
    from gluon_tricks.tasks.segmentation.data import ImageStream
    from gluon_tricks.tasks.segmentation.metrics import evaluate_images
    from gluon_tricks.tasks.segmentation.protocol import protocol
    from gluon_tricks.tasks.segmentation.trained import load_net

    devices = find_devices(config.devices, config.num_gpus)
    scenes, names = open_scenes(config, 'validation')
    net, low_precision, classes = load_net(config, weights.path, devices)
    if classes != config.num_classes:
        raise UsageError(f'--params {weights.path} has {classes} classes, and the data {config.num_classes}: give the '
                         'weights of a training on these data')
    for line in notices + [low_precision.description]:
        if line:
            print(line)
    multi = (config.base_size, config.crop_size) if multi_scale else None
    print('%s, %s' % (protocol('multi' if multi else 'whole', config.base_size, config.crop_size), config.dtype))
    metrics = evaluate_images(
        net, ImageStream(scenes, threads_of(config)), devices, low_precision, classes, multi,
        lambda images: tqdm(images, total=len(scenes), unit='img', disable=not sys.stderr.isatty()))
    for name, iou in zip(names, metrics['class_iou']):
        print(f'{100 * iou:8.3f} %  {name}')
    print(f'{config.backbone}: pixAcc: {metrics["pix_acc"]:.4f}, mIoU: {metrics["miou"]:.4f} of '
          f'{metrics["num_images"]} images')
    return 0


def predict(config, weights, images, out):
    """Write OUT/<name>.png for every image: the photograph, its segments, their names; returns the exit code."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.segmentation.pictures import names_of, picture, shares
    from gluon_tricks.tasks.segmentation.trained import load_net, segments
    device = find_devices(config.devices, config.num_gpus)[0]
    net, low_precision, classes = load_net(config, weights.path, [device])
    names = weights.classes or names_of(classes)
    for path in images:
        image, labels = segments(net, path, device, low_precision)
        target = os.path.join(out, os.path.splitext(os.path.basename(path))[0] + '.png')
        try:
            os.makedirs(out, exist_ok=True)
            picture(image, labels, names).save(target)
        except OSError as error:
            raise UsageError(f'{target} cannot be written ({error.strerror}): choose another --out') from error
        print('%s: %s' % (target, ', '.join(f'{names[label]} {100 * share:.1f} %'
                                            for label, share in shares(labels))))
    return 0


def predict_run(run, images, out):
    """`predict` with the best checkpoint of an api.Run."""
    return predict(run.config.replace(devices=str(run.devices()[0]), num_gpus=None), Weights(run.path, run.manifest),
                   images, out)
