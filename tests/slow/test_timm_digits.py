"""The digits with timm: what timm trained predicts the same here, and what is trained and exported here, there."""
import json

import numpy as np
import pytest

import gluon_tricks as gt
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import EvalStream

SIDE = 32


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The demo's data directory."""
    folder = tmp_path_factory.mktemp('digits') / 'data'
    assert main(['prepare', 'demo', '--out', str(folder)]) == 0
    return folder


def tensors(prefix):
    """(images (N, 3, 32, 32) float32, labels (N,)) of a record file, normalised, as `evaluate` prepares them."""
    stream = EvalStream(f'{prefix}.rec', f'{prefix}.idx', 128, SIDE)
    images, labels = [], []
    for batch, valid in stream.batches():
        (x, y), = batch.shards([mx.cpu()])
        images.append(x.asnumpy()[:valid])
        labels.append(y.asnumpy()[:valid])
    return np.concatenate(images), np.concatenate(labels).astype('int64')


def train(torch, timm, images, labels, epochs=6, batch=64):
    """A ResNet-18-D of timm's, trained with its own random weights."""
    torch.manual_seed(0)
    net = timm.create_model('resnet18d', num_classes=10)
    optimizer = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=1e-4)
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(batch):
            loss = torch.nn.functional.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


@pytest.mark.slow
def test_the_same_prediction_of_every_digit(theirs, data, tmp_path, capsys):
    import safetensors.torch
    torch, timm = theirs
    rec = data / '.gluon_tricks'
    net = train(torch, timm, *tensors(rec / 'train'))
    images, labels = tensors(rec / 'val')
    with torch.no_grad():
        wanted = net(torch.from_numpy(images)).numpy()
    path, out = str(tmp_path / 'model.safetensors'), str(tmp_path / 'net.params')
    safetensors.torch.save_file(net.state_dict(), path)
    assert main(['import-weights', path, out, '--model', 'resnet18_v1d']) == 0
    ours = gt.get_model('resnet18_v1d', classes=10)
    gt.load_params(ours, out)
    found = ours(mx.nd.array(images)).asnumpy()
    same, accuracy = (found.argmax(1) == wanted.argmax(1)).sum(), 100 * (wanted.argmax(1) == labels).mean()
    difference = abs(found - wanted).max() / abs(wanted).max()
    capsys.readouterr()
    with capsys.disabled():
        print(f'\nthe same prediction: {same} of {len(labels)}; top-1 {accuracy:.2f} %; difference {difference:.1e}')
    assert same == len(labels) == 364 and difference < 1e-5
    assert accuracy > 95
    for weights in (path, out):
        assert main(['evaluate', weights, '--model', 'resnet18_v1d', '--num-classes', '10', '--input-size', str(SIDE),
                     '--rec-val', str(rec / 'val.rec'), '--num-gpus', '0', '--json']) == 0
        figures = json.loads(capsys.readouterr().out)
        assert figures['num_images'] == 364 and figures['top1'] == pytest.approx(accuracy)


@pytest.mark.slow
def test_an_exported_demo_has_the_same_top1_in_timm(theirs, data, tmp_path, capsys):
    """By the same tensors and by timm's own reading of the image files, which config.json describes."""
    from PIL import Image
    pytest.importorskip('onnxruntime', reason="pip install '.[onnx]'")
    torch, timm = theirs
    save_dir, out = str(tmp_path / 'run'), str(tmp_path / 'exported')
    gt.train(gt.recipe('demo').config.replace(data_dir=str(data), save_dir=save_dir, num_epochs=8, num_gpus=0))
    assert main(['export', save_dir, out]) == 0
    capsys.readouterr()
    assert main(['evaluate', save_dir, '--dtype', 'float32', '--num-gpus', '0', '--json']) == 0
    figures = json.loads(capsys.readouterr().out)
    net = timm.create_model(f'local-dir:{out}', pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net))
    images, labels = tensors(data / '.gluon_tricks' / 'val')
    files = sorted((data / 'val').rglob('*.JPEG'))
    own = torch.stack([transform(Image.open(path).convert('RGB')) for path in files])
    truth = {'tensors': labels, 'files': np.array([int(path.parent.name) for path in files])}
    with torch.no_grad():
        found = {'tensors': net(torch.from_numpy(images)).numpy(), 'files': net(own).numpy()}
    top1 = {name: 100 * (scores.argmax(1) == truth[name]).mean() for name, scores in found.items()}
    expected = gt.open_run(save_dir).net()(mx.nd.array(images)).asnumpy()
    same = (found['tensors'].argmax(1) == expected.argmax(1)).sum()
    with capsys.disabled():
        print(f'\ntop-1 {figures["top1"]:.2f} % here, {top1["tensors"]:.2f} % in timm, {top1["files"]:.2f} % as timm reads '
              f'the files; the same class for {same} of {len(labels)}')
    assert same == len(labels) == len(files) == figures['num_images'] == 364
    assert abs(found['tensors'] - expected).max() < 1e-5 * abs(expected).max()
    assert top1['tensors'] == pytest.approx(figures['top1']) and figures['top1'] > 90
    assert top1['files'] == pytest.approx(figures['top1'], abs=100 * 2 / 364)  # Pillow's pixels: two images at most
