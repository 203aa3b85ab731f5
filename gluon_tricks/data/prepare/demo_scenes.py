"""The demo's scenes: cards with real handwritten digits on real photographs, as genuine archives of VOC and ADE20K.

The digits are scikit-learn's, each with the dark ground that it was scanned on, as in the demo of classification; the
photographs are its two sample images. The archives pass through the same preparers as the official ones. Demo data
proves that the machinery works; it does not stand for VOC or ADE20K.
"""
import io
import os
import tarfile
import zipfile

import numpy as np

from gluon_tricks.data.prepare import ade20k as prepare_ade20k
from gluon_tricks.data.prepare import voc as prepare_voc
from gluon_tricks.data.prepare.extract import extract
from gluon_tricks.errors import UsageError
from gluon_tricks.files import write_whole

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
SEGMENTS = ('photograph',) + CLASSES  # 1 is the photograph; 0, the edges of the cards, is not a class
WIDTH, HEIGHT = 160, 120
DIGITS, SIDES = (1, 5), (44, 73)  # cards to try in a scene, and their sides in pixels; each from, below
VOC = {'trainval07': ('VOCtrainval_06-Nov-2007.tar', 400), 'test07': ('VOCtest_06-Nov-2007.tar', 150),
       'trainval12': ('VOCtrainval_11-May-2012.tar', 600)}
ADE20K = ('ADEChallengeData2016.zip', {'training': 1000, 'validation': 200})
_XML = ('<annotation>\n\t<folder>%s</folder>\n\t<filename>%s.jpg</filename>\n\t<size>\n\t\t<width>%d</width>\n'
        '\t\t<height>%d</height>\n\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n%s</annotation>\n')
_OBJECT = ('\t<object>\n\t\t<name>%s</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n'
           '\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>%d</xmin>\n\t\t\t<ymin>%d</ymin>\n'
           '\t\t\t<xmax>%d</xmax>\n\t\t\t<ymax>%d</ymax>\n\t\t</bndbox>\n\t</object>\n')


def write_scenes(out, processes=1):
    """Write OUT/archives, and from them OUT/voc and OUT/ade; returns the lines that say what is there.

    Digits that the demo of classification holds out are in the test and validation scenes only. What is there already
    is kept. Raises UsageError without scikit-learn, or where OUT cannot be written.
    """
    folder = os.path.join(out, 'archives')
    paths = {part: os.path.join(folder, name) for part, (name, _) in VOC.items()}
    ade20k = os.path.join(folder, ADE20K[0])
    try:
        os.makedirs(folder, exist_ok=True)
        if not all(os.path.exists(path) for path in list(paths.values()) + [ade20k]):
            scenes = _Scenes()
            for number, (part, path) in enumerate(paths.items()):
                write_whole(path, _voc(scenes, part, number))
            write_whole(ade20k, _ade20k(scenes))
    except OSError as error:
        raise UsageError('%s cannot be written (%s): choose another --out' % (out, error.strerror or error)) from error
    voc = extract(prepare_voc.members_of(paths), os.path.join(out, 'voc'), 'voc',
                  prepare_voc.checker(list(VOC), CLASSES, False), prepare_voc.describe, {'scenes': None}, processes)
    ade = extract(prepare_ade20k.members_of(ade20k), os.path.join(out, 'ade'), 'ade20k',
                  prepare_ade20k.checker(False), prepare_ade20k.describe, {'scenes': None}, processes)
    return [f'{name:<18} {each["images"]:5d} scenes, {sum(each["objects"].values()):5d} digits'
            for name, each in voc['sets'].items()] + [f'{"ADE20K " + name!s:<18} {each["images"]:5d} scenes'
                                                      for name, each in ade['sets'].items()]


