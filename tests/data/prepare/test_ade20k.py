import json

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from support.archives import png, write_ade20k, zip_bytes


def prepare(out, flags, *more):
    return main(['prepare', 'ade20k', '--out', str(out), '--processes', '1', *flags, *more])


def test_gluoncv_reads_the_tree(tmp_path, capsys):
    from gluoncv.data import ADE20KSegmentation
    assert prepare(tmp_path / 'ade', write_ade20k(tmp_path / 'archives')) == 0
    assert 'training        6 images, 4 classes' in capsys.readouterr().out
    data = ADE20KSegmentation(str(tmp_path / 'ade'), split='train', mode='testval')
    assert len(data) == 6
    _, mask = data[0]
    assert mask.shape[-2:] == (40, 40) and int(mask.asnumpy().min()) == -1 and int(mask.asnumpy().max()) == 3
    assert len(ADE20KSegmentation(str(tmp_path / 'ade'), split='val', mode='testval')) == 3
    facts = json.loads((tmp_path / 'ade' / 'ade20k.certificate.json').read_text())
    assert facts['sets']['training']['images_by_class'] == {f'thing {each}': 6 for each in range(1, 5)}


@pytest.mark.parametrize('changes, part', [
    ({'annotations/training/ADE_train_00000002.png': None}, 'ADE_train_00000002.png is missing'),
    ({'images/training/ADE_train_00000002.jpg': None}, 'images/training/ADE_train_00000002.jpg is missing'),
    ({'annotations/training/ADE_train_00000002.png': png(np.ones((40, 41), 'uint8'))}, 'is 41 x 40, its image 40 x 40'),
    ({'annotations/training/ADE_train_00000002.png': png(np.full((40, 40), 5, 'uint8'))}, 'has the class 5, of 4'),
    ({'annotations/training/ADE_train_00000002.png': b'junk'}, 'ADE_train_00000002.png is not an image'),
    ({'images/training/ADE_train_00000002.jpg': b''}, 'ADE_train_00000002.jpg is not an image'),
    ({'objectInfo150.txt': None}, 'objectInfo150.txt is not the list'),
    ({'objectInfo150.txt': b'Idx\tName\n2\tthing\n'}, 'objectInfo150.txt is not the list'),
])
def test_wrong_archives(tmp_path, capsys, changes, part):
    assert prepare(tmp_path / 'ade', write_ade20k(tmp_path / 'archives', changes)) == 2
    assert part in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / 'ade' / 'ADEChallengeData2016').exists()


def test_hostile_archives_write_nothing_outside(tmp_path, capsys):
    flags = write_ade20k(tmp_path / 'archives')
    for name in ('../outside.txt', '/tmp/outside.txt', 'ADEChallengeData2016/../../outside.txt', 'elsewhere/x.txt'):
        (tmp_path / 'archives' / 'ade.zip').write_bytes(zip_bytes({name: b'1'}))
        assert prepare(tmp_path / 'ade', flags) == 2
    assert not (tmp_path / 'outside.txt').exists() and list((tmp_path / 'ade').iterdir()) == []


def test_the_published_digest_is_asked_for(tmp_path, capsys):
    flags = write_ade20k(tmp_path / 'archives')
    flags.remove('--no-checksum')
    assert prepare(tmp_path / 'ade', flags) == 2
    assert 'sha1' in capsys.readouterr().err.splitlines()[-1]
