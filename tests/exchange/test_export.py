"""Exported folders: what MXNet, onnxruntime, GluonCV's names and the sums say of them."""
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gluon_tricks.api import open_run
from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import short_side
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import export, onnx_agreement, onnx_graph
from gluon_tricks.models.weights import load_params
from gluon_tricks.models.zoo import DEMO, get_model
from support.exported import TASKS, write_run

onnx = pytest.importorskip('onnx', reason="pip install '.[onnx]'")
pytest.importorskip('onnxruntime', reason="pip install '.[onnx]'")
pytest.importorskip('safetensors', reason="pip install '.[interchange]'")

BOTH = {'net.params', 'net-symbol.json', 'model.onnx', 'README.md', 'export.json', 'SHA256SUMS'}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """{task: (SAVE_DIR, the exported folder)}."""
    root, found = tmp_path_factory.mktemp('exports'), {}
    for task in TASKS:
        run = write_run(root / ('run-' + task), task)
        export.export(export.subject_of(run), str(root / task))
        found[task] = Path(run), root / task
    return found


@pytest.mark.parametrize('task', TASKS)
def test_the_folder_is_whole(task, folders):
    _, folder = folders[task]
    names = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}
    more = {'model-from-image.onnx', 'model.safetensors', 'config.json'} if task == 'classification' else set()
    assert names == BOTH | more | {f'.eval_results/{task}.yaml'}
    assert export.check(str(folder)) == len(names) - 1
    assert subprocess.run(['sha256sum', '--check', '--quiet', 'SHA256SUMS'], cwd=str(folder)).returncode == 0
    stored = json.loads((folder / 'export.json').read_text())
    assert stored['task'] == task and stored['artefacts']['model.onnx']['difference'] < 1e-3
    assert not [name for name in os.listdir(str(folder.parent)) if name.startswith('.partial')]


@pytest.mark.parametrize('task', TASKS)
def test_the_card_tells_the_run(task, folders):
    text = (folders[task][1] / 'README.md').read_text(encoding='utf-8')
    for part in {'classification': ('75', '27 images of tiny', 'cd' * 32), 'detection': ('12.5', '8 images'),
                 'segmentation': ('0.25', '5 images')}[task] + ('ab' * 32, 'python ', 'after epoch 3'):
        assert part in text, part


@pytest.mark.parametrize('task', TASKS)
def test_mxnet_opens_the_graph_with_the_weights(task, folders):
    """By the line that the documentation gives; net.params has the names that `load_params` and GluonCV take."""
    run, folder = folders[task]
    block = mx.gluon.SymbolBlock.imports(str(folder / 'net-symbol.json'), ['data'], str(folder / 'net.params'))
    net = export.subject_of(str(run)).net
    x = onnx_agreement.batch(1, 96, 128, (120,) * 3, (60,) * 3) if task != 'classification' else np.ones((2, 3, 32, 32), 'float32')
    for found, expected in zip(onnx_agreement.outputs(block, x), onnx_agreement.outputs(net, x)):
        assert np.array_equal(found, expected)
    assert mx.nd.load(str(folder / 'net.params')).keys() == mx.nd.load(open_run(run).params).keys()


def test_the_file_of_weights_loads_again(folders):
    run, folder = folders['classification']
    net = get_model(DEMO, classes=4)
    load_params(net, str(folder / 'net.params'))
    x = np.ones((1, 3, 32, 32), 'float32')
    assert np.array_equal(onnx_agreement.outputs(net, x)[0], onnx_agreement.outputs(open_run(run).net(), x)[0])


def test_a_bare_file_is_exported_and_says_what_is_not_known(folders, tmp_path):
    run, _ = folders['classification']
    subject = export.subject_of(open_run(run).params, DEMO, 4)
    stored = export.export(subject, str(tmp_path / 'out'), license='mit')
    assert stored['classes'] == ['0', '1', '2', '3']
    text = (tmp_path / 'out' / 'README.md').read_text()
    assert 'Not measured' in text and 'license: "mit"' in text and not (tmp_path / 'out' / '.eval_results').exists()


