"""Miniature official archives: the real formats, a few small images; and reading records with MXNet."""
import hashlib
import io
import tarfile
import zipfile

import numpy as np

from support.records import make_jpeg

SUFFIXES = ('.rec', '.lst', '.idx', '.certificate.json')


def tar_bytes(files, mode='w'):
    """Bytes of a tar of {name: bytes}; a TarInfo for a value is added as it is."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if isinstance(name, str) else name, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def png(values):
    import cv2
    return cv2.imencode('.png', values)[1].tobytes()


def cmyk_jpeg():
    from PIL import Image
    stream = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 40, 4)).astype('uint8'), 'CMYK').save(stream, 'JPEG')
    return stream.getvalue()


def devkit(classes, truth, images):
    """A devkit: classes = {ILSVRC2012_ID: WNID}, truth = ILSVRC2012_IDs, images = {WNID: number}; with inner nodes."""
    from scipy.io import savemat
    fields = [('ILSVRC2012_ID', 'O'), ('WNID', 'O'), ('words', 'O'), ('num_children', 'O'), ('num_train_images', 'O')]
    synsets = np.empty((len(classes) + 1, 1), fields)
    for row, (number, wnid) in enumerate(sorted(classes.items())):
        synsets[row, 0] = (float(number), wnid, 'words of ' + wnid, 0.0, float(images.get(wnid, 0)))
    synsets[len(classes), 0] = (float(max(classes) + 1), 'n00001740', 'entity', 2.0, 0.0)
    stream = io.BytesIO()
    savemat(stream, {'synsets': synsets})
    root = 'ILSVRC2012_devkit_t12/data/'
    return tar_bytes({root + 'meta.mat': stream.getvalue(), 'ILSVRC2012_devkit_t12/readme.txt': b'text',
                      root + 'ILSVRC2012_validation_ground_truth.txt': b''.join(b'%d\n' % each for each in truth)},
                     'w:gz')


def write_imagenet(folder, per_class=6, val=9, classes=None):
    """The three archives of a miniature ImageNet in `folder`; returns the flags that name them.

    Class 1 of the ILSVRC2012_IDs is the last of the sorted WordNet ids. One image is a PNG, one CMYK.
    """
    classes = classes or {1: 'n03000000', 2: 'n01000000', 3: 'n02000000'}
    truth = [sorted(classes)[number % len(classes)] for number in range(val)]
    images = {}
    for label, wnid in enumerate(sorted(classes.values())):
        images[wnid] = {f'{wnid}_{10 * number}.JPEG': make_jpeg(label, number) for number in range(per_class)}
    first = sorted(images)[0]
    images[first][first + '_0.JPEG'] = png(np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype('uint8'))
    images[first][first + '_10.JPEG'] = cmyk_jpeg()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'train.tar').write_bytes(tar_bytes({wnid + '.tar': tar_bytes(images[wnid]) for wnid in sorted(images)}))
    (folder / 'val.tar').write_bytes(tar_bytes({f'ILSVRC2012_val_{number + 1:08d}.JPEG': make_jpeg(
        sorted(classes.values()).index(classes[each]), 1000 + number) for number, each in enumerate(truth)}))
    (folder / 'devkit.tar.gz').write_bytes(devkit(classes, truth, {wnid: per_class for wnid in images}))
    return ['--train', str(folder / 'train.tar'), '--val', str(folder / 'val.tar'),
            '--devkit', str(folder / 'devkit.tar.gz'), '--no-checksum']


def write_places365(folder, layout='256', per_class=4, classes=('airfield', 'bar', 'yard')):
    """The archives of a miniature Places365; layout: 256, large or letters. Returns the flags that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {f'/{name[0]}/{name}': label for label, name in enumerate(classes)}
    train = {path + f'/{number:08d}.jpg': make_jpeg(label, number) for path, label in paths.items()
             for number in range(1, per_class + 1)}
    root = {'256': 'data_256', 'large': 'data_large_standard', 'letters': ''}[layout]
    if layout == 'letters':
        letters = {name[0] for name in classes}
        content = {letter + '.tar': tar_bytes({path[1:]: image for path, image in train.items() if path[1] == letter})
                   for letter in sorted(letters)}
    else:
        content = {root + path: image for path, image in train.items()}
    size = 'large' if layout == 'large' else '256'
    (folder / (f'train_{size}.tar')).write_bytes(tar_bytes(content))
    lists = {'categories_places365.txt': ''.join('%s %d\n' % pair for pair in paths.items()),
             'places365_train_standard.txt': ''.join(f'{path} {paths[path.rsplit("/", 1)[0]]}\n'
                                                     for path in train)}
    for part in ('val', 'test'):
        names = [f'Places365_{part}_{number:08d}.jpg' for number in range(1, 8)]
        (folder / (f'{part}_{size}.tar')).write_bytes(tar_bytes({
            f'{part}_{size}/{name}': make_jpeg(number % 3, 500 + number)
            for number, name in enumerate(names)}))
        lists[f'places365_{part}.txt'] = ''.join(
            name + (f' {number % 3}' if part == 'val' else '') + '\n' for number, name in enumerate(names))
    (folder / 'filelist.tar').write_bytes(tar_bytes({name: text.encode() for name, text in lists.items()}))
    return ['--train', str(folder / (f'train_{size}.tar')), '--val', str(folder / (f'val_{size}.tar')),
            '--test', str(folder / (f'test_{size}.tar')), '--filelist', str(folder / 'filelist.tar'), '--no-checksum']


