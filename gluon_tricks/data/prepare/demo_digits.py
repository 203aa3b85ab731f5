"""The demo's data: scikit-learn's handwritten digits, 1,797 real images, as JPEGs in ImageNet's folder layout.

Demo data proves that the machinery works; it does not stand for ImageNet.
"""
import os
import shutil

from gluon_tricks.data.prepare.folder import pack_folder
from gluon_tricks.errors import UsageError

SIDE = 40  # the 8 x 8 images are enlarged to this, so that crops of 32 have something to cut
HELD_OUT = 5  # every fifth image of each digit is for validation


def write_digits(out_dir, processes=1):
    """Write OUT_DIR/train/DIGIT/*.JPEG and OUT_DIR/val/DIGIT/*.JPEG, pack them, and return prepare_folder.Packed.

    Held out is every fifth image of each digit. A tree that is there already is taken as it is; a kill leaves none
    that is half-written. Raises UsageError without scikit-learn, or where OUT_DIR cannot be written.
    """
    if not os.path.isdir(os.path.join(out_dir, 'train')):
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise UsageError('the demo data needs scikit-learn: type `pip install scikit-learn`') from error
        digits = load_digits()
        partial = f'{out_dir.rstrip("/")}.partial'
        shutil.rmtree(partial, ignore_errors=True)  # a kill may have left it
        try:
            _write_tree(digits.images, digits.target, partial)
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


def _write_tree(images, labels, folder):
    """FOLDER/{train,val}/DIGIT/digit_NUMBER.JPEG of images (N, 8, 8) with values 0 to 16 and labels (N,)."""
    import cv2
    for number, (image, label, out) in enumerate(zip(images, labels, held_out(labels))):
        place = os.path.join(folder, 'val' if out else 'train', str(label))
        os.makedirs(place, exist_ok=True)
        grey = cv2.resize((image * (255.0 / 16)).astype('uint8'), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        _, jpeg = cv2.imencode('.jpg', cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
        with open(os.path.join(place, f'digit_{number:04d}.JPEG'), 'wb') as stream:
            stream.write(jpeg.tobytes())
