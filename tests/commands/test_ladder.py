import json
import shlex

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands.ladder import choose, parser
from gluon_tricks.compat import mx
from support import ROOT
from support.html_page import Page, check

pytest.importorskip('sklearn')


def test_full_scale_prints_the_plan_and_needs_a_gpu(capsys, tmp_path):
    if mx.context.num_gpus():
        pytest.skip('here it would train')
    assert main(['ladder', '5', '--out', str(tmp_path / 'runs')]) == 2
    out, err = capsys.readouterr()
    assert out.startswith('table 5 at --scale full: 4 rows') and not (tmp_path / 'runs').exists()
    assert err.startswith('error: --scale full trains on GPUs') and len(err.splitlines()) == 1


def test_a_row_runs_and_runs_once(capsys, tmp_path):
    words = ['ladder', '5', '--scale', 'demo', '--epochs', '4', '--rows', 'table5/resnet50_v1b', '--out',
             str(tmp_path / 'ladder')]
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()
    folder = tmp_path / 'ladder' / 'table3-efficient-resnet50_v1-seed0'
    run = json.loads((folder / 'run.json').read_text())
    assert run['status'] == 'finished' and run['result']['num_images'] == 1597 and run['data']['train'] == 200
    assert f'top-1 {run["result"]["top1"]:.2f} %' in out[1] and (tmp_path / 'demo-data-20-split-0').is_dir()
    assert run['environment']['threads'] == 1
    started = run['started']
    assert main(words) == 0
    assert json.loads((folder / 'run.json').read_text())['started'] == started
    assert 'it was there' in capsys.readouterr().out
    pytest.importorskip('jinja2', reason="pip install '.[report]'")
    pages = tmp_path / 'pages' / 'page.html'
    assert main([*words, '--report', str(pages)]) == 0
    assert capsys.readouterr().out.endswith(f'{pages}: Table 5, 1 run\n')
    page = Page(pages.read_text(encoding='utf-8'))
    check(page)
    assert f'{run["result"]["top1"]:.2f}' in page.text and 'Of the 1 runs on this page, 1 are rows' in ' '.join(page.text.split())
    assert f'gluon_tricks {" ".join(words)} --report {pages}' in page.text


def test_make_table_writes_the_page_of_what_its_ladder_ran():
    recipe = (ROOT / 'Makefile').read_text().split('\ntable: .venv\n')[1].split('\n\n')[0].replace('$(ARGS)', '--out elsewhere')
    line, = recipe.strip().splitlines()
    arguments = parser().parse_args(shlex.split(line.partition('gluon_tricks ladder ')[2]))
    assert arguments.report == 'runs/table.html' and choose(arguments).out == 'elsewhere'


def test_a_page_that_cannot_be_written_is_said_before_the_runs(capsys, tmp_path):
    pytest.importorskip('jinja2', reason="pip install '.[report]'")
    assert main(['ladder', '5', '--scale', 'demo', '--out', str(tmp_path / 'runs'), '--report', str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == '' and 'give --report a file' in err and not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('words, part', [
    (['5', '--jobs', '0'], '--jobs 0 must be 1 to 256'), (['9'], 'table 9 is of networks over those'),
    (['7', '--scale', 'demo'], 'table 7 has no row at --scale demo')])
def test_wrong_usage_is_one_sentence(words, part, capsys):
    assert main(['ladder'] + words) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and part in err and len(err.splitlines()) == 1
