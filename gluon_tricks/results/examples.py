"""What networks do with images, for a page: the classes that a classifier confuses, and pictures that were drawn.

Images of a data set are nobody's to hand on with a page: shown are the demo's own alone, known by their bytes, and the
pictures that the user had drawn.
"""
import collections
import hashlib
import os
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from gluon_tricks.data.image_file import read_image
from gluon_tricks.data.prepare import demo_digits
from gluon_tricks.data.records.record_file import read_records
from gluon_tricks.pictures.picture import Picture, names_of
from gluon_tricks.results.classes import Figures, Pair, draw_classes, of_images
from gluon_tricks.results.records import Record

DIGITS = [str(digit) for digit in range(10)]
_OF_A_PAIR = 4      # images of two confused classes
_WIDTH, _QUALITY = 640, 82  # pixels, and JPEG's quality, of a picture


class Classes(NamedTuple):
    """name: of the run whose network looked; found: its figures; pairs: the most confused, each with JPEGs of some of
    its images, where those are the demo's own."""

    name: str
    found: Figures
    picture: Picture
    pairs: List[Tuple[Pair, List[bytes]]]


class Shown(NamedTuple):
    """A picture that was drawn: its file's name, and a JPEG of it."""

    name: str
    jpeg: bytes
    width: int
    height: int


def may_be_demo(record: Record) -> bool:
    """Whether a run's data have the classes and no more images than the demo's, whose validation takes seconds."""
    return record.classes == DIGITS and record.num_images < demo_digits.NUMBER


def look(record: Record, devices: Sequence[Any], again: bool = True) -> Classes:
    """What the best checkpoint of a run says of its validation images. Raises UsageError.

    again: whether a segmentation network looks at them, or its log tells (`class_figures.of_run`).
    """
    name, = names_of([record.path])
    images: Dict[Tuple[str, str], List[bytes]] = {}
    if record.task == 'classification':
        from gluon_tricks.tasks.classification.trained import validation  # MXNet
        answers = validation(record.path, list(devices))
        found = of_images(answers)
        if may_be_demo(record):
            images = _images(record, answers, found.pairs)
    else:
        from gluon_tricks.results.class_figures import of_run  # MXNet, and GluonCV
        found = of_run(record, devices, again)
    return Classes(name, found, draw_classes(name, found),
                   [(pair, images.get((pair.label, pair.predicted), [])) for pair in found.pairs])


def _images(record, found, pairs):
    """{(label, prediction): JPEGs of some of these images}, of those that are the demo's own, byte for byte."""
    own, names = demo_digits.own_images(os.path.expanduser(record.config.data_dir)), found['classes']
    images, wanted = collections.defaultdict(list), {(pair.label, pair.predicted) for pair in pairs}
    content = read_records(os.path.expanduser(record.config.rec_val), os.path.expanduser(record.config.rec_val_idx))
    for label, predicted, (_, _, image) in zip(found['labels'], found['predicted'], content):
        pair = names[label], names[predicted]
        if label != predicted and pair in wanted and len(images[pair]) < _OF_A_PAIR and \
                hashlib.sha256(image).hexdigest() in own:
            images[pair].append(image)
    return images


def shown(path: str) -> Shown:
    """A picture's file, made smaller. Raises UsageError for one that is no image."""
    image = read_image(path).asnumpy()
    import cv2  # after MXNet, with which its threads are set up
    height, width = image.shape[:2]
    if width > _WIDTH:
        height, width = max(1, round(height * _WIDTH / width)), _WIDTH
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode('.jpg', np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return Shown(os.path.basename(path), jpeg.tobytes(), width, height)
