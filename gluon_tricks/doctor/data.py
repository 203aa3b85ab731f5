"""The data of a configuration: there, certified, with one label map, and enough for a batch; the weights that it starts
from."""
import importlib
import os
from typing import Any, List

from gluon_tricks.compat import mx
from gluon_tricks.data.open import check_there, files_of, open_files, packs_folder
from gluon_tricks.data.pipeline import SyntheticStream
from gluon_tricks.data.records import certificate
from gluon_tricks.doctor.findings import NOTE, WARNING, Finding, told
from gluon_tricks.models.backbone import build_backbone
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr
from gluon_tricks.tricks.low_precision import precision

FACTOR = 2.0  # a learning rate this far from linear scaling is told


def findings(config: Any, devices: int = 1, workers: int = 1) -> List[Finding]:
    """What is wrong with the data of a resolved configuration. Nothing is packed and nothing written.

    devices: their number; workers: that train together, each on this many devices.
    """
    if config.TASK != 'classification':
        return told('data', _assembly(config).open_data, config)
    if config.data_backend == 'synthetic':
        return told('data', SyntheticStream.updates_of, config.num_training_samples // workers,
                    devices * config.batch_size)
    files = files_of(config)
    if is_unpacked(config):
        folder = os.path.join(config.data_dir, 'train')
        return [Finding(NOTE, 'data', f'{folder} is a folder of images that is not packed yet: the run packs it first, '
                        f'once; to pack it now type `python -m gluon_tricks prepare folder {config.data_dir}`')]
    found = told('data', check_there, config, files) or told(
        'data', open_files, config, files, devices * config.batch_size, 0, workers)
    if found:
        return found
    names = [certificate.read(files[part][0]) for part in ('train', 'val')]
    bare = [files[part][0] for part, facts in zip(('train', 'val'), names) if facts is None]
    if bare:
        found.append(Finding(WARNING, 'data', f'{" and ".join(bare)}: without a certificate: a damaged image or a '
                             'wrong label ends the run when it is read; type ' + ' and '.join(
                                 f'`python -m gluon_tricks verify {rec}`' for rec in bare)))
    return found + label_map(config)


def _assembly(config):
    return importlib.import_module(f'gluon_tricks.tasks.{config.TASK}.assembly')


def check_weights(config: Any, resumed: bool) -> None:
    """Raise UsageError for files of weights that the run cannot start from: it loads them as the run does, on the CPU.

    resumed: the weights will be a checkpoint's, so that --base-params is not read.
    """
    base = '' if resumed else config.base_params
    if config.TASK != 'classification':
        if base:
            build_backbone(getattr(config, 'network', '') or config.backbone, os.path.expanduser(base))
        return
    devices = [mx.cpu()]
    if base or config.resume_params:
        _assembly(config).build_net(config, devices, precision('float32', devices), resumed)
    _assembly(config).build_teacher(config, devices, precision('float32', devices))


def is_unpacked(config: Any) -> bool:
    """Whether a run would first pack a folder of images."""
    files = files_of(config)
    return config.data_backend != 'synthetic' and packs_folder(config, files) and not all(
        os.path.isfile(path) for pair in files.values() for path in pair)


def label_map(config: Any) -> List[Finding]:
    """ImageNet's classes in another order than all published networks have them, by the certificate of a resolved
    TrainConfig's records."""
    rec = files_of(config)['train'][0]
    facts = certificate.read(rec)
    return _label_map(rec, facts and facts['classes'])


def _label_map(rec, classes):
    if not classes or classes == sorted(classes):  # as the published networks' are
        return []
    from gluoncv.data import ImageNet1kAttr  # it takes all of GluonCV's data sets with it
    theirs = list(ImageNet1kAttr().synset)
    if sorted(classes) != theirs:
        return []
    place = next(number for number, pair in enumerate(zip(classes, theirs)) if pair[0] != pair[1])
    return [Finding(WARNING, 'data', f'{rec}: label {place} is {classes[place]}, and {theirs[place]} in every '
                    'published network, whose labels are the sorted WordNet ids: a teacher or a published network '
                    'sees other classes; pack again with `python -m gluon_tricks prepare imagenet`')]


def batch(config: Any, total: int) -> List[Finding]:
    """The learning rate of a resolved TrainConfig against linear scaling (section 3.1); total: images of an update."""
    linear = linear_scaling_lr(total)
    factor = config.lr / linear
    if 1 / FACTOR < factor < FACTOR:
        return []
    times = f'{factor:.3g} times' if factor > 1 else f'1/{1 / factor:.3g} of'
    return [Finding(WARNING, 'learning rate', f'--lr {config.lr:g} at a total batch size of {total}: it is {times} the '
                    f'{linear:g} of linear scaling, 0.1 for 256 images; drop --lr, or see that it is meant')]

