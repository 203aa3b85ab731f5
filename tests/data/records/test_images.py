import io

import numpy as np
import pytest
from PIL import Image

from gluon_tricks.data.records import images
from support.records import HUGE, make_jpeg


@pytest.mark.parametrize('mode, progressive', [('L', False), ('RGB', False), ('RGB', True), ('CMYK', False)])
def test_a_jpegs_frame_is_what_pillow_finds(mode, progressive):
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 60, 3)).astype('uint8')).convert(mode)
    stream = io.BytesIO()
    image.save(stream, 'JPEG', progressive=progressive, exif=b'Exif\0\0' + bytes(300))
    content = stream.getvalue()
    assert images.frame(content) == (60, 40, len(image.getbands()))
    start = content.index(b'\xff\xdb')  # in front of a marker bytes 0xff are allowed
    assert images.frame(content[:start] + b'\xff\xff' + content[start:]) == (60, 40, len(image.getbands()))
    for end in range(0, 400, 7):  # a header that is cut, or none
        assert images.frame(content[:end]) is None
    stream = io.BytesIO()
    Image.new('RGB', (70, 30)).save(stream, 'PNG')
    assert images.frame(stream.getvalue()) == (70, 30, 0) and images.frame(stream.getvalue()[:20]) is None


@pytest.mark.parametrize('kind', sorted(HUGE))
def test_an_image_of_too_many_pixels_is_told_by_its_first_bytes(kind):
    assert 'more than 90 million' in images.size_problem(HUGE[kind]())
    with pytest.raises(ValueError, match='more than 90 million'):
        images.open_whole(HUGE[kind]())
    assert images.size_problem(make_jpeg(0, 0)) is None


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_an_image_much_longer_than_wide_is_told(kind):
    """1 x 65,000 pixels are few, but not once the short side is 256."""
    contents = {}
    for size in ((1, 251), (65000, 1), (1, 250), (500, 2)):
        stream = io.BytesIO()
        Image.new('RGB', size).save(stream, kind)
        contents[size] = stream.getvalue()
    for size in ((1, 251), (65000, 1)):
        assert 'one side more than 250 times the other' in images.size_problem(contents[size])
        with pytest.raises(ValueError, match='%d x %d pixels' % size):
            images.open_whole(contents[size])
    for size in ((1, 250), (500, 2)):
        assert images.size_problem(contents[size]) is None and images.open_whole(contents[size]).size[0] >= 1


@pytest.mark.parametrize('content, words', [
    (make_jpeg(0, 0)[:-40], 'cannot be decoded .*truncated'), (b'', 'cannot be decoded'),
    (b'\xff\xd8 and nothing', 'cannot be decoded')])
def test_what_is_damaged_is_not_opened(content, words):
    with pytest.raises(ValueError, match=words):
        images.open_whole(content)


@pytest.mark.parametrize('value', range(0, 10))
def test_an_image_is_turned_as_pillow_turns_it(value):
    from PIL import ImageOps
    pixels = np.arange(4 * 6 * 3, dtype='uint8').reshape(4, 6, 3)
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = value
    Image.fromarray(pixels).save(stream, 'JPEG', exif=exif.tobytes())
    opened = Image.open(stream)
    turned = images.turn(np.asarray(opened), images.orientation(opened))
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(opened)))


def test_a_png_is_never_turned():
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (6, 4)).save(stream, 'PNG', exif=exif.tobytes())
    assert images.orientation(Image.open(stream)) == 1
