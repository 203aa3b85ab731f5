"""``python -m gluon_tricks prepare folder``: records of any tree with one folder per class.

Expected: DIR/train/CLASS/IMAGE and DIR/val/CLASS/IMAGE, JPEG or PNG; class index by sorted name.
"""
import collections
import os

from gluon_tricks.data.records.packing import pack
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
        raise UsageError(f'{os.path.join(folder, unknown[0])} is a class of its own, which the training images do not '
                         'have: remove it, or add it there')
    labels = {name: label for label, name in enumerate(classes)}
    items, skipped = [], []
    for name in found:
        entries = sorted(_entries(os.path.join(folder, name)))
        images = [entry for entry in entries if entry.lower().endswith(SUFFIXES)]
        if not images:
            raise UsageError(f'{os.path.join(folder, name)} holds no JPEG or PNG: remove it, or put its images there')
        items += [(os.path.join(folder, name, image), labels[name], f'{name}/{image}') for image in images]
        skipped += [os.path.join(folder, name, entry) for entry in entries if not entry.lower().endswith(SUFFIXES)]
    return items, classes, skipped


def _entries(folder):
    try:
        return [name for name in os.listdir(folder) if not name.startswith('.')]
    except OSError as error:
        raise UsageError(f'{folder} cannot be read ({error.strerror}): make it readable, or take it out') \
            from error


def packed_files(data_dir, out=None):
    """{part: (rec, idx)} that `pack_folder` writes."""
    out = out or os.path.join(data_dir, '.gluon_tricks')
    return {part: (os.path.join(out, part + '.rec'), os.path.join(out, part + '.idx')) for part in ('train', 'val')}


def find_records(config):
    """{part: (rec, idx)} of a TrainConfig: the files that it names, the others under DATA_DIR/rec.

    Where it names none, and not all of them are there, but a folder of images is: what `pack_folder` makes of it.
    """
    def is_there(path):
        return os.path.exists(os.path.expanduser(path))

    files = {}
    for part in ('train', 'val'):
        rec = getattr(config, 'rec_' + part) or os.path.join(config.data_dir, 'rec', part + '.rec')
        files[part] = rec, getattr(config, f'rec_{part}_idx') or os.path.splitext(rec)[0] + '.idx'
    named = config.use_rec or any(getattr(config, 'rec_' + name) for name in ('train', 'train_idx', 'val', 'val_idx'))
    if not named and is_there(os.path.join(config.data_dir, 'train')):
        if not all(is_there(path) for pair in files.values() for path in pair):
            return packed_files(config.data_dir)
    return files


def pack_folder(data_dir, out=None, processes=1, progress=None, **options):
    """Pack DATA_DIR/train/CLASS/*.JPEG and DATA_DIR/val/CLASS/*.JPEG once; returns Packed(files, classes).

    The records lie in OUT, DATA_DIR/.gluon_tricks by default, and are packed again when the listing (names, sizes) has
    changed. options: of `packing.pack`. Raises UsageError for a tree without images, with a class in val that train
    lacks, or where the records cannot be written.
    """
    if not os.path.isdir(data_dir):
        raise UsageError(f'{data_dir} is not a directory: give the folder that holds train and val')
    files = packed_files(data_dir, out)
    out = os.path.dirname(files['train'][0])
    items, classes, skipped = {}, None, []
    for part in ('train', 'val'):
        folder = os.path.join(data_dir, part)
        if not os.path.isdir(folder):
            raise UsageError(f'{folder} is missing: a folder of images needs {data_dir}/train/CLASS/*.JPEG and '
                             f'{data_dir}/val/CLASS/*.JPEG')
        items[part], classes, others = list_folder(folder, classes)
        skipped += others
        if not items[part]:
            raise UsageError(f'{folder} holds no images in class folders: put them in {folder}/CLASS/*.JPEG')
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise UsageError('%s cannot be written (%s): the records of %s are packed there; make it writable, or pack '
                         'elsewhere with `python -m gluon_tricks prepare folder %s --out OTHER`'
                         % (out, error.strerror or error, data_dir, data_dir)) from error
    for part in ('train', 'val'):
        pack(items[part], os.path.splitext(files[part][0])[0], classes=classes, processes=processes,
             progress=len(items[part]) >= _SLOW if progress is None else progress, **options)
    return Packed(files, classes, skipped)
