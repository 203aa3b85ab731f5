"""Whole runs of `train_imagenet.py --base-params`: what starts anew, what stays, and what a resume needs."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands import train as train_imagenet
from gluon_tricks.files import file_digest
from gluon_tricks.models.params_file import read_params
from gluon_tricks.models.zoo import DEMO, get_model
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.training import checkpoint
from support import ROOT
from support.networks import saved, trained_elsewhere

HEAD = {'fc.weight', 'fc.bias'}


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """A file of the demo's network with 7 classes, trained elsewhere."""
    return saved(trained_elsewhere(get_model(DEMO, classes=7)), tmp_path_factory.mktemp('base') / 'net.params')


@pytest.fixture
def train(tiny_arguments, tmp_path, base):
    """Function(name, *flags): the exit code of a run in that directory, from `base` unless the flags say otherwise."""
    def run(name, *flags):
        arguments = list(tiny_arguments)
        if '--devices' in flags:
            place = arguments.index('--num-gpus')
            del arguments[place:place + 2]
            arguments[arguments.index('--batch-size') + 1] = '4'
        start = [] if '--base-params' in flags else ['--base-params', base]
        return train_imagenet.main(arguments + start + ['--save-dir', str(tmp_path / name), *flags])
    return run


def params(folder):
    return read_params(str(folder / 'latest' / 'net.params'))


def equal(ours, theirs, names=None):
    names = set(ours) if names is None else names
    return set(ours) == set(theirs) and all(ours[name].tobytes() == theirs[name].tobytes() for name in names)


def manifest(folder):
    return json.loads((folder / 'latest' / 'manifest.json').read_text())


# ---------------------------------------------------------------------------------------------------------------------
# What it starts from

def test_the_output_layer_is_new_and_the_rest_is_the_base_s(train, base, tmp_path):
    """Zero gamma and the initial weights are for what is new; the new layer is that of a run without a base."""
    still = ['--lr', '1e-12', '--num-epochs', '1', '--wd', '0', '--last-gamma', '--no-wd']
    assert train('tuned', *still) == 0
    assert train('new', *still, '--base-params', '') == 0
    tuned, new, start = params(tmp_path / 'tuned'), params(tmp_path / 'new'), read_params(base)
    assert tuned['fc.weight'].shape == (4, 128) and start['fc.weight'].shape == (7, 128)
    for name, array in tuned.items():
        expected = new[name] if name in HEAD else start[name]
        assert 'running' in name or np.allclose(array, expected, atol=1e-6), name
    assert abs(new['layer1.0.bn2.gamma']).max() < 1e-6 < 0.1 < abs(tuned['layer1.0.bn2.gamma']).min()
    log = (tmp_path / 'tuned' / 'train_imagenet.log').read_text()
    assert f'fine-tuning: from {base}, 7 classes; the output layer is new, 4 classes, and all layers are trained' in log
    assert '--last-gamma: no gamma starts at zero' in log


def test_it_is_new_where_the_file_has_as_many_classes(train, tmp_path):
    same = saved(trained_elsewhere(get_model(DEMO, classes=4)), tmp_path / 'same.params')
    still = ['--lr', '1e-12', '--num-epochs', '1', '--wd', '0', '--base-params']
    assert train('tuned', *still, same) == 0 and train('new', *still, '') == 0
    assert train('taken', *still, '', '--resume-params', same) == 0
    found = {name: params(tmp_path / name)['fc.weight'] for name in ('tuned', 'new', 'taken')}
    assert np.allclose(found['tuned'], found['new'], atol=1e-6)
    assert np.allclose(found['taken'], read_params(same)['fc.weight'], atol=1e-6)
    assert not np.allclose(found['tuned'], found['taken'], atol=1e-2)


@pytest.mark.parametrize('flags', [
    [], ['--devices', 'cpu(0),cpu(1),cpu(2)'],
    ['--devices', 'cpu(0),cpu(1)', '--dtype', 'float16', '--mode', 'imperative', '--nag', 'mxnet'],
    ['--teacher', DEMO, '--teacher-params', 'TEACHER', '--mixup', '--label-smoothing']],
    ids=lambda flags: ' '.join(flags[1:4:2]))
