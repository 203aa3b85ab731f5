import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.demo import write_digits
from gluon_tricks.data.records import check_records

pytest.importorskip('sklearn')


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp('prepare') / 'digits'
    write_digits(str(folder))
    return folder


def test_prepare_demo_says_what_it_wrote(digits, capsys):
    assert main(['prepare', 'demo', '--out', str(digits)]) == 0
    out = capsys.readouterr().out
    assert 'train    1433 images, 10 classes' in out and 'val       364 images' in out
    assert str(digits / '.gluon_tricks' / 'val.rec') in out


def test_prepare_folder(digits, tmp_path, capsys):
    assert main(['prepare', 'folder', str(digits), '--out', str(tmp_path / 'records')]) == 0
    assert 'train    1433 images, 10 classes: %s' % (tmp_path / 'records' / 'train.rec') in capsys.readouterr().out
    assert check_records(str(tmp_path / 'records' / 'val.rec'), str(tmp_path / 'records' / 'val.idx')) == 364


@pytest.mark.parametrize('arguments, part', [
    ([], 'DATASET'), (['imagenet2012'], 'imagenet2012'), (['folder'], 'DIR'), (['folder', 'no/such'], 'no/such'),
    (['demo', '--outt', 'x'], '--outt')])
def test_wrong_usage_is_one_sentence(arguments, part, capsys):
    assert main(['prepare'] + arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and part in err and len(err.splitlines()) == 1
