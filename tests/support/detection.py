"""A small detector, the flags of one, and a small VOC tree."""
import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.models.backbone import build_backbone
from gluon_tricks.tasks.detection.network import DetectorOptions, build_faster_rcnn
from support.archives import voc_xml
from support.records import make_jpeg

SMALL_NET = dict(image_short=96, image_max_size=128, rpn_channel=16, rpn_train_pre_nms=200, rpn_train_post_nms=60,
             rpn_test_pre_nms=200, rpn_test_post_nms=40, rpn_min_size=4, anchor_scales=(1, 2), num_sample=16)
SMALL_FLAGS = ['--network', 'resnet10_v1d_demo', '--image-short', '96', '--image-max-size', '128', '--rpn-channel', '16',
         '--rpn-train-pre-nms', '200', '--rpn-train-post-nms', '60', '--rpn-test-pre-nms', '200', '--rpn-test-post-nms',
         '40', '--rpn-min-size', '4', '--anchor-scales', '1,2', '--rcnn-num-samples', '16', '-j', '0', '--devices',
         'cpu(0)', '--epochs', '2', '--lr', '0.01', '--log-interval', '2', '--batch-size', '4']


def build_detector(name='resnet10_v1d_demo', classes=('cat', 'dog'), images_per_device=1, **options):
    mx.random.seed(0)
    np.random.seed(0)
    return build_faster_rcnn(build_backbone(name, use_global_stats=True), classes, images_per_device,
                             DetectorOptions(**dict(SMALL_NET, **options)))


def write_tree(root, images=8, size=96):
    """A VOC tree of three sets with so many images each, every one with a dog and a cat."""
    for year, part, first in (('VOC2007', 'trainval', 0), ('VOC2007', 'test', 100), ('VOC2012', 'trainval', 200)):
        for folder in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
            (root / year / folder).mkdir(parents=True, exist_ok=True)
        names = [f'{first + number:06d}' for number in range(images)]
        (root / year / 'ImageSets' / 'Main' / (part + '.txt')).write_text(''.join(name + '\n' for name in names))
        for number, name in enumerate(names):
            image = make_jpeg(number % 4, number, size)
            (root / year / 'JPEGImages' / (name + '.jpg')).write_bytes(image)
            width = size + number % 5
            (root / year / 'Annotations' / (name + '.xml')).write_bytes(voc_xml(
                (('dog', 5 + number, 8, 50 + number, 60), ('cat', 30, 40, 80, 90)), width, size))
    return root
