import errno
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.data.records import certificate, packing
from gluon_tricks.data.records import record_file as records
from gluon_tricks.errors import UsageError
from support import ROOT
from support.archives import cmyk_jpeg, contents, png, read_all
from support.records import make_jpeg

# -- packing ----------------------------------------------------------------------------------------------------------

def test_images_are_packed_untouched_and_shuffled(packed):
    images, order = read_all(packed)
    assert images == {float(i): make_jpeg(i % 4, i) for i in range(12)}
    assert order != sorted(order)
    lines = [line.split('\t') for line in open(packed + '.lst').read().splitlines()]
    assert [float(label) for _, label, _ in lines] == order
    assert all(name == f'image{float(label):.0f}' for _, label, name in lines)
    assert records.check_records(packed + '.rec', packed + '.idx') == len(records.read_index(packed + '.idx')[0]) == 12


def test_the_order_depends_on_the_seed_alone(tmp_path):
    items = [(make_jpeg(0, i), i, str(i)) for i in range(12)]
    orders = []
    for number, options in enumerate(({'seed': 1}, {'seed': 1}, {'seed': 2}, {'shuffle': False})):
        packing.pack(items, str(tmp_path / str(number)), **options)
        orders.append(read_all(str(tmp_path / str(number)))[1])
    assert orders[0] == orders[1] != orders[2]
    assert orders[3] == list(range(12))


def test_an_image_that_holds_the_magic_number_passes(tmp_path):
    image = make_jpeg(1, 1) + b'\0' * 3
    image += b'\0' * (-len(image) % 4) + struct.pack('<I', records.MAGIC) * 3
    prefix = str(tmp_path / 'magic')
    packing.pack([(image, 7, 'a'), (make_jpeg(2, 2), 8, 'b')], prefix)
    assert records.check_records(prefix + '.rec', prefix + '.idx') == 2
    assert read_all(prefix)[0][7.0] == image


@pytest.mark.parametrize('source, part', [(b'', 'is empty'), (b'GIF89a...', 'not a JPEG or PNG'),
                                          ('no/such/file.JPEG', 'cannot be read')])
def test_what_is_no_image_is_not_packed(source, part, tmp_path):
    with pytest.raises(UsageError, match=part) as error:
        packing.pack([(make_jpeg(0, 0), 0, 'good'), (source, 1, 'n01/bad.JPEG')], str(tmp_path / 'x'))
    assert 'n01/bad.JPEG' in str(error.value)
    assert os.listdir(str(tmp_path)) == []


def test_a_name_that_the_list_cannot_hold(tmp_path):
    with pytest.raises(UsageError, match='tab or a line'):
        packing.pack([(make_jpeg(0, 0), 0, 'a\tb.jpg')], str(tmp_path / 'x'))


def test_an_image_that_would_be_too_long(tmp_path):
    import cv2
    long = cv2.imencode('.png', np.zeros((4, 1000, 3), 'uint8'))[1].tobytes()
    with pytest.raises(UsageError, match='lower --resize'):
        packing.pack([(long, 0, 'long.png')], str(tmp_path / 'x'), resize=480)


def test_shards_are_bounded_by_images_and_by_bytes(monkeypatch):
    monkeypatch.setattr(packing, 'SHARD', 3)
    monkeypatch.setattr(packing, 'SHARD_BYTES', 100)
    assert packing._cuts([1] * 7) == [0, 3, 6, 7]
    assert packing._cuts([60, 60, 10, 200, 10]) == [0, 1, 3, 4, 5]


def test_nothing_to_pack_and_nowhere_to_write(tmp_path):
    with pytest.raises(UsageError, match='no image'):
        packing.pack([], str(tmp_path / 'x'))
    with pytest.raises(UsageError, match='cannot be written'):
        (tmp_path / 'file').write_text('not a directory')
        packing.pack([(make_jpeg(0, 0), 0, 'a')], str(tmp_path / 'file' / 'x'))



@pytest.fixture
def many(tmp_path, monkeypatch):
    """(items of 60 images, files of 3 shards and more) with shards of 16 images."""
    monkeypatch.setattr(packing, 'SHARD', 16)
    (tmp_path / 'images').mkdir()
    items = []
    for i in range(60):
        path = tmp_path / 'images' / (f'{i}.JPEG')
        path.write_bytes(make_jpeg(i % 4, i))
        items.append((str(path), i % 4, path.name))
    packing.pack(items, str(tmp_path / 'whole' / 'x'))
    return items, contents(str(tmp_path / 'whole' / 'x'))


