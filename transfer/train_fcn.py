"""Train an FCN on ADE20K from a classifier's weights, and measure or show what it does (paper section 6.2, Table 9).

    python transfer/train_fcn.py --backbone resnet50_v1d --base-params FILE --aux --epochs 120
    python transfer/train_fcn.py --eval --params SAVE_DIR --multi-scale
    python transfer/train_fcn.py --predict IMAGE... --params SAVE_DIR --out DIR
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # the repository, installed or not

from gluon_tricks.config import segmentation as configuration  # noqa: E402
from gluon_tricks.errors import UsageError, exit_code  # noqa: E402
from gluon_tricks.noise import quiet  # noqa: E402


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for wrong usage, or as `run.Run.train`."""
    return exit_code(run, argv)


@quiet()
def run(argv):
    """The same, with a UsageError for wrong usage."""
    arguments = configuration.parser(__doc__.splitlines()[0]).parse_args(argv)
    base = None
    if arguments.recipe:
        from gluon_tricks.config import recipes_transfer as tables
        base = tables.get(arguments.recipe, configuration.FCNConfig)
    config = configuration.from_namespace(arguments, base)
    weights = Weights(arguments.params) if arguments.params else None
    if weights and weights.backbone and not hasattr(arguments, 'backbone'):
        config = config.replace(backbone=weights.backbone)
    config, notices = resolve(config)
    if arguments.print_config:
        print(config.to_json())
        return 0
    if arguments.eval:
        return evaluate(config, weights, arguments.multi_scale, notices)
    if arguments.predict:
        return predict(config, weights, arguments.predict, arguments.out or 'pictures')
    return train(config, notices)


def resolve(config):
    """(the configuration with what depends on data and devices filled in, notices). Raises UsageError."""
    from gluon_tricks.compat import mx
    from gluon_tricks.models.zoo import own_names
    from gluon_tricks.tasks.segmentation.data import class_names

    changes = {'backbone': configuration.backbone_of(config), 'save_dir': configuration.save_dir_of(config)}
    notices = []
    if changes['backbone'] not in own_names():
        raise UsageError('--backbone %s: the base network is one of %s' % (config.backbone, ', '.join(own_names())))
    if changes['backbone'] != config.backbone:
        notices.append('--backbone %s is %s here, the paper\'s ResNet-B; GluonCV takes a ResNet with a stem twice as '
                       'wide' % (config.backbone, changes['backbone']))
    if not config.devices:
        changes['num_gpus'] = mx.context.num_gpus() if config.num_gpus is None else config.num_gpus
    if config.num_classes is None:
        changes['num_classes'] = len(class_names(os.path.expanduser(config.data_dir)))
    return config.replace(**changes), notices


class Weights:
    """--params: `path` of the .params file; of a run also its `backbone` and `classes` (names), else None.

    Raises UsageError for a directory that is no run's.
    """

    def __init__(self, path):
        from gluon_tricks.training import checkpoint
        self.path, self.backbone, self.classes = os.path.expanduser(path), None, None
        if os.path.isdir(self.path):
            folder = checkpoint.best_of(self.path)
            manifest = checkpoint.read(folder)
            self.path, classes = os.path.join(folder, 'net.params'), manifest.get('classes')
            self.backbone = manifest['config'].get('backbone')
            if not isinstance(classes, (list, type(None))) or not isinstance(self.backbone, (str, type(None))) or not all(
                    isinstance(name, str) for name in classes or []):
                raise UsageError('--params %s: the manifest in %s has no names of classes, or none of a backbone; give '
                                 'its net.params' % (path, folder))
            self.classes = classes


# ---------------------------------------------------------------------------------------------------------------------
# Training

