import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands import train as train_imagenet
from gluon_tricks.compat import mx
from gluon_tricks.training import checkpoint
from support import ROOT
from support.records import NO_CLASSES, make_records, relabel


def train(arguments, save_dir, *more):
    return train_imagenet.main(list(arguments) + ['--save-dir', str(save_dir)] + list(more))


def params(path):
    return {name: value.asnumpy() for name, value in mx.nd.load(str(path)).items()}


def equal(ours, theirs):
    assert set(ours) == set(theirs)
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)


# ---------------------------------------------------------------------------------------------------------------------
# A run

@pytest.fixture(scope='module')
def finished(tiny_arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('train') / 'run'
    assert train(tiny_arguments, path, '--save-frequency', '2', '--dtype', 'float16', '--last-gamma', '--no-wd',
                 '--label-smoothing', '--mixup', '--warmup-epochs', '1', '--lr-mode', 'cosine') == 0
    return path


def test_the_log_says_at_once_how_many_layers_round_to_float16(finished):
    lines = (finished / 'train_imagenet.log').read_text().splitlines()
    assert lines[0].startswith('Namespace(') and '4 of the 15 convolutions and dense layers' in lines[1]
    assert json.loads((finished / 'run.json').read_text())['precision'] == lines[1]


def test_what_a_run_leaves(finished):
    names = sorted(os.listdir(str(finished)))
    assert [name for name in names if not name.endswith('-best.params')] == [
        'best', 'epoch-0000', 'epoch-0001', 'imagenet-resnet10_v1d_demo-1.params', 'latest', 'log.jsonl', 'run.json',
        'train_imagenet.log']
    assert any(re.fullmatch(r'0\.\d{4}-imagenet-resnet10_v1d_demo-\d-best.params', name) for name in names)
    run = json.loads((finished / 'run.json').read_text())
    assert set(run['result']) == {'top1', 'top5', 'num_images', 'epoch'}
    assert run['result']['num_images'] == 27 and run['result']['epoch'] == 1 and run['status'] == 'finished'


def test_the_log_reads_as_gluoncvs(finished):
    lines = (finished / 'train_imagenet.log').read_text().splitlines()
    assert lines[0].startswith('Namespace(') and "model='resnet10_v1d_demo'" in lines[0]
    assert 'float16' in lines[1]
    pattern = r'Epoch\[(\d+)\] Batch \[(\d+)\]\tSpeed: ([\d.]+) samples/sec\t(\w+)=([\d.]+)\tlr=([\d.]+)'
    batches = [re.match(pattern, line) for line in lines if line.startswith('Epoch[')]
    assert [match.group(1, 2, 4) for match in batches] == [
        (epoch, batch, 'mix_acc') for epoch in '01' for batch in '24']
    assert float(batches[1].group(6)) == 0.05  # the end of the warmup
    for text in ('training: ', 'speed: ', 'validation: err-top1='):
        assert sum(line.startswith('[Epoch 1] ' + text) for line in lines) == 1
    assert any(re.match(r'Training time for 2 epochs: [\d.]+ sec\.', line) for line in lines)


def test_the_events_carry_the_figures(finished):
    events = [json.loads(line) for line in (finished / 'log.jsonl').read_text().splitlines()]
    batches = [event for event in events if event['event'] == 'batch']
    epochs = [event for event in events if event['event'] == 'epoch']
    assert [event['update'] for event in batches] == [2, 4, 6, 8]
    assert all({'lr', 'speed', 'wait', 'loss', 'skipped', 'scale'} <= set(event) for event in batches)
    assert all({'time', 'lr', 'validation'} <= set(event) for event in epochs)           # figure 3b, table 3
    assert sum(epochs[-1]['validation']['gap_histogram']) == 27                          # figure 4b


def test_the_weights_are_float32_and_gluon_loads_them(finished):
    from gluon_tricks.models.zoo import get_model
    saved = params(finished / 'latest' / 'net.params')
    assert {value.dtype.name for value in saved.values()} == {'float32'}
    assert any((value.astype('float16').astype('float32') != value).any() for value in saved.values())
    get_model('resnet10_v1d_demo', classes=4).load_parameters(str(finished / 'latest' / 'net.params'))


# ---------------------------------------------------------------------------------------------------------------------
# Resume

HARD = ['--label-smoothing', '--mixup', '--last-gamma', '--no-wd', '--lr-mode', 'cosine', '--warmup-epochs', '1',
        '--num-epochs', '3']


@pytest.mark.parametrize('more', [['--dtype', 'float16'],
                                  ['--num-gpus', '0', '--cutmix', '--cutout', '8'], 'two devices'],
                         ids=['float16', 'cutmix', 'two-devices'])
def test_interrupted_and_resumed_is_uninterrupted(tiny_arguments, tmp_path, more, monkeypatch):
    arguments = list(tiny_arguments) + HARD
    if more == 'two devices':
        place = arguments.index('--num-gpus')
        arguments[place:place + 2] = ['--devices', 'cpu(0),cpu(1)']
        arguments[arguments.index('--batch-size') + 1] = '8'
        more = []
    assert train(arguments, tmp_path / 'whole', *more) == 0

    from gluon_tricks.training import loop
    real, calls = loop.train_epoch, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, 'train_epoch', stopped)
    assert train(arguments, tmp_path / 'parts', *more) == 130
    assert json.loads((tmp_path / 'parts' / 'run.json').read_text())['status'] == 'interrupted'
    assert train(arguments, tmp_path / 'parts', '--resume', 'auto', '-j', '3', *more) == 0  # with other threads
    for name in ('net.params', 'optimizer.params'):
        assert equal(params(tmp_path / 'parts' / 'latest' / name), params(tmp_path / 'whole' / 'latest' / name)), name
    results = [json.loads((tmp_path / part / 'run.json').read_text()) for part in ('whole', 'parts')]
    assert results[0]['result'] == results[1]['result'] and results[0]['best'] == results[1]['best']


