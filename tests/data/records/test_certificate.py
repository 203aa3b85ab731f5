import json
import os

import pytest

from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.packing import pack
from gluon_tricks.data.records.verify import verify
from gluon_tricks.errors import UsageError
from support.records import make_jpeg


@pytest.fixture
def rec(tmp_path):
    pack([(make_jpeg(i % 2, i), i % 2, str(i)) for i in range(6)], str(tmp_path / 'x'))
    return str(tmp_path / 'x.rec')


def test_the_summary_says_what_was_checked(rec):
    assert 'certified, 6 images of 2 classes, bytes passed through' in certificate.summary(rec)
    assert 'not decoded yet' in certificate.summary(rec)
    verify(rec)
    assert 'all decoded by Pillow' in certificate.summary(rec)


def test_records_that_are_gone_are_named_although_their_certificate_is_there(rec):
    os.remove(rec)
    for program in (certificate.check, certificate.summary):
        with pytest.raises(UsageError, match=r'x\.rec is missing, and its certificate is there: give the record file'):
            program(rec)


def test_without_one_the_summary_says_how_to_make_it(rec, tmp_path):
    (tmp_path / 'x.certificate.json').unlink()
    assert certificate.read(rec) is None and certificate.digest(rec) is None and certificate.check(rec) is None
    assert 'no certificate; `python -m gluon_tricks verify' in certificate.summary(rec)


def test_another_size_is_told(rec):
    with open(rec, 'ab') as stream:
        stream.write(b'\0' * 4)
    with pytest.raises(UsageError, match='its certificate says'):
        certificate.summary(rec)


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'{}', b'\xff', b'[' * 100000, b'{"images": "6"}'])
def test_a_damaged_one_is_named(rec, tmp_path, content):
    (tmp_path / 'x.certificate.json').write_bytes(content)
    with pytest.raises(UsageError, match='x.certificate.json is not a certificate'):
        certificate.summary(rec)


def test_the_bytes_depend_on_the_facts_alone(rec):
    facts = json.loads(open(certificate.path_of(rec)).read())
    assert certificate.to_bytes(dict(reversed(list(facts.items())))) == open(certificate.path_of(rec), 'rb').read()


LIST, NONE = ['a', 'b'], '0' * 64
# What a certificate of 6 images of 2 classes cannot say, field by field.
FORGED = [(name, value) for name, values in {
    'images': [0, -3, 7, 5, 10 ** 30, 6.0, True, '6', None, []],
    'num_classes': [10 ** 12, 10 ** 7, -3, 0, 1, 3, 2.0, True, '2', None],
    'class_counts': [[], [6], [3, 3, 0], [4, 3], [9, -3], [3.0, 3.0], [True, 5], ['3', '3'], [None, 6], {'0': 6}, 6],
    'classes': [LIST, ['a'], ['a', 'b', 'c'], [1, 2], [['a'], ['b']], 'ab', {'a': 0}, ['a', '\ud800']],
    'classes_sha256': [NONE, 'x', 1, ''],
    'bytes': [-1, 10 ** 30, 1.5, '1', None],
    'sha256': ['', 'x' * 64, NONE.upper() + 'A', 1, []], 'index_sha256': ['x', 1], 'list_sha256': ['x', 1],
    'plan': ['x', 1, []],
    'resize': [-1, 10 ** 9, 1.5, True, 'x'], 'quality': [-1, 101, 'x'], 'seed': [-1, 10 ** 30, 'x'],
    'quirks': [{}, {'png': []}, {'png': [], 'cmyk': [1]}, {'png': [], 'cmyk': 'x'}, [], None],
    'source': [[], None, {'x.tar': 1}, {'x.tar': {}}, 'x'],
    'decoder': ['a\nb', '\udce9', '\x1b[2J', 'x' * 300, 1, []]}.items() for value in values]


@pytest.mark.parametrize('name, value', FORGED, ids=['%s %.20r' % pair for pair in FORGED])
def test_a_forged_one_is_named_and_never_certified_again(name, value, rec, tmp_path):
    """And nothing is lost: neither it nor the records change."""
    path, facts = tmp_path / 'x.certificate.json', certificate.read(rec)
    path.write_text(json.dumps(dict(facts, **{name: value})))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for program in (certificate.read, certificate.check, certificate.summary, verify):
        with pytest.raises(UsageError, match='x.certificate.json is not a certificate .*: remove it') as error:
            program(rec)
        assert name in str(error.value) or 'class' in name and 'class' in str(error.value) or name == 'images'
        assert '\n' not in str(error.value)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize('change', [
    {'classes': LIST, 'classes_sha256': certificate.classes_sha256(['b', 'a'])},
    {'classes': ['a', 'b', 'c'], 'classes_sha256': certificate.classes_sha256(['a', 'b', 'c'])},
    {'num_classes': 3, 'class_counts': [3, 3], 'classes': None}, {'images': 12, 'class_counts': [3, 3]},
    {'num_classes': 1, 'class_counts': [3, 3]}, {'images': 10 ** 12, 'num_classes': 10 ** 12}])
def test_fields_that_contradict_each_other_are_named(change, rec, tmp_path):
    (tmp_path / 'x.certificate.json').write_text(json.dumps(dict(certificate.read(rec), **change)))
    with pytest.raises(UsageError, match='x.certificate.json is not a certificate'):
        verify(rec)


def test_a_true_label_map_and_other_fields_pass(rec, tmp_path):
    """Fields of another version are not kept: nobody has looked at them."""
    facts = dict(certificate.read(rec), classes=LIST, classes_sha256=certificate.classes_sha256(LIST), later=[[[]]])
    (tmp_path / 'x.certificate.json').write_text(json.dumps(facts))
    assert verify(rec)[0] == [] and certificate.read(rec)['classes'] == LIST
    assert 'later' not in (tmp_path / 'x.certificate.json').read_text()


@pytest.mark.parametrize('make', [lambda path: path.mkdir(), lambda path: os.mkfifo(str(path)),
                                  lambda path: path.symlink_to('/dev/zero')])
def test_one_that_is_no_file_is_not_read(make, rec, tmp_path):
    (tmp_path / 'x.certificate.json').unlink()
    make(tmp_path / 'x.certificate.json')
    with pytest.raises(UsageError, match='not a file'):
        certificate.read(rec)
