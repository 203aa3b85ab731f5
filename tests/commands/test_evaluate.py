import json
import subprocess
import sys

import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import zoo
from gluon_tricks.tasks.classification import trained
from gluon_tricks.tricks import low_precision
from support import ROOT
from support.records import NO_CLASSES, damaged_records, make_records, relabel


@pytest.fixture(scope='module')
def run_dir(tiny_arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('evaluate') / 'run'
    assert train_imagenet.main(tiny_arguments + ['--save-dir', str(path), '--save-frequency', '1']) == 0
    return path


def result_of(arguments, capsys):
    capsys.readouterr()
    assert main(['evaluate'] + arguments + ['--json', '--num-gpus', '0']) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_is_evaluated_as_it_was_trained(run_dir, capsys):
    result = result_of([str(run_dir)], capsys)
    best = json.loads((run_dir / 'run.json').read_text())['best']
    assert result['num_images'] == 27
    assert result['top1'] == pytest.approx(best['top1']) and result['top5'] == pytest.approx(best['top5'])


@pytest.mark.parametrize('batch_size', ['5', '27', '64'])
def test_the_batch_size_does_not_matter(run_dir, batch_size, capsys):
    expected = result_of([str(run_dir)], capsys)
    result = result_of([str(run_dir), '--batch-size', batch_size], capsys)
    assert (result['top1'], result['num_images']) == (pytest.approx(expected['top1']), 27)


def test_gluoncvs_count_is_given_on_request(run_dir, capsys):
    result = result_of([str(run_dir), '--batch-size', '8', '--gluoncv-padding'], capsys)
    assert result['gluoncv_padding']['num_images'] == 32 and result['num_images'] == 27


def test_a_params_file_needs_its_network(run_dir, tiny_data, capsys):
    params = str(next(run_dir.glob('imagenet-*-1.params')))
    assert main(['evaluate', params]) == 2
    assert '--model' in capsys.readouterr().err
    result = result_of([params, '--model', 'resnet10_v1d_demo', '--num-classes', '4', '--input-size', '32',
                        '--rec-val', str(tiny_data / 'rec' / 'val.rec')], capsys)
    last = json.loads((run_dir / 'run.json').read_text())['result']
    assert result['top1'] == pytest.approx(last['top1'])


def test_bfloat16(run_dir, capsys):
    """In a process of its own, for MXNet's mixed precision cannot be switched off again."""
    try:
        low_precision.precision('bfloat16', [mx.cpu()])
    except UsageError as error:
        pytest.skip(str(error))
    done = subprocess.run([sys.executable, '-m', 'gluon_tricks', 'evaluate', str(run_dir), '--dtype', 'bfloat16', '--json',
                           '--num-gpus', '0'], cwd=str(ROOT), capture_output=True, timeout=300, check=True)
    result, expected = json.loads(done.stdout), result_of([str(run_dir)], capsys)
    assert (result['dtype'], result['num_images']) == ('bfloat16', 27)
    assert result['loss'] == pytest.approx(expected['loss'], rel=0.05) and result['loss'] != expected['loss']


@pytest.mark.parametrize('flags, words', [({'avx2'}, 'this CPU has no AVX512'), ({'avx512bw'}, '(PReLU) has no bfloat16 form')])
def test_bfloat16_that_cannot_be_is_refused(flags, words, run_dir, monkeypatch, capsys):
    """For want of instructions before MXNet is switched, for a layer before the network computes."""
    net, switched = mx.gluon.nn.HybridSequential(), []
    net.add(mx.gluon.nn.Dense(4), mx.gluon.nn.PReLU())
    monkeypatch.setattr(low_precision, '_cpu_flags', lambda: flags)
    monkeypatch.setattr(trained, 'enable_bfloat16', lambda: switched.append(1))
    monkeypatch.setattr(zoo, 'get_model', lambda name, classes: net)
    assert main(['evaluate', str(run_dir), '--dtype', 'bfloat16', '--num-gpus', '0']) == 2
    assert words in capsys.readouterr().err and len(switched) == ('avx512bw' in flags)


@pytest.mark.parametrize('arguments, part', [
    (['missing.params', '--model', 'resnet50_v1d'], 'missing.params'), (['.', '--batch-size', '0'], '--batch-size 0'),
    (['.', '--input-size', '3'], '--input-size 3 must be'), (['.', '--crop-ratio', '0.001'], '--crop-ratio 0.001 must'),
    (['.', '--num-gpus', '-1'], '--num-gpus -1 must be'), (['.', '-j', '1000000000'], 'must be at least 1'),
    (['.'], 'manifest.json')])
def test_wrong_usage_is_one_sentence(arguments, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['evaluate'] + arguments) == 2
    err = capsys.readouterr().err
    assert part in err and len(err.splitlines()) == 1


def test_the_text_gives_the_protocol(run_dir, capsys):
    capsys.readouterr()
    assert main(['evaluate', str(run_dir), '--num-gpus', '0']) == 0
    out = capsys.readouterr().out
    assert 'short side to 37 (bilinear), centre crop 32' in out and 'of 27 images' in out


def test_a_record_that_kills_the_process_is_named(run_dir, tmp_path):
    rec = damaged_records(tmp_path)
    done = subprocess.run([sys.executable, '-m', 'gluon_tricks', 'evaluate', str(run_dir), '--rec-val', rec,
                           '--num-gpus', '0'], cwd=str(ROOT), capture_output=True, timeout=300)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith('error: ') and 'bad.rec: record 5 at offset' in last


@pytest.mark.parametrize('opened', [20000, 2], ids=['small file', 'large file'])
@pytest.mark.parametrize('label', NO_CLASSES)
def test_a_label_that_is_no_class_ends_it_with_the_record(label, opened, run_dir, tmp_path, capsys, monkeypatch):
    """Of a large file not every record is opened first: the reader sees the label."""
    from gluon_tricks.data.records import record_file as records
    rec = str(make_records(tmp_path, train=4, val=27) / 'rec' / 'val.rec')
    relabel(rec, 13, label)
    monkeypatch.setattr(records, 'CHECK_ALL', opened)
    assert main(['evaluate', str(run_dir), '--rec-val', rec, '--num-gpus', '0', '--batch-size', '8']) == 2
    captured = capsys.readouterr()
    assert 'record 13 at offset' in captured.err and 'has the label' in captured.err and not captured.out


def test_records_of_more_classes_are_refused(run_dir, tmp_path, capsys):
    rec = str(make_records(tmp_path, train=4, val=27, classes=5) / 'rec' / 'val.rec')
    assert main(['evaluate', str(run_dir), '--rec-val', rec, '--num-gpus', '0']) == 2
    assert 'has 5 classes' in capsys.readouterr().err


def test_a_best_that_leads_nowhere_is_named(run_dir, tmp_path, capsys):
    (tmp_path / 'best').symlink_to('epoch-0007')
    (tmp_path / 'epoch-0001').symlink_to(run_dir / 'epoch-0001')
    assert main(['evaluate', str(tmp_path), '--num-gpus', '0']) == 2
    err = capsys.readouterr().err
    assert 'best is a link to epoch-0007, which is not there' in err and str(tmp_path / 'epoch-0001') in err
