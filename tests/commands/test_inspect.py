"""What `inspect` says of real checkpoints: whole, damaged, equal, different."""
import json
import os
import shutil

import numpy as np
import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.files import Lock
from gluon_tricks.models import params_file
from gluon_tricks.training import checkpoint
from support.checkpoints import make_net, save, update


@pytest.fixture(scope='module')
def run_dir(tiny_arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('inspect') / 'run'
    assert train_imagenet.main(tiny_arguments + ['--save-dir', str(path), '--save-frequency', '1']) == 0
    return path


@pytest.fixture
def copy(run_dir, tmp_path):
    return shutil.copytree(str(run_dir), str(tmp_path / 'copy'), symlinks=True)


def seen(capsys, *paths):
    capsys.readouterr()
    code = main(['inspect'] + [str(path) for path in paths])
    text = capsys.readouterr().out
    assert main(['inspect'] + [str(path) for path in paths] + ['--json']) == code
    return code, text, json.loads(capsys.readouterr().out)


def everything(folder):
    """{path: (bytes, time)} of all files of a directory."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('words', [['inspect', 'epoch-0000', 'epoch-0001'], ['evaluate', 'best', '--num-gpus', '0']])
def test_a_checkpoints_files_are_hashed_once(words, run_dir, monkeypatch):
    hashed, digest = [], checkpoint.file_digest

    def counted(path):
        hashed.append(path)
        return digest(path)
    monkeypatch.setattr(checkpoint, 'file_digest', counted)
    main([str(run_dir / word) if (run_dir / word).exists() else word for word in words])
    assert hashed and len(hashed) == len(set(hashed))


def test_a_runs_checkpoints_are_listed_and_nothing_is_written(run_dir, capsys):
    before = everything(run_dir)
    with Lock(str(run_dir), 'the run', 'wait'):  # a run that writes there meanwhile
        code, text, result = seen(capsys, run_dir)
    assert code == 0 and everything(run_dir) == before
    (run,) = result['runs']
    assert run['task'] == 'classification' and run['dangling'] == {}
    assert [each['name'] for each in run['checkpoints']] == ['epoch-0000', 'epoch-0001']
    assert 'latest' in run['checkpoints'][1]['links']
    best = json.loads((run_dir / 'run.json').read_text())['best']
    (found,) = [each for each in run['checkpoints'] if 'best' in each['links']]
    assert (found['name'], found['epoch']) == (best['checkpoint'], best['epoch'])
    assert found['metrics']['top1'] == best['top1']
    assert text.splitlines()[0] == f'{run_dir}: classification'
    assert 'epoch-0001  whole    epoch 1' in text and '<- latest' in text and '<- best' in text


def test_a_checkpoint_alone(run_dir, capsys):
    code, text, result = seen(capsys, run_dir / 'latest')
    assert code == 0 and [each['name'] for each in result['runs'][0]['checkpoints']] == ['epoch-0001']


@pytest.mark.parametrize('name', ['net.params', 'optimizer.params', 'manifest.json'])
def test_damage_is_told_of_the_checkpoint_that_has_it(name, copy, capsys):
    path = os.path.join(copy, 'epoch-0000', name)
    with open(path, 'r+b') as stream:
        stream.seek(os.path.getsize(path) // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    code, text, result = seen(capsys, copy)
    assert code == 1 and [each['state'] for each in result['runs'][0]['checkpoints']] == ['damaged', 'whole']
    assert f'epoch-0000 is damaged: {name} does not agree with its digest' in text
    code, text, result = seen(capsys, copy, copy)  # the newest is whole, and equal to itself; the run is not whole
    assert code == 1 and result['comparison']['equal']
    shutil.rmtree(os.path.join(copy, 'epoch-0001'))
    code, text, result = seen(capsys, copy, copy)
    assert code == 1 and result['comparison'] is None and result['runs'][0]['dangling']['latest'] == 'epoch-0001'
    assert 'latest is a link to epoch-0001, which is not there' in text and 'has no whole checkpoint' in text


def test_a_copy_is_equal(run_dir, copy, capsys):
    code, text, result = seen(capsys, run_dir, copy)
    assert code == 0 and result['comparison']['equal'] and result['comparison']['options'] == []
    assert 'largest difference' not in text and text.count(': equal') == len(result['comparison']['arrays']) + 1
    files = {each['file'] for each in result['comparison']['arrays']}
    assert files == {'net.params', 'optimizer.params'}
    weights = params_file.load(str(run_dir / 'latest' / 'net.params'))
    assert {each['name'] for each in result['comparison']['arrays'] if each['file'] == 'net.params'} == set(weights)


def test_two_epochs_differ_in_every_weight(run_dir, capsys):
    code, text, result = seen(capsys, run_dir / 'epoch-0000', run_dir / 'epoch-0001')
    assert code == 1 and ['epoch', 0, 1] in result['comparison']['facts'] and '  epoch: 0 and 1' in text
    one, other = (params_file.load(str(run_dir / name / 'net.params')) for name in ('epoch-0000', 'epoch-0001'))
    found = {each['name']: each for each in result['comparison']['arrays'] if each['file'] == 'net.params'}
    for name in one:
        largest = np.abs(one[name].asnumpy().astype(float) - other[name].asnumpy()).max()
        assert found[name]['largest'] == largest and found[name]['equal'] == (largest == 0)
        assert found[name]['shapes'] == [list(one[name].shape)] * 2 and found[name]['dtypes'] == ['float32'] * 2


def saved(tmp_path, name, config, epoch=3):
    """The directory of a run with this configuration: one checkpoint of a small net."""
    net, trainer = make_net()
    update(net, trainer)
    os.makedirs(str(tmp_path / name))
    save(str(tmp_path / name), epoch, net, trainer, {
        'config': config.to_dict(), 'task': config.TASK, 'metrics': {'figure': 0.5}, 'best': None})
    return tmp_path / name


@pytest.mark.parametrize('cls', [TrainConfig, RCNNConfig, FCNConfig])
def test_every_task_and_every_option_that_differs(cls, tmp_path, capsys):
    one = saved(tmp_path, 'one', cls(save_dir='one'))
    other = saved(tmp_path, 'other', cls(save_dir='other', seed=4, lr=0.5))
    code, text, result = seen(capsys, one, other)
    assert code == 1 and [run['task'] for run in result['runs']] == [cls.TASK] * 2 and not result['comparison']['equal']
    assert sorted(result['comparison']['options']) == sorted(
        [['lr', cls().lr, 0.5, True], ['seed', cls().seed, 4, True], ['save_dir', 'one', 'other', False]])
    assert f'  --seed: {cls().seed} and 4\n' in text and '  --save-dir: "one" and "other" (changes no number)\n' in text
    assert all(each['equal'] for each in result['comparison']['arrays'])
    assert seen(capsys, one, saved(tmp_path, 'third', cls(save_dir='third')))[0] == 0  # another place, nothing else


def test_an_option_that_was_not_stored_has_its_default(tmp_path, capsys):
    class Older(TrainConfig):
        def to_dict(self):
            return {name: value for name, value in super().to_dict().items() if name != 'cutout'}
    one, other = saved(tmp_path, 'one', TrainConfig()), saved(tmp_path, 'other', Older())
    assert 'cutout' not in checkpoint.read(str(other / 'latest'))['config']
    assert seen(capsys, one, other)[0] == 0


def test_two_tasks_and_an_array_of_one_alone(tmp_path, capsys):
    one = saved(tmp_path, 'one', TrainConfig())
    other = saved(tmp_path, 'other', RCNNConfig(), epoch=4)
    path = checkpoint.write(str(other), 'epoch-0004', {
        'net.params': lambda path: params_file.save(path, {
            '0.weight': mx.nd.array([[np.nan]]), 'odd': mx.nd.zeros(2), '1.gamma': mx.nd.array([1, 1, 1, np.nan])}),
        'optimizer.params': lambda path: params_file.save(path, {'empty': mx.nd.zeros(1)})}, {
            'config': RCNNConfig().to_dict(), 'task': 'detection', 'epoch': 4, 'batch': None, 'metrics': {}})
    code, text, result = seen(capsys, one, path)
    found = {each['name']: each for each in result['comparison']['arrays']}
    assert code == 1 and '  task: "classification" and "detection"\n' in text
    assert 'net.params odd None and [2] None and float32: in one of the two only' in text
    assert 'net.params 0.weight [4, 3] and [1, 1] float32: another shape' in text
    assert found['1.gamma']['largest'] == 'nan' and 'net.params 1.gamma [4] float32: largest difference nan' in text


@pytest.mark.parametrize('arguments, part', [
    (['none'], 'none is not a directory'), (['.'], '. holds no checkpoint'), ([], 'SAVE_DIR'),
    (['file'], 'file is not a directory')])
def test_wrong_usage_is_one_sentence(arguments, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    assert main(['inspect'] + arguments) == 2
    err = capsys.readouterr().err
    assert part in err and len(err.splitlines()) == 1


def test_another_format_cannot_be_read_and_is_not_called_damaged(copy, capsys):
    path = os.path.join(copy, 'epoch-0000', 'manifest.json')
    with open(path) as stream:
        manifest = dict(json.load(stream), format=99)
    manifest['digest'] = checkpoint._self_digest(manifest)
    with open(path, 'w') as stream:
        json.dump(manifest, stream)
    code, text, result = seen(capsys, copy)
    assert code == 1 and result['runs'][0]['checkpoints'][0]['state'] == 'unreadable' and 'has format 99' in text
