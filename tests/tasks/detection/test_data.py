import numpy as np
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.detection.data import DetectionStream, open_voc, test_images
from support.archives import voc_xml
from support.detection import build_detector, write_tree


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / 'voc')


def test_the_sets(tree):
    train, test = open_voc(str(tree))
    assert (len(train), len(test)) == (16, 8) and len(train.classes) == 20
    image, boxes = train[0]
    assert image.shape == (96, 96, 3) and boxes[0].tolist() == [4, 7, 49, 59, 11, 0]  # VOC counts pixels from 1


def damaged(tree, file, content):
    path = tree / file
    path.unlink() if content is None else path.write_bytes(content)
    return str(tree)


@pytest.mark.parametrize('file, content, part', [
    ('VOC2007/Annotations/000003.xml', None, 'Annotations/000003.xml is missing'),
    ('VOC2012/JPEGImages/000205.jpg', None, 'JPEGImages/000205.jpg is missing'),
    ('VOC2012/JPEGImages/000205.jpg', b'', '000205.jpg is not an image'),
    ('VOC2007/Annotations/000101.xml', b'<annotation>', '000101.xml is not an annotation'),
    ('VOC2007/Annotations/000003.xml', voc_xml((('unicorn', 1, 1, 5, 5),), 99, 96), "000003.xml has an object of the class 'uni"),
    ('VOC2007/Annotations/000003.xml', voc_xml((('dog', 1, 1, 500, 5),), 99, 96), '000003.xml has a box'),
    ('VOC2007/Annotations/000003.xml', voc_xml((('dog', 1, 1, 5, 5),), 50, 96), '000003.xml says 50 x 96'),
    ('VOC2007/ImageSets/Main/test.txt', None, 'prepare voc'),
])
def test_a_wrong_file_is_named(file, content, part, tree):
    with pytest.raises(UsageError) as error:
        open_voc(damaged(tree, file, content))
    assert part in str(error.value)


def test_an_image_that_only_fails_when_it_is_decoded_is_named(tree):
    path = tree / 'VOC2007' / 'JPEGImages' / '000100.jpg'
    content = path.read_bytes()
    path.write_bytes(content[:200])
    try:
        _, test = open_voc(str(tree))
    except UsageError as error:
        assert '000100.jpg' in str(error)
    else:
        with pytest.raises(UsageError, match='000100.jpg cannot be decoded'):
            next(test_images(test, 96, 128))


def arrays(batch):
    return [piece.asnumpy() for each in batch for piece in (each if isinstance(each, (list, tuple)) else [each])]


def epoch_of(stream, epoch):
    return [array for batch in stream.epoch(epoch) for array in arrays(batch)]


def test_an_epoch_depends_on_seed_and_epoch_alone(tree):
    train, _ = open_voc(str(tree))
    net = build_detector(train.classes and 'resnet10_v1d_demo', train.classes, images_per_device=3)
    stream = DetectionStream(train, net, 1, 3, seed=5)
    assert stream.updates_per_epoch == 6 and stream.num_images == 16
    first = epoch_of(stream, 2)
    np.random.seed(99)
    epoch_of(stream, 0)
    again = epoch_of(DetectionStream(train, net, 1, 3, seed=5), 2)
    assert len(first) == len(again) == 6 * 5 and all((a == b).all() for a, b in zip(first, again))
    other = epoch_of(stream, 3)
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(first, other))


@pytest.mark.parametrize('mirror', [True, False])
def test_images_are_flipped_unless_told(mirror, tree):
    train, _ = open_voc(str(tree))
    stream = DetectionStream(train, build_detector(classes=train.classes), 1, 1, seed=1, mirror=mirror)
    lefts = []
    for _, boxes, *_ in stream.epoch(0):  # (1, 2, 6)
        left, _, right = (boxes[0] if isinstance(boxes, (list, tuple)) else boxes)[0, 1, :3].asnumpy()  # the cat: 29 to 79
        lefts.append(round(left / (right - left), 2))
    assert (min(lefts) < 0.5) == mirror and max(lefts) > 0.5, lefts


def test_processes_change_nothing(tree):
    train, _ = open_voc(str(tree))
    net = build_detector(classes=train.classes, images_per_device=4)
    alone, several = (epoch_of(DetectionStream(train, net, 1, 4, seed=1, num_workers=number), 1) for number in (0, 2))
    assert all((a == b).all() for a, b in zip(alone, several))


def test_a_batch_larger_than_the_set_is_refused(tree):
    train, _ = open_voc(str(tree))
    with pytest.raises(UsageError, match='--batch-size'):
        DetectionStream(train, build_detector(classes=train.classes), 1, 17, seed=0)


@pytest.mark.parametrize('content', [
    '', '{', '[]', '3', '{}', '[' * 100000, '{"classes": 3, "sets": {}}', '{"classes": [], "sets": {}}',
    '{"classes": [1], "sets": {}}', '{"classes": ["a"], "sets": []}', '{"classes": ["a"], "sets": {"x": 1}}',
    '{"classes": ["a"], "sets": {"x": {}}}', '{"classes": ["a"], "sets": {"x": {"quirks": [[]]}}}',
    '{"classes": ["a"], "sets": {"x": {"quirks": 1}}}', '{"classes": null, "sets": null}',
    '{"classes": ["a%s"], "sets": {}}' % ('", "a' * 70000)])
def test_a_forged_certificate_is_named(content, tree):
    (tree / 'voc.certificate.json').write_text(content)
    with pytest.raises(UsageError, match='voc.certificate.json is not a certificate'):
        open_voc(str(tree))
