"""``python -m gluon_tricks prepare folder``: records of any tree with one folder per class.

Expected: DIR/train/CLASS/IMAGE and DIR/val/CLASS/IMAGE, JPEG or PNG; class index by sorted name.
"""
import collections
import os

from gluon_tricks.data.packing import pack
from gluon_tricks.errors import UsageError

SUFFIXES = ('.jpeg', '.jpg', '.png')
_SLOW = 5000  # from this number of images on, a progress bar is shown

# {part: (rec, idx)}, names in the order of the labels, [path of a file that is no JPEG or PNG]
Packed = collections.namedtuple('Packed', 'files classes skipped')


def list_folder(folder, classes=None):
    """(items, class names, paths of other files) of FOLDER/CLASS/IMAGE: class index and images by sorted name.

    classes: the names that stand for 0, 1, ... instead of the folder's own. Names that begin with a dot are hidden
    folders, not classes. Raises UsageError for another class, one without images, and a folder that cannot be read.
    """
    found = sorted(name for name in _entries(folder) if os.path.isdir(os.path.join(folder, name)))
    classes = found if classes is None else classes
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise UsageError('%s is a class of its own, which the training images do not have: remove it, or add it there'
                         % os.path.join(folder, unknown[0]))
    labels = {name: label for label, name in enumerate(classes)}
    items, skipped = [], []
    for name in found:
        entries = sorted(_entries(os.path.join(folder, name)))
        images = [entry for entry in entries if entry.lower().endswith(SUFFIXES)]
        if not images:
            raise UsageError('%s holds no JPEG or PNG: remove it, or put its images there' % os.path.join(folder, name))
        items += [(os.path.join(folder, name, image), labels[name], '%s/%s' % (name, image)) for image in images]
        skipped += [os.path.join(folder, name, entry) for entry in entries if not entry.lower().endswith(SUFFIXES)]
    return items, classes, skipped


def _entries(folder):
    try:
        return [name for name in os.listdir(folder) if not name.startswith('.')]
    except OSError as error:
        raise UsageError('%s cannot be read (%s): make it readable, or take it out' % (folder, error.strerror)) \
            from error


def pack_folder(data_dir, out=None, processes=1, progress=None, **options):
    """Pack DATA_DIR/train/CLASS/*.JPEG and DATA_DIR/val/CLASS/*.JPEG once; returns Packed(files, classes).

    The records lie in OUT, DATA_DIR/.gluon_tricks by default, and are packed again when the listing (names, sizes) has
    changed. options: of `packing.pack`. Raises UsageError for a tree without images, with a class in val that train
    lacks, or where the records cannot be written.
    """
    if not os.path.isdir(data_dir):
        raise UsageError('%s is not a directory: give the folder that holds train and val' % data_dir)
    out = out or os.path.join(data_dir, '.gluon_tricks')
    items, classes, skipped = {}, None, []
    for part in ('train', 'val'):
        folder = os.path.join(data_dir, part)
        if not os.path.isdir(folder):
            raise UsageError('%s is missing: a folder of images needs %s/train/CLASS/*.JPEG and %s/val/CLASS/*.JPEG'
                             % (folder, data_dir, data_dir))
        items[part], classes, others = list_folder(folder, classes)
        skipped += others
        if not items[part]:
            raise UsageError('%s holds no images in class folders: put them in %s/CLASS/*.JPEG' % (folder, folder))
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise UsageError('%s cannot be written (%s): the records of %s are packed there; make it writable, or pack '
                         'elsewhere with `python -m gluon_tricks prepare folder %s --out OTHER`'
                         % (out, error.strerror or error, data_dir, data_dir)) from error
    files = {}
    for part in ('train', 'val'):
        prefix = os.path.join(out, part)
        pack(items[part], prefix, classes=classes, processes=processes,
             progress=len(items[part]) >= _SLOW if progress is None else progress, **options)
        files[part] = prefix + '.rec', prefix + '.idx'
    return Packed(files, classes, skipped)