def test_the_head_alone_is_trained_and_nothing_else_changes_by_a_bit(flags, train, base, tmp_path):
    """Whatever the precision of the run: the file is in float32."""
    if 'TEACHER' in flags:
        teacher = saved(trained_elsewhere(get_model(DEMO, classes=4), seed=1), tmp_path / 'teacher.params')
        flags = [teacher if flag == 'TEACHER' else flag for flag in flags]
    assert train('run', '--train-layers', 'head', '--wd', '0.1', '--no-wd', '--num-epochs', '1', *flags) == 0
    check_frozen(tmp_path / 'run', base)
    states = read_params(str(tmp_path / 'run' / 'latest' / 'optimizer.params'))
    assert {key.split('/')[0] for key in states} == {'0', '1'}
    assert states[next(key for key in states if key.endswith(('velocity', 'momentum')))].any()
    assert 'and it alone is trained' in (tmp_path / 'run' / 'train_imagenet.log').read_text()


def check_frozen(run, base):
    found, start = params(run), read_params(base)
    assert not np.array_equal(found['fc.weight'], start['fc.weight'])
    for name in set(start) - HEAD:
        assert found[name].tobytes() == start[name].tobytes() and found[name].dtype == np.float32, name


@pytest.mark.slow
def test_so_it_is_in_bfloat16(tiny_arguments, base, tmp_path):
    """In a process of its own, which then has no other precision."""
    done = subprocess.run([sys.executable, str(ROOT / 'train_imagenet.py'), *tiny_arguments, '--dtype', 'bfloat16',
                           '--base-params', base, '--train-layers', 'head', '--save-dir', str(tmp_path / 'run')],
                          cwd=str(ROOT), stderr=subprocess.PIPE, text=True)
    if 'AVX512' in done.stderr:
        pytest.skip('MXNet needs AVX512 for bfloat16')
    assert done.returncode == 0, done.stderr
    check_frozen(tmp_path / 'run', base)


def test_all_layers_are_trained_otherwise(train, base, tmp_path):
    assert train('run', '--num-epochs', '1') == 0
    found, start = params(tmp_path / 'run'), read_params(base)
    assert not [name for name in set(start) - HEAD if np.array_equal(found[name], start[name])]


# ---------------------------------------------------------------------------------------------------------------------
# Resume

@pytest.mark.parametrize('flags', [
    [], ['--train-layers', 'head', '--devices', 'cpu(0),cpu(1)', '--dtype', 'float16']], ids=' '.join)
def test_a_resume_needs_the_base_s_file_no_more(flags, train, base, tmp_path, monkeypatch):
    """Stopped inside an epoch; then the file is gone, and the end is that of the run which nothing disturbed."""
    path = str(tmp_path / 'gone.params')
    shutil.copy(base, path)
    flags = flags + ['--base-params', path]
    assert train('whole', *flags) == 0
    real = Classification.preprocess

    def stopped(self, batch, update):
        if update == self.train_stream.updates_per_epoch + 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch, update)
    monkeypatch.setattr(Classification, 'preprocess', stopped)
    assert train('parts', *flags) == 143
    monkeypatch.undo()
    digest, size = file_digest(path), os.path.getsize(path)
    os.remove(path)
    assert checkpoint.names(str(tmp_path / 'parts'))[-1] == 'epoch-0001-batch-000002'
    assert not (tmp_path / 'parts' / 'latest' / 'devices.params').exists()  # all devices have the same statistics
    assert train('named', *flags, '--resume', str(tmp_path / 'parts' / 'epoch-0001-batch-000002')) == 0
    assert train('parts', *flags, '--resume', 'auto') == 0
    for name in ('parts', 'named'):
        for file_name in ('net.params', 'optimizer.params'):
            ours, theirs = (read_params(str(tmp_path / run / 'latest' / file_name)) for run in (name, 'whole'))
            assert equal(ours, theirs), (name, file_name)
        facts = [json.loads((tmp_path / run / 'run.json').read_text()) for run in (name, 'whole')]
        assert facts[0]['result'] == facts[1]['result'] and facts[0]['base'] == facts[1]['base']
        assert manifest(tmp_path / name)['base'] == {'sha256': digest, 'bytes': size}


