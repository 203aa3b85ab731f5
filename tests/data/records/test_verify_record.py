import hashlib
import os

import pytest

from gluon_tricks.data.records import record_file, verify_record
from gluon_tricks.data.records.packing import pack
from gluon_tricks.data.records.verify import verify
from support.records import change, make_jpeg, stem


def jpegs():
    """{kind: bytes} of a photograph's worth of JPEG, in the ways that a JPEG can be written."""
    import io

    import cv2
    import numpy as np
    from PIL import Image
    rng = np.random.RandomState(0)
    pixels = cv2.resize(rng.randint(0, 256, (30, 40, 3)).astype('uint8'), (640, 480), interpolation=cv2.INTER_CUBIC)
    image = Image.fromarray(np.clip(pixels + rng.randint(-12, 13, pixels.shape), 0, 255).astype('uint8'))
    found = {}
    for kind, mode, options in (('baseline', 'RGB', {}), ('progressive', 'RGB', {'progressive': True}),
                                ('grey', 'L', {}), ('CMYK', 'CMYK', {}), ('optimized', 'RGB', {'optimize': True})):
        stream = io.BytesIO()
        image.convert(mode).save(stream, 'JPEG', quality=92, **options)
        found[kind] = stream.getvalue()
    return found


def faults_of(image, tmp_path):
    """What verify says of a record file with this image and a whole one."""
    name = str(tmp_path / hashlib.sha256(image).hexdigest())
    pack([(image, 0, 'a.jpg'), (make_jpeg(1, 1), 1, 'b.jpg')], name, shuffle=False)
    return [problem.what for problem in verify(name + '.rec')[0] if problem.key == 0]


@pytest.mark.parametrize('kind', ['baseline', 'progressive', 'grey', 'CMYK', 'optimized'])
def test_a_hole_and_a_cut_that_pillow_accepts_are_seen(kind, tmp_path):
    import io

    from PIL import Image
    whole = jpegs()[kind]
    middle = len(whole) // 2
    assert faults_of(whole, tmp_path) == []
    for broken in (whole[:middle] + bytes(4096) + whole[middle + 4096:], whole[:middle] + b'\xff\xd9'):
        Image.open(io.BytesIO(broken)).load()  # without a word
        (what,) = faults_of(broken, tmp_path)
        assert 'libjpeg finds damaged (Corrupt JPEG data: ' in what


def test_warnings_that_change_no_pixel_are_no_damage(tmp_path):
    whole = jpegs()['baseline']
    other_revision = whole[:11] + b'\x00\x00' + whole[13:]
    assert whole[6:11] == b'JFIF\0'
    for image in (other_revision, whole[:-2] + b'\0' * 9 + whole[-2:], whole[:-2] + b'\x20' * 300 + whole[-2:],
                  whole[:20] + b'\0\0' + whole[20:]):
        with verify_record.libjpeg_warnings() as warnings_of:
            assert warnings_of(image)
        assert faults_of(image, tmp_path) == []


def test_the_certificate_says_whether_warnings_were_heard(rec, monkeypatch):
    assert ', warnings by OpenCV ' in verify_record.decoder()
    monkeypatch.setattr(verify_record, 'DAMAGE', ('never said',))
    assert 'OpenCV' not in verify_record.decoder()


def test_images_of_published_archives_are_taken_as_they_are(tmp_path):
    """The archives' digests are right: what libjpeg warns of was published so. It is noted, until a byte changes."""
    whole = jpegs()['baseline']
    broken = whole[:len(whole) // 2] + b'\xff\xd9'
    rec = str(tmp_path / 'x.rec')
    pack([(broken, 0, 'a.jpg'), (whole, 1, 'b.jpg')], str(tmp_path / 'x'), source={'images.tar': 'md5:1d67'})
    for _ in range(2):
        problems, facts = verify(rec)
        assert problems == []
        assert facts['quirks']['warned'] == ['a.jpg: Corrupt JPEG data: premature end of data segment']
    change(rec, os.path.getsize(rec) - 30, b'\0' * 4)
    assert any('libjpeg finds damaged' in problem.what for problem in verify(rec)[0])


def test_what_is_printed_goes_to_stderr_again(rec, capfd):
    with pytest.raises(KeyError), verify_record.libjpeg_warnings():
        raise KeyError
    os.write(2, b'heard')
    assert capfd.readouterr().err == 'heard'


def test_no_more_is_read_than_a_record_has(rec):
    """Of a file with a gap of 64 GB, which would be a MemoryError."""
    lines = open(stem(rec) + '.idx').read().splitlines(True)
    os.truncate(rec, os.path.getsize(rec) + 2 ** 36)
    open(stem(rec) + '.idx', 'w').write(''.join(lines))
    assert f'is followed by {2 ** 36} bytes' in record_file.find_bad_record(rec, stem(rec) + '.idx')
    offset = int(lines[-1].split()[1])
    (looked,) = verify_record.look(rec, [(offset, os.path.getsize(rec))])
    assert looked.problem is None and looked.end == os.path.getsize(rec) - 2 ** 36
