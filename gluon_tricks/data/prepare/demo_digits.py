"""The demo's data: scikit-learn's handwritten digits, 1,797 real images, as JPEGs in ImageNet's folder layout.

Demo data proves that the machinery works; it does not stand for ImageNet. With four of five digits to train the demo's
network errs on fewer than one in a hundred: rows that differ by a trick cannot be told apart. With a few digits of each
class to train and all others to validate they may be (docs/ladders.md).
"""
import hashlib
import json
import os
import shutil

import numpy as np

from gluon_tricks.data.prepare.folder import pack_folder
from gluon_tricks.errors import UsageError

SIDE = 40  # the 8 x 8 images are enlarged to this, so that crops of 32 have something to cut
HELD_OUT = 5  # every fifth image of each digit is for validation
FEWEST = 174  # digits of a class in scikit-learn's set, of the rarest one
NUMBER = 1797  # of scikit-learn's digits
_SPLIT = 'split.json'  # in OUT_DIR: how the digits were split, where it is not by HELD_OUT
_DIGESTS = 'digits.sha256'  # in OUT_DIR: of the images that were written, as `sha256sum` writes them


def write_digits(out_dir, processes=1, train_per_class=None, split=0):
    """Write OUT_DIR/train/DIGIT/*.JPEG and OUT_DIR/val/DIGIT/*.JPEG with their digests, pack them, and return
    prepare_folder.Packed.

    Held out is every fifth image of each digit; with train_per_class, all but that many of each, which `split`, a whole
    number, draws. A tree that is there already is taken as it is; a kill leaves none that is half-written. Raises
    UsageError without scikit-learn, for a tree of another split, or where OUT_DIR cannot be written.
    """
    wanted = {} if train_per_class is None else {'train_per_class': train_per_class, 'split': split}
    if os.path.isdir(os.path.join(out_dir, 'train')):
        _check_split(out_dir, wanted)
    else:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise UsageError('the demo data needs scikit-learn: type `pip install scikit-learn`') from error
        digits = load_digits()
        partial = f'{out_dir.rstrip("/")}.partial'
        shutil.rmtree(partial, ignore_errors=True)  # a kill may have left it
        try:
            out = held_out(digits.target) if not wanted else but_few(digits.target, **wanted)
            _write_tree(digits.images, digits.target, out, partial)
            if wanted:
                with open(os.path.join(partial, _SPLIT), 'w') as stream:
                    json.dump(wanted, stream)
            os.rename(partial, out_dir)  # in one step; fails when something is there
        except OSError as error:
            raise UsageError('%s cannot be written (%s): choose a directory that is new or empty'
                             % (out_dir, error.strerror or error)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return pack_folder(out_dir, processes=processes)


def held_out(labels):
    """[whether it is for validation] of each digit, given the labels (N,): every fifth of each class."""
    seen, result = {}, []
    for label in labels:
        result.append(seen.get(label, 0) % HELD_OUT == 0)
        seen[label] = seen.get(label, 0) + 1
    return result


def but_few(labels, train_per_class, split):
    """[whether it is for validation] of each digit, given the labels (N,): all but a few of each class, drawn at random
    by the number `split`."""
    draws, result = np.random.RandomState(split), np.ones(len(labels), bool)
    for label in np.unique(labels):
        result[draws.permutation(np.flatnonzero(labels == label))[:train_per_class]] = False
    return result.tolist()


def _check_split(out_dir, wanted):
    """Raise UsageError where the tree in OUT_DIR was split otherwise."""
    found = {}
    try:
        with open(os.path.join(out_dir, _SPLIT)) as stream:
            found = json.load(stream)
        _words(found)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise UsageError(f'{os.path.join(out_dir, _SPLIT)} cannot be read ({error}): choose a directory that is new or '
                         'empty') from error
    if found != wanted:
        raise UsageError(f'{out_dir} holds {_words(found)}, and asked for is {_words(wanted)}: choose a directory that '
                         'is new or empty')


def _words(split):
    if not split:
        return 'digits of which every fifth is held out'
    return 'split {split} with {train_per_class} digits of a class to train'.format(**split)


def own_images(out_dir):
    """SHA-256, in hexadecimal, of the JPEGs that `write_digits` wrote to OUT_DIR; empty where it did not."""
    try:
        with open(os.path.join(out_dir, _DIGESTS), encoding='ascii') as stream:
            return frozenset(line.partition(' ')[0] for line in stream)
    except (OSError, ValueError):
        return frozenset()


def _write_tree(images, labels, held_out, folder):
    """FOLDER/{train,val}/DIGIT/digit_NUMBER.JPEG of images (N, 8, 8) with values 0 to 16 and labels (N,); and their
    digests."""
    digests = []
    for number, (image, label, out) in enumerate(zip(images, labels, held_out)):
        name, jpeg = f'{"val" if out else "train"}/{label}/digit_{number:04d}.JPEG', _jpeg(image)
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), 'wb') as stream:
            stream.write(jpeg)
        digests.append(f'{hashlib.sha256(jpeg).hexdigest()}  {name}\n')
    with open(os.path.join(folder, _DIGESTS), 'w') as stream:
        stream.writelines(digests)


def _jpeg(image):
    """The bytes of a JPEG of an image (8, 8) with values 0 to 16."""
    import cv2
    grey = cv2.resize((image * (255.0 / 16)).astype('uint8'), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode('.jpg', cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