def test_processes_make_no_difference(many, tmp_path):
    items, expected = many
    packing.pack(items, str(tmp_path / 'two'), processes=2)
    assert contents(str(tmp_path / 'two')) == expected


@pytest.mark.parametrize('shard', [0, 1, 3])
def test_a_bad_image_ends_all_processes_and_what_is_made_stays(many, tmp_path, shard):
    """Another process may be waiting for the end of the shard with the image."""
    items, expected = many
    order = [int(line.split('\t')[2].split('.')[0]) for line in open(str(tmp_path / 'whole' / 'x.lst'))]
    path = items[order[16 * shard + 3]][0]
    good = open(path, 'rb').read()
    open(path, 'wb').write(bytes(len(good)))
    with pytest.raises(UsageError, match=os.path.basename(path)):
        packing.pack(items, str(tmp_path / 'y'), processes=2)
    assert not os.path.exists(str(tmp_path / 'y.rec'))
    open(path, 'wb').write(good)
    packing.pack(items, str(tmp_path / 'y'), processes=2)
    assert contents(str(tmp_path / 'y')) == expected


def test_an_image_that_changed_between_two_calls_is_told(many, stopped):
    """Of another length once it is in its record, the shards behind would be overwritten."""
    (items, expected), prefix = many, stopped(2)
    os.remove(prefix + '.parts/000000.json')
    path = items[[int(line.split('\t')[2].split('.')[0]) for line in open(os.path.dirname(prefix) + '/whole/x.lst')][0]][0]
    good = open(path, 'rb').read()
    for place in range(40, 44):
        open(path, 'wb').write(good[:place] + struct.pack('<I', records.MAGIC) + good[place + 4:])
        if len(records.record(0, 0, open(path, 'rb').read())) != len(records.record(0, 0, good)):
            break
    with pytest.raises(UsageError, match='has changed since this was begun'):
        packing.pack(items, prefix)
    open(path, 'wb').write(good)
    packing.pack(items, prefix)
    assert contents(prefix) == expected


