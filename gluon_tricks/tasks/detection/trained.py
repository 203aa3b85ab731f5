"""A trained detector: its mean average precision, and what it finds in images."""
import os

from gluon_tricks.cores import available_cores
from gluon_tricks.models.weights import load_params
from gluon_tricks.tasks.detection import task
from gluon_tricks.tasks.detection.assembly import build_net, without_base
from gluon_tricks.tasks.detection.data import open_voc
from gluon_tricks.tasks.detection.pictures import SHOWN, load_image, stored_classes
from gluon_tricks.tricks.low_precision import precision


def trained_net(config, params, classes, devices, low_precision):
    """The detector with the weights of a file, for inference. Raises UsageError for a file that does not fit."""
    net = build_net(without_base(config), None, devices, classes)
    load_params(net, params)
    low_precision.prepare(net)
    if not config.disable_hybridization:
        net.hybridize(static_alloc=config.static_alloc)
    return net


def figures(params, config, devices):
    """The metrics of the weights in a file over the test set: map_voc07 (percent), ap by class, num_images."""
    _, test_set = open_voc(config.data_dir, available_cores())
    low_precision = precision(config.dtype, devices)
    net = trained_net(config, params, test_set.classes, devices, low_precision)
    return task.evaluate(net, test_set, devices, test_set.classes, low_precision)


def evaluate(folder, config, devices):
    """`figures` of a checkpoint."""
    return figures(os.path.join(folder, 'net.params'), config, devices)


def predict(folder, config, images, devices, top=5):
    """[{'image', 'boxes': [{'name', 'score', 'box': [x0, y0, x1, y1] in pixels}]}], those that would be drawn."""
    params = os.path.join(folder, 'net.params')
    classes, low_precision = stored_classes(params), precision(config.dtype, devices)
    photographs = [load_image(path, config.image_short, config.image_max_size) for path in images]
    net, found = trained_net(config, params, classes, devices[:1], low_precision), []
    for path, (_, image, scale) in zip(images, photographs):
        ids, scores, boxes = task.detect(net, image, devices[0], low_precision)
        found.append({'image': path, 'boxes': [
            {'name': classes[number], 'score': float(score), 'box': [float(side) * scale for side in box]}
            for number, score, box in zip(ids, scores, boxes) if score >= SHOWN]})
    return found


def network(folder, config, devices):
    """The detector of a checkpoint, for inference."""
    params = os.path.join(folder, 'net.params')
    return trained_net(config, params, stored_classes(params), devices, precision(config.dtype, devices))
