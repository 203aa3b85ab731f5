import json

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.prepare import demo_scenes

pytest.importorskip('sklearn')


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes') / 'demo'
    assert main(['prepare', 'demo', '--scenes', '--out', str(folder)]) == 0
    return folder


def test_gluoncv_reads_the_detection_scenes(scenes):
    from gluoncv.data import VOCDetection

    class Scenes(VOCDetection):
        CLASSES = demo_scenes.CLASSES

    train = Scenes(str(scenes / 'voc'), splits=((2007, 'trainval'), (2012, 'trainval')))
    test = Scenes(str(scenes / 'voc'), splits=((2007, 'test'),))
    assert (len(train), len(test)) == (1000, 150)
    labels = np.concatenate([train[number][1][:, 4] for number in range(len(train))])
    assert np.bincount(labels.astype(int), minlength=10).min() > 20
    image, boxes = test[0]
    assert image.shape == (demo_scenes.HEIGHT, demo_scenes.WIDTH, 3) and len(boxes) >= 1
    facts = json.loads((scenes / 'voc' / 'voc.certificate.json').read_text())
    assert sum(facts['sets']['VOC2007 test']['objects'].values()) >= 150


def test_gluoncv_reads_the_segmentation_scenes(scenes):
    from gluoncv.data import ADE20KSegmentation
    data = ADE20KSegmentation(str(scenes / 'ade'), split='train', mode='testval')
    assert len(data) == 1000
    seen = np.zeros(12, bool)
    for number in range(40):
        seen[np.unique(data[number][1].asnumpy()).astype(int) + 1] = True
    assert seen.all()  # no class, the photograph, ten digits


def test_boxes_and_masks_agree():
    """A card is its box; in the mask its digit's class, but for an edge without one, and the photograph elsewhere."""
    scenes, rng = demo_scenes._Scenes(), np.random.RandomState(3)
    for _ in range(30):
        scene, mask, boxes = scenes.draw(rng, False)
        expected = np.ones(mask.shape, int)
        for label, (left, top, right, bottom) in boxes:
            assert right - left == bottom - top and demo_scenes.SIDES[0] <= right - left + 1 < demo_scenes.SIDES[1]
            assert (expected[top:bottom + 1, left:right + 1] == 1).all()  # no card covers another
            expected[top:bottom + 1, left:right + 1] = 0
            expected[top + 1:bottom, left + 1:right] = label + 2
            card = scene[top:bottom + 1, left:right + 1]
            assert (card == card[:, :, :1]).all() and card.max() > 150 and card.min() < 20  # a grey digit
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.slow
def test_the_same_bytes_again(scenes, tmp_path):
    demo_scenes.write_scenes(str(tmp_path / 'again'))
    for name in [name for name, _ in demo_scenes.VOC.values()] + [demo_scenes.ADE20K[0]]:
        assert (tmp_path / 'again' / 'archives' / name).read_bytes() == (scenes / 'archives' / name).read_bytes()


def test_held_out_digits_are_in_test_scenes_only():
    scenes = demo_scenes._Scenes()
    train, test = ({image.tobytes() for image, _ in scenes.digits[out]} for out in (False, True))
    assert len(scenes.digits[True]) == 364 and len(train & test) <= 2  # a few digits were written alike
