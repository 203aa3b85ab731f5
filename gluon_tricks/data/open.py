"""The data of a configuration, opened: records or a folder of images to two checked streams (paper section 2.1)."""
import os

from gluon_tricks.data.pipeline import Augmentation, EvalStream, Normalise, SyntheticStream, TrainStream
from gluon_tricks.data.prepare.folder import pack_folder, packed_files
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.crash import watch
from gluon_tricks.data.records.record_file import checked_index
from gluon_tricks.errors import UsageError


def open_data(config, worker_batch_size, workers):
    """(training stream, evaluation stream or None, facts about the data) of a configuration (section 2.1).

    worker_batch_size: images of its devices; a worker reads its share of the training images, and all for validation.
    Records are taken where they are; else a folder of images is packed once. Raises UsageError.
    """
    if config.data_backend == 'synthetic':
        stream = SyntheticStream(worker_batch_size, config.input_size, config.num_classes,
                                 config.num_training_samples // workers.number, seed=config.seed + workers.rank)
        return stream, None, {'train': config.num_training_samples, 'notices': ['synthetic data: nothing is learned, '
                                                                                'and there is no validation']}
    files = _find_files(config, workers)
    watch([files['train'], files['val']], config.resume_command())
    train_stream, eval_stream, facts = open_files(config, files, worker_batch_size, workers.rank, workers.number)
    workers.check_same([facts['train'], facts['val']], 'other records', 'give all of them the same files')
    return train_stream, eval_stream, facts


def open_files(config, files, worker_batch_size, worker=0, num_workers=1):
    """`open_data` of record files, for one of several workers, which are not asked. Nothing is packed. Raises
    UsageError."""
    classes, notices, indices = check_files(config, files)
    normalise = Normalise(config.rgb_mean, config.rgb_std)
    train_stream = TrainStream(
        *files['train'], worker_batch_size=worker_batch_size, input_size=config.input_size, seed=config.seed,
        threads=config.decode_threads, normalise=normalise, worker=worker, num_workers=num_workers,
        num_classes=config.num_classes, index=indices['train'], augmentation=Augmentation(
            min_area=config.min_area, mirror=not config.no_mirror, jitter=config.jitter, pca_noise=config.pca_noise))
    eval_stream = EvalStream(*files['val'], worker_batch_size=worker_batch_size, input_size=config.input_size,
                             crop_ratio=config.crop_ratio, normalise=normalise, threads=config.decode_threads,
                             num_classes=config.num_classes, index=indices['val'],
                             devices=worker_batch_size // config.batch_size)
    images = len(train_stream.reader)
    if config.num_training_samples not in (None, images):
        raise UsageError(f'--num-training-samples {config.num_training_samples}: {files["train"][0]} holds {images} '
                         'images; prepare the whole set, or give its number')
    return train_stream, eval_stream, {'train': images, 'val': eval_stream.num_images,
                                       'files': files, 'classes': classes, 'notices': notices,
                                       'certificates': {part: certificate.digest(files[part][0]) for part in files}}


def files_of(config):
    """{'train': (rec, idx), 'val': (rec, idx)} of a resolved configuration, there or not."""
    return {part: (os.path.expanduser(getattr(config, 'rec_' + part)),
                   os.path.expanduser(getattr(config, f'rec_{part}_idx'))) for part in ('train', 'val')}


def packs_folder(config, files):
    """Whether the files are what a folder of images is packed to, once, at the beginning of a run."""
    folder = os.path.expanduser(config.data_dir)
    return files == packed_files(folder) and not config.use_rec and os.path.isdir(os.path.join(folder, 'train'))


def check_there(config, files):
    """Raise UsageError for records that are missing."""
    missing = [path for pair in files.values() for path in pair if not os.path.isfile(path)]
    if not missing:
        return
    from gluon_tricks.config import recipes
    if config.data_dir == recipes.get('demo').config.data_dir:
        raise UsageError(f'{missing[0]} is missing: prepare the digits with `python -m gluon_tricks prepare demo --out '
                         f'{config.data_dir}`')
    raise UsageError(f'{missing[0]} is missing: prepare ImageNet with `python -m gluon_tricks prepare imagenet` '
                     '(docs/data.md tells how), give other records with --rec-train and --rec-val, or a folder of '
                     'images with --data-dir DIR (DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG, packed once); '
                     'to try the program without ImageNet, type `make demo`')


def _find_files(config, workers):
    """{'train': (rec, idx), 'val': (rec, idx)}; the first worker packs a folder of images once, the others wait."""
    files = files_of(config)
    if workers.rank:
        workers.gather([0])  # until the first has packed what there is to pack
    if packs_folder(config, files):
        pack_folder(os.path.expanduser(config.data_dir), processes=config.decode_threads)
    check_there(config, files)
    if not workers.rank:
        workers.gather([0])
    return files


def check_files(config, files):
    """(class names or None, notices, {part: Index}) of the record files, checked against their certificates. Raises
    UsageError."""
    classes, notices, indices = None, [], {}
    for part in ('train', 'val'):
        facts = certificate.check(files[part][0], config.num_classes)
        indices[part] = checked_index(*files[part], num_classes=config.num_classes)
        known = facts and facts['classes'] or classes
        if classes and known != classes:
            raise UsageError(f'{files["val"][0]} has other classes than {files["train"][0]}: prepare both from the '
                             'same set')
        classes = known
        notices.append('data: ' + certificate.summary(files[part][0]))
    return classes, notices, indices
