"""A trained segmentation network: pixAcc and mIoU, and the segments of images."""
import os

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.models.zoo import place
from gluon_tricks.tasks.segmentation.assembly import open_scenes, threads_of
from gluon_tricks.tasks.segmentation.data import EvalStream, ImageStream, read_image
from gluon_tricks.tasks.segmentation.metrics import count_crops, evaluate_images, image_scores, normalise
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


def validation(folder, devices):
    """What the network of a run, or of a checkpoint, says of its validation images, by the protocol of the training.

    'counts' of pixels by label and prediction, int64 (K, K); 'classes', their names; 'num_images'. Raises UsageError.
    """
    folder = checkpoint.best_of(folder)
    manifest = checkpoint.read(folder)
    config = FCNConfig.from_dict(manifest['config'])
    scenes, names = open_scenes(config, 'validation')
    net, low_precision, classes = load_net(config, os.path.join(folder, 'net.params'), devices)
    batch_size = -(-config.test_batch_size // len(devices)) * len(devices)
    stream = EvalStream(scenes, batch_size, config.crop_size, threads_of(config))
    confusion = count_crops(net, stream, devices, low_precision, classes)
    return {'counts': confusion.counts, 'classes': manifest.get('classes') or names, 'num_images': confusion.num_images}


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