def test_the_manifest_names_the_file_and_the_page_that_field(train, base, tmp_path):
    assert train('run', '--num-epochs', '1') == 0
    found = manifest(tmp_path / 'run')
    assert found['base'] == {'sha256': file_digest(base), 'bytes': os.path.getsize(base)}
    page = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    section = page.split('## What a checkpoint holds')[1].split('\n## ')[0]
    assert set(found) <= set(re.findall('`([a-z_.]+)`', section))
    assert train('plain', '--num-epochs', '1', '--base-params', '') == 0
    assert 'base' not in manifest(tmp_path / 'plain')


def test_inspect_sees_another_file_of_the_same_name(train, tmp_path, capsys):
    path = tmp_path / 'base.params'
    for seed in (0, 1):
        saved(trained_elsewhere(get_model(DEMO, classes=7), seed), path)
        assert train(f'run{seed}', '--num-epochs', '1', '--base-params', str(path)) == 0
    capsys.readouterr()
    assert main(['inspect', str(tmp_path / 'run0'), str(tmp_path / 'run1')]) == 1
    assert '  base: {"bytes"' in capsys.readouterr().out


@pytest.mark.parametrize('flags, words', [
    (['--train-layers', 'head'], 'train_layers is head now and was all'),
    (['--base-params', '/other.params'], 'base_params is /other.params now')])
def test_another_start_is_another_run(flags, words, train, base, tmp_path, capsys):
    assert train('run', '--num-epochs', '1') == 0
    capsys.readouterr()
    assert train('run', '--num-epochs', '1', '--resume', 'auto', *flags) == 2
    assert words in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Wrong usage

@pytest.mark.parametrize('flags, words', [
    (['--base-params', 'no.params'], 'no.params: no such file'),
    (['--base-params', 'PICKLE'], 'a pickle'),
    (['--base-params', 'CUT'], 'cut short'),
    (['--model', 'resnet18_v1d'], 'the weights of another network'),
    (['--model', 'mobilenet0.25'], 'the weights of another network'),
    (['--resume-params', 'x.params'], '--base-params and --resume-params both give the first weights'),
    (['--use-pretrained'], '--base-params and --use-pretrained both give the first weights'),
    (['--base-params', '', '--train-layers', 'head'], 'give their weights with --base-params'),
    (['--train-layers', 'paper'], '--train-layers paper must be one of: all, head')])
def test_wrong_usage_is_one_sentence(flags, words, train, base, tmp_path, capsys):
    (tmp_path / 'net.pth').write_bytes(b'PK\x03\x04')
    with open(base, 'rb') as stream:
        (tmp_path / 'cut.params').write_bytes(stream.read()[:-100])
    files = {'PICKLE': str(tmp_path / 'net.pth'), 'CUT': str(tmp_path / 'cut.params')}
    assert train('run', *(files.get(flag, flag) for flag in flags)) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and words in err and len(err.splitlines()) == 1
    assert not (tmp_path / 'run').exists() or not [path for path in (tmp_path / 'run').iterdir()
                                                   if not path.name.startswith('.')]


# ---------------------------------------------------------------------------------------------------------------------
# The digits

@pytest.mark.slow
@pytest.mark.parametrize('seed', ['0', '1'])
def test_five_digits_network_learns_all_ten_faster_than_new_weights(seed, tmp_path):
    """docs/fine-tuning.md has the figures: 2 epochs, five seeds, all of them ahead."""
    pytest.importorskip('sklearn')
    from gluon_tricks.data.prepare.demo_digits import write_digits
    write_digits(str(tmp_path / 'ten'))
    for part in ('train', 'val'):
        for digit in '01234':
            shutil.copytree(str(tmp_path / 'ten' / part / digit), str(tmp_path / 'five' / part / digit))
    demo = ['--recipe', 'demo', '--seed', seed, '--num-gpus', '0', '--data-dir']
    assert train_imagenet.main(demo + [str(tmp_path / 'five'), '--num-classes', '5', '--save-dir',
                                       str(tmp_path / 'base')]) == 0
    found = {}
    for name, start in (('new', []), ('tuned', ['--base-params', str(tmp_path / 'base' / 'best' / 'net.params')])):
        assert train_imagenet.main(demo + [str(tmp_path / 'ten'), '--num-epochs', '2', '--save-dir',
                                           str(tmp_path / name)] + start) == 0
        found[name] = json.loads((tmp_path / name / 'run.json').read_text())['result']['top1']
    assert found['tuned'] > found['new'] + 2
