import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gluon_tricks.commands import train_segmentation as train_fcn
from gluon_tricks.compat import mx
from gluon_tricks.config import recipes_transfer as tables
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tasks.segmentation.data import ROOT as ROOT_FOLDER
from gluon_tricks.tasks.segmentation.data import ImageStream, Scenes
from gluon_tricks.tasks.segmentation.metrics import evaluate_images
from gluon_tricks.tasks.segmentation.network import load_fcn
from gluon_tricks.tasks.segmentation.task import Segmentation
from gluon_tricks.tricks.low_precision import precision
from support import ROOT
from support.archives import png, write_ade20k  # noqa: E402

BACKBONE = 'resnet10_v1d_demo'


@pytest.fixture(scope='module')
def ade(tmp_path_factory):
    """A tree of 7 training and 5 validation images of 4 classes, which their colours tell."""
    from gluon_tricks.data.prepare import command as prepare
    folder, changes = tmp_path_factory.mktemp('ade'), {}
    for part, short, number in (('training', 'train', 7), ('validation', 'val', 5)):
        for each in range(1, number + 1):
            mask = np.full((40, 40 + 5 * each % 5), each % 4 + 1, 'uint8')  # as wide as conftest's images
            mask[:4] = 0
            changes[f'annotations/{part}/ADE_{short}_{each:08d}.png'] = png(mask)
    prepare.main(['ade20k', '--out', str(folder / 'tree')] + write_ade20k(folder / 'zip', changes, 7, 5))
    return str(folder / 'tree')


@pytest.fixture(scope='module')
def base_params(tmp_path_factory):
    mx.random.seed(5)
    net, path = get_model(BACKBONE, classes=9), str(tmp_path_factory.mktemp('base') / 'net.params')
    net.initialize(mx.init.Xavier())
    net.save_parameters(path)
    return path


@pytest.fixture(scope='module')
def arguments(ade, base_params):
    return ['--data-dir', ade, '--backbone', BACKBONE, '--base-params', base_params, '--aux', '--base-size', '40',
            '--crop-size', '32', '--batch-size', '2', '--test-batch-size', '4', '--epochs', '2', '--ngpus', '0',
            '--log-interval', '2', '--lr', '0.005']


def train(arguments, save_dir, *more):
    return train_fcn.main(list(arguments) + ['--save-dir', str(save_dir)] + list(more))


def params(path):
    return {name: value.asnumpy() for name, value in mx.nd.load(str(path)).items()}


def equal(ours, theirs):
    return set(ours) == set(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope='module')