def train(config, notices):
    """Carry out the run of a resolved configuration; returns the exit code. Raises UsageError."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.distributed.workers import check_kv_store
    from gluon_tricks.training.run import Run

    devices = find_devices(config.devices, config.num_gpus)
    check_kv_store(config.kv_store)
    for flag, size in (('--batch-size', config.total_batch_size), ('--test-batch-size', config.test_batch_size)):
        if size % len(devices):
            raise UsageError('%s %d does not divide over %d devices: it counts the images of all of them'
                             % (flag, size, len(devices)))
    with Run(config) as run:
        return carry_out(config, devices, run, notices)


def carry_out(config, devices, run, notices):
    """The training of a resolved configuration on these devices; returns the exit code. Raises UsageError."""
    from gluon_tricks.compat import mx
    from gluon_tricks.distributed.workers import connect
    from gluon_tricks.tasks.segmentation.task import Segmentation
    from gluon_tricks.training.schedule import Schedule
    from gluon_tricks.tricks.low_precision import precision

    # The data, and what the user should know of them
    train_stream, eval_stream, facts = open_data(config)
    low_precision = precision(config.dtype, devices)
    notices = notices + facts.pop('notices')

    # The network: the classifier, dilated, with new heads
    mx.random.seed(config.seed)
    net, notice = build_net(config, devices, low_precision)
    notices = [low_precision.description] + notices + [notice] + loss_notices(config, len(devices))

    # SGD, and a learning rate that falls to 0
    schedule = Schedule(lr=config.lr, mode='poly', power=0.9, updates_per_epoch=train_stream.updates_per_epoch,
                        epochs=config.num_epochs, warmup_epochs=config.warmup_epochs)
    optimizer = mx.optimizer.create('sgd', momentum=config.momentum, wd=config.wd,
                                    multi_precision=config.dtype == 'float16')
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer, kvstore=config.kv_store, update_on_kvstore=False)
    connect(trainer)

    # Algorithm 1
    task = Segmentation(net, config, devices, train_stream, eval_stream, low_precision)
    return run.train(task, net, trainer, devices, schedule, config.num_epochs, train_stream.updates_per_epoch,
                     config.total_batch_size, [line for line in notices if line],
                     manifest={'classes': facts['classes'], 'data': facts.pop('identity')},
                     data=facts, precision=low_precision.description)


def open_data(config):
    """(training stream, evaluation stream or None, facts about the data). Raises UsageError."""
    from gluon_tricks.tasks.segmentation.data import EvalStream, TrainStream
    training, names = open_scenes(config, 'training')
    threads = threads_of(config)
    train_stream = TrainStream(training, config.total_batch_size, config.base_size, config.crop_size, config.seed, threads,
                               config.scales, not config.no_mirror)
    facts = {'train': len(training), 'val': 0, 'classes': names, 'identity': {'train': training.identity()}, 'notices': [
        'data: %d training images, %d classes' % (len(training), len(names))]}
    if config.no_val:
        return train_stream, None, facts
    validation, _ = open_scenes(config, 'validation')
    facts['val'], facts['identity']['val'] = len(validation), validation.identity()
    facts['notices'][0] += ', %d validation images' % len(validation)
    return train_stream, EvalStream(validation, config.test_batch_size, config.crop_size, threads), facts


def open_scenes(config, part):
    """(Scenes, class names) of one part of --data-dir. Raises UsageError."""
    from gluon_tricks.tasks.segmentation.data import ROOT, Scenes, class_names
    folder = os.path.expanduser(config.data_dir)
    scenes, names = Scenes(folder, part, config.num_classes), class_names(folder)
    if len(names) != config.num_classes:
        if os.path.isfile(os.path.join(folder, ROOT, 'objectInfo150.txt')):
            raise UsageError('--num-classes %d: %s has %d classes; drop --num-classes'
                             % (config.num_classes, config.data_dir, len(names)))
        names = ['class %d' % number for number in range(1, config.num_classes + 1)]
    return scenes, names


def threads_of(config):
    from gluon_tricks.cores import available_cores
    return config.decode_threads or available_cores()


def build_net(config, devices, low_precision):
    """(the initialised network in the precision of the run, a notice or '')."""
    from gluon_tricks.models.zoo import place
    from gluon_tricks.tasks.segmentation.network import build_fcn, choose_norm
    from gluon_tricks.tricks.no_bias_decay import no_bias_decay
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


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation

def evaluate(config, weights, multi_scale, notices):
    """Print the protocol, pixAcc and mIoU of the weights over the validation images; returns the exit code."""
    from tqdm import tqdm

    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.segmentation.data import ImageStream
    from gluon_tricks.tasks.segmentation.metrics import evaluate_images, protocol

    devices = find_devices(config.devices, config.num_gpus)
    scenes, names = open_scenes(config, 'validation')
    net, low_precision, classes = load_net(config, weights, devices)
    if classes != config.num_classes:
        raise UsageError('--params %s has %d classes, and the data %d: give the weights of a training on these data'
                         % (weights.path, classes, config.num_classes))
    for line in notices + [low_precision.description]:
        if line:
            print(line)
    multi = (config.base_size, config.crop_size) if multi_scale else None
    print('%s, %s' % (protocol('multi' if multi else 'whole', config.base_size, config.crop_size), config.dtype))
    metrics = evaluate_images(
        net, ImageStream(scenes, threads_of(config)), devices, low_precision, classes, multi,
        lambda images: tqdm(images, total=len(scenes), unit='img', disable=not sys.stderr.isatty()))
    for name, iou in zip(names, metrics['class_iou']):
        print('%8.3f %%  %s' % (100 * iou, name))
    print('%s: pixAcc: %.4f, mIoU: %.4f of %d images' % (config.backbone, metrics['pix_acc'], metrics['miou'],
                                                        metrics['num_images']))
    return 0


def load_net(config, weights, devices):
    """(network, precision, number of classes), ready to score images of any size on the devices."""
    from gluon_tricks.models.zoo import place
    from gluon_tricks.tasks.segmentation.network import load_fcn
    from gluon_tricks.tricks.low_precision import precision
    low_precision = precision(config.dtype, devices)
    net, classes = load_fcn(weights.path, config.backbone)
    place(net, devices, low_precision, hybridize=False)  # images of any size
    return net, low_precision, classes


# ---------------------------------------------------------------------------------------------------------------------
# Pictures

def predict(config, weights, images, out):
    """Write OUT/<name>.png for every image: the photograph, its segments, their names; returns the exit code."""
    import numpy as np

    from gluon_tricks.compat import mx
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.segmentation.data import read_image
    from gluon_tricks.tasks.segmentation.metrics import image_scores, normalise
    device = find_devices(config.devices, config.num_gpus)[0]
    net, low_precision, classes = load_net(config, weights, [device])
    names = weights.classes or names_of(classes)
    for path in images:
        image = read_image(path)
        x = mx.nd.array(normalise(np.asarray(image))[None], ctx=device)
        labels = image_scores(net, x, low_precision).argmax(axis=0).asnumpy().astype('int64')
        target = os.path.join(out, os.path.splitext(os.path.basename(path))[0] + '.png')
        try:
            os.makedirs(out, exist_ok=True)
            picture(image, labels, names).save(target)
        except OSError as error:
            raise UsageError('%s cannot be written (%s): choose another --out' % (target, error.strerror)) from error
        print('%s: %s' % (target, ', '.join('%s %.1f %%' % (names[label], 100 * share)
                                            for label, share in shares(labels))))
    return 0


def names_of(classes):
    """ADE20K's names where there are 150 classes, else numbers from 1, as in the masks."""
    from gluon_tricks.compat import mx  # noqa: F401  before GluonCV

    from gluoncv.data import ADE20KSegmentation
    return ADE20KSegmentation.CLASSES if classes == 150 else ['class %d' % (each + 1) for each in range(classes)]


