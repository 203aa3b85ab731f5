"""One record looked at: its length, its head, and its image, decoded by Pillow and by OpenCV.

Pillow does not accept a truncated JPEG; MXNet and OpenCV do, silently. What Pillow accepts in silence, a hole or a cut
that ends as a JPEG should, libjpeg warns of, and OpenCV lets its warnings through: they are a second opinion.
"""
import collections
import contextlib
import os
import re
import sys
import tempfile

import numpy as np

from gluon_tricks.data.records.images import open_whole
from gluon_tricks.data.records.record_file import NO_END, head_of, read_record, starts

# What libjpeg says of codes that are missing or wrong.
DAMAGE = ('Corrupt JPEG data: ', 'Premature end of JPEG file', 'Inconsistent progression sequence')

# Of one record: end, where it ends by its own length (None: it has none); warning, what libjpeg said of its image.
Looked = collections.namedtuple('Looked', 'end label key kind problem warning')


def look(rec, blocks):
    """[Looked] of the records that begin at `begin`, the next one at `following`, for each of the blocks of the file.

    blocks: [(begin, following)]; what a record says of its own length decides where it ends.
    """
    size = os.path.getsize(rec)
    with open(rec, 'rb') as stream, libjpeg_warnings() as warnings_of:
        return [_look(stream, begin, following, size, warnings_of) for begin, following in blocks]


def _look(stream, begin, following, size, warnings_of):
    end = label = key = None
    try:
        content, end = _read(stream, begin, following, size)
        label, key, start = head_of(content)
        kind, warning = _decode(content[start:], warnings_of)
        return Looked(end, label, key, kind, None, warning)
    except ValueError as error:
        if end is not None and end < size and not starts(stream, end):
            return Looked(None, label, key, None, NO_END, None)  # of the two it is the length that explains the other
        return Looked(end, label, key, None, str(error), None)


def _read(stream, begin, following, size):
    """(content, end) of a record, beyond `following` only if no record begins there: a wrong line of the index."""
    try:
        return read_record(stream, begin, following)
    except ValueError:
        if following == size or starts(stream, following):
            raise
        return read_record(stream, begin, size)


def _decode(image, warnings_of):
    """(kind, warning): '', 'png' or 'cmyk', and what libjpeg says that is damaged, or None, of an image that decodes.

    Raises ValueError, with what is wrong.
    """
    opened = open_whole(image)
    kind = 'png' if opened.format == 'PNG' else 'cmyk' if opened.mode == 'CMYK' else ''
    return kind, _damage(warnings_of(image), image)


@contextlib.contextmanager
def libjpeg_warnings():
    """Gives a function: the lines that libjpeg, in OpenCV, writes to stderr when it decodes an image (bytes).

    Pillow has its libjpeg say nothing. Raises ValueError for an image that OpenCV, and so MXNet, cannot decode. While
    this is open, stderr of the whole process goes to a file without a name. libjpeg tells an image's first warning.
    """
    import cv2

    def warnings_of(image):
        said.seek(0)
        said.truncate()
        try:  # every code of the image is read; to make an eighth of its pixels is enough for that
            pixels = cv2.imdecode(np.frombuffer(image, 'uint8'), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        except cv2.error:  # of more pixels than OpenCV allows, for one
            pixels = None
        if pixels is None:
            raise ValueError('is an image that Pillow decodes, but OpenCV, and so MXNet, cannot')
        said.seek(0)
        return said.read().decode('utf-8', 'replace').splitlines()

    with tempfile.TemporaryFile() as said:
        if sys.stderr:
            sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield warnings_of
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _damage(lines, image):
    """The warning of libjpeg that tells of damage, None where there is none.

    Other warnings, such as of an unknown JFIF revision, change no pixel. Nor do bytes too many in front of a marker of
    the head, or one value repeated behind the last code, with which some cameras fill up; anything else there is what
    is left over when codes were lost.
    """
    for line in lines:
        if line.startswith(DAMAGE):
            extra = re.match(r'Corrupt JPEG data: (\d+) extraneous bytes before marker 0x(\w\w)', line)
            if not extra or not _harmless(image, int(extra.group(1)), int(extra.group(2), 16)):
                return line
    return None


def _harmless(image, number, marker):
    if marker == 0xd9:
        end = image.rfind(b'\xff\xd9')
        return len(set(image[max(end - number, 0):end])) <= 1
    # Restarts and scans have codes in front of them; so have the tables (0xc4) of a progressive JPEG (0xc2).
    return not 0xd0 <= marker <= 0xda and (marker != 0xc4 or b'\xff\xc2' not in image)


def _strict():
    """Whether this OpenCV tells libjpeg's warnings: tried with a JPEG that is cut, and ends as it should."""
    import cv2
    pixels = np.arange(64 * 64, dtype='uint8').reshape(64, 64) ** 2
    image = cv2.imencode('.jpg', pixels)[1].tobytes()
    with libjpeg_warnings() as warnings_of:
        return bool(_damage(warnings_of(image[:len(image) * 3 // 4] + b'\xff\xd9'), image))


def decoder():
    """The decoder and its version; OpenCV only where libjpeg's warnings can be had from it."""
    import cv2
    import PIL
    from PIL import features
    pillow = 'Pillow %s, libjpeg %s' % (PIL.__version__,
                                        features.version('libjpeg_turbo') or features.version('jpg'))
    return pillow + (f', warnings by OpenCV {cv2.__version__}' if _strict() else '')
