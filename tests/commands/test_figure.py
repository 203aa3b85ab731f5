"""`figure` as it is typed: over a trained run, over what finished runs leave, and over published lines."""
import json
import shutil

import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.commands.figure import FIGURES
from gluon_tricks.compat import mx
from gluon_tricks.tasks.classification.trained import validation
from support.finished import finished

LOG = "Namespace(lr=0.4, lr_mode='cosine', log_interval=50)\nEpoch[0] Batch [49]\tSpeed: 1.0 samples/sec\taccuracy=0.1\tlr=0.003\n" \
      "[Epoch 0] validation: err-top1=0.500000 err-top5=0.100000\n"


@pytest.fixture(scope='module')
def run_dir(tiny_arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('figure') / 'run'
    assert train_imagenet.main(tiny_arguments + ['--save-dir', str(path), '--label-smoothing']) == 0
    return path


def figure(arguments, capsys):
    """(exit code, lines printed, the sentence of an error)."""
    capsys.readouterr()
    code = main(['figure'] + [str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out.splitlines(), told.err


@pytest.mark.parametrize('which', [which for which in FIGURES if which[0] in '34' and which[1] == 'a'])
def test_what_is_computed_needs_no_run(which, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, lines, _ = figure([which], capsys)
    assert code == 0 and lines[-2:] == [f'figure-{which}.svg', f'figure-{which}.png']
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'figure-{which}.png', f'figure-{which}.svg']


def test_4b_and_classes_look_at_the_validation_data(run_dir, tmp_path, capsys):
    best = json.loads((run_dir / 'run.json').read_text())['best']
    code, lines, _ = figure(['4b', run_dir, '--num-gpus', '0', '-o', tmp_path / '4b'], capsys)
    assert code == 0 and lines[0] == f'run, ε = 0.1: {best["gap_mean"]:.3f} +- {best["gap_std"]:.3f} over 27 images'
    found = validation(str(run_dir), [mx.cpu()])
    assert 100 * (found['labels'] == found['predicted']).mean() == pytest.approx(best['top1'])
    code, lines, _ = figure(['classes', run_dir, '--num-gpus', '0', '-o', tmp_path / 'classes'], capsys)
    assert code == 0 and lines[-1] == f'{tmp_path}/classes.png' and (tmp_path / 'classes.svg').exists()
    wrong = sum(int(line.split(': ')[1].split(' of ')[0]) for line in lines[:-2] if ' of ' in line)
    assert wrong == 27 - round(best['top1'] * 27 / 100)


def test_curves_and_3b(run_dir, tmp_path, capsys):
    (tmp_path / 'a.log').write_text(LOG)
    code, lines, _ = figure(['curves', run_dir, '--log', tmp_path / 'a.log', '-o', tmp_path / 'c.png'], capsys)
    assert code == 0 and lines[0].startswith('not comparable') and lines[1:] == [f'{tmp_path}/c.png']
    code, lines, _ = figure(['3b', run_dir, '--log', tmp_path / 'a.log', '-o', tmp_path / '3b'], capsys)
    assert code == 0 and lines[0].startswith('not comparable') and 'a: last 50.00 % (cosine)' in lines


def test_3a_takes_logs_of_imagenet(tmp_path, capsys):
    (tmp_path / 'zoo.log').write_text(LOG)
    (tmp_path / 'ours.log').write_text(LOG.replace('(lr', '(num_classes=10, lr'))
    (tmp_path / 'odd.log').write_text(LOG.replace('(lr', "(batch_size='many', num_gpus=10 ** 9, lr").replace('10 ** 9', '9' * 30))
    (tmp_path / 'bare.log').write_text(LOG.splitlines()[-1] + '\n')
    (tmp_path / 'voc.log').write_text('[Epoch 0] Training cost: 1.0, x=1\n[Epoch 0] Validation: \nmAP=0.5\n')
    names = ['zoo', 'odd', 'ours', 'bare', 'voc', 'none']
    code, lines, _ = figure(['3a', '-o', tmp_path / '3a'] + [word for name in names for word in ('--log', tmp_path / f'{name}.log')], capsys)
    assert code == 0 and sorted(line.split(': ')[1] for line in lines[:-2]) == sorted(str(tmp_path / f'{name}.log') for name in names[2:])


def test_the_others_are_named_and_left_out(run_dir, tmp_path, capsys):
    half = finished(tmp_path / 'half', 'table6/resnet50_v1d/cosine', {'top1': 77.0, 'top5': 94.0}, status='running')
    no_data = tmp_path / 'no-data'
    shutil.copytree(str(run_dir), str(no_data), symlinks=True)
    for name in ('run.json', 'epoch-0001/manifest.json'):
        assert (no_data / name).exists()
    for which in ('3b', '4b', 'curves'):
        code, lines, _ = figure([which, half, run_dir, tmp_path / 'none'] + ['--num-gpus', '0'] * (which == '4b')
                                + ['-o', tmp_path / 'x'], capsys)
        assert code == 0
        assert [line.split(': ')[:2] for line in lines if line.startswith('left out')] == [
            ['left out', half], ['left out', f'{tmp_path}/none']]
    code, lines, _ = figure(['curves', half, run_dir, '--unfinished', '-o', tmp_path / 'x'], capsys)
    assert code == 0 and not [line for line in lines if line.startswith('left out')]


def test_a_run_whose_data_are_gone_is_left_out(tiny_data, tiny_arguments, tmp_path, capsys):
    data, run = tmp_path / 'data', tmp_path / 'run'
    shutil.copytree(str(tiny_data), str(data))
    assert train_imagenet.main(['--data-dir', str(data)] + tiny_arguments[2:] + ['--num-epochs', '1', '--save-dir', str(run)]) == 0
    shutil.rmtree(str(data))
    code, lines, error = figure(['classes', run, '--num-gpus', '0', '-o', tmp_path / 'x'], capsys)
    assert (code, lines, error.count('\n')) == (2, [], 1) and 'none can be used' in error and 'val.rec' in error


@pytest.mark.parametrize('arguments, part', [
    (['5'], "'5' is not a figure; the figures are: 3a, 3b, 4a, 4b, curves, classes"),
    (['3a', 'runs/x'], 'RUN does nothing for figure 3a'), (['4a', '--log', 'x'], '--log does nothing for figure 4a'),
    (['3b', 'x', '--schedule', 'gluoncv'], '--schedule does nothing for figure 3b'),
    (['4a', '--unfinished'], '--unfinished does nothing'), (['3b', 'x', '--num-gpus', '0'], '--num-gpus does nothing'),
    (['curves', 'x', '--classes', '10'], '--classes does nothing'), (['4a', '--classes', '2'], '--classes 2 must be'),
    (['4b', 'x', '--num-gpus', '-1'], '--num-gpus -1 must be'), (['4a', '--classes', '1' + '0' * 400], 'must be 3 to'),
    (['4a', '--classes', '0'], '--classes 0 must be'), (['3a', '--schedule', 'gluoncv2018'], '--schedule'),
    (['3b'], 'none can be used'), (['4b'], 'none can be used'), (['curves'], 'none can be used'),
    (['curves', 'none'], 'none is left out'), (['curves', '--log', 'none.log'], 'none.log is left out'),
    (['classes'], 'takes one RUN, and 0 are given'), (['classes', 'a', 'b'], 'takes one RUN, and 2 are given'),
    (['4a', '-o', '.'], 'is a directory'), (['4a', '-o', '/proc/no/x'], 'cannot be written'), ([], 'WHICH')])
def test_wrong_usage_is_one_sentence(arguments, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, lines, error = figure(arguments, capsys)
    assert (code, lines, error.count('\n')) == (2, [], 1) and part in error
    assert list(tmp_path.iterdir()) == []
