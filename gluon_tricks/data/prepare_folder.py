"""``python -m gluon_tricks prepare folder``: records of any tree with one folder per class.

Expected: DIR/train/CLASS/IMAGE and DIR/val/CLASS/IMAGE, JPEG or PNG; class index by sorted name.
"""
import collections
import os

from gluon_tricks.data.packing import pack
from gluon_tricks.errors import UsageError

SUFFIXES = ('.jpeg', '.jpg', '.png')
_SLOW = 5000  # from this number of images on, a progress bar is shown

Packed = collections.namedtuple('Packed', 'files classes')  # {part: (rec, idx)}, names in the order of the labels


def list_folder(folder, classes=None):
    """(items, class names) of FOLDER/CLASS/IMAGE: class index by sorted name; images in sorted order.

    classes: the names that stand for 0, 1, ... instead of the folder's own. Raises UsageError for another class.
    """
    found = sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))
    classes = found if classes is None else classes
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise UsageError('%s is a class of its own, which the training images do not have: remove it, or add it there'
                         % os.path.join(folder, unknown[0]))
    labels = {name: label for label, name in enumerate(classes)}
    items = [(os.path.join(folder, name, image), labels[name], '%s/%s' % (name, image)) for name in found
             for image in sorted(os.listdir(os.path.join(folder, name))) if image.lower().endswith(SUFFIXES)]
    return items, classes


def pack_folder(data_dir, out=None, processes=1, progress=None, **options):
    """Pack DATA_DIR/train/CLASS/*.JPEG and DATA_DIR/val/CLASS/*.JPEG once; returns Packed(files, classes).

    The records lie in OUT, DATA_DIR/.gluon_tricks by default, and are packed again when the listing (names, sizes) has
    changed. options: of `packing.pack`. Raises UsageError for a tree without images, with a class in val that train
    lacks, or where the records cannot be written.
    """
    if not os.path.isdir(data_dir):
        raise UsageError('%s is not a directory: give the folder that holds train and val' % data_dir)
    out = out or os.path.join(data_dir, '.gluon_tricks')
    items, classes = {}, None
    for part in ('train', 'val'):
        folder = os.path.join(data_dir, part)
        if not os.path.isdir(folder):
            raise UsageError('%s is missing: a folder of images needs %s/train/CLASS/*.JPEG and %s/val/CLASS/*.JPEG'
                             % (folder, data_dir, data_dir))
        items[part], classes = list_folder(folder, classes)
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
    return Packed(files, classes)
