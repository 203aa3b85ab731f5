import json
import os
import random
import struct
import subprocess
import sys

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.packing import pack
from gluon_tricks.data.records.record_file import MAGIC, check_records, read_index
from gluon_tricks.data.records.verify import verify
from gluon_tricks.errors import UsageError
from support import ROOT
from support.archives import cmyk_jpeg
from support.records import change, make_jpeg, rewrite, stem


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
    'negative label': ('is not a class', 5),
    'index elsewhere': ('', 5),
    'index swapped': ('has the id', 5),
    'index beyond': ('beyond the end of the file', 5),
    'duplicate key': ('is listed twice in the index', 5),
    'same place': ('another record has', None),
    'class without images': ('1 of 4 classes have no images: 2', None),
    'record without index': ('is not in the index', None),
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
        index(lines[:5] + [f'5\t{at + 40}\n'] + lines[6:])
    elif kind == 'index swapped':
        index(lines[:5] + [f'5\t{offsets[6]}\n', f'6\t{at}\n'] + lines[7:])
    elif kind == 'index beyond':
        index(lines[:5] + [f'5\t{os.path.getsize(rec) + 4}\n'] + lines[6:])
    elif kind == 'duplicate key':
        index(lines[:6] + [f'5\t{offsets[6]}\n'] + lines[7:])
    elif kind == 'same place':
        index(lines[:6] + [f'6\t{at}\n'] + lines[7:])
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
        assert any(line.startswith(f'record {key} ') and name.get(str(key), '') in line and ' at offset ' in line
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
    pack([(image, i % 2, f'n{i}.JPEG') for i, image in enumerate(images)], str(tmp_path / 'x'))
    problems, facts = verify(str(tmp_path / 'x.rec'))
    assert problems == []
    assert facts['quirks'] == {'png': ['n1.JPEG'], 'cmyk': ['n0.JPEG']}


def test_where_nothing_can_be_written_is_told_before_the_work(rec, monkeypatch, capsys):
    import tempfile

    from gluon_tricks.data.records import verify as module

    def denied(dir=None):
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(tempfile, 'TemporaryFile', denied)
    monkeypatch.setattr(module, 'read_index', None)
    assert main(['verify', rec]) == 2
    assert 'x.certificate.json cannot be written (Permission denied): make the directory' in capsys.readouterr().err


def test_what_cannot_be_read_is_named(rec, monkeypatch, capsys):
    from gluon_tricks.data.records import verify as module

    def broken(path, stop=None):
        raise OSError(5, 'Input/output error', path)
    monkeypatch.setattr(module, 'file_digest', broken)
    assert main(['verify', rec]) == 2
    assert 'x.rec cannot be read (Input/output error): make it readable' in capsys.readouterr().err


def test_quirks_of_the_sources_stay_when_images_were_encoded_anew(tmp_path):
    import cv2
    import numpy as np
    png = cv2.imencode('.png', np.zeros((30, 30, 3), 'uint8'))[1].tobytes()
    images = [cmyk_jpeg(), png, make_jpeg(0, 1), make_jpeg(1, 1)]
    pack([(image, i % 2, 'abcd'[i] + '.JPEG') for i, image in enumerate(images)], str(tmp_path / 'x'), resize=20,
         shuffle=False)
    rec, expected = str(tmp_path / 'x.rec'), {'png': ['b.JPEG'], 'cmyk': ['a.JPEG']}
    assert certificate.read(rec)['quirks'] == expected
    assert verify(rec)[1]['quirks'] == expected
    change(rec, int(read_index(stem(rec) + '.idx')[1][0]), b'\0')  # a.JPEG is not in the copy
    verify(rec, drop=str(tmp_path / 'y.rec'))
    assert certificate.read(str(tmp_path / 'y.rec'))['quirks'] == {'png': ['b.JPEG'], 'cmyk': []}


# -- an index that lost lines -----------------------------------------------------------------------------------------

@pytest.mark.parametrize('lost', [[5], [0], [11], [3, 4, 5, 9], list(range(1, 12)), list(range(11))], ids=str)
@pytest.mark.parametrize('certified', [True, False])
def test_records_without_a_line_are_named_and_kept(rec, tmp_path, lost, certified):
    offsets = read_index(stem(rec) + '.idx')[1].tolist()
    before = sorted(line.split('\t')[2] for line in open(stem(rec) + '.lst'))
    lines = open(stem(rec) + '.idx').read().splitlines(True)
    open(stem(rec) + '.idx', 'w').write(''.join(line for row, line in enumerate(lines) if row not in lost))
    if not certified:
        forget(rec)
    problems, _ = verify(rec, drop=str(tmp_path / 'clean.rec'))
    named = [problem for problem in problems if problem.offset is not None]
    assert [problem.offset for problem in named] == [offsets[row] for row in lost]
    assert all(f'a record at offset {each.offset} is not in the index' in each.what for each in named)
    assert check_records(str(tmp_path / 'clean.rec'), str(tmp_path / 'clean.idx')) == 12
    if certified:
        assert sorted(line.split('\t')[2] for line in open(str(tmp_path / 'clean.lst'))) == before
    assert verify(str(tmp_path / 'clean.rec'))[0] == []


def test_a_wrong_line_costs_neither_its_record_nor_the_one_before(rec, tmp_path):
    damage(rec, 'index elsewhere')
    assert len(verify(rec, drop=str(tmp_path / 'clean.rec'))[0]) >= 2
    assert check_records(str(tmp_path / 'clean.rec'), str(tmp_path / 'clean.idx')) == 12


def test_a_record_without_a_line_behind_a_damaged_one_is_found(rec, tmp_path):
    offsets = read_index(stem(rec) + '.idx')[1].tolist()
    lines = open(stem(rec) + '.idx').read().splitlines(True)
    open(stem(rec) + '.idx', 'w').write(''.join(lines[:6] + lines[9:]))
    change(rec, offsets[5], b'\0')  # has a line
    change(rec, offsets[7], b'\0')  # has none
    said = {problem.offset: problem.what for problem in verify(rec, drop=str(tmp_path / 'clean.rec'))[0]}
    assert 'does not begin' in said[offsets[5]] and 'not in the index' in said[offsets[6]]
    assert said[offsets[7]] == f'the {offsets[8] - offsets[7]} bytes at offset {offsets[7]} are not a record'
    assert 'not in the index' in said[offsets[8]]
    assert check_records(str(tmp_path / 'clean.rec'), str(tmp_path / 'clean.idx')) == 10


def test_bytes_behind_the_last_record_cost_it_nothing(rec, tmp_path):
    with open(rec, 'ab') as stream:
        stream.write(bytes(8))
    problems, _ = verify(rec, drop=str(tmp_path / 'clean.rec'))
    assert any('the 8 bytes at offset' in problem.what for problem in problems)
    assert check_records(str(tmp_path / 'clean.rec'), str(tmp_path / 'clean.idx')) == 12


def test_ctrl_c_does_not_wait_for_the_digest(rec, monkeypatch):
    import time

    from gluon_tricks.data.records import verify as module
    os.truncate(rec, os.path.getsize(rec) + 2 ** 36)  # a minute to read

    def interrupted(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr(module, 'ordered', interrupted)
    begin, threads = time.time(), module.threading.active_count()
    assert main(['verify', rec]) == 130
    while module.threading.active_count() > threads:
        assert time.time() < begin + 10
        time.sleep(0.01)


@pytest.mark.parametrize('field', ['plan', 'quirks', 'sha256', 'decoder', 'resize', 'source', 'classes', 'list_sha256'])
def test_a_certificate_without_a_field_is_damaged(rec, field, capsys):
    facts = json.loads(open(certificate.path_of(rec)).read())
    for changed in ({key: value for key, value in facts.items() if key != field}, dict(facts, **{field: 1.5})):
        open(certificate.path_of(rec), 'w').write(json.dumps(changed))
        assert main(['verify', rec]) == 2
        err = capsys.readouterr().err
        assert f'is not a certificate (it lacks {field}' in err and 'remove it' in err


@pytest.mark.parametrize('quirks', [{}, {'png': []}, {'png': [], 'cmyk': None}, {'png': [[]], 'cmyk': []}])
def test_a_certificate_with_other_quirks_is_damaged(rec, quirks):
    facts = json.loads(open(certificate.path_of(rec)).read())
    open(certificate.path_of(rec), 'w').write(json.dumps(dict(facts, quirks=quirks)))
    with pytest.raises(UsageError, match='lacks quirks'):
        verify(rec)


def test_json_is_the_same_each_time(rec, capsys):
    rewrite(rec, {5: (1.0, b'\xff\xd8 and nothing else')})
    said = []
    for _ in range(2):
        assert main(['verify', rec, '--json']) == 1
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and ' at 0x' not in said[0] and 'cannot identify image file)' in said[0]


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
    code = (f'import sys; from gluon_tricks.__main__ import main; code = main(["verify", {rec!r}]); assert "mxnet" '
            'not in sys.modules; sys.exit(code)')
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.DEVNULL).returncode == 0
