"""``python -m gluon_tricks prepare ade20k``: ADE20K's scene parsing set in the tree that GluonCV's loader reads.

Segmentation trains on its 20,210 training images and tests on 2,000 (paper section 6.2). In a mask 1 to 150 are the
classes of objectInfo150.txt; 0 is not a class, and ignored.
"""
import collections
import os
import re

from tqdm import tqdm

from gluon_tricks.data.prepare import archives
from gluon_tricks.data.prepare.extract import extract
from gluon_tricks.data.records.pool import ordered
from gluon_tricks.errors import UsageError

DEFAULT_OUT = os.path.join('~', '.mxnet', 'datasets', 'ade')
SHA1 = '219e1696abb36c8ba3a3afe7fb2f4b4606a897c7'
COUNTS = {'training images': 20210, 'validation images': 2000, 'classes': 150}
_ROOT = 'ADEChallengeData2016/'
_WANTED = re.compile(_ROOT + r'((images|annotations)/(training|validation)/[^/]+\.(jpg|png)|[^/]+\.txt)$')
_TASK = 64  # images that a process checks in one go


def members_of(path):
    """{path below OUT: ZipMember} of the archive. Raises UsageError for a member outside ADEChallengeData2016."""
    members = {}
    for name, member in archives.zip_members(path):
        if not name.startswith(_ROOT):
            raise UsageError(f'{path} holds {name}, outside {_ROOT}: give ADEChallengeData2016.zip')
        if _WANTED.match(name):
            members[name] = member
    return members


def read_classes(path):
    """Names of the classes in objectInfo150.txt, 1 first. Raises UsageError."""
    names = []
    try:
        with open(path, encoding='utf-8') as stream:
            for number, line in enumerate(stream.read().splitlines()[1:], 1):
                words = line.split('\t')
                if not line.strip():
                    continue
                if int(words[0]) != number:
                    raise ValueError(f'line {number + 1} is of class {words[0]}')
                names.append(words[-1].strip())
    except (OSError, ValueError) as error:
        raise UsageError(f'{os.path.basename(path)} is not the list of the classes ({error})') from error
    return names


def check_pairs(folder, part, names, num_classes):
    """({class index from 0: number of images that show it}, [what is strange]) of many images.

    Strange: a mask of another size than its image, or with a value beyond the classes. Raises UsageError, naming the
    file, for a missing mask and for a file that is not an image.
    """
    import numpy as np
    from PIL import Image
    shown, strange = np.zeros(num_classes + 1, 'int64'), []
    for name in names:
        picture = os.path.join('images', part, name + '.jpg')
        mask = os.path.join('annotations', part, name + '.png')
        if not os.path.isfile(os.path.join(folder, mask)):
            raise UsageError(f'{mask} is missing, although there is {picture}')
        try:
            path = picture
            with Image.open(os.path.join(folder, picture)) as image:
                size = image.size
            path = mask
            with Image.open(os.path.join(folder, mask)) as image:
                mask_size, values = image.size, np.unique(np.array(image).astype('int64'))
                if len(image.getbands()) != 1:
                    raise ValueError(f'a mask has one channel, not {len(image.getbands())}')
        except Exception as error:
            raise UsageError(f'{path} is not an image that can be read ({error}): replace it') from error
        if mask_size != size:
            strange.append('%s is %d x %d, its image %d x %d' % ((mask,) + mask_size + size))
        if int(values[-1]) > num_classes:
            strange.append(f'{mask} has the class {values[-1]}, of {num_classes}')
        shown[values[values <= num_classes]] += 1
    return {label: int(number) for label, number in enumerate(shown[1:]) if number}, strange


def checker(official):
    """function(tree, processes) for `extracting.extract`: every image with its mask; facts about them."""
    def check(tree, processes):
        folder = os.path.join(tree, _ROOT)
        classes = read_classes(os.path.join(folder, 'objectInfo150.txt'))
        facts, found = {'classes': classes, 'sets': {}}, {'classes': len(classes)}
        for part in ('training', 'validation'):
            pictures, masks = ({name[:-4] for name in _files(os.path.join(folder, kind, part)) if name.endswith(suffix)}
                               for kind, suffix in (('images', '.jpg'), ('annotations', '.png')))
            found[part + ' images'] = len(pictures)
            if not pictures or masks - pictures:
                raise UsageError('images/%s/%s.jpg is missing: give ADEChallengeData2016.zip'
                                 % (part, sorted(masks - pictures)[0] if masks - pictures else '*'))
            names = sorted(pictures)
            tasks = [(folder, part, names[at:at + _TASK], len(classes)) for at in range(0, len(names), _TASK)]
            shown, strange = collections.Counter(), []
            for counts, found_strange in tqdm(ordered(check_pairs, tasks, min(processes, len(tasks))), unit='task',
                                              total=len(tasks), desc='check ' + part):
                shown.update(counts)
                strange += found_strange
            if strange and not official:  # the official archive is what it is: it stands in the certificate
                raise UsageError(f'{strange[0]}: put it right in the archive')
            facts['sets'][part] = {'images': len(names), 'quirks': strange, 'images_by_class': {
                classes[label]: number for label, number in sorted(shown.items())}}
        if official:
            archives.check_counts('ADE20K', COUNTS, found)
        return facts
    return check


def _files(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []


def add_arguments(parser):
    parser.add_argument('--zip', required=True, metavar='ZIP', help='ADEChallengeData2016.zip')


def run(arguments):
    """Write OUT/ADEChallengeData2016; returns the lines that say what is there. Raises UsageError."""
    path, official = os.path.expanduser(arguments.zip), not arguments.no_checksum
    source = archives.check_archives([(path, ('sha1', SHA1) if official else None)])
    return describe(extract(members_of(path), arguments.out, 'ade20k', checker(official), describe, source,
                            arguments.processes))


def describe(facts):
    """The lines that say what is there."""
    return [f'{name:<10} {each["images"]:6d} images, {len(facts["classes"])} classes'
            for name, each in facts['sets'].items()]
