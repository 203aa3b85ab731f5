"""The bytes of an image: what its header says, the one limit of its size, and a decoder that accepts no damage.

MXNet takes three bytes for each pixel that a header tells of, before it looks for them, and decodes what is left of a
truncated JPEG without a word.
"""
import io
import re
import struct
import warnings

MOST_PIXELS = 90000000
MOST_RATIO = 250  # of an image's sides: the short one is resized to some 256 pixels, the long one with it
_SIGNATURES = _JPEG, _PNG = b'\xff\xd8', b'\x89PNG'  # the first bytes of a file


def is_image(content):
    """Whether bytes begin as a JPEG or PNG file does."""
    return content.startswith(_SIGNATURES)


def frame(content):
    """(width, height, components) of the header of a JPEG or PNG, None where that is not to be found at once.

    content: bytes, or a view of them.
    components: of a JPEG, 1 for grey, 3 for colour, 4 for CMYK; 0 of a PNG. A twentieth of the time that a library
    takes to open the image.
    """
    if content[:4] == _PNG:
        return struct.unpack('>II', content[16:24]) + (0,) if len(content) >= 24 else None
    place = 2
    while content[place:place + 1] == b'\xff' and place + 10 <= len(content):
        marker = content[place + 1]
        if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc):
            height, width, components = struct.unpack('>HHB', content[place + 5:place + 10])
            return width, height, components
        # in front of a marker there may be any number of bytes 0xff
        place += 1 if marker == 0xff else 2 + int.from_bytes(content[place + 2:place + 4], 'big')
    return None


def size_problem(content):
    """The fault of an image's size in words, as far as its first bytes tell it, or None."""
    found = frame(content)
    return _too_large(*found[:2]) if found else None


def _too_large(width, height):
    if width * height > MOST_PIXELS:
        return f'is an image of {width} x {height} pixels, more than {MOST_PIXELS // 1000000} million'
    if max(width, height) > MOST_RATIO * min(width, height):
        return f'is an image of {width} x {height} pixels, one side more than {MOST_RATIO} times the other'
    return None


def open_whole(content):
    """A Pillow image of which every byte was decoded, a JPEG to an eighth of its size.

    Raises ValueError, with what is wrong: too many pixels, a side too long for the other, another kind of file,
    damage, a truncated file.
    """
    from PIL import Image, ImageFile
    problem = size_problem(content)
    if problem:
        raise ValueError(problem)
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # GluonCV switches it on for everyone
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of odd tags
            image = Image.open(io.BytesIO(content))
            problem = _too_large(*image.size)
            if not problem:
                image.draft(image.mode, (1, 1))  # all of a JPEG is read, and a pixel made of each block of 8 x 8
                image.load()
    except Exception as error:  # a damaged file raises whatever the decoder ran into
        raise ValueError(f'is an image that cannot be decoded ({_words(error)})') from error
    if problem:
        raise ValueError(problem)
    return image


def _words(error):
    """An exception's text without the addresses of objects, which are others each time."""
    return re.sub(r' ?<[^<>]* at 0x[0-9a-f]+>', '', str(error)) or type(error).__name__


def orientation(image):
    """How a Pillow image's JPEG is to be turned: its EXIF orientation, 1 to 8, 1 without one.

    ImageRecordIter turns every JPEG so, and no PNG.
    """
    found = image.getexif().get(0x0112, 1) if image.format in ('JPEG', 'MPO') else 1
    return found if found in range(1, 9) else 1


def turn(pixels, orientation):
    """Pixels (H, W, 3) as they are to be seen; (W, H, 3) from orientation 5 on."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
