import json

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.config.recipes import get
from support.finished import finished


def lines(capsys, *words):
    assert main(['plan', *words]) == 0
    found = capsys.readouterr().out.splitlines()
    assert max(map(len, found)) <= 120
    return found


def test_a_plan_of_the_paper(capsys):
    found = lines(capsys, '6', '--seeds', '3')
    assert found[0] == 'table 6 at --scale full: 18 rows, seeds 0 to 2: 56 runs, 2 of them teachers; 0 are finished'
    rows = {line.split()[0]: line.split()[1:] for line in found[3:found.index('', 3)]}
    assert rows['table6/inceptionv3/cosine'][:3] == ['3', '120', '384']  # 3 * 120 * 8 minutes on 8 GPUs
    assert rows['table5/resnet50_v1d'][-1] == 'table6/resnet50_v1d/efficient'
    assert any(line.startswith('sigma: 0.10 is the deviation between seeds') for line in found)
    assert '3 seeds see 14 of 18 steps' in found


def test_every_table_has_a_plan(capsys):
    for table in ('1', '2', '3', '4', '5', '7', 'slides'):
        assert lines(capsys, table)[0].startswith(f'table {table} at --scale full: ')


def test_a_plan_of_the_demo_tells_what_is_left(capsys, tmp_path):
    found = lines(capsys, '5', '--scale', 'demo', '--out', str(tmp_path))
    assert found[0].endswith('4 rows, seeds 0 to 0: 3 runs; 0 are finished')
    assert any('not known before a run is finished here' in line for line in found)
    found = lines(capsys, '6', '--scale', 'demo', '--out', str(tmp_path), '--rows', '*/cosine')
    assert 'no counterpart at this scale: table6/inceptionv3/cosine, table6/mobilenet1.0/cosine' in found


def test_json(capsys):
    assert main(['plan', '4', '--json', '--sigma', '0.2', '--images-per-second', '800', '--gpus', '4']) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan['runs']) == 10 and plan['sigma'] == 0.2 and plan['speed'].startswith('800 images/s of resnet50_v1')
    assert plan['steps'][0]['seeds'] == 25  # 4 times 6.13
    assert plan['runs'][0]['gpu_hours'] == pytest.approx(1281167 * 120 / 800 / 3600 * 4)
    assert '--num-gpus 4' in plan['runs'][0]['command']


def test_a_speed_from_runs(capsys, tmp_path):
    path = finished(tmp_path / 'run', get('table2/resnet50_v1').config, {'top1': 75.0, 'top5': 92.0})
    found = lines(capsys, '5', '--speed-from', path)
    assert any('measured, the median over the epochs' in line for line in found)


@pytest.mark.parametrize('words, part', [
    ([], 'N'), (['8'], 'table 8 is of networks over those'), (['6', '--seeds', '0'], '--seeds 0 must be 1 to'),
    (['6', '--scale', 'tiny'], '--scale tiny must be full, demo, or folder'),
    (['6', '--scale', 'folder'], '--scale folder must be'), (['--scale', 'demo', '6'], 'N'),
    (['6', '--scale', 'demo', 'x'], '--scale demo x must be'),
    (['6', '--scale', 'folder', '/no/such'], '/no/such/train is not a directory'),
    (['6', '--split', '1'], '--split 1 does not go with --scale full'),
    (['6', '--epochs', '10'], '--epochs 10 does not go with --scale full'),
    (['6', '--scale', 'demo', '--epochs', '2'], '--epochs 2 must be at least 4'),
    (['6', '--scale', 'demo', '--batch-size', '0'], '--batch-size 0 must be at least 4'),
    (['6', '--rows', 'nix'], '--rows nix is no row of table 6'), (['6', '--gpus', '0'], '--gpus 0 must be above 0'),
    (['6', '--gpus', '3'], 'cannot be shared by 3 GPUs'), (['6', '--sigma', '0'], '--sigma 0 must be above 0'),
    (['6', '--scale', 'demo', '--gpus', '2'], '--gpus is for the paper\'s data'),
    (['6', '--scale', 'demo', '--sigma', '0.2'], '--sigma is for the paper\'s data'),
    (['6', '--images-per-second', 'nan'], '--images-per-second nan must be above 0'),
    (['6', '--images-per-second', '5', '--speed-from', 'x'], 'drop one of them'),
    (['6', '--speed-from', '/no/such'], '--speed-from /no/such: there is no such directory')])
def test_wrong_usage_is_one_sentence(words, part, capsys):
    assert main(['plan'] + words) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and part in err and len(err.splitlines()) == 1
