"""One image file, as validation sees it."""
import math

from gluon_tricks.data.records.images import open_whole, orientation, turn
from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file

_AS_STORED = 1 | 128  # OpenCV's IMREAD_COLOR and IMREAD_IGNORE_ORIENTATION


def read_image(path):
    """(H, W, 3) uint8, an NDArray, of an image file, turned as ImageRecordIter turns a JPEG: by its EXIF orientation.

    MXNet's own imdecode turns it or not, by the order of the segments in front of it. Raises UsageError for a file that
    is missing, no image, or damaged, and for one of too many pixels (`images.MOST_PIXELS`).
    """
    from gluon_tricks.compat import mx
    try:
        with open_file(path) as stream:
            content = stream.read()
    except OSError as error:
        raise UsageError(f'{path} cannot be read ({error.strerror}): give an image file') from error
    try:
        whole = open_whole(content)
        image = mx.image.imdecode(content, flag=_AS_STORED)
        image.wait_to_read()  # MXNet decodes it later, and would complain elsewhere
    except ValueError as error:
        raise UsageError(f'{path} {error}: give another JPEG or PNG file') from error
    except mx.MXNetError as error:
        raise UsageError(f'{path} is an image that Pillow decodes, but OpenCV cannot: give a JPEG or PNG '
                         'file') from error
    turned = orientation(whole)
    return image if turned == 1 else mx.nd.array(turn(image.asnumpy(), turned), dtype='uint8')


def preprocess(path, input_size, crop_ratio, mean, std):
    """(1, 3, S, S) float32 of one image file: resize of the short side, centre crop, normalisation (section 2.1).

    Raises UsageError for a file that is missing or no image.
    """
    return prepare(read_image(path), input_size, crop_ratio, mean, std)


def short_side(input_size, crop_ratio):
    """The side in pixels that an image's short side is resized to, before the crop."""
    return int(math.ceil(input_size / crop_ratio))


def prepare(image, input_size, crop_ratio, mean, std):
    """`preprocess` of a decoded image, (H, W, 3) uint8, an NDArray."""
    from gluon_tricks.compat import mx
    short = mx.image.resize_short(image, short_side(input_size, crop_ratio), interp=1)
    crop, _ = mx.image.center_crop(short, (input_size, input_size), interp=1)
    normal = (crop.astype('float32') - mx.nd.array(mean)) / mx.nd.array(std)
    return normal.transpose((2, 0, 1)).expand_dims(0)
