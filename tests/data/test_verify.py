import json
import os
import random
import struct
import subprocess
import sys

import pytest

from archive_makers import cmyk_jpeg
from conftest import ROOT, make_jpeg
from gluon_tricks.__main__ import main
from gluon_tricks.data import certificate
from gluon_tricks.data.packing import pack
from gluon_tricks.data.records import MAGIC, check_records, read_index, record
from gluon_tricks.data.verify import verify
from gluon_tricks.errors import UsageError


@pytest.fixture
def rec(tmp_path):
    """12 images of 4 classes, three of each, with a certificate."""
    pack([(make_jpeg(i % 4, i), i % 4, 'class%d/image%d' % (i % 4, i)) for i in range(12)], str(tmp_path / 'x'))
    return str(tmp_path / 'x.rec')


def stem(rec):
    return rec[:-len('.rec')]


def change(rec, place, content):
    with open(rec, 'r+b') as stream:
        stream.seek(place)
        stream.write(content)


def rewrite(rec, images):
    """Replace the records by those of {key: (label, image)} or what stands there; the index follows; no list."""
    keys, offsets = read_index(stem(rec) + '.idx')
    content = open(rec, 'rb').read()
    ends = list(offsets[1:]) + [len(content)]
    out, index = b'', ''
    for key, begin, end in zip(keys, offsets, ends):
        index += '%d\t%d\n' % (key, len(out))
        out += record(int(key), *images[key]) if key in images else content[begin:end]
    open(rec, 'wb').write(out)
    open(stem(rec) + '.idx', 'w').write(index)


def forget(rec):
    """Remove the certificate and the list."""
    os.remove(certificate.path_of(rec))
    os.remove(stem(rec) + '.lst')


def test_a_clean_file_has_no_problem_and_its_certificate_says_so(rec):
    problems, facts = verify(rec)
    assert problems == [] and facts == certificate.read(rec)
    assert facts['decoder'].startswith('Pillow ') and facts['class_counts'] == [3, 3, 3, 3] and facts['seed'] == 0
    assert verify(rec, processes=2) == ([], facts)


def test_a_file_of_im2rec_has_none_either(tmp_path):
    from gluon_tricks.compat import mx
    path = str(tmp_path / 'x')
    writer = mx.recordio.MXIndexedRecordIO(path + '.idx', path + '.rec', 'w')
    for key in range(8):
        label = [float(key % 2)] if key == 3 else float(key % 2)  # --pack-label writes a list of one
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), make_jpeg(key % 2, key)))
    writer.close()
    problems, facts = verify(path + '.rec')
    assert problems == [] and facts['resize'] is None and facts['classes'] is None
    assert 'packed elsewhere' in certificate.summary(path + '.rec')
    assert verify(path + '.rec') == ([], certificate.read(path + '.rec'))
    assert len(open(path + '.lst').readlines()) == 8


DAMAGES = {
    'magic': ('does not begin as a record does', 5),
    'length': ('does not end where the next one begins', 5),
    'label': ('has the label', 5),
    'id': ('has the id', 5),
    'truncated file': ('does not end where the next one begins', 11),
    'truncated JPEG': ('cannot be decoded', 5),
    'no end of the JPEG': ('truncated', 5),
    'no image': ('is not a JPEG or PNG image', 5),
    'a head without an image': ('cannot be decoded', 5),
    'label out of range': ('beyond 4 classes', 5),
    'negative label': ('is no class', 5),
    'index elsewhere': ('', 5),
    'index swapped': ('has the id', 5),
    'index beyond': ('beyond the end of the file', 5),
    'duplicate key': ('stands in the index twice', 5),
    'same place': ('another record has', None),
    'class without images': ('1 of 4 classes have no images: 2', None),
    'record without index': ('does not end where the next one begins', 4),
    'an image changed': ('not those that were certified', None),
}