def finished(arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('train') / 'run'
    assert train(arguments, path) == 0
    return path


# ---------------------------------------------------------------------------------------------------------------------
# A run

def test_what_a_run_leaves(finished):
    names = sorted(os.listdir(str(finished)))
    assert {'best', 'latest', 'epoch-0001', 'run.json', 'log.jsonl', 'train.log'} <= set(names)
    assert any(re.fullmatch(r'epoch_0001_mIoU_0\.\d{4}\.params', name) for name in names)
    assert any(re.fullmatch(r'best_epoch_000\d_mIoU_0\.\d{4}\.params', name) for name in names)
    run = json.loads((finished / 'run.json').read_text())
    assert set(run['result']) == {'miou', 'pix_acc', 'num_images', 'epoch'} and run['status'] == 'finished'
    assert run['result']['num_images'] == 5 and run['data'] == {
        'train': 7, 'val': 5, 'classes': ['thing 1', 'thing 2', 'thing 3', 'thing 4']}
    assert {'conv1.0.weight', 'head.block.4.bias', 'auxlayer.block.0.weight'} <= set(
        params(finished / 'latest' / 'net.params'))


def test_the_log_reads_as_gluoncvs(finished):
    lines = (finished / 'train.log').read_text().splitlines()
    assert lines[0].startswith('Namespace(') and 'num_classes=4' in lines[0]
    batches = [re.match(r'Epoch (\d+) iteration (\d{4})/(\d{4}): training loss ([\d.]+)', line) for line in lines]
    assert [match.group(1, 2, 3) for match in batches if match] == [
        (epoch, batch, '0003') for epoch in '01' for batch in ('0002', '0003')]
    found = [re.match(r'Epoch (\d+) validation pixAcc: ([\d.]+), mIoU: ([\d.]+)$', line) for line in lines]
    assert [match.group(1) for match in found if match] == ['0', '1']


def test_the_learning_rate_is_poly(finished):
    events = [json.loads(line) for line in (finished / 'log.jsonl').read_text().splitlines()]
    rates = {event['update']: event['lr'] for event in events if event['event'] == 'batch'}
    assert rates == {update: pytest.approx(0.005 * (1 - (update - 1) / 6) ** 0.9) for update in (2, 3, 5, 6)}


@pytest.mark.parametrize('more', [(), ('--dtype', 'float16', '--loss-scale', '64', '--no-wd')])
def test_a_resumed_run_is_the_whole_one(more, arguments, base_params, finished, tmp_path, monkeypatch):
    """The base network's file is needed no more."""
    whole, copy = finished, str(tmp_path / 'base.params')
    shutil.copy(base_params, copy)
    if more:
        whole = tmp_path / 'whole'
        assert train(arguments, whole, *more) == 0
    real = Segmentation.preprocess

    def stopped(self, batch, update):
        if update == self.train_stream.updates_per_epoch + 1:  # inside the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch, update)
    monkeypatch.setattr(Segmentation, 'preprocess', stopped)
    more += ('--base-params', copy)
    assert train(arguments, tmp_path / 'stopped', *more) == 143
    monkeypatch.undo()
    os.remove(copy)
    assert os.path.basename(os.path.realpath(str(tmp_path / 'stopped' / 'latest'))).startswith('epoch-0001-batch-00000')
    assert not equal(params(whole / 'latest' / 'net.params'), params(tmp_path / 'stopped' / 'latest' / 'net.params'))
    assert train(arguments, tmp_path / 'stopped', '--resume', 'auto', *more) == 0
    for name in ('net.params', 'optimizer.params'):
        assert equal(params(whole / 'latest' / name), params(tmp_path / 'stopped' / 'latest' / name)), name


def test_two_devices_train(arguments, tmp_path):
    assert train(arguments + ['--kvstore', 'local', '--loss', 'gluoncv'], tmp_path / 'run', '--devices',
                 'cpu(0),cpu(1)') == 2  # --ngpus 0 beside it
    both = [word for word in arguments if word not in ('--ngpus', '0')]
    assert train(both, tmp_path / 'run', '--devices', 'cpu(0),cpu(1)', '--loss', 'gluoncv') == 0
    assert 'with 2 devices and a batch of 2, --lr 0.005 acts as 0.005' in (tmp_path / 'run' / 'train.log').read_text()
    assert train(both, tmp_path / 'sync', '--devices', 'cpu(0),cpu(1)', '--syncbn') == 2
    assert train(both, tmp_path / 'odd', '--devices', 'cpu(0),cpu(1)', '--batch-size', '3') == 2


def test_without_validation(arguments, tmp_path):
    words = [word for word in arguments if word not in ('--test-batch-size', '4')]
    assert train(words, tmp_path / 'run', '--no-val', '--epochs', '1', '--mode', 'imperative', '--syncbn') == 0
    assert (tmp_path / 'run' / 'epoch_0000_mIoU_0.0000.params').exists()
    assert 'one device' in (tmp_path / 'run' / 'train.log').read_text()
    assert 'mIoU' not in (tmp_path / 'run' / 'train.log').read_text()


def test_new_weights_are_warned_of(arguments, tmp_path):
    words = [word for word in arguments if 'base' not in word or 'size' in word]
    words = [word for word in words if not word.endswith('net.params')]
    assert train(words, tmp_path / 'run', '--epochs', '1') == 0
    assert 'Warning: the base network starts from new weights' in (tmp_path / 'run' / 'train.log').read_text()


def test_a_diverged_run_ends_with_3(arguments, tmp_path, capsys):
    assert train(arguments, tmp_path / 'run', '--lr', '1e30') == 3
    assert 'not finite' in capsys.readouterr().out


def test_bfloat16_and_float16(arguments, tmp_path, capsys):
    assert train(arguments, tmp_path / 'run', '--dtype', 'bfloat16') == 2
    assert 'no bfloat16 form' in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Users' errors

def fails(words, capsys):
    assert train_fcn.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    return error


@pytest.mark.parametrize('words, message', [
    (['--data-dir', 'nowhere', '--ngpus', '0'], 'images/training is missing: type `python -m gluon_tricks prepare'),
    (['--backbone', 'mobilenet1.0'], '--backbone mobilenet1.0: the base network is one of'),
    (['--ngpus', '64'], '64: this machine has'),
    (['--base-params', 'none.params'], 'none.params: no such file'),
    (['--num-classes', '5'], '--num-classes 5: '),
    (['--batch-size', '8'], '--batch-size 8: there are only 7 training images'),
    (['--resume', 'nowhere'], 'nowhere is not a checkpoint'),
])
def test_errors_are_one_sentence(words, message, arguments, tmp_path, capsys):
    assert message in fails(arguments + ['--save-dir', str(tmp_path / 'run')] + words, capsys)


def test_an_image_that_is_damaged_later_stops_the_run(arguments, ade, tmp_path, capsys):
    import shutil
    shutil.copytree(ade, str(tmp_path / 'ade'))
    for path in (tmp_path / 'ade').glob('*/images/training/*'):
        path.write_bytes(path.read_bytes()[:-100])
    assert 'can be read' in fails(arguments + ['--data-dir', str(tmp_path / 'ade'), '--save-dir',
                                               str(tmp_path / 'run')], capsys)
    assert json.loads((tmp_path / 'run' / 'run.json').read_text())['status'] == 'failed'


def test_a_run_is_not_written_over(arguments, finished, capsys):
    assert 'checkpoints of another run' in fails(arguments + ['--save-dir', str(finished)], capsys)


# ---------------------------------------------------------------------------------------------------------------------
# Configurations

def test_the_published_command(capsys):
    assert train_fcn.main('--dataset ade20k --model fcn --aux --lr 0.01 --syncbn --ngpus 4 --checkname res50 '
                          '--epochs 120 --print-config'.split()) == 0
    config = FCNConfig.from_dict(json.loads(capsys.readouterr().out))
    assert (config.backbone, config.num_gpus, config.syncbn, config.save_dir) == (
        'resnet50_v1b', 4, True, 'runs/ade20k/fcn/res50')


def test_a_recipe_is_a_start(capsys):
    assert train_fcn.main(['--recipe', 'table9/mixup', '--lr', '0.5', '--print-config']) == 0
    config = FCNConfig.from_dict(json.loads(capsys.readouterr().out))
    assert config == tables.get('table9/mixup', FCNConfig).replace(lr=0.5, num_classes=150)
    assert config.backbone == 'resnet50_v1d' and config.aux
    assert 'train_faster_rcnn.py' in fails(['--recipe', 'table8/mixup'], capsys)


def test_it_runs_from_anywhere(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, str(ROOT / 'transfer' / 'train_fcn.py'), '--ngpus', '0', '--data-dir', 'x'],
                          cwd=str(tmp_path), env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith('error: x/ADEChallengeData2016'), done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation and pictures

def expected(finished, ade, multi=None):
    net, classes = load_fcn(str(finished / 'best' / 'net.params'), BACKBONE)
    stream = ImageStream(Scenes(ade, 'validation', classes), 1)
    return evaluate_images(net, stream, [mx.cpu()], precision('float32', [mx.cpu()]), classes, multi)


@pytest.mark.parametrize('multi', [None, (40, 64)])
def test_evaluation(multi, finished, ade, capsys):
    metrics = expected(finished, ade, multi)
    words = ['--eval', '--data-dir', ade, '--ngpus', '0']
    words += ['--multi-scale', '--base-size', '40', '--crop-size', '64'] if multi else []
    for weights in (['--params', str(finished)],
                    ['--params', str(finished / 'best' / 'net.params'), '--backbone', BACKBONE]):
        assert train_fcn.main(words + weights) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith('protocol: long side to 40' if multi else 'protocol: whole images')
        assert lines[-1] == f'{BACKBONE}: pixAcc: {metrics["pix_acc"]:.4f}, mIoU: {metrics["miou"]:.4f} of 5 images'
        assert len(lines) == 6 and lines[1].endswith('thing 1')


def test_evaluation_in_float16_and_on_two_devices(finished, ade, capsys):
    words = ['--eval', '--data-dir', ade, '--params', str(finished)]
    assert train_fcn.main(words + ['--devices', 'cpu(0),cpu(1)']) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f'mIoU: {expected(finished, ade)["miou"]:.4f} of 5 images')
    assert train_fcn.main(words + ['--ngpus', '0', '--dtype', 'float16']) == 0
    assert 'float16 is emulated' in capsys.readouterr().out