def voc_xml(boxes=(('dog', 2, 3, 30, 31),), width=40, height=40):
    objects = ''.join('<object><name>%s</name><difficult>0</difficult><bndbox><xmin>%g</xmin><ymin>%g</ymin>'
                      '<xmax>%g</xmax><ymax>%g</ymax></bndbox></object>' % box for box in boxes)
    return ('<annotation><size><width>%d</width><height>%d</height><depth>3</depth></size>%s</annotation>'
            % (width, height, objects)).encode()


def write_voc(folder, changes=None, images=5):
    """VOC's three archives with so many images each, and {name: bytes or None} changed; returns the flags that name
    them."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = ['--no-checksum']
    for number, (flag, year, part) in enumerate((('trainval07', 'VOC2007', 'trainval'), ('test07', 'VOC2007', 'test'),
                                                 ('trainval12', 'VOC2012', 'trainval'))):
        names = [f'{1000 * number + each:06d}' for each in range(images)]
        root = f'VOCdevkit/{year}/'
        files = {root + f'ImageSets/Main/{part}.txt': ''.join(name + '\n' for name in names).encode()}
        for each, name in enumerate(names):
            files[root + f'Annotations/{name}.xml'] = voc_xml()
            files[root + f'JPEGImages/{name}.jpg'] = make_jpeg(each % 4, 5 * each)
        for name, content in (changes or {}).items():
            if name in files:
                files.update({name: content}) if content is not None else files.pop(name)
        (folder / (flag + '.tar')).write_bytes(tar_bytes(files))
        flags += ['--' + flag, str(folder / (flag + '.tar'))]
    return flags


def write_ade20k(folder, changes=None, train=6, val=3):
    """ADE20K's zip, and {name: bytes or None} changed; returns the flags that name it."""
    folder.mkdir(parents=True, exist_ok=True)
    root = 'ADEChallengeData2016/'
    files = {root + 'objectInfo150.txt': ('Idx\tRatio\tTrain\tVal\tName\n' + ''.join(
        f'{each}\t0.1\t10\t2\tthing {each}\n' for each in range(1, 5))).encode(),
        root + 'sceneCategories.txt': b'ADE_train_00000001 airport\n'}
    for part, short, number in (('training', 'train', train), ('validation', 'val', val)):
        for each in range(1, number + 1):
            name = f'{part}/ADE_{short}_{each:08d}'
            files[root + f'images/{name}.jpg'] = make_jpeg(each % 4, 5 * each)
            files[root + f'annotations/{name}.png'] = png(
                np.random.RandomState(each).randint(0, 5, (40, 40)).astype('uint8'))
    for name, content in (changes or {}).items():
        files.update({root + name: content}) if content is not None else files.pop(root + name)
    (folder / 'ade.zip').write_bytes(zip_bytes(files))
    return ['--zip', str(folder / 'ade.zip'), '--no-checksum']


def read_all(prefix):
    """{label: image bytes} as MXNet's own reader gives them, and the labels in the order of the keys."""
    from gluon_tricks.compat import mx
    reader = mx.recordio.MXIndexedRecordIO(prefix + '.idx', prefix + '.rec', 'r')
    pairs = [mx.recordio.unpack(reader.read_idx(key)) for key in reader.keys]
    reader.close()
    return {header.label: image for header, image in pairs}, [header.label for header, _ in pairs]


def by_name(prefix):
    """{name: label} of a record file's list, and the bytes of each name's record."""
    lines = [line.rstrip('\n').split('\t') for line in open(prefix + '.lst')]
    return {name: int(float(label)) for _, label, name in lines}


def contents(prefix):
    """{suffix: SHA-256} of a record file and what lies beside it."""
    return {suffix: hashlib.sha256(open(prefix + suffix, 'rb').read()).hexdigest() for suffix in SUFFIXES}