def damage(rec, kind):
    keys, offsets = read_index(stem(rec) + '.idx')
    at = int(offsets[5])
    label = struct.unpack('<f', open(rec, 'rb').read()[at + 12:at + 16])[0]
    image = make_jpeg(int(label), 77)
    lines = open(stem(rec) + '.idx').read().splitlines(True)

    def index(changed):
        open(stem(rec) + '.idx', 'w').write(''.join(changed))
    if kind == 'magic':
        change(rec, at + 1, b'\0')
    elif kind == 'length':
        change(rec, at + 4, b'\x01')
    elif kind == 'label':
        change(rec, at + 12, struct.pack('<f', (label + 1) % 4))
    elif kind == 'id':
        change(rec, at + 16, struct.pack('<Q', 8))
    elif kind == 'truncated file':
        os.truncate(rec, os.path.getsize(rec) - 40)
    elif kind == 'truncated JPEG':
        rewrite(rec, {5: (label, image[:len(image) * 2 // 3])})
    elif kind == 'no end of the JPEG':
        rewrite(rec, {5: (label, image[:-2])})
    elif kind == 'no image':
        rewrite(rec, {5: (label, b'<html>not found</html>')})
    elif kind == 'a head without an image':
        rewrite(rec, {5: (label, b'\xff\xd8\xff\xe0 and nothing else')})
    elif kind == 'label out of range':
        rewrite(rec, {5: (4.0, image)})
    elif kind == 'negative label':
        rewrite(rec, {5: (-1.0, image)})
    elif kind == 'index elsewhere':
        index(lines[:5] + ['5\t%d\n' % (at + 40)] + lines[6:])
    elif kind == 'index swapped':
        index(lines[:5] + ['5\t%d\n' % offsets[6], '6\t%d\n' % at] + lines[7:])
    elif kind == 'index beyond':
        index(lines[:5] + ['5\t%d\n' % (os.path.getsize(rec) + 4)] + lines[6:])
    elif kind == 'duplicate key':
        index(lines[:6] + ['5\t%d\n' % offsets[6]] + lines[7:])
    elif kind == 'same place':
        index(lines[:6] + ['6\t%d\n' % at] + lines[7:])
    elif kind == 'class without images':
        content = open(rec, 'rb').read()
        rewrite(rec, {int(key): (1.0, image) for key, place in zip(keys, offsets)
                      if struct.unpack('<f', content[place + 12:place + 16])[0] == 2})
    elif kind == 'record without index':
        index(lines[:5] + lines[6:])
    elif kind == 'an image changed':
        place = at + 8 + 24 + 30  # in a table of the JPEG
        change(rec, place, bytes([open(rec, 'rb').read()[place] ^ 1]))


@pytest.mark.parametrize('certified', [True, False], ids=['certified', 'not certified'])
@pytest.mark.parametrize('kind', sorted(DAMAGES))
def test_damages_are_found_and_named(rec, kind, certified, capsys):
    if not certified:
        forget(rec)
        if kind in ('label', 'an image changed'):
            pytest.skip('nothing tells it without a certificate')
    name = dict((line.split('\t')[0], line.split('\t')[2].strip()) for line in open(stem(rec) + '.lst')) \
        if certified else {}
    damage(rec, kind)
    part, key = DAMAGES[kind]
    before = os.path.exists(certificate.path_of(rec)) and open(certificate.path_of(rec)).read()
    argv = ['verify', rec] + ([] if certified else ['--num-classes', '4'])
    assert main(argv) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if part in line]
    assert lines
    if key is not None:
        assert any(line.startswith('record %d ' % key) and name.get(str(key), '') in line and ' at offset ' in line
                   for line in lines)
    assert before == (os.path.exists(certificate.path_of(rec)) and open(certificate.path_of(rec)).read())


def test_a_certificate_alone_tells_a_changed_label(rec):
    """Without the list it has no name, but it is seen."""
    os.remove(stem(rec) + '.lst')
    assert verify(rec)[0] == []
    os.remove(stem(rec) + '.lst')
    damage(rec, 'label')
    assert any('certified' in problem.what for problem in verify(rec)[0])


def test_strange_but_whole_images_are_no_alarm(tmp_path):
    import cv2
    import numpy as np
    pixels = np.random.RandomState(0).randint(0, 256, (30, 30, 3)).astype('uint8')
    progressive = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    grey = cv2.imencode('.jpg', pixels[:, :, 0])[1].tobytes()
    holds_magic = make_jpeg(0, 0) + b'\0' * (-len(make_jpeg(0, 0)) % 4) + struct.pack('<I', MAGIC) * 2
    images = [cmyk_jpeg(), cv2.imencode('.png', pixels)[1].tobytes(), progressive, grey, holds_magic,
              make_jpeg(0, 0) + b'rubbish after the end' * 3]
    pack([(image, i % 2, 'n%d.JPEG' % i) for i, image in enumerate(images)], str(tmp_path / 'x'))
    problems, facts = verify(str(tmp_path / 'x.rec'))
    assert problems == []
    assert facts['quirks'] == {'png': ['n1.JPEG'], 'cmyk': ['n0.JPEG']}


def test_drop_writes_a_clean_copy(rec, tmp_path, capsys):
    damage(rec, 'truncated JPEG')
    change(rec, int(read_index(stem(rec) + '.idx')[1][9]), b'\0')
    out = str(tmp_path / 'clean.rec')
    assert main(['verify', rec, '--drop', out]) == 1
    assert '10 records without a problem' in capsys.readouterr().out
    assert check_records(out, str(tmp_path / 'clean.idx')) == 10
    assert certificate.check(out)['images'] == 10
    kept = [line.split('\t')[2] for line in open(str(tmp_path / 'clean.lst'))]
    listed = {line.split('\t')[0]: line.split('\t')[2] for line in open(stem(rec) + '.lst')}
    assert kept == [name for key, name in listed.items() if key not in ('5', '9')]
    before = certificate.read(out)
    assert main(['verify', out]) == 0 and certificate.read(out) == before
    assert main(['verify', rec, '--drop', out]) == 2
    assert 'is there already' in capsys.readouterr().err


def test_json_lists_all(rec, capsys):
    damage(rec, 'magic')
    assert main(['verify', rec, '--json']) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer['problems'][0]['key'] == 5 and 'class5' not in answer['problems'][0]['name']


@pytest.mark.parametrize('argv, part', [
    (['no.rec'], 'no.rec is missing'), (['REC', '--idx', 'no.idx'], 'no.idx is missing'),
    (['REC', '--num-classes', '0'], '--num-classes 0'), (['REC', '--processes', '0'], '--processes 0')])
def test_wrong_usage(rec, argv, part, capsys):
    assert main(['verify'] + [rec if word == 'REC' else word for word in argv]) == 2
    assert part in capsys.readouterr().err


def test_a_damaged_list_or_index(rec):
    with open(stem(rec) + '.lst', 'a') as stream:
        stream.write('nonsense\n')
    assert any('.lst line 13' in problem.what for problem in verify(rec)[0])
    with open(stem(rec) + '.idx', 'a') as stream:
        stream.write('nonsense\n')
    assert any('.idx line 13' in problem.what for problem in verify(rec)[0])
    (problem,) = verify(rec)[0][:1]
    assert problem.key is None


def fuzz(rec, seed):
    """Change up to 8 random bytes, or cut or lengthen, one of the three files."""
    generator = random.Random(seed)
    path = generator.choice([rec, rec, rec, stem(rec) + '.idx', certificate.path_of(rec), stem(rec) + '.lst'])
    content = bytearray(open(path, 'rb').read())
    kind = generator.random()
    if kind < 0.1:
        content = content[:generator.randrange(len(content))]
    elif kind < 0.2:
        content += bytes(generator.randrange(256) for _ in range(generator.randrange(1, 64)))
    else:
        for _ in range(generator.randrange(1, 9)):
            content[generator.randrange(len(content))] = generator.randrange(256)
    changed = content != open(path, 'rb').read()
    open(path, 'wb').write(content)
    return changed


def test_random_damage_never_crashes_it_and_is_always_seen(rec):
    """500 variants; a crash or a hang of the decoder would end this test."""
    files = {path: open(path, 'rb').read() for path in (rec, stem(rec) + '.idx', stem(rec) + '.lst',
                                                        certificate.path_of(rec))}
    verify(rec)
    files[certificate.path_of(rec)] = open(certificate.path_of(rec), 'rb').read()
    unseen = 0
    for seed in range(500):
        for path, content in files.items():
            open(path, 'wb').write(content)
        changed = fuzz(rec, seed)
        try:
            problems, _ = verify(rec)
        except UsageError:
            continue  # of the certificate
        certificate_changed = open(certificate.path_of(rec), 'rb').read() != files[certificate.path_of(rec)]
        unseen += changed and not problems and not certificate_changed
    assert unseen == 0


def test_a_truncated_image_is_seen_although_gluoncv_wants_it_accepted(rec, monkeypatch):
    from PIL import ImageFile
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)
    damage(rec, 'truncated JPEG')
    assert any('truncated' in problem.what for problem in verify(rec)[0])


def test_it_needs_no_mxnet(rec):
    """So that it starts at once, and a damaged file cannot reach MXNet."""
    code = ('import sys; from gluon_tricks.__main__ import main; code = main(["verify", %r]); '
            'assert "mxnet" not in sys.modules; sys.exit(code)' % rec)
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.DEVNULL).returncode == 0
