"""``python -m gluon_tricks prepare voc``: PASCAL VOC 2007 and 2012 in the tree that GluonCV's VOCDetection reads.

Detection trains on the trainval sets of both years and tests on 2007's test set (paper section 6.1).
"""
import collections
import os
import xml.etree.ElementTree

from tqdm import tqdm

from gluon_tricks.data.prepare import archives
from gluon_tricks.data.prepare.extract import extract
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.errors import UsageError

DEFAULT_OUT = os.path.join('~', '.mxnet', 'datasets', 'voc')
CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog',
           'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
MD5 = {'trainval07': 'c52e279531787c972589f7e41ab4ae64', 'test07': 'b6e924de25625d8de591ea690078ad9f',
       'trainval12': '6cd6e144f989b92b3379bac3b3de84fd'}
SETS = {'trainval07': ('VOC2007', 'trainval'), 'test07': ('VOC2007', 'test'), 'trainval12': ('VOC2012', 'trainval')}
COUNTS = {'VOC2007 trainval images': 5011, 'VOC2007 test images': 4952, 'VOC2012 trainval images': 11540}
_ROOT = 'VOCdevkit/'
_TASK = 256  # images that a process checks in one go


def members_of(paths):
    """{path below OUT: Slice} of the archives. The test archive repeats some files of trainval: the first is taken.

    Raises UsageError for a member outside VOCdevkit/VOC2007 and VOCdevkit/VOC2012.
    """
    members = {}
    for part, path in paths.items():
        year = SETS[part][0]
        for name, member in archives.tar_members(path):
            if not name.startswith(_ROOT + year + '/'):
                raise UsageError(f'{path} holds {name}, outside {_ROOT}{year}: give the official archive')
            members.setdefault(name[len(_ROOT):], member)
    return members


def check_image(tree, year, identity, classes):
    """({class: number of objects}, [what is strange about it]) of one image.

    Strange: another size than the XML says, a box outside the image. Raises UsageError, naming the file, for a missing
    or damaged XML or image and for an unknown class.
    """
    from PIL import Image
    annotation = os.path.join(tree, year, 'Annotations', identity + '.xml')
    picture = os.path.join(tree, year, 'JPEGImages', identity + '.jpg')
    shown = {path: os.path.relpath(path, tree) for path in (annotation, picture)}
    for path in (annotation, picture):
        if not os.path.isfile(path):
            raise UsageError(f'{shown[path]} is missing, although {year} lists it')
    try:
        with Image.open(picture) as image:
            width, height = image.size
    except Exception as error:
        raise UsageError(f'{shown[picture]} is not an image that can be read ({error}): replace it') from error
    counts, strange = {}, []
    try:
        root = xml.etree.ElementTree.parse(annotation).getroot()
        said = tuple(int(float(root.find('size/' + side).text)) for side in ('width', 'height'))
        for thing in root.iter('object'):
            label = thing.find('name').text.strip().lower()
            box = [float(thing.find('bndbox/' + side).text) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
            if label not in classes:
                raise UsageError(f'{shown[annotation]} has an object of the class {label!r}, which is not one of '
                                 f'{", ".join(classes)}')
            if not (1 <= box[0] < box[2] <= width and 1 <= box[1] < box[3] <= height):
                strange.append(f'{shown[annotation]} has a box {tuple(box)} outside its image of {width} x {height}')
            counts[label] = counts.get(label, 0) + 1
    except UsageError:
        raise
    except Exception as error:  # a parser has many kinds for what is none, and so have numbers
        raise UsageError(f'{shown[annotation]} is not an annotation of VOC ({error}): replace it') from error
    if said != (width, height):
        strange.append('%s says %d x %d, the image is %d x %d' % ((shown[annotation],) + said + (width, height)))
    return counts, strange


def check_images(tree, year, identities, classes):
    """(number of objects by class, what is strange) of many images."""
    total, strange = collections.Counter(), []
    for identity in identities:
        counts, found = check_image(tree, year, identity, classes)
        total.update(counts)
        strange += found
    return dict(total), strange


def read_set(tree, year, name):
    """Identities of the images in TREE/YEAR/ImageSets/Main/NAME.txt. Raises UsageError for one that leads outside,
    OSError or UnicodeDecodeError for a file that cannot be read."""
    path = os.path.join(tree, year, 'ImageSets', 'Main', name + '.txt')
    with open(path) as stream:
        identities = [line.split()[0] for line in stream if line.strip()]
    for identity in identities:
        archives.check_name(path, identity)
    return identities


def check_set(tree, year, name, identities, classes, processes):
    """As `check_images`, by several processes, under a progress bar."""
    objects, strange = collections.Counter(), []
    tasks = [(tree, year, identities[at:at + _TASK], classes) for at in range(0, len(identities), _TASK)]
    for counts, found in tqdm(ordered(check_images, tasks, min(processes, len(tasks))), unit='task', total=len(tasks),
                              desc=f'check {year} {name}', disable=None):
        objects.update(counts)
        strange += found
    return dict(objects), strange


def checker(parts, classes, official):
    """function(tree, processes) for `extracting.extract`: the sets, their images and boxes; facts about them."""
    def check(tree, processes):
        facts, found = {'classes': list(classes), 'sets': {}}, {}
        for part in parts:
            year, name = SETS[part]
            try:
                identities = read_set(tree, year, name)
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f'{year}/ImageSets/Main/{name}.txt cannot be read: give the official '
                                 'archives') from error
            found[f'{year} {name} images'] = len(identities)
            if official:
                archives.check_counts('VOC', {key: COUNTS[key] for key in found}, found)
            objects, strange = check_set(tree, year, name, identities, classes, processes)
            if strange and not official:  # the official archives are what they are: it stands in the certificate
                raise UsageError(f'{strange[0]}: put it right in the archive')
            facts['sets'][f'{year} {name}'] = {'images': len(identities), 'objects': objects,
                                                     'quirks': strange}
        return facts
    return check


def add_arguments(parser):
    parser.add_argument('--trainval07', required=True, metavar='TAR', help='VOCtrainval_06-Nov-2007.tar')
    parser.add_argument('--test07', required=True, metavar='TAR', help='VOCtest_06-Nov-2007.tar')
    parser.add_argument('--trainval12', required=True, metavar='TAR', help='VOCtrainval_11-May-2012.tar')
    parser.add_argument('--classes', help='names of the classes, with commas, of archives of your own (VOC\'s 20)')


def run(arguments):
    """Write OUT/VOC2007 and OUT/VOC2012; returns the lines that say what is there. Raises UsageError."""
    paths = {part: os.path.expanduser(getattr(arguments, part)) for part in SETS}
    official = not arguments.no_checksum
    if arguments.classes and official:
        raise UsageError(f"--classes {arguments.classes}: the official archives have VOC's classes; give "
                         "--no-checksum for archives of your own")
    classes = tuple(arguments.classes.split(',')) if arguments.classes else CLASSES
    source = archives.check_archives([(path, ('md5', MD5[part]) if official else None)
                                      for part, path in paths.items()])
    return describe(extract(members_of(paths), arguments.out, 'voc', checker(list(SETS), classes, official), describe,
                            source, arguments.processes))


def describe(facts):
    """The lines that say what is there."""
    return [f'{name:<17} {each["images"]:6d} images, {sum(each["objects"].values()):6d} objects of '
            f'{len(each["objects"])} classes'
            for name, each in facts['sets'].items()]
