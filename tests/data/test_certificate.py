import json

import pytest

from conftest import make_jpeg
from gluon_tricks.data import certificate
from gluon_tricks.data.packing import pack
from gluon_tricks.data.verify import verify
from gluon_tricks.errors import UsageError


@pytest.fixture
def rec(tmp_path):
    pack([(make_jpeg(i % 2, i), i % 2, str(i)) for i in range(6)], str(tmp_path / 'x'))
    return str(tmp_path / 'x.rec')


def test_the_summary_says_what_was_checked(rec):
    assert 'certified, 6 images of 2 classes, bytes passed through' in certificate.summary(rec)
    assert 'not decoded yet' in certificate.summary(rec)
    verify(rec)
    assert 'all decoded by Pillow' in certificate.summary(rec)


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
