import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from gluon_tricks.data.records import crash
from gluon_tricks.data.records.packing import pack
from gluon_tricks.data.records.record_file import check_records, find_bad_record, read_index, record
from gluon_tricks.errors import UsageError
from support import ROOT
from support.records import make_jpeg, make_records


def bad_image(rec, idx, row):
    """Keep the first bytes of one image, and nothing that can be decoded."""
    offset = int(read_index(idx)[1][row])
    with open(rec, 'r+b') as stream:
        stream.seek(offset + 8 + 24 + 4)
        stream.write(b'\x00' * 400)


def train(data, *flags):
    return subprocess.run(
        [sys.executable, str(ROOT / 'train_imagenet.py'), '--data-dir', str(data), '--model', 'resnet10_v1d_demo',
         '--num-classes', '4', '--input-size', '32', '--batch-size', '8', '--num-epochs', '1', '--num-gpus', '0',
         '--save-dir', str(data / 'run'), *flags], capture_output=True, timeout=300)


@pytest.mark.parametrize('part, code', [('train', 2), ('val', 1)])
def test_a_bad_image_is_named_whatever_it_does_to_the_process(part, code, tmp_path):
    """In training MXNet raises an error, in validation it divides by zero."""
    data = make_records(tmp_path / 'data', train=24, val=16)
    rec, idx = str(data / 'rec' / (part + '.rec')), str(data / 'rec' / (part + '.idx'))
    bad_image(rec, idx, 5)
    done = train(data)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode == code, done.stderr.decode()[-2000:]
    assert last.startswith('error: ') and 'record 5 at offset' in last and rec in last and 'verify' in last