def test_a_finished_run_says_its_result_again(finished, tiny_arguments, capsys):
    config = json.loads((finished / 'run.json').read_text())['config']
    before = params(finished / 'latest' / 'net.params')
    from gluon_tricks.config.classification import TrainConfig
    arguments = TrainConfig.from_dict(config).arguments()
    capsys.readouterr()
    assert train_imagenet.main(arguments + ['--resume', 'auto']) == 0
    assert 'Result: top-1' in capsys.readouterr().out
    assert equal(params(finished / 'latest' / 'net.params'), before)


def test_another_configuration_is_refused_by_its_field(finished, tiny_arguments, capsys):
    config = json.loads((finished / 'run.json').read_text())['config']
    from gluon_tricks.config.classification import TrainConfig
    arguments = TrainConfig.from_dict(config).replace(momentum=0.8).arguments()
    assert train_imagenet.main(arguments + ['--resume', 'auto']) == 2
    err = capsys.readouterr().err
    assert 'momentum is 0.8 now and was 0.9' in err and len(err.splitlines()) == 1


def test_a_run_is_not_written_over(finished, tiny_arguments, capsys):
    before = sorted(os.listdir(str(finished)))
    assert train(tiny_arguments, finished) == 2
    assert '--resume auto' in capsys.readouterr().err
    assert sorted(os.listdir(str(finished))) == before


