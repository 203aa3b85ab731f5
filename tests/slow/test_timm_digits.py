"""A ResNet-18-D trained in timm on the digits, saved as safetensors: the same prediction here for every image."""
import json

import numpy as np
import pytest

import gluon_tricks as gt
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import EvalStream

SIDE = 32


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
def test_the_same_prediction_of_every_digit(theirs, tmp_path, capsys):
    import safetensors.torch
    torch, timm = theirs
    assert main(['prepare', 'demo', '--out', str(tmp_path / 'data')]) == 0
    rec = tmp_path / 'data' / '.gluon_tricks'
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
