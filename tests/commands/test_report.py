"""`report` as it is typed."""
import json
import sys

import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.results.printed import TABLES
from support.finished import finished
from support.html_page import Page, check

COSINE = 'table6/resnet50_v1d/cosine'


@pytest.fixture
def jinja2():
    return pytest.importorskip('jinja2', reason="pip install '.[report]'")


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / 'run', COSINE, {'top1': 77.9, 'top5': 93.8})


def report(words, capsys):
    """(exit code, lines printed, the sentence of an error)."""
    capsys.readouterr()
    code = main(['report'] + [str(word) for word in words])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_runs_and_tables(jinja2, run, tmp_path, capsys):
    out = tmp_path / 'deep' / 'page.html'
    code, lines, _ = report([run, '6', tmp_path / 'none', '-o', out], capsys)
    assert code == 0 and lines == [f'left out: {tmp_path}/none: there is no such directory', f'{out}: Table 6, 1 run']
    page = Page(out.read_text(encoding='utf-8'))
    check(page)
    assert f'python -m gluon_tricks report {run} 6 {tmp_path}/none -o {out}' in page.text


def test_by_default_the_page_is_here(jinja2, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert report(['slides'], capsys)[:2] == (0, ['report.html: Slides'])
    assert [path.name for path in tmp_path.iterdir()] == ['report.html']


def test_look_has_a_network_look_again(jinja2, tiny_arguments, tmp_path, capsys):
    path = tmp_path / 'run'
    assert train_imagenet.main(tiny_arguments + ['--num-epochs', '1', '--save-dir', str(path)]) == 0
    best = json.loads((path / 'run.json').read_text())['best']['top1']
    pages = []
    for words in ([], ['--look']):
        assert report([path, '--num-gpus', '0', '-o', tmp_path / 'page.html', *words], capsys)[0] == 0
        pages.append(Page((tmp_path / 'page.html').read_text(encoding='utf-8')))
        check(pages[-1])
    without, looked = (' '.join(page.text.split()) for page in pages)
    assert '--look does' in without and 'confuses' not in without
    assert f'on 27 validation images: top-1 {best:.2f} %' in looked
    assert not [image for image in pages[1].of('img') if 'jpeg' in image['src']]  # the images are not the demo's


@pytest.mark.parametrize('words, part', [
    ([], 'RUN|TABLE'), (['none'], 'none is left out'), (['10'], '10 is left out'), (['6', '--loo'], '--loo'),
    (['6', '-o', '.'], 'cannot be written'), (['6', '-o', '/proc/no/x.html'], 'cannot be written'),
    (['6', '--num-gpus', '-1'], 'num-gpus')])
def test_wrong_usage_is_one_sentence(jinja2, words, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, lines, error = report(words, capsys)
    assert (code, lines, error.count('\n')) == (2, [], 1) and part in error
    assert list(tmp_path.iterdir()) == []


def test_without_jinja2_one_sentence(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    code, _, error = report([run, '-o', tmp_path / 'x.html'], capsys)
    assert code == 2 and error.count('\n') == 1 and "'.[report]'" in error and not (tmp_path / 'x.html').exists()


def test_a_directory_may_be_called_as_a_table_is(jinja2, run, tmp_path, monkeypatch, capsys):
    (tmp_path / 'run').rename(tmp_path / '6')
    monkeypatch.chdir(tmp_path)
    assert report(['./6'], capsys)[1] == ['report.html: Table 6, 1 run'] and '6' in TABLES