def test_a_worse_epoch_does_not_become_the_best_after_a_resume(tiny_arguments, tmp_path, monkeypatch):
    from gluon_tricks.tasks.classification.task import Classification
    scores = iter([{'top1': 90.0}, {'top1': 50.0}])

    def evaluate(self, beat):
        return dict({'top5': 99.0, 'num_images': 27, 'loss': 1.0, 'gap_mean': 1.0, 'gap_std': 1.0}, **next(scores))

    monkeypatch.setattr(Classification, 'evaluate', evaluate)
    from gluon_tricks.training import loop
    real = loop.train_epoch
    monkeypatch.setattr(loop, 'train_epoch', lambda task, state, *others: (
        real(task, state, *others) if state.epoch == 0 else (_ for _ in ()).throw(KeyboardInterrupt)))
    assert train(tiny_arguments, tmp_path) == 130
    monkeypatch.setattr(loop, 'train_epoch', real)
    assert train(tiny_arguments, tmp_path, '--resume', 'auto') == 0
    assert checkpoint.target(str(tmp_path), 'best') == 'epoch-0000'
    assert json.loads((tmp_path / 'run.json').read_text())['best']['top1'] == 90.0


def test_weights_start_from_a_params_file(finished, tiny_arguments, tmp_path):
    source = str(finished / 'latest' / 'net.params')
    assert train(tiny_arguments, tmp_path, '--resume-params', source, '--resume-epoch', '1', '--lr', '1e-12') == 0
    saved, start = params(tmp_path / 'latest' / 'net.params'), params(source)
    assert all(np.allclose(saved[name], start[name], atol=1e-6) for name in start if 'running' not in name)


def test_the_same_command_with_resume_auto_goes_on_after_a_start_from_params(finished, tiny_arguments, tmp_path):
    flags = ['--resume-params', str(finished / 'latest' / 'net.params'), '--resume', 'auto']
    for _ in range(2):  # the first time there is nothing to go on from, the second time nothing left to do
        assert train(tiny_arguments, tmp_path, *flags) == 0
        assert sorted(checkpoint.names(str(tmp_path)))[-1] == 'epoch-0001'


# ---------------------------------------------------------------------------------------------------------------------
# Every trick's flag changes the training; nothing else does

@pytest.fixture(scope='module')
def one_update(tmp_path_factory):
    """Weights after the first updates of a run with these flags (1 update an epoch, 2 epochs)."""
    data = make_records(tmp_path_factory.mktemp('first') / 'data', train=16, val=4)
    teacher = tmp_path_factory.mktemp('first') / 'teacher'
    base = ['--data-dir', str(data), '--model', 'resnet10_v1d_demo', '--num-classes', '4', '--input-size', '32',
            '--batch-size', '16', '--num-epochs', '3', '--lr', '0.05', '-j', '1']
    usual = {'--devices': ['--num-gpus', '0'], '--save-frequency': ['--save-frequency', '1']}
    counter = iter(range(1000))

    def run(*flags):
        path = tmp_path_factory.mktemp('first') / (f'run{next(counter)}')
        flags = [str(teacher / 'latest' / 'net.params') if flag == 'TEACHER' else flag for flag in flags]
        more = [word for flag, words in usual.items() if flag not in flags for word in words]
        assert train(base + more, path, *flags) == 0
        weights = [path / (f'epoch-{epoch:04d}') / 'net.params' for epoch in (0, 1)]
        return [params(each) if each.exists() else None for each in weights]

    assert train(base + ['--num-gpus', '0', '--seed', '9'], teacher) == 0
    run.plain = run()
    return run


@pytest.mark.parametrize('flags', [
    ['--lr', '0.0125'], ['--warmup-epochs', '1', '--schedule', 'gluoncv-2018'], ['--last-gamma'], ['--no-wd'],
    ['--dtype', 'float16'], ['--label-smoothing'], ['--mixup'], ['--cutmix'], ['--cutout', '16'],
    ['--teacher', 'resnet10_v1d_demo', '--teacher-params', 'TEACHER'], ['--init', 'msra'], ['--seed', '1'],
    ['--wd', '0.01'], ['--no-mirror'], ['--jitter', '0'], ['--pca-noise', '0'], ['--min-area', '0.9'],
], ids=lambda flags: ' '.join(flags[:2]))
def test_each_trick_changes_the_first_update(one_update, flags):
    assert not equal(one_update(*flags)[0], one_update.plain[0])


