import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks.commands.train_detection import main
from gluon_tricks.compat import mx
from gluon_tricks.models.zoo import DEMO, get_model
from gluon_tricks.tasks.detection import task as detection
from support import ROOT
from support.detection import SMALL_FLAGS, write_tree
from support.networks import saved, trained_elsewhere


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    return str(write_tree(tmp_path_factory.mktemp('data') / 'voc'))


def words(tree, save_dir, *more):
    return SMALL_FLAGS + ['--data-dir', tree, '--save-dir', str(save_dir)] + list(more)


def arrays(save_dir):
    return {name: array.asnumpy() for name, array in mx.nd.load(str(save_dir / 'latest' / 'net.params')).items()}


@pytest.fixture(scope='module')
def whole(tree, tmp_path_factory):
    """SAVE_DIR of an undisturbed run."""
    save_dir = tmp_path_factory.mktemp('runs') / 'whole'
    assert main(words(tree, save_dir)) == 0
    return save_dir


def test_a_run_leaves_what_users_know(whole):
    run = json.loads((whole / 'run.json').read_text())
    assert run['status'] == 'finished' and run['result']['num_images'] == 8 and 0 <= run['result']['map_voc07'] <= 100
    names = {path.name for path in whole.iterdir()}
    assert 'faster_rcnn_resnet10_v1d_demo_voc_best.params' in names
    assert any(name.startswith('faster_rcnn_resnet10_v1d_demo_voc_0001_') for name in names)
    log = (whole / 'train_faster_rcnn.log').read_text()
    assert 'Warning: without --base-params' in log and '[Epoch 1] Validation:' in log and 'mAP=' in log
    assert json.loads((whole / 'latest' / 'manifest.json').read_text())['classes'][0] == 'aeroplane'


@pytest.mark.parametrize('more', [[], pytest.param(['--dtype', 'float16'], marks=pytest.mark.slow)],
                         ids=['float32', 'float16'])
def test_interrupted_and_resumed_equals_uninterrupted(more, tree, whole, tmp_path, monkeypatch):
    """With another number of processes that prepare images, and without the base network's file, too."""
    expected = arrays(whole)
    if more:
        base = saved(trained_elsewhere(get_model(DEMO, classes=3)), tmp_path / 'base.params')
        more = more + ['--base-params', base]
        assert main(words(tree, tmp_path / 'half', *more)) == 0
        expected = arrays(tmp_path / 'half')
    real = detection.Detection.preprocess

    def stopped(self, batch, update):
        if update == self.train_stream.updates_per_epoch + 2:  # inside the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch, update)
    with monkeypatch.context() as patch:
        patch.setattr(detection.Detection, 'preprocess', stopped)
        assert main(words(tree, tmp_path / 'stopped', *more)) == 143
    if more:
        os.remove(base)
    assert os.path.basename(os.path.realpath(str(tmp_path / 'stopped' / 'latest'))) == 'epoch-0001-batch-000002'
    assert main(words(tree, tmp_path / 'stopped', '--resume', 'auto', '--num-workers', '1', *more)) == 0
    found = arrays(tmp_path / 'stopped')
    assert set(found) == set(expected) and all((found[name] == expected[name]).all() for name in found)


def test_gluoncv_loads_the_weights(whole):
    from gluon_tricks.data.prepare.voc import CLASSES
    from support.detection import build_detector

    from gluoncv.model_zoo.rcnn.faster_rcnn import FasterRCNN
    net = build_detector(classes=CLASSES)
    assert isinstance(net, FasterRCNN)
    net._children.pop('_target_generator')  # it has none before it trains
    net.load_parameters(str(whole / 'faster_rcnn_resnet10_v1d_demo_voc_best.params'))


def test_eval_prints_what_training_said(whole, tree, capsys):
    run = json.loads((whole / 'run.json').read_text())
    assert main(words(tree, 'unused', '--eval', '--params', str(whole / 'latest' / 'net.params'))) == 0
    assert f'mAP              {run["result"]["map_voc07"]:6.2f}  of 8 images' in capsys.readouterr().out
    assert not os.path.exists('unused')


def test_predict_draws_a_picture(whole, tree, tmp_path, capsys):
    import cv2
    image = os.path.join(tree, 'VOC2007', 'JPEGImages', '000101.jpg')
    assert main(words(tree, 'unused', '--predict', image, '--params', str(whole / 'best' / 'net.params'), '--out',
                      str(tmp_path / 'pictures'))) == 0
    assert cv2.imread(str(tmp_path / 'pictures' / '000101.png')).shape == (384, 388, 3)  # four times the image
    assert capsys.readouterr().out.startswith(str(tmp_path / 'pictures' / '000101.png') + ': ')


@pytest.mark.slow
def test_calibrated_new_weights_and_all_layers(tree, tmp_path):
    assert main(words(tree, tmp_path / 'x', '--epochs', '1', '--train-layers', 'all', '--calibrate', '4')) == 0
    found = arrays(tmp_path / 'x')
    assert np.abs(found['features.1.running_mean']).max() > 0 and (found['features.1.running_var'] != 1).any()


@pytest.mark.slow
def test_the_gradient_is_clipped(tree, tmp_path):
    """In a whole run: with 1e-7 every weight stays within 1e-7 of where it starts; without clipping not."""
    for name, clip in (('clipped', '1e-7'), ('free', '0')):
        assert main(words(tree, tmp_path / name, '--epochs', '1', '--wd', '0', '--clip-gradient', clip)) == 0
    clipped, free = arrays(tmp_path / 'clipped'), arrays(tmp_path / 'free')
    assert max(np.abs(clipped[name] - free[name]).max() for name in free) > 1e-3
    assert main(words(tree, tmp_path / 'still', '--epochs', '1', '--wd', '0', '--clip-gradient', '1e-30')) == 0
    still = arrays(tmp_path / 'still')
    assert 0 < max(np.abs(clipped[name] - still[name]).max() for name in still) < 1e-7


@pytest.mark.parametrize('more, part', [
    (['--data-dir', '/nowhere'], 'prepare voc'), (['--eval'], '--params FILE'),
    (['--params', 'x.params'], '--base-params'), (['--batch-size', '3', '--devices', 'cpu(0),cpu(1)'], 'divide over 2'),
    (['--eval', '--params', '/no.params'], 'no such file'), (['--gpus', 'a', '--devices', ''], 'numbers of GPUs'),
    (['--base-params', '/no.params'], 'no such file'), (['--network', 'inceptionv3'], 'ResNet-B, -C or -D'),
    (['--predict', '/no.jpg', '--params', '/no.params'], '/no.jpg cannot be read')])
def test_a_mistake_is_one_sentence(more, part, tree, tmp_path, capsys):
    assert main(words(tree, tmp_path / 'x', *more)) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and part in error and 'Traceback' not in error
    assert not (tmp_path / 'x' / 'latest').exists()


def test_the_published_command_from_a_clone(tmp_path):
    """As a user types it; a machine without GPUs is told so."""
    done = subprocess.run([sys.executable, str(ROOT / 'transfer' / 'train_faster_rcnn.py'), '--dataset', 'voc',
                           '--network', 'resnet50_v1b', '--devices', 'cpu(0),cpu(1),cpu(2),cpu(3)', '--print-config'],
                          cwd=str(tmp_path), stdout=subprocess.PIPE, text=True)
    config = json.loads(done.stdout)
    assert done.returncode == 0 and config['total_batch_size'] == 4 and config['num_epochs'] == 20
