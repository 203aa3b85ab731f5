"""A trained segmentation network: pixAcc and mIoU, and the segments of images."""
import os

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.models.zoo import place
from gluon_tricks.tasks.segmentation.assembly import open_scenes, threads_of
from gluon_tricks.tasks.segmentation.data import ImageStream, read_image
from gluon_tricks.tasks.segmentation.metrics import evaluate_images, image_scores, normalise
from gluon_tricks.tasks.segmentation.network import load_fcn
from gluon_tricks.tasks.segmentation.pictures import names_of, shares
from gluon_tricks.training import checkpoint
from gluon_tricks.tricks.low_precision import precision


def load_net(config, params, devices):
    """(network, precision, number of classes), for inference on images of any size on the devices."""
    low_precision = precision(config.dtype, devices)
    net, classes = load_fcn(params, config.backbone)
    place(net, devices, low_precision, hybridize=False)  # images of any size
    return net, low_precision, classes


def segments(net, path, device, low_precision):
    """(photograph, a Pillow image; its classes, int64 (H, W)) of an image file."""
    image = read_image(path)
    x = mx.nd.array(normalise(np.asarray(image))[None], ctx=device)
    return image, image_scores(net, x, low_precision).argmax(axis=0).asnumpy().astype('int64')


def evaluate(folder, config, devices):
    """Exact metrics of a checkpoint over whole validation images: pix_acc, miou, class_iou (0 to 1), num_images."""
    scenes, _ = open_scenes(config, 'validation')
    net, low_precision, classes = load_net(config, os.path.join(folder, 'net.params'), devices)
    return evaluate_images(net, ImageStream(scenes, threads_of(config)), devices, low_precision, classes)


def predict(folder, config, images, devices, top=5):
    """[{'image', 'classes': [{'name', 'index', 'share'}]}] of image files, the largest segments first."""
    net, low_precision, classes = load_net(config, os.path.join(folder, 'net.params'), devices[:1])
    names, found = checkpoint.read_manifest(folder).get('classes') or names_of(classes), []
    for path in images:
        _, labels = segments(net, path, devices[0], low_precision)
        found.append({'image': path, 'classes': [{'name': names[label], 'index': label, 'share': float(share)}
                                                 for label, share in shares(labels)[:top]]})
    return found


def network(folder, config, devices):
    """The network of a checkpoint, for inference."""
    return load_net(config, os.path.join(folder, 'net.params'), devices)[0]