def shares(labels):
    """[(class, share of the image)], the largest first."""
    import numpy as np
    found, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind='stable')
    return [(int(found[each]), counts[each] / labels.size) for each in order]


def picture(image, labels, names):
    """A Pillow image: the photograph, the classes in ADE20K's colours (H, W), and a legend of those that are there.

    Few classes have VOC's colours, whose first ones are easier to tell apart.
    """
    from PIL import Image, ImageDraw, ImageFont

    from gluoncv.utils.viz import get_color_pallete
    width, height = image.size
    palette, first = ('pascal_voc', 0) if len(names) <= 21 else ('ade20k', 1)
    mask = get_color_pallete(labels, palette)
    colours, font, line, edge = mask.getpalette(), ImageFont.load_default(), 16, 6
    found = shares(labels)
    result = Image.new('RGB', (2 * width + 220, max(height, line * len(found) + 2 * edge)), 'white')
    result.paste(image, (0, 0))
    result.paste(mask.convert('RGB'), (width, 0))
    draw = ImageDraw.Draw(result)
    for row, (label, share) in enumerate(found):
        left, top = 2 * width + edge, edge + row * line
        colour = tuple(colours[3 * (label + first):3 * (label + first + 1)])
        draw.rectangle((left, top, left + 11, top + 11), fill=colour, outline='black')
        draw.text((left + 18, top), '%4.1f %%  %s' % (100 * share, names[label].split(',')[0]), 'black', font)
    return result


if __name__ == '__main__':
    sys.exit(main())