class _Scenes:
    """Draws scenes from scikit-learn's digits and photographs."""

    def __init__(self):
        try:
            from sklearn.datasets import load_digits, load_sample_images
        except ImportError as error:
            raise UsageError('the demo data needs scikit-learn: type `pip install scikit-learn`') from error
        from gluon_tricks.data.prepare.demo_digits import held_out
        self.photographs = load_sample_images().images
        digits = load_digits()
        self.digits = {True: [], False: []}  # by whether they are held out
        for image, label, out in zip(digits.images, digits.target, held_out(digits.target)):
            self.digits[out].append(((image / 16.0).astype('float32'), int(label)))

    def draw(self, rng, out):
        """(photograph (H, W, 3) uint8, mask (H, W) uint8, [(label, (x1, y1, x2, y2))], from 0, inclusive)."""
        import cv2
        photograph = self.photographs[rng.randint(len(self.photographs))]
        scale = rng.uniform(1.0, 2.2)
        height, width = int(HEIGHT * scale), int(WIDTH * scale)
        top, left = rng.randint(photograph.shape[0] - height + 1), rng.randint(photograph.shape[1] - width + 1)
        scene = cv2.resize(photograph[top:top + height, left:left + width], (WIDTH, HEIGHT),
                           interpolation=cv2.INTER_AREA)
        mask, boxes = np.ones((HEIGHT, WIDTH), 'uint8'), []
        for _ in range(rng.randint(*DIGITS)):
            image, label = self.digits[out][rng.randint(len(self.digits[out]))]
            side = rng.randint(*SIDES)
            y, x = rng.randint(HEIGHT - side), rng.randint(WIDTH - side)
            box = x, y, x + side - 1, y + side - 1
            if any(box[0] <= other[2] + 4 and other[0] <= box[2] + 4 and box[1] <= other[3] + 4 and
                   other[1] <= box[3] + 4 for _, other in boxes):
                continue  # no card covers another
            card = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)
            scene[y:y + side, x:x + side] = (255 * card[:, :, None] * rng.uniform(0.7, 1.0)).astype('uint8')
            mask[y:y + side, x:x + side] = 0  # the edge is not a class
            mask[y + 1:y + side - 1, x + 1:x + side - 1] = label + 2
            boxes.append((label, box))
        return scene, mask, boxes


def _jpeg(scene):
    import cv2
    return cv2.imencode('.jpg', scene[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _voc(scenes, part, number):
    """The bytes of one of VOC's tars."""
    year, name = prepare_voc.SETS[part]
    rng, root, stream, identities = np.random.RandomState(number), f'VOCdevkit/{year}/', io.BytesIO(), []
    with tarfile.open(fileobj=stream, mode='w') as archive:
        def add(path, content):
            info = tarfile.TarInfo(root + path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for index in range(VOC[part][1]):
            scene, _, boxes = scenes.draw(rng, name == 'test')
            identity = f'2012_{index:06d}' if year == 'VOC2012' else f'{2 * index + (name == "test"):06d}'
            objects = ''.join(_OBJECT % ((CLASSES[label],) + tuple(side + 1 for side in box)) for label, box in boxes)
            add(f'Annotations/{identity}.xml', (_XML % (year, identity, WIDTH, HEIGHT, objects)).encode())
            add(f'JPEGImages/{identity}.jpg', _jpeg(scene))
            identities.append(identity)
        add(f'ImageSets/Main/{name}.txt', ''.join(identity + '\n' for identity in identities).encode())
    return stream.getvalue()


def _ade20k(scenes):
    """The bytes of ADE20K's zip."""
    import cv2
    rng, root, stream = np.random.RandomState(100), 'ADEChallengeData2016/', io.BytesIO()
    shown = np.zeros(len(SEGMENTS) + 1, 'int64')
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        def add(path, content):
            archive.writestr(zipfile.ZipInfo(root + path), content)
        for part, number in ADE20K[1].items():
            for index in range(1, number + 1):
                scene, mask, _ = scenes.draw(rng, part == 'validation')
                shown += np.bincount(mask.ravel(), minlength=len(shown))
                name = '%s/ADE_%s_%08d' % (part, {'training': 'train', 'validation': 'val'}[part], index)
                add(f'images/{name}.jpg', _jpeg(scene))
                add(f'annotations/{name}.png', cv2.imencode('.png', mask)[1].tobytes())
        lines = ['Idx\tRatio\tTrain\tVal\tName'] + [
            '%d\t%.4f\t%d\t%d\t%s' % ((index, shown[index] / shown.sum()) + tuple(ADE20K[1].values()) + (name,))
            for index, name in enumerate(SEGMENTS, 1)]
        add('objectInfo150.txt', '\n'.join(lines + ['']).encode())
    return stream.getvalue()
