"""``python -m gluon_tricks prepare imagenet``: records of ILSVRC2012 from its three official archives (paper section
2).

The training archive holds a tar for each class; their images are read in place. The validation labels are the devkit's
own ground truth, in ILSVRC2012_ID order, which is not the order of the classes: a class's index is its place among the
sorted WordNet ids, as in every framework. `meta.mat` of the devkit joins the two.
"""
import io
import os
import re

from gluon_tricks.data.prepare import archives
from gluon_tricks.data.records.packing import pack
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.errors import UsageError

DEFAULT_OUT = os.path.join('~', '.mxnet', 'datasets', 'imagenet', 'rec')
MD5 = {'train': '1d675b47d978889d74fa0da5fadfb00e', 'val': '29b22e2961454d5413ddabcf34fc5622',
       'devkit': 'fa75699e90414af021442c21a62c3abf'}
COUNTS = {'classes': 1000, 'train': 1281167, 'val': 50000}
_META, _TRUTH = 'data/meta.mat', 'data/ILSVRC2012_validation_ground_truth.txt'


def read_devkit(path):
    """(wnids by ILSVRC2012_ID, training images by wnid or {}, [ILSVRC2012_ID of validation image 1, 2, ...]).

    Only the classes of the challenge: the leaves of the tree in meta.mat. Raises UsageError for another file.
    """
    from scipy.io import loadmat
    files = archives.small_files(path, (_META, _TRUTH))
    try:
        synsets = loadmat(io.BytesIO(files[_META]), squeeze_me=True)['synsets']
        leaves = [synset for synset in synsets if int(synset['num_children']) == 0]
        wnids = {int(synset['ILSVRC2012_ID']): str(synset['WNID']) for synset in leaves}
        images = {}
        if 'num_train_images' in synsets.dtype.names:
            images = {str(synset['WNID']): int(synset['num_train_images']) for synset in leaves}
        truth = [int(line) for line in files[_TRUTH].split()]
    except Exception as error:  # scipy raises whatever it ran into
        raise UsageError(f"{path}: {_META} cannot be read as the devkit's ({error}): download it again") \
            from error
    if not wnids or len(set(wnids.values())) != len(wnids):
        raise UsageError(f'{path}: {_META} names no classes, or one twice: download it again')
    for line, number in enumerate(truth, 1):
        if number not in wnids:
            raise UsageError(f'{path}: {_TRUTH} line {line} is {number}, which {_META} does not have: download it '
                             'again')
    return wnids, images, truth


def train_items(path, classes, processes=1):
    """[(Slice, label, 'WNID/NAME')] of the training archive, class by class. Raises UsageError."""
    labels = {wnid: label for label, wnid in enumerate(classes)}
    inner = sorted(archives.tar_members(path))
    for name, _ in inner:
        if not name.endswith('.tar') or os.path.basename(name)[:-4] not in labels:
            raise UsageError(f'{path} holds {name}, which is not the tar of a class of the devkit: give '
                             'ILSVRC2012_img_train.tar')
    missing = sorted(set(classes) - {os.path.basename(name)[:-4] for name, _ in inner})
    if missing:
        raise UsageError(f'{path} has no {missing[0]}.tar: it is cut short, or not ILSVRC2012_img_train.tar')
    tasks = [(path, member.offset, member.offset + member.size) for _, member in inner]
    items = []
    for (name, _), members in zip(inner, ordered(archives.tar_members, tasks, processes)):
        wnid = os.path.basename(name)[:-4]
        items += [(member, labels[wnid], f'{wnid}/{os.path.basename(image)}')
                  for image, member in sorted(members)]
    return items


def val_items(path, wnids, truth, classes):
    """[(Slice, label, NAME)] of the validation archive, image 1 first. Raises UsageError."""
    labels = {wnid: label for label, wnid in enumerate(classes)}
    members = {}
    for name, member in archives.tar_members(path):
        number = re.search(r'_(\d+)\.JPEG$', name)
        if not number or not 1 <= int(number.group(1)) <= len(truth) or int(number.group(1)) in members:
            raise UsageError(f'{path} holds {name}, which is not one of the {len(truth)} validation images: give '
                             'ILSVRC2012_img_val.tar')
        members[int(number.group(1))] = os.path.basename(name), member
    if len(members) != len(truth):
        raise UsageError(f'{path} holds {len(members)} images, the devkit has labels for {len(truth)}: one of them is '
                         'cut short')
    return [(member, labels[wnids[truth[number - 1]]], name) for number, (name, member) in sorted(members.items())]


def add_arguments(parser):
    parser.add_argument('--train', required=True, metavar='TAR', help='ILSVRC2012_img_train.tar')
    parser.add_argument('--val', required=True, metavar='TAR', help='ILSVRC2012_img_val.tar')
    parser.add_argument('--devkit', required=True, metavar='TAR.GZ', help='ILSVRC2012_devkit_t12.tar.gz')


def run(arguments):
    """Write OUT/train.* and OUT/val.*; returns their prefixes. Raises UsageError."""
    paths = {part: os.path.expanduser(getattr(arguments, part)) for part in ('devkit', 'val', 'train')}
    official = not arguments.no_checksum
    source = archives.check_archives([(path, ('md5', MD5[part]) if official else None)
                                      for part, path in paths.items()])
    wnids, images, truth = read_devkit(paths['devkit'])
    classes = sorted(wnids.values())
    items = {'val': val_items(paths['val'], wnids, truth, classes),
             'train': train_items(paths['train'], classes, arguments.processes)}
    found = {wnid: 0 for wnid in classes}
    for _, label, _ in items['train']:
        found[classes[label]] += 1
    for wnid, number in images.items():
        if found[wnid] != number:
            raise UsageError(f'{paths["train"]} holds {found[wnid]} images of {wnid}, the devkit says {number}: it is '
                             'cut short, or of another year')
    if official:
        archives.check_counts('ImageNet', COUNTS, {'classes': len(classes), 'train': len(items['train']),
                                                   'val': len(items['val'])})
    prefixes = []
    for part in ('val', 'train'):
        prefixes.append(os.path.join(arguments.out, part))
        pack(items[part], prefixes[-1], seed=arguments.seed, shuffle=part == 'train', processes=arguments.processes,
             resize=arguments.resize, quality=arguments.quality, classes=classes, source=source, progress=True)
    return prefixes
