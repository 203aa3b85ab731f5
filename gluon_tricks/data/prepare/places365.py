"""``python -m gluon_tricks prepare places365``: records of Places365-Standard from its official archives (Table 7).

Images come from the 256 x 256 or the high-resolution archives, whose folders and nesting differ: a member is known by
the end of its path. The lists, and the class indices in them, come from filelist_places365-standard.tar. The test
images have no labels; ``predict --places-submission`` writes the answers for the test server.
"""
import os

from gluon_tricks.data.prepare import archives
from gluon_tricks.data.records.packing import pack
from gluon_tricks.errors import UsageError

DEFAULT_OUT = os.path.join('~', '.mxnet', 'datasets', 'places365', 'rec')
# 256 x 256, then high resolution.
MD5 = {'train': ('53ca1c756c3d1e7809517cc47c5561c5', '67e186b496a84c929568076ed01a8aa1'),
       'val': ('e27b17d8d44f4af9a78502beb927f808', '9b71c4993ad89d2d8bcbdc4aef38042f'),
       'test': ('f532f6ad7b582262a2ec8009075e186b', '41a4b6b724b1d2cd862fb3871ed59913'),
       'filelist': ('35a0585fee1fa656440f3ab298f8479c',)}
COUNTS = {'classes': 365, 'train': 1803460, 'val': 36500, 'test': 328500}
_CATEGORIES = 'categories_places365.txt'
_LISTS = {'train': 'places365_train_standard.txt', 'val': 'places365_val.txt', 'test': 'places365_test.txt'}


def read_lists(path):
    """(class names in the order of their indices, {part: [(image path, label or None)]}) of the lists' archive.

    Raises UsageError for a list that is missing or does not say what it should.
    """
    files = archives.small_files(path, (_CATEGORIES,) + tuple(_LISTS.values()))
    pairs = _pairs(path, _CATEGORIES, files[_CATEGORIES])
    classes = [name for name, _ in sorted(pairs, key=lambda pair: pair[1])]
    if [number for _, number in sorted(pairs, key=lambda pair: pair[1])] != list(range(len(pairs))):
        raise UsageError(f'{path}: the indices of {_CATEGORIES} are not 0, 1, 2 and so on: download it again')
    lists = {part: _pairs(path, name, files[name], labelled=part != 'test') for part, name in _LISTS.items()}
    for part in ('train', 'val'):
        for name, label in lists[part]:
            if label >= len(classes):
                raise UsageError(f'{path}: {_LISTS[part]} gives {name} the class {label:.0f}, of {len(classes)} '
                                 'classes: download it again')
    return classes, lists


def _pairs(path, name, content, labelled=True):
    """[(path, number or None)] of the lines of a list."""
    pairs = []
    for number, line in enumerate(content.decode('utf-8', 'replace').splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != (2 if labelled else 1) or labelled and not words[1].isdigit():
            raise UsageError(f'{path}: {name} line {number} is {line[:60]!r}, not what it should be: download it again')
        pairs.append((words[0], int(words[1]) if labelled else None))
    return pairs


def images_of(path):
    """{'/'.join(the path inside): Slice} of an archive of images, or of one that holds a tar for each letter."""
    members = {}
    for name, member in archives.tar_members(path):
        if name.endswith('.tar'):
            members.update(archives.tar_members(path, member.offset, member.offset + member.size))
        else:
            members[name] = member
    return members


def find_items(path, pairs):
    """[(Slice, label, image path)] of the pairs [(image path, label)], found by the ends of the members' paths.

    Members lie under a folder (``data_256/a/airfield/00000001.jpg``, ``val_256/Places365_val_00000001.jpg``), or not.
    Raises UsageError for an image that the archive lacks.
    """
    members = images_of(path)
    roots = {''} | {name.split('/')[0] + '/' for name in members}
    roots = sorted(root for root in roots if root + pairs[0][0].lstrip('/') in members)
    items = []
    for name, label in pairs:
        member = next((members[root + name.lstrip('/')] for root in roots if root + name.lstrip('/') in members), None)
        if member is None:
            raise UsageError(f'{path} has no {name}, which the lists name: it is cut short, or of another set')
        items.append((member, 0 if label is None else label, name.lstrip('/')))
    return items


def add_arguments(parser):
    parser.add_argument('--train', required=True, metavar='TAR',
                        help='train_256_places365standard.tar or train_large_places365standard.tar')
    parser.add_argument('--val', required=True, metavar='TAR', help='val_256.tar or val_large.tar')
    parser.add_argument('--test', metavar='TAR', help='test_256.tar or test_large.tar (when it is wanted)')
    parser.add_argument('--filelist', required=True, metavar='TAR', help='filelist_places365-standard.tar')


def run(arguments):
    """Write OUT/train.*, OUT/val.* and, with --test, OUT/test.*; returns their prefixes. Raises UsageError."""
    parts = ['val', 'train'] + (['test'] if arguments.test else [])
    paths = {part: os.path.expanduser(getattr(arguments, part)) for part in ['filelist'] + parts}
    official = not arguments.no_checksum
    source = archives.check_archives([
        (path, ('md5', MD5[part][1 if len(MD5[part]) > 1 and 'large' in os.path.basename(path) else 0])
         if official else None) for part, path in paths.items()])
    classes, lists = read_lists(paths['filelist'])
    if official:
        archives.check_counts('Places365', COUNTS, dict({part: len(pairs) for part, pairs in lists.items()},
                                                        classes=len(classes)))
    items = {part: find_items(paths[part], lists[part]) for part in parts if lists[part]}
    prefixes = []
    for part, found in items.items():
        prefixes.append(os.path.join(arguments.out, part))
        # The test images keep the order of the list: the server wants the answers in it.
        pack(found, prefixes[-1], seed=arguments.seed, shuffle=part == 'train', processes=arguments.processes,
             resize=arguments.resize, quality=arguments.quality, classes=None if part == 'test' else classes,
             source=source, progress=True)
    return prefixes
