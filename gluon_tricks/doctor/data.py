"""The records of a configuration: there, certified, with one label map, and enough for a batch."""
import os
from typing import Any, List

import gluon_tricks.compat  # noqa: F401  before GluonCV
from gluon_tricks.data.open import check_files, check_there, files_of, packs_folder
from gluon_tricks.data.records import certificate
from gluon_tricks.doctor.findings import NOTE, WARNING, Finding, told
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr

from gluoncv.data import ImageNet1kAttr

FACTOR = 2.0  # a learning rate this far from linear scaling is told


def findings(config: Any) -> List[Finding]:
    """What is wrong with the records of a resolved TrainConfig. Nothing is packed and nothing written."""
    if config.data_backend == 'synthetic':
        return []
    files = files_of(config)
    if is_unpacked(config):
        folder = os.path.join(config.data_dir, 'train')
        return [Finding(NOTE, 'data', f'{folder} is a folder of images that is not packed yet: the run packs it first, '
                        f'once; to pack it now type `python -m gluon_tricks prepare folder {config.data_dir}`')]
    found = told('data', check_there, files) or told('data', check_files, config, files)
    if found:
        return found
    names = [certificate.read(files[part][0]) for part in ('train', 'val')]
    bare = [files[part][0] for part, facts in zip(('train', 'val'), names) if facts is None]
    if bare:
        found.append(Finding(WARNING, 'data', f'{" and ".join(bare)}: without a certificate: a damaged image or a '
                             'wrong label ends the run when it is read; type ' + ' and '.join(
                                 f'`python -m gluon_tricks verify {rec}`' for rec in bare)))
    return found + _label_map(files['train'][0], names[0] and names[0]['classes'])


def is_unpacked(config: Any) -> bool:
    """Whether a run would first pack a folder of images."""
    files = files_of(config)
    return config.data_backend != 'synthetic' and packs_folder(config, files) and not all(
        os.path.isfile(path) for pair in files.values() for path in pair)


def _label_map(rec, classes):
    """ImageNet's classes in another order than all published networks have them."""
    theirs = list(ImageNet1kAttr().synset)
    if not classes or classes == theirs or sorted(classes) != sorted(theirs):
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