@pytest.mark.parametrize('flags', [['--lr-mode', 'cosine'], ['--nag', 'mxnet'], ['--momentum', '0.8']],
                         ids=lambda flags: ' '.join(flags))
def test_these_change_the_second_update(one_update, flags):
    """Cosine decay starts at the initial rate (t = 0), and the first step has no velocity yet."""
    assert not equal(one_update(*flags)[1], one_update.plain[1])


@pytest.mark.parametrize('flags', [
    ['--mode', 'imperative'], ['--log-interval', '1'], ['--save-frequency', '2'], ['--kv-store', 'local'],
    ['--logging-file', 'other.log'], ['--devices', 'cpu(0)'], ['--use-rec'], ['--num-training-samples', '16']],
    ids=lambda flags: ' '.join(flags))
def test_nothing_else_does(one_update, flags):
    first, second = one_update(*flags)
    assert equal(second, one_update.plain[1])
    assert first is None or equal(first, one_update.plain[0])  # another --save-frequency need not keep it


# ---------------------------------------------------------------------------------------------------------------------
# Wrong usage

def test_without_data_one_sentence_and_code_2(tmp_path):
    environment = dict(os.environ, HOME=str(tmp_path), PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, str(ROOT / 'train_imagenet.py'), '--mode', 'hybrid', '--dtype', 'float16'],
                          cwd=str(tmp_path), env=environment, capture_output=True)
    err = done.stderr.decode()
    assert done.returncode == 2 and len(err.splitlines()) == 1 and 'Traceback' not in err
    for part in ('/rec/train.rec is missing', '--data-dir', 'make demo'):
        assert part in err
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith('.')] == []


@pytest.mark.parametrize('flags, part', [
    (['--num-classes', '3'], '--num-classes 3'), (['--num-training-samples', '1281167'], '1281167'),
    (['--batch-size', '65'], '65'), (['--model', 'resnet51_v1d'], 'resnet50_v1d'), (['--lr', 'fast'], '--lr'),
    (['--model', 'mobilenet0.25', '--last-gamma'], '--last-gamma'), (['--devices', 'cpu(0)'], 'twice'),
    (['--recipe', 'table6/resnet50_v1d/mixupp'], 'table6/resnet50_v1d/mixup'), (['--no-such-flag'], '--no-such-flag'),
    (['--resume', 'no/such/dir'], 'no/such/dir'), (['--resume-params', 'no.params'], 'no.params')])
def test_wrong_usage_is_one_sentence(tiny_arguments, tmp_path, flags, part, capsys):
    assert train(tiny_arguments, tmp_path / 'run', *flags) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and part in err and len(err.splitlines()) == 1


def test_a_folder_of_images_is_packed_trained_and_evaluated(tiny_arguments, tmp_path, capsys):
    from support.records import make_jpeg
    for part, number in (('train', 20), ('val', 6)):
        for i in range(number):
            folder = tmp_path / 'images' / part / (f'class{i % 2}')
            folder.mkdir(parents=True, exist_ok=True)
            (folder / (f'{i}.JPEG')).write_bytes(make_jpeg(i % 2, i))
    arguments = list(tiny_arguments)
    arguments[1] = str(tmp_path / 'images')
    assert train(arguments, tmp_path / 'wrong', '--num-epochs', '1') == 2  # 4 classes were asked for, 2 are there
    assert train(arguments, tmp_path / 'run', '--num-epochs', '1', '--num-classes', '2') == 0
    run = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert run['data']['train'] == 20 and run['data']['classes'] == ['class0', 'class1']
    assert run['result']['num_images'] == 6
    capsys.readouterr()
    assert main(['evaluate', str(tmp_path / 'run'), '--num-gpus', '0', '--json']) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert (evaluated['num_images'], evaluated['top1']) == (6, run['best']['top1'])


