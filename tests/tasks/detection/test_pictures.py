import json

import cv2
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.detection import pictures as detection_pictures
from gluon_tricks.tasks.detection.pictures import draw_detections, load_image, stored_classes
from gluon_tricks.tricks.low_precision import precision
from support.records import make_jpeg, read_cut_images


def finds(image):
    """A detector that finds one dog for sure, and one cat hardly."""
    rows = np.array([[1, 0.9, 10, 10, 40, 30], [0, 0.2, 0, 0, 5, 5], [-1, -1, 0, 0, 0, 0]], 'float32')[None]
    return tuple(mx.nd.array(rows[:, :, part]) for part in (slice(0, 1), slice(1, 2), slice(2, 6)))


def test_a_find_is_drawn_in_the_photographs_pixels(tmp_path):
    (tmp_path / 'photo.jpg').write_bytes(make_jpeg(0, 0, 60))
    photograph, image, scale = load_image(str(tmp_path / 'photo.jpg'), 120, 200)
    assert photograph.shape == (60, 60, 3) and image.shape == (1, 3, 120, 120) and scale == 0.5
    before = photograph.copy()
    path, found = draw_detections(finds, photograph, image, scale, mx.cpu(), precision('float32', [mx.cpu()]),
                                  ('cat', 'dog'), str(tmp_path / 'out'), str(tmp_path / 'photo.jpg'))
    assert found == [('dog', pytest.approx(0.9))]
    drawn = cv2.imread(path)[:, :, ::-1]
    assert path == str(tmp_path / 'out' / 'photo.png') and drawn.shape == (240, 240, 3)  # four times
    plain = cv2.resize(before, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    changed = np.argwhere((drawn != plain).any(2))
    assert changed[:, 0].max() < 75 and changed[:, 1].max() < 120  # the box ends at (60, 80); below it the caption
    assert (photograph == before).all()


def test_what_is_no_image_and_what_cannot_be_written(tmp_path):
    (tmp_path / 'x.jpg').write_bytes(b'no image')
    for name in ('x.jpg', 'none.jpg'):
        with pytest.raises(UsageError, match='cannot be decoded|cannot be read'):
            load_image(str(tmp_path / name), 60, 100)
    cv2.imwrite(str(tmp_path / 'line.png'), np.zeros((900, 1, 3), 'uint8'))
    with pytest.raises(UsageError, match='1 x 900 pixels'):
        load_image(str(tmp_path / 'line.png'), 60, 100)
    (tmp_path / 'photo.jpg').write_bytes(make_jpeg(0, 0, 60))
    with pytest.raises(UsageError, match='--out'):
        draw_detections(finds, *load_image(str(tmp_path / 'photo.jpg'), 60, 100), device=mx.cpu(),
                        precision=precision('float32', [mx.cpu()]), classes=('cat', 'dog'),
                        out=str(tmp_path / 'x.jpg'), path='photo.jpg')


@pytest.mark.parametrize('score, percent', [(0.9951, '100%'), (0.29 + 0.5, '79%'), (0.505, '50%'), (0.5, '50%')])
def test_picture_and_line_round_alike(score, percent, tmp_path, monkeypatch):
    import cv2
    words = []
    monkeypatch.setattr(cv2, 'putText', lambda image, text, *more, **options: words.append(text))
    monkeypatch.setattr(detection_pictures, 'detect', lambda *arguments: (
        np.array([0]), np.array([score], 'float32'), np.array([[2.0, 2, 30, 30]])))
    _, ((_, found),) = draw_detections(None, np.zeros((60, 60, 3), 'uint8'), None, 1.0, mx.cpu(), None, ('cat',),
                                       str(tmp_path), 'a.jpg')
    assert words == [f'cat {percent}'] and f'{100 * found:.0f}%' == percent


def test_classes_stand_beside_the_weights(tmp_path):
    (tmp_path / 'manifest.json').write_text(json.dumps({'classes': ['a', 'b']}))
    assert stored_classes(str(tmp_path / 'net.params')) == ('a', 'b')
    (tmp_path / 'other').mkdir()
    assert len(stored_classes(str(tmp_path / 'other' / 'x.params'))) == 20


@pytest.mark.parametrize('text', ['[' * 100000, '[]', '{"classes": "cat"}', '{"classes": [1]}', '{"classes": null}',
                                  '{"classes": ["a%s"]}' % ('", "a' * 70000), ''])
def test_classes_of_a_manifest_that_is_none(tmp_path, text):
    (tmp_path / 'manifest.json').write_text(text)
    assert len(stored_classes(str(tmp_path / 'net.params'))) == 20


def test_an_image_cut_anywhere_is_read_or_named(tmp_path):
    """Where the header is whole MXNet complains only when the pixels are asked for."""
    refused = read_cut_images(lambda path: load_image(path, 60, 100)[1].asnumpy(), tmp_path / 'cut.jpg')
    assert not refused.popitem()[1] and all(refused.values())
