"""Boxes drawn on the photograph (paper section 6.1)."""
import json
import os

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import read_image
from gluon_tricks.errors import UsageError
from gluon_tricks.files import write_whole
from gluon_tricks.models.backbone import MOST_CLASSES
from gluon_tricks.tasks.detection.task import detect

SHOWN = 0.5  # the score from which a box is drawn
_READABLE, _MOST_ZOOM = 300, 4  # a short side of fewer pixels is enlarged this many times at most


def stored_classes(params):
    """Names of the classes of a checkpoint's weights, from the manifest beside them, else VOC's 20."""
    from gluon_tricks.data.prepare.voc import CLASSES
    try:
        with open(os.path.join(os.path.dirname(os.path.realpath(params)), 'manifest.json')) as stream:
            classes = json.load(stream)['classes']
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return CLASSES
    sound = isinstance(classes, list) and len(classes) <= MOST_CLASSES and all(isinstance(c, str) for c in classes)
    return tuple(classes) if sound else CLASSES


def load_image(path, short, max_size):
    """(photograph (H, W, 3) uint8, image (1, 3, h, w) as the detector takes it, pixels of one of its pixels).

    Raises UsageError for a file that is not an image.
    """
    from gluoncv.data.transforms.presets.rcnn import transform_test
    photograph = read_image(path)
    try:
        image, _ = transform_test(photograph, short=short, max_size=max_size)
    except mx.MXNetError as error:
        raise UsageError('%s is %d x %d pixels, too narrow to look at: give another image'
                         % ((path,) + photograph.shape[1::-1])) from error
    return photograph.asnumpy(), image, photograph.shape[0] / image.shape[2]


def draw_detections(net, photograph, image, scale, device, precision, classes, out, path):
    """Write OUT/NAME.png with a box, class and score for each find; returns (its path, [(class, score)]).

    photograph: (H, W, 3) uint8, drawn at a whole multiple of its size where it is small.
    """
    import cv2

    from gluoncv.utils.viz import cv_plot_bbox
    ids, scores, boxes = detect(net, image, device, precision)
    keep = scores >= SHOWN
    ids, scores, boxes = ids[keep], scores[keep], boxes[keep] * scale
    zoom = min(-(-_READABLE // min(photograph.shape[:2])), _MOST_ZOOM)  # so that the words have room
    enlarged = cv2.resize(photograph, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    percents = np.round(100 * scores.astype('float64'))  # as they are printed; GluonCV cuts off what follows the point
    drawn = cv_plot_bbox(enlarged, boxes * zoom, (percents + 0.5) / 100, ids, thresh=0, class_names=classes)
    target = os.path.join(out, os.path.splitext(os.path.basename(path))[0] + '.png')
    try:
        os.makedirs(out, exist_ok=True)
        write_whole(target, cv2.imencode('.png', drawn[:, :, ::-1])[1].tobytes())
    except OSError as error:
        raise UsageError(f'--out {out} cannot be written ({error.strerror}): choose another directory') from error
    return target, [(classes[each], float(score)) for each, score in zip(ids, scores)]