def test_the_certificate_of_the_data_is_told_and_recorded(finished, tiny_data, tiny_arguments, tmp_path, capsys):
    from gluon_tricks.data.records import certificate
    rec = str(tiny_data / 'rec' / 'train.rec')
    run = json.loads((finished / 'run.json').read_text())
    assert run['data']['certificates']['train'] == certificate.digest(rec)
    assert certificate.summary(rec) in (finished / 'train_imagenet.log').read_text()
    data = make_records(tmp_path / 'data')
    (data / 'rec' / 'val.certificate.json').unlink()
    arguments = list(tiny_arguments)
    arguments[1] = str(data)
    assert train(arguments, tmp_path / 'run', '--num-epochs', '1') == 0
    assert 'val.rec: no certificate; `python -m gluon_tricks verify' in capsys.readouterr().out
    with open(str(data / 'rec' / 'train.rec'), 'ab') as stream:
        stream.write(b'\0' * 8)
    assert train(arguments, tmp_path / 'other') == 2


def test_synthetic_data_trains_without_validation(tmp_path):
    assert train(['--data-backend', 'synthetic', '--model', 'resnet10_v1d_demo', '--num-classes', '4', '--input-size',
                  '32', '--batch-size', '8', '--num-training-samples', '24', '--num-epochs', '1', '--num-gpus', '0'],
                 tmp_path) == 0
    assert json.loads((tmp_path / 'run.json').read_text())['result'] == {'epoch': 0}


def test_a_diverged_run_stops_with_a_reason(tiny_arguments, tmp_path, capsys):
    assert train(tiny_arguments, tmp_path, '--lr', '1e30') == 3
    out = capsys.readouterr().out
    assert 'not finite' in out and 'lower --lr' in out
    assert json.loads((tmp_path / 'run.json').read_text())['status'] == 'diverged'
    assert checkpoint.names(str(tmp_path)) == []


def test_print_config_is_json_and_resolved(capsys):
    assert train_imagenet.main(['--print-config', '--num-gpus', '8', '--batch-size', '128', '--model', 'inceptionv3']) == 0
    config = json.loads(capsys.readouterr().out)
    assert config['lr'] == pytest.approx(0.4) and config['input_size'] == 299
    assert None not in [value for name, value in config.items() if name != 'num_training_samples']


@pytest.mark.parametrize('part, label, opened', [('train', label, 20000) for label in NO_CLASSES] + [
    ('train', 3.5, 2), ('train', -1, 2), ('val', 3.5, 20000), ('val', 1e9, 2), ('val', 3.0000002, 2)])
def test_a_label_that_is_no_class_ends_a_training_with_the_record(part, label, opened, tiny_arguments, tmp_path,
                                                                 monkeypatch, capsys):
    """Whether it is opened first, or, in a large file, met by the device."""
    from gluon_tricks.data.records import record_file as records
    rec = str(make_records(tmp_path / 'data', train=64, val=27) / 'rec' / (part + '.rec'))
    relabel(rec, 13, label)
    monkeypatch.setattr(records, 'CHECK_ALL', opened)
    assert train(tiny_arguments, tmp_path / 'run', '--data-dir', str(tmp_path / 'data'), '--num-epochs', '1') == 2
    assert 'record 13 at offset' in capsys.readouterr().err
    assert opened == 20000 or not list((tmp_path / 'run').glob('epoch-*'))


def test_without_data_the_command_that_prepares_them_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert train(['--mode', 'hybrid', '--dtype', 'float16'], tmp_path / 'run') == 2
    err = capsys.readouterr().err
    assert '`python -m gluon_tricks prepare imagenet`' in err and 'docs/data.md' in err and '`make demo`' in err
    monkeypatch.chdir(tmp_path)
    assert train(['--recipe', 'demo', '--num-gpus', '0'], tmp_path / 'run') == 2
    assert capsys.readouterr().err.strip().endswith('`python -m gluon_tricks prepare demo --out runs/demo-data`')
