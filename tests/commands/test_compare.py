"""`compare` as it is typed."""
import json

import pytest

from gluon_tricks.__main__ import main
from support import ROOT
from support.finished import finished

PUBLISHED = ROOT.parent / 'shared' / 'published'
COSINE = 'table6/resnet50_v1d/cosine'
FIGURES = {'top1': 77.0, 'top5': 93.0}


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / 'run', COSINE, FIGURES)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / 'zoo.log'
    path.write_text('[Epoch 0] validation: err-top1=0.900000 err-top5=0.500000\n'
                    '[Epoch 119] validation: err-top1=0.215302 err-top5=0.057418\n')
    return str(path)


def compare(arguments, capsys):
    capsys.readouterr()
    code = main(['compare'] + arguments)
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


def test_a_run_and_a_log(run, log, tmp_path, capsys):
    code, lines, _ = compare([run, '--log', log, '-o', str(tmp_path / 'out' / 'c')], capsys)
    assert code == 0 and max(map(len, lines)) <= 80
    assert lines[-2:] == [str(tmp_path / 'out' / f'c.{kind}') for kind in ('svg', 'png')]
    assert '  119    77.00    78.47    +1.47' in lines and ' best    77.00    78.47    +1.47' in lines
    assert len([line for line in lines if line[:5].strip().isdigit()]) == 120


def test_every_and_json(run, log, capsys):
    code, lines, _ = compare([run, '--log', log, '--every', '40'], capsys)
    assert code == 0 and [line[:5].strip() for line in lines if line[:5].strip().isdigit()] == ['0', '40', '80', '119']
    code, lines, _ = compare([run, 'none', '--log', log, '--json'], capsys)
    found = json.loads('\n'.join(lines))
    assert code == 0 and found['figure'] == 'top-1' and [each['last'] for each in found['histories']] == [77.0, 78.4698]
    assert found['left_out'] == [['none', 'there is no such directory']] and found['pictures'] == []


def test_the_others_are_named_and_left_out(run, log, tmp_path, capsys):
    half = finished(tmp_path / 'half', COSINE, FIGURES, status='running')
    fcn = finished(tmp_path / 'fcn', 'table9/mixup', {'pix_acc': 0.78, 'miou': 0.38})
    (tmp_path / 'no.log').write_text('nothing')
    code, lines, _ = compare([half, run, fcn, 'none', '--log', str(tmp_path / 'no.log'), '--log', log], capsys)
    assert code == 0 and 'A  run' in lines and 'B  zoo' in lines
    told = ' '.join(line.strip() for line in lines)
    assert all(f'left out: {name}: ' in told for name in (half, 'none', tmp_path / 'no.log', 'fcn'))
    assert told.count('left out') == 4
    code, lines, _ = compare([half, run, '--unfinished'], capsys)
    assert code == 0 and 'A  half (unfinished)' in lines


def test_runs_of_other_data_are_said_to_be(run, tmp_path, capsys):
    demo = finished(tmp_path / 'demo', COSINE, {'top1': 98.0, 'top5': 100.0}, images=(1433, 364), data='cd' * 32)
    _, lines, _ = compare([run, demo], capsys)
    assert lines[0].startswith('not comparable, for they are of different data: run (')
    assert 'demo (data cdcdcdcdcdcd)' in ' '.join(line.strip() for line in lines[:2])


@pytest.mark.parametrize('arguments, part', [
    ([], 'compare takes runs or logs, and none can be used'), (['none'], 'none is left out: there is no such directory'),
    (['--log', 'none.log'], 'none.log cannot be read'), (['x', '--every', '0'], '--every 0 must be at least 1'),
    (['x', '-o', '.'], 'is a directory'), (['x', '-o', '/proc/no/x'], 'cannot be written')])
def test_wrong_usage_is_one_sentence(arguments, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, lines, error = compare(arguments, capsys)
    assert (code, lines, error.count('\n')) == (2, [], 1) and part in error
    assert list(tmp_path.iterdir()) == []


def test_all_published_logs_are_read(tmp_path, capsys):
    logs = sorted(PUBLISHED.glob('*.log'))
    if len(logs) < 8:
        pytest.skip('the eight published logs are not here')
    flags = [word for path in logs for word in ('--log', str(path))]
    code, lines, _ = compare(flags[2:] + ['-o', str(tmp_path / 'x.svg')], capsys)
    assert code == 0 and not [line for line in lines if 'left out' in line] and max(map(len, lines)) <= 80
    code, lines, _ = compare(flags[:2], capsys)  # the detector's
    assert code == 0 and ' best    78.31' in lines and ' last    77.66' in lines
