import json

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.prepare import voc as prepare_voc
from support.archives import tar_bytes, voc_xml, write_voc


def prepare(out, flags, *more):
    return main(['prepare', 'voc', '--out', str(out), '--processes', '1', *flags, *more])


def test_gluoncv_reads_the_tree(tmp_path, capsys):
    from gluoncv.data import VOCDetection
    assert VOCDetection.CLASSES == prepare_voc.CLASSES
    assert prepare(tmp_path / 'voc', write_voc(tmp_path / 'archives')) == 0
    assert 'VOC2007 trainval       5 images,      5 objects of 1 classes' in capsys.readouterr().out
    data = VOCDetection(str(tmp_path / 'voc'), splits=((2007, 'trainval'), (2012, 'trainval')))
    assert len(data) == 10 and data[0][1].tolist() == [[1, 2, 29, 30, prepare_voc.CLASSES.index('dog'), 0]]
    assert len(VOCDetection(str(tmp_path / 'voc'), splits=((2007, 'test'),))) == 5
    facts = json.loads((tmp_path / 'voc' / 'voc.certificate.json').read_text())
    assert facts['sets']['VOC2012 trainval'] == {'images': 5, 'objects': {'dog': 5}, 'quirks': []}
    assert sorted(path.name for path in (tmp_path / 'voc').iterdir()) == ['VOC2007', 'VOC2012', 'voc.certificate.json']


NAME = 'VOCdevkit/VOC2007/%s/000001.%s'


@pytest.mark.parametrize('changes, part', [
    ({NAME % ('Annotations', 'xml'): None}, 'VOC2007/Annotations/000001.xml is missing'),
    ({NAME % ('JPEGImages', 'jpg'): None}, 'VOC2007/JPEGImages/000001.jpg is missing'),
    ({NAME % ('Annotations', 'xml'): b'<annotation>'}, '000001.xml is not an annotation'),
    ({NAME % ('Annotations', 'xml'): b'<annotation></annotation>'}, '000001.xml is not an annotation'),
    ({NAME % ('JPEGImages', 'jpg'): b''}, '000001.jpg is not an image'),
    ({NAME % ('Annotations', 'xml'): voc_xml((('unicorn', 1, 1, 5, 5),), 41)}, "000001.xml has an object of the class "
                                                                               "'unicorn'"),
    ({NAME % ('Annotations', 'xml'): voc_xml((('dog', 1, 1, 50, 5),), 41)}, '000001.xml has a box'),
    ({NAME % ('Annotations', 'xml'): voc_xml((('dog', 0, 1, 5, 5),), 41)}, '000001.xml has a box'),
    ({NAME % ('Annotations', 'xml'): voc_xml((('dog', 5, 1, 5, 5),), 41)}, '000001.xml has a box'),
    ({NAME % ('Annotations', 'xml'): voc_xml((('dog', 1, 1, 5, 5),), 90)}, 'says 90 x 40, the image is 40 x 40'),
    ({NAME % ('Annotations', 'xml'): voc_xml().replace(b'<width>40</width>', b'<width></width>')}, 'not an annotation'),
    ({NAME % ('Annotations', 'xml'): voc_xml().replace(b'<xmin>2</xmin>', b'<xmin>inf</xmin>')}, '000001.xml'),
    ({NAME % ('Annotations', 'xml'): b'<?xml version="1.0" encoding="foo"?>' + voc_xml()}, 'not an annotation'),
    ({'VOCdevkit/VOC2007/ImageSets/Main/trainval.txt': None}, 'trainval.txt cannot be read'),
    ({'VOCdevkit/VOC2007/ImageSets/Main/trainval.txt': b'../../../etc/passwd\n'}, 'to trust'),
])
def test_wrong_archives(tmp_path, capsys, changes, part):
    flags = write_voc(tmp_path / 'archives', changes)
    assert prepare(tmp_path / 'voc', flags) == 2
    assert part in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / 'voc' / 'VOC2007').exists()


def test_own_classes_of_own_archives(tmp_path, capsys):
    flags = write_voc(tmp_path / 'archives')
    assert prepare(tmp_path / 'voc', flags, '--classes', 'cat,dog') == 0
    assert prepare(tmp_path / 'other', flags, '--classes', 'cat') == 2
    flags.remove('--no-checksum')
    assert prepare(tmp_path / 'other', flags, '--classes', 'cat,dog') == 2
    assert '--classes cat,dog: the official archives' in capsys.readouterr().err


def test_an_archive_of_another_year(tmp_path, capsys):
    flags = write_voc(tmp_path / 'archives')
    (tmp_path / 'archives' / 'test07.tar').write_bytes(tar_bytes({'VOCdevkit/VOC2010/x': b'1'}))
    assert prepare(tmp_path / 'voc', flags) == 2
    assert 'outside VOCdevkit/VOC2007' in capsys.readouterr().err


def test_what_official_archives_have_is_kept_and_named(tmp_path):
    """A box outside its image ends the preparation of archives of one's own, and is noted for the official ones."""
    flags = write_voc(tmp_path / 'archives', {NAME % ('Annotations', 'xml'): voc_xml((('dog', 1, 1, 50, 5),))})
    paths = {part: str(tmp_path / 'archives' / (part + '.tar')) for part in prepare_voc.SETS}
    from gluon_tricks.data.prepare.archives import read
    for path, member in prepare_voc.members_of(paths).items():
        (tmp_path / 'tree' / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'tree' / path).write_bytes(read(member))
    counts, strange = prepare_voc.check_images(str(tmp_path / 'tree'), 'VOC2007', ['000000', '000001'],
                                               prepare_voc.CLASSES)
    assert counts == {'dog': 2} and len(strange) == 1 and '000001.xml has a box' in strange[0]
    assert flags