class Stop(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize('error', [Stop, OSError(errno.ENOSPC, 'No space left on device')], ids=['kill', 'full disk'])
def test_stopped_at_every_write_it_goes_on_to_the_same_bytes(many, tmp_path, monkeypatch, error):
    """Every rename of packing fails once, the first, the second and so on; the same call then finishes."""
    items, expected = many
    real, point, stopped = os.replace, 0, True
    while stopped:
        calls, stopped = [], False

        def replace(source, target):
            calls.append(target)
            if len(calls) == point + 1:
                raise error
            real(source, target)

        prefix = str(tmp_path / (f'run{point}'))
        with monkeypatch.context() as patch:
            patch.setattr(os, 'replace', replace)
            try:
                packing.pack(items, prefix)
            except Stop:
                stopped = True
            except UsageError as problem:
                assert 'No space left' in str(problem) and 'resumes' in str(problem)
                stopped = True
        if stopped:
            assert not os.path.exists(prefix + '.idx')  # nothing that looks finished
            made = [name for name in os.listdir(prefix + '.parts')] if os.path.isdir(prefix + '.parts') else []
            assert packing.pack(items, prefix) == 60 and (made or point < 2)
        assert contents(prefix) == expected and not os.path.exists(prefix + '.parts')
        point += 1
    assert point > 10


@pytest.fixture
def stopped(many, tmp_path, monkeypatch):
    """function(shard) -> prefix of a packing that was stopped when it came to that shard."""
    real = packing.write_shard

    def stop(shard):
        def write(folder, number, *rest):
            if number == shard:
                raise Stop
            return real(folder, number, *rest)
        with monkeypatch.context() as patch:
            patch.setattr(packing, 'write_shard', write)
            with pytest.raises(Stop):
                packing.pack(many[0], str(tmp_path / 'x'))
        return str(tmp_path / 'x')
    return stop


def test_finished_shards_are_not_made_again(many, stopped, monkeypatch):
    (items, expected), prefix = many, stopped(2)
    real, made = packing.write_shard, []
    monkeypatch.setattr(packing, 'write_shard', lambda folder, number, *rest: made.append(number) or
                        real(folder, number, *rest))
    packing.pack(items, prefix)
    assert made == [2, 3] and contents(prefix) == expected


@pytest.mark.parametrize('shard', [0, 1, 2])
def test_a_growing_file_that_a_power_cut_emptied_is_made_again(shard, many, stopped):
    (items, expected), prefix = many, stopped(3)
    with open(prefix + f'.parts/{shard:06d}.json') as stream:
        start = json.load(stream)['start']
    with open(prefix + '.parts/.rec', 'r+b') as stream:
        stream.seek(start)
        stream.write(b'\0' * 1000)
    packing.pack(items, prefix)
    assert contents(prefix) == expected


def test_other_options_start_anew(many, tmp_path, monkeypatch):
    items, expected = many
    prefix = str(tmp_path / 'x')
    packing.pack(items, prefix, seed=5)
    assert contents(prefix) != expected
    packing.pack(items, prefix)
    assert contents(prefix) == expected
    before = os.stat(prefix + '.rec').st_ino
    packing.pack(items, prefix)
    assert os.stat(prefix + '.rec').st_ino == before


def test_two_processes_cannot_write_the_same(many, tmp_path, monkeypatch):
    items, _ = many
    seen = []

    def second(*arguments):
        with pytest.raises(UsageError, match=r'being written by process \d+ on '):
            packing.pack(items, str(tmp_path / 'x'))
        seen.append(True)
        raise Stop

    monkeypatch.setattr(packing, 'write_shard', second)
    with pytest.raises(Stop):
        packing.pack(items, str(tmp_path / 'x'))
    assert seen


def test_the_certificate_says_what_the_file_is(tmp_path):
    import cv2
    prefix = str(tmp_path / 'x')
    pixels = np.random.RandomState(0).randint(0, 256, (40, 60, 3)).astype('uint8')
    items = [(make_jpeg(0, 0), 0, 'a/0.JPEG'), (png(pixels), 1, 'b/1.JPEG'), (cmyk_jpeg(), 1, 'b/2.JPEG'),
             (png(pixels), 0, 'a/3.png')]
    packing.pack(items, prefix, classes=['a', 'b'], source={'x.tar': 'md5:1'})
    facts = certificate.check(prefix + '.rec')
    assert facts['quirks'] == {'png': ['b/1.JPEG'], 'cmyk': ['b/2.JPEG']}
    assert (facts['images'], facts['num_classes'], facts['class_counts']) == (4, 2, [2, 2])
    assert (facts['classes'], facts['source'], facts['seed']) == (['a', 'b'], {'x.tar': 'md5:1'}, 0)
    assert (facts['resize'], facts['quality'], facts['decoder']) == (0, 0, None)
    for field, suffix in (('sha256', '.rec'), ('index_sha256', '.idx'), ('list_sha256', '.lst')):
        assert facts[field] == contents(prefix)[suffix]
    packing.pack(items, prefix, resize=20, quality=80)
    facts = certificate.check(prefix + '.rec')
    assert (facts['resize'], facts['quality']) == (20, 80)
    images, _ = read_all(prefix)
    for image in images.values():
        assert min(cv2.imdecode(np.frombuffer(image, 'uint8'), 1).shape[:2]) == 20


@pytest.mark.parametrize('side', [30, 61])
def test_resized_images_are_those_of_im2rec(side, tmp_path):
    """The same bytes as the script in MXNet's wheel writes, which GluonCV's guide has people use."""
    (tmp_path / 'tree' / 'a').mkdir(parents=True)
    for i in range(6):
        (tmp_path / 'tree' / 'a' / (f'{i}.jpg')).write_bytes(make_jpeg(i % 4, i, 40))
    lines = ''.join(f'{i}\t{i}\ta/{i}.jpg\n' for i in range(6))
    (tmp_path / 'theirs.lst').write_text(lines)
    code = ('import gluon_tricks.compat, runpy, sys; sys.argv = ["im2rec", "--resize", "%d", %r, %r]; '
            'runpy.run_path(%r, run_name="__main__")'
            % (side, str(tmp_path / 'theirs'), str(tmp_path / 'tree'),
               os.path.join(os.path.dirname(mx.__file__), 'tools', 'im2rec.py')))
    subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), check=True, stdout=subprocess.DEVNULL)
    packing.pack([(str(tmp_path / 'tree' / 'a' / (f'{i}.jpg')), i, f'{i}.jpg') for i in range(6)],
                 str(tmp_path / 'ours'), shuffle=False, resize=side)
    assert (tmp_path / 'ours.rec').read_bytes() == (tmp_path / 'theirs.rec').read_bytes()
    assert (tmp_path / 'ours.idx').read_bytes() == (tmp_path / 'theirs.idx').read_bytes()
