"""What a notebook types, over the digits: each line of the page that shows it."""
import json
import re
import shutil
import subprocess
import sys

import pytest

import gluon_tricks as gt
from gluon_tricks.compat import mx
from gluon_tricks.training import checkpoint
from support import ROOT
from support.records import make_jpeg


@pytest.fixture(scope='module')
def run(tiny_data, tmp_path_factory):
    """A Run of two epochs on `tiny_data`, trained through the API."""
    config = gt.recipe('demo').config.replace(
        data_dir=str(tiny_data), num_classes=4, num_epochs=2, batch_size=16, num_gpus=0, dtype='float32',
        save_dir=str(tmp_path_factory.mktemp('api') / 'run'))
    result = gt.train(config)
    assert isinstance(result, gt.Result) and result.save_dir == config.save_dir and result.result['epoch'] == 1
    return gt.open_run(result.save_dir)


def test_importing_it_imports_nothing_heavy():
    code = ('import sys, gluon_tricks as gt; gt.recipe("table6/resnet50_v1d/mixup").config; dir(gt); '
            'sys.exit(bool({"mxnet", "numpy", "gluoncv"} & set(sys.modules)) and "imported")')
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT)).returncode == 0


def test_every_name_is_there():
    for name in gt.__all__:
        assert getattr(gt, name) is not None and name in dir(gt)
    for name in gt.tricks.__all__:
        assert callable(getattr(gt.tricks, name)) and getattr(gt.tricks, name).__name__ == name
    with pytest.raises(AttributeError, match='no_such'):
        gt.no_such  # noqa: B018
    with pytest.raises(AttributeError, match='no_such'):
        gt.tricks.no_such  # noqa: B018


def test_a_row():
    row = gt.recipe('table6/resnet50_v1d/mixup')
    assert row.paper['top1'] == 79.15 and row.command.startswith('python train_imagenet.py ')
    assert gt.recipe('table8/mixup').config.TASK == 'detection'
    with pytest.raises(gt.UsageError, match='did you mean'):
        gt.recipe('table6/resnet50_v1d/mixupp')


def test_a_runs_files_are_hashed_when_it_is_opened_and_no_more(run, monkeypatch):
    hashed, digest = [], checkpoint.file_digest

    def counted(path):
        hashed.append(path)
        return digest(path)
    monkeypatch.setattr(checkpoint, 'file_digest', counted)
    opened = gt.open_run(run.path)
    before = list(hashed)
    opened.net()
    gt.evaluate(opened)
    assert hashed == before and len(before) == len(set(before)) == len(opened.manifest['files'])


def test_a_run(run):
    assert run.task == 'classification' and run.config.num_epochs == 2 and run.config.num_classes == 4
    assert run.checkpoints[-1] == 'epoch-0001' and run.result['epoch'] == 1 and run.best['num_images'] == 27
    kinds = [event['event'] for event in run.history()]
    assert kinds.count('epoch') == 2 and 'batch' in kinds
    assert run.net()(mx.nd.zeros((1, 3, 32, 32))).shape == (1, 4)


def test_the_figures_of_a_run_s_epochs(run):
    figures, last = run.epochs(), run.result
    assert figures['epoch'].tolist() == [0, 1] and figures['val_top1'][-1] == last['top1']
    table = pytest.importorskip('pandas').DataFrame(figures)
    assert len(table) == 2 and {'lr', 'speed', 'time', 'train_loss', 'val_top5'} <= set(table.columns)


def test_a_plot(run, tmp_path):
    picture = run.plot()
    assert picture.save(str(tmp_path / 'curves.svg')) == [str(tmp_path / 'curves.svg')]
    assert picture._repr_svg_().startswith('<?xml') and 'run' in picture.text
    assert any(line.get_ydata().tolist() == run.epochs()['val_top1'].tolist()
               for axes in picture.figure.axes for line in axes.lines)


def test_the_exact_figure_is_the_runs(run):
    figures = gt.evaluate(run)
    assert (figures['top1'], figures['num_images']) == (run.best['top1'], 27)


def test_images(run, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(make_jpeg(1, 0))
    (found,) = gt.predict(run, [str(tmp_path / 'a.jpg')], top=2)
    assert len(found['classes']) == 2 and found['image'].endswith('a.jpg')
    assert found['classes'][0]['probability'] >= found['classes'][1]['probability'] > 0
    with pytest.raises(gt.UsageError, match='none.jpg'):
        gt.predict(run, ['none.jpg'])


def test_a_run_without_a_best_stands_for_its_latest_checkpoint(run, tmp_path):
    """As one that had no validation."""
    other = tmp_path / 'run'
    shutil.copytree(run.path, other, symlinks=True)
    (other / 'best').unlink()
    found = gt.open_run(other)
    assert found.params == str(other / 'latest' / 'net.params') and found.net() is not None
    (other / 'latest').unlink()
    with pytest.raises(gt.UsageError, match='is not a checkpoint'):
        gt.open_run(other)


def test_what_is_no_run(tmp_path):
    for path in (tmp_path, tmp_path / 'none'):
        with pytest.raises(gt.UsageError, match=re.escape(str(path))):
            gt.open_run(path)


def test_a_diverged_run_raises(tiny_data, tmp_path):
    config = gt.recipe('demo').config.replace(
        data_dir=str(tiny_data), num_classes=4, num_epochs=2, warmup_epochs=0, batch_size=16, num_gpus=0,
        dtype='float32', lr=1e30, save_dir=str(tmp_path / 'run'))
    with pytest.raises(gt.Diverged):
        gt.train(config)
    assert json.loads((tmp_path / 'run' / 'run.json').read_text())['status'] == 'diverged'


def test_tricks_are_functions():
    net = gt.get_model('resnet10_v1d_demo', classes=4)
    gt.tricks.zero_gamma(net)
    gt.tricks.no_bias_decay(net)
    import gluon_tricks.tricks.zero_gamma  # noqa: F401  the file of the same name
    assert gt.tricks.zero_gamma.__name__ == 'zero_gamma' and callable(gt.tricks.zero_gamma)
    assert gt.tricks.linear_scaling_lr(1024) == 0.4