def last_words(tmp_path, *arguments):
    """What a process says that watches whole records, with these further arguments of `watch`, and dies."""
    prefix = str(tmp_path / 'x')
    pack([(make_jpeg(0, i), 0, str(i)) for i in range(4)], prefix)
    code = (f'import os, signal, sys; sys.path.insert(0, {str(ROOT)!r}); from gluon_tricks.data.records.crash import '
            f'watch; watch([({prefix + ".rec"!r}, {prefix + ".idx"!r})], *{arguments!r}); '
            'os.kill(os.getpid(), signal.SIGSEGV); import time; time.sleep(60)')
    done = subprocess.run([sys.executable, '-c', code], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    return done.stderr.decode()


def test_a_crash_of_another_cause_gives_the_command_that_goes_on(tmp_path):
    said = last_words(tmp_path, 'python train.py --resume auto')
    assert said.strip().endswith('resume from the last checkpoint with python train.py --resume auto')


def test_a_crash_of_a_program_without_checkpoints_speaks_of_none(tmp_path):
    said = last_words(tmp_path)
    assert 'start the same command again' in said and 'checkpoint' not in said


def test_a_missing_file_is_told_too(tmp_path, capsys):
    assert crash.main(['8', 'again', str(tmp_path / 'no.rec'), str(tmp_path / 'no.idx')]) == 1
    assert 'SIGFPE' in capsys.readouterr().err


@pytest.mark.slow
def test_random_damage_never_ends_a_run_without_a_sentence(tmp_path):
    """40 variants of damage behind what is checked before training: a code of 0, 1 or 2, and a last line that says
    why."""
    import random
    for seed in range(40):
        generator = random.Random(seed)
        data = make_records(tmp_path / str(seed), train=24, val=16)
        path = str(data / 'rec' / generator.choice(['train.rec', 'val.rec']))
        size = os.path.getsize(path)
        with open(path, 'r+b') as stream:
            for _ in range(generator.randrange(1, 40)):
                stream.seek(generator.randrange(size - 8))
                stream.write(struct.pack('<I', generator.randrange(2 ** 32))[:generator.randrange(1, 5)])
        done = train(data)
        assert done.returncode in (0, 1, 2), (seed, done.returncode, done.stderr.decode()[-500:])
        if done.returncode:
            assert done.stderr.decode().strip().splitlines()[-1].startswith('error: '), seed


def _frame(height, width, precision=8, components=3, marker=0xc0):
    def change(image):
        place = image.index(b'\xff\xc0')
        return image[:place + 1] + struct.pack('>BHBHHB', marker, 17, precision, height, width, components) + \
            image[place + 10:]
    return change


def _png(*header, cut=None, flip=None):
    import cv2
    content = cv2.imencode('.png', cv2.imdecode(np.frombuffer(make_jpeg(0, 0), 'uint8'), 1))[1].tobytes()
    if header:
        head = b'IHDR' + struct.pack('>IIBBBBB', *header)
        content = content[:12] + head + struct.pack('>I', zlib.crc32(head)) + content[33:]
    if flip is not None:
        content = content[:flip] + bytes([content[flip] ^ 0x55]) + content[flip + 1:]
    return lambda image: content[:cut]


def _marker(number, length, body=b''):
    segment = bytes([0xff, number]) + struct.pack('>H', length) + body
    return lambda image: image[:2] + segment + image[2:]


# Damages of an image that keep its record as it is to be: kind -> function(JPEG).
DAMAGES = {
    'frame %d x %d, %d bits, %d components, %x' % arguments: _frame(*arguments) for arguments in [
        (0, 40, 8, 3, 0xc0), (40, 0, 8, 3, 0xc0), (0, 0, 8, 3, 0xc0), (1, 1, 8, 3, 0xc0), (40, 40, 12, 3, 0xc0),
        (40, 40, 0, 3, 0xc0), (40, 40, 16, 3, 0xc1), (40, 40, 8, 0, 0xc0), (40, 40, 8, 1, 0xc0), (40, 40, 8, 4, 0xc0),
        (40, 40, 8, 255, 0xc0), (40, 40, 8, 3, 0xc2), (40, 40, 8, 3, 0xc3), (40, 40, 8, 3, 0xc9), (40, 40, 8, 3, 0xca),
        (41, 65535, 8, 3, 0xc0), (65535, 40, 8, 3, 0xc0), (65535, 1, 8, 3, 0xc0), (9000, 9000, 8, 3, 0xc0),
        (9500, 9500, 8, 3, 0xc0), (65535, 65535, 8, 3, 0xc0)]}
DAMAGES.update({f'PNG of {header}': _png(*header) for header in [
    (0, 40, 8, 2, 0, 0, 0), (40, 0, 8, 2, 0, 0, 0), (2 ** 31 - 1, 1, 8, 2, 0, 0, 0),
    (2 ** 32 - 1, 2 ** 32 - 1, 8, 2, 0, 0, 0),
    (1, 2 ** 31 - 1, 1, 0, 0, 0, 0), (40, 40, 3, 2, 0, 0, 0), (40, 40, 8, 7, 0, 0, 0), (40, 40, 8, 3, 0, 0, 0),
    (40, 40, 16, 2, 0, 0, 0), (40, 40, 8, 2, 1, 0, 0), (40, 40, 8, 2, 0, 1, 0), (40, 40, 8, 2, 0, 0, 1),
    (40, 40, 8, 2, 0, 0, 9),
    (9000, 9000, 8, 2, 0, 0, 0), (9500, 9500, 1, 0, 0, 0, 0), (90000, 1000, 8, 0, 0, 0, 0)]})
DAMAGES.update({f'PNG cut at {cut}': _png(cut=cut) for cut in (4, 8, 12, 20, 24, 33, 40, 60, 1000)})
DAMAGES.update({f'PNG changed at {place}': _png(flip=place) for place in (8, 12, 16, 29, 33, 37, 41, 50, 500)})
DAMAGES.update({'segment %x of %d' % pair: _marker(*pair) for pair in [
    (0xe1, 0), (0xe1, 1), (0xe1, 2), (0xe1, 65535), (0xe0, 0), (0xfe, 65535), (0xc4, 2), (0xdb, 3), (0xdd, 4),
    (0xd9, 2), (0xda, 12), (0x00, 2), (0xff, 2)]})
DAMAGES.update({
    'signature alone': lambda image: image[:2], 'signature, then text': lambda image: image[:2] + b'text' * 30,
    'two signatures': lambda image: image[:2] + image, 'another JPEG behind': lambda image: image + image,
    'no end': lambda image: image[:-2], 'half': lambda image: image[:len(image) // 2],
    'no tables': lambda image: image[:20] + image[image.index(b'\xff\xc0'):],
    'no scan': lambda image: image[:image.index(b'\xff\xda')], 'a scan without codes':
        lambda image: image[:image.index(b'\xff\xda') + 14] + b'\xff\xd9',
    'magic numbers': lambda image: image[:40] + struct.pack('<I', 0xced7230a) * 3 + image[40:],
    'EXIF of one byte': _marker(0xe1, 9, b'Exif\0\0M'),
    'EXIF that points at itself': _marker(0xe1, 28, b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08'),
    'EXIF orientation 0': _marker(0xe1, 34, b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01' + bytes(8)),
    'EXIF orientation 99': _marker(0xe1, 34, b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63'
                                   + bytes(6))})


def damaged(folder, kind):
    """A record file of 9 images, of which the one of key 4 is damaged."""
    blocks = []
    for key in range(9):
        image = make_jpeg(key % 4, key)
        blocks.append(record(key, key % 4, DAMAGES[kind](image) if key == 4 else image))
    offsets = np.cumsum([0] + [len(block) for block in blocks])
    (folder / 'x.rec').write_bytes(b''.join(blocks))
    (folder / 'x.idx').write_text(''.join('%d\t%d\n' % pair for pair in enumerate(offsets[:-1])))
    return str(folder / 'x.rec'), str(folder / 'x.idx')


@pytest.mark.parametrize('kind', sorted(DAMAGES))
def test_a_damaged_image_is_named_or_decodes(kind, tmp_path):
    """Nothing is raised but a sentence; what `verify` certifies, Pillow decodes to its last byte."""
    from gluon_tricks.data.records.verify import verify
    rec, idx = damaged(tmp_path, kind)
    before = open(rec, 'rb').read()
    problems, _ = verify(rec, idx)
    assert [problem.key for problem in problems] in ([4], []), problems
    try:
        assert check_records(rec, idx, 4) == 9
        found = find_bad_record(rec, idx)
    except UsageError as error:
        found = str(error)
    assert found is None or 'record 4 at offset' in found and '\n' not in found
    assert problems or not found
    assert open(rec, 'rb').read() == before


@pytest.mark.slow
@pytest.mark.parametrize('kind', sorted(DAMAGES))
def test_evaluate_ends_with_a_figure_or_a_sentence(kind, tmp_path):
    """Whatever MXNet does at the image: it decodes it, raises an error or dies of it."""
    damaged(tmp_path, kind)
    code = (f'import sys; sys.path.insert(0, {str(ROOT)!r}); from gluon_tricks.__main__ import main; from '
            'gluon_tricks.models import zoo; net = zoo.get_model(zoo.DEMO, classes=4); net.initialize(); '
            'zoo.know_shapes(net, 32); net.save_parameters("x.params"); sys.exit(main(["evaluate", "x.params", '
            '"--model", zoo.DEMO, "--num-classes", "4", "--rec-val", "x.rec", "--num-gpus", "0"]))')
    done = subprocess.run([sys.executable, '-c', code], cwd=str(tmp_path), capture_output=True,
                          timeout=120)
    last = (done.stderr.decode().strip().splitlines() or [''])[-1]
    assert done.returncode in (0, 1, 2) and b'Traceback' not in done.stderr, done.stderr.decode()[-2000:]
    assert done.returncode == 0 or last.startswith('error: ') and 'record 4 at offset' in last, last