def test_weights_that_do_not_fit(finished, ade, base_params, tmp_path, capsys):
    words = ['--eval', '--data-dir', ade, '--ngpus', '0']
    assert 'another network' in fails(words + ['--params', str(finished), '--backbone', 'resnet18_v1d'], capsys)
    assert 'not the weights of an FCN' in fails(words + ['--params', base_params, '--backbone', BACKBONE], capsys)
    assert 'is not a checkpoint' in fails(words + ['--params', str(tmp_path)], capsys)
    assert 'has 4 classes, and the data 150' in fails(
        ['--eval', '--data-dir', str(without_names(ade, tmp_path)), '--ngpus', '0', '--params', str(finished)], capsys)


def without_names(ade, tmp_path):
    import shutil
    shutil.copytree(ade, str(tmp_path / 'ade'))
    (tmp_path / 'ade' / ROOT_FOLDER / 'objectInfo150.txt').unlink()
    return tmp_path / 'ade'


def test_the_number_of_classes_may_be_given_where_nothing_says_it(finished, ade, tmp_path, capsys):
    folder = str(without_names(ade, tmp_path))
    assert train_fcn.main(['--eval', '--data-dir', folder, '--ngpus', '0', '--params', str(finished), '--num-classes',
                           '4']) == 0
    assert 'class 4' in capsys.readouterr().out


def test_pictures(finished, ade, tmp_path, capsys):
    image = sorted(Path(ade).glob('*/images/validation/*.jpg'))[0]
    assert train_fcn.main(['--predict', str(image), '--params', str(finished), '--ngpus', '0', '--out',
                           str(tmp_path / 'out')]) == 0
    width, height = Image.open(str(image)).size
    with Image.open(str(tmp_path / 'out' / (image.stem + '.png'))) as result:
        assert result.width > 2 * width and result.height >= height
        left = np.asarray(result.convert('RGB'))[:height, :width]
    assert (left == np.asarray(Image.open(str(image)).convert('RGB'))).all()
    assert re.search(r'thing \d [\d.]+ %', capsys.readouterr().out)
    assert 'none.jpg' in fails(['--predict', 'none.jpg', '--params', str(finished), '--ngpus', '0'], capsys)