def files_of(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('task', TASKS)
def test_a_folder_damaged_in_any_file_is_refused(task, folders, tmp_path):
    """Each file in turn changed by a bit, cut short, emptied, removed; the sentence names it."""
    copy = tmp_path / 'copy'
    shutil.copytree(str(folders[task][1]), str(copy))
    for path in files_of(copy):
        content = path.read_bytes()
        places = {0, len(content) // 2, len(content) - 1}
        changed = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1:] for place in places]
        for damaged in changed + [content[:-1], content[:len(content) // 2], content + b'\n', b'', None]:
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            with pytest.raises(UsageError, match=None if path.name == 'SHA256SUMS' else path.name):
                export.check(str(copy))
        path.write_bytes(content)
    assert export.check(str(copy)) == len(files_of(copy)) - 1


@pytest.mark.parametrize('task', TASKS)
def test_a_folder_with_a_file_more_or_two_exchanged_is_refused(task, folders, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(str(folders[task][1]), str(copy))
    for name in ('more', '.more', '.eval_results/more', 'new/more', 'net.params~'):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b'')
        with pytest.raises(UsageError, match=f'{name} is not in SHA256SUMS'):
            export.check(str(copy))
        (copy / name).unlink()
    assert export.check(str(copy))
    first, second = copy / 'net.params', copy / 'model.onnx'
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(UsageError, match='model.onnx is damaged'):
        export.check(str(copy))


def test_timm_opens_the_folder(theirs, folders):
    """By the line that the documentation gives: the logits of MXNet, the names of the classes, the size of images."""
    torch, timm = theirs
    run, folder = folders['classification']
    opened = timm.create_model(f'local-dir:{folder}', pretrained=True).eval()
    x = onnx_agreement.batch(7, 32, 32, (120,) * 3, (60,) * 3)
    with torch.no_grad():
        found = opened(torch.from_numpy(x)).numpy()
    expected = onnx_agreement.outputs(open_run(run).net(), x)[0]
    assert found.shape == (7, 4) and onnx_graph.relative_difference(found, expected) < 1e-5
    assert opened.pretrained_cfg['label_names'] == ['red', 'grün', 'blue', 'white']
    resize = timm.data.create_transform(**timm.data.resolve_model_data_config(opened)).transforms[0]
    assert resize.size == short_side(32, 0.875) == 37


def test_the_card_s_lines_open_the_folder(folders):
    import onnxruntime

    import mxnet
    run, folder = folders['classification']
    text = (folder / 'README.md').read_text(encoding='utf-8')
    lines = {name: line for name, line in re.findall('^\\* (.+), DIR being this folder: `(.+)`$', text, re.M)}
    assert set(lines) == {'ONNX Runtime', 'MXNet', 'timm'}  # the last is run above
    images = onnx_agreement.batch(2, 32, 32, (120,) * 3, (60,) * 3)
    names = {'onnxruntime': onnxruntime, 'mxnet': mxnet, 'images': images}
    expected = onnx_agreement.outputs(open_run(run).net(), images)[0]
    found = [eval(lines['ONNX Runtime'].replace('DIR', str(folder)), names)[0],
             onnx_agreement.outputs(eval(lines['MXNet'].replace('DIR', str(folder)), names), images)[0]]
    for each in found:
        assert onnx_graph.relative_difference(each, expected) < 1e-5


@pytest.mark.parametrize('ratio', [0.875, 0.9, 0.95, 1.0, 2 / 3, 0.1])
def test_timm_s_crop_resizes_as_here(ratio):
    for side in range(1, 600):
        assert math.floor(side / export.crop_pct(side, ratio)) == short_side(side, ratio)
    assert export.crop_pct(224, 0.875) == 0.875


def test_without_safetensors_there_is_one_sentence_and_no_folder(folders, tmp_path, monkeypatch):
    subjects = [export.subject_of(str(folders[task][0])) for task in ('classification', 'segmentation')]
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(UsageError, match=r"out/model.safetensors: .*type `pip install '.\[interchange\]'`"):
        export.export(subjects[0], str(tmp_path / 'out'))
    assert os.listdir(str(tmp_path)) == []
    export.export(subjects[1], str(tmp_path / 'out'))


def test_an_artefact_that_differs_leaves_no_folder(folders, tmp_path, monkeypatch):
    """One weight of the ONNX model is not the network's."""
    made = onnx_graph.classifier

    def wrong(net, input_size):
        model = made(net, input_size)
        each = next(each for each in model.graph.initializer if each.name.endswith('dense0_bias'))
        each.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(each) + np.float32([0, 0.01, 0, 0]), each.name))
        return model
    monkeypatch.setattr(onnx_graph, 'classifier', wrong)
    with pytest.raises(UsageError, match='does not give what MXNet gives'):
        export.export(export.subject_of(str(folders['classification'][0])), str(tmp_path / 'out'))
    assert os.listdir(str(tmp_path)) == []


def test_a_disk_that_is_full_leaves_no_folder(folders, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(export, '_write', full)
    with pytest.raises(UsageError, match='cannot be written .*free space'):
        export.export(export.subject_of(str(folders['classification'][0])), str(tmp_path / 'out'))
    assert os.listdir(str(tmp_path)) == []


def test_what_is_there_stays(folders, tmp_path):
    (tmp_path / 'file').write_text('mine')
    subject = export.subject_of(str(folders['classification'][0]))
    for target in (tmp_path, tmp_path / 'file'):
        with pytest.raises(UsageError, match='is there already'):
            export.export(subject, str(target))
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_forged_manifest_s_figures_are_left_out(folders, tmp_path):
    run = open_run(folders['classification'][0])
    for metrics in (None, [], {'top1': 'a'}):
        run.manifest.update(metrics=metrics, data=[1], workers='x', classes=7)
        subject = export.subject_of(str(folders['classification'][0]))
        subject.run = run
        facts = export.card_facts(subject, 'x', {}, 'mit', None)
        assert facts['figures'] == {} and facts['data'] == {}


def test_another_size_of_a_detector(folders):
    run = str(folders['detection'][0])
    assert export.subject_of(run, size=(96, 112)).size == (96, 112)
    with pytest.raises(UsageError, match='--size 64 128 must lie within 96 and 128'):
        export.subject_of(run, size=(64, 128))


@pytest.mark.parametrize('task, options, words', [
    ('detection', dict(model=DEMO), '--model'), ('segmentation', dict(crop_ratio=0.5), '--crop-ratio is for a classifier'),
    ('segmentation', dict(size=(96, 96)), '--size is for a detector'), ('classification', dict(model=DEMO), '--model is for a file')])
def test_options_of_another_task_are_refused(task, options, words, folders):
    with pytest.raises(UsageError, match=words):
        export.subject_of(str(folders[task][0]), **options)
