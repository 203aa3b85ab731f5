"""Fused graphs beside the usual one, which MXNet computes layer by layer."""
import json

import numpy as np
import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import EvalStream
from gluon_tricks.models import fused
from gluon_tricks.models.zoo import get_model, place
from gluon_tricks.tasks.classification import evaluation
from gluon_tricks.tricks.low_precision import precision
from support.networks import Scores, trained_elsewhere

CPU, PAIR = [mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]


def network(name='resnet10_v1d_demo', devices=CPU, dtype='float32'):
    """(network with statistics of its own on the devices, its precision)."""
    net, how = trained_elsewhere(get_model(name, classes=10)), precision(dtype, devices)
    place(net, devices, how, hybridize=False)
    return net, how


def inputs(number=4, side=64, seed=0):
    return mx.nd.array(np.random.RandomState(seed).normal(size=(number, 3, side, side)))


def apart(found, wanted):
    """The largest difference of two arrays over the largest number."""
    found, wanted = found.asnumpy(), wanted.asnumpy()
    return abs(found - wanted).max() / abs(wanted).max()


@pytest.mark.parametrize('name', ['resnet10_v1d_demo', 'resnet18_v1b', 'resnet50_v1d', 'mobilenet1.0', 'mobilenetv2_0.5',
                                  'se_resnet18_v1', 'resnet50_v2'])
def test_the_scores_are_those_of_the_usual_graph(name):
    net, how = network(name)
    x, graph = inputs(), fused.for_inference(net, how, CPU, 10 ** 6, 64)
    assert '_sg_mkldnn_conv' in {each['op'] for each in json.loads(graph.graph.tojson())['nodes']}
    assert apart(graph(x), net(x)) < 1e-5
    assert (graph(x).argmax(axis=1) == net(x).argmax(axis=1)).asnumpy().all()
    assert apart(graph(inputs(2)), net(inputs(2))) < 1e-5  # another size of batch


def test_each_device_has_its_own_statistics():
    net, how = network(devices=PAIR)
    x, graph = inputs(), fused.for_inference(net, how, PAIR, 10 ** 6, 64)
    for param in net.collect_params('.*running_mean').values():
        param.data(PAIR[1])[:] -= 0.2
    for device in PAIR * 2:
        x = x.as_in_context(device)
        assert apart(graph(x), net(x)) < 1e-5


@pytest.mark.parametrize('changed', ['.*gamma', '.*beta', '.*running_mean', '.*running_var', '.*weight'])
def test_an_evaluation_sees_the_weights_of_its_time(changed, tiny_data, monkeypatch):
    """As training changes them between two validations; a graph that was kept would have folded the old ones."""
    monkeypatch.setattr(fused, 'PAYS_FROM', 0)
    net, how = network()
    stream = EvalStream(str(tiny_data / 'rec' / 'val.rec'), str(tiny_data / 'rec' / 'val.idx'), 8, 32)
    before = evaluation.evaluate(net, stream, CPU, how)
    for param in net.collect_params(changed).values():
        param.set_data(param.data() * 1.5 + 0.1)
    found, wanted = (evaluation.evaluate(each, stream, CPU, how) for each in (net, lambda x: net(x)))
    assert found['loss'] == pytest.approx(wanted['loss'], rel=1e-5) != before['loss']
    assert found['top1'] == wanted['top1'] and found['gap_mean'] == pytest.approx(wanted['gap_mean'], rel=1e-5)


@pytest.mark.parametrize('dtype, devices, mode', [('float32', 'cpu(0)', 'hybrid'), ('float32', 'cpu(0)', 'imperative'),
                                                  ('float32', 'cpu(0),cpu(1)', 'hybrid'), ('float16', 'cpu(0)', 'hybrid'),
                                                  ('float16', 'cpu(0),cpu(1)', 'hybrid')])
def test_evaluate_gives_the_figure_of_the_validation(dtype, devices, mode, tiny_arguments, tmp_path, monkeypatch, capsys):
    """To the last bit, of each epoch that was saved."""
    monkeypatch.setattr(fused, 'PAYS_FROM', 0)
    made, Fused = [], fused.Fused
    monkeypatch.setattr(fused, 'Fused', lambda *given: made.append(Fused(*given)) or made[-1])
    place = tiny_arguments.index('--num-gpus')
    flags = tiny_arguments[:place] + tiny_arguments[place + 2:] + ['--mode', mode, '--dtype', dtype, '--devices', devices]
    assert train_imagenet.main(flags + ['--save-dir', str(tmp_path), '--save-frequency', '1']) == 0
    events = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
    wanted = [event['validation'] for event in events if event['event'] == 'epoch']
    assert len(wanted) == 2 and wanted[0]['loss'] != wanted[1]['loss']
    for epoch, figures in enumerate(wanted):
        folder = next(path for path in tmp_path.iterdir() if path.name == f'epoch-{epoch:04d}')
        capsys.readouterr()
        assert main(['evaluate', str(folder), '--devices', devices, '--json']) == 0
        result = json.loads(capsys.readouterr().out)
        assert {name: result[name] for name in ('top1', 'top5', 'loss', 'num_images')} == {
            name: figures[name] for name in ('top1', 'top5', 'loss', 'num_images')}
    assert len(made) == (4 if dtype == 'float32' else 0)  # one for each evaluation


def test_what_is_not_fused_is_the_network_itself():
    net, how = network()
    plain = Scores()
    some = fused.PAYS_FROM / 64 ** 2
    assert fused.for_inference(net, how, CPU, some - 1, 64) is net  # too few images
    assert fused.for_inference(net, how, CPU, some, 64) is not net
    assert fused.for_inference(net, how, [mx.gpu(0)], 10 ** 6, 64) is net
    assert fused.for_inference(str, how, CPU, 10 ** 6, 64) is str  # not a network
    half, emulated = network(dtype='float16')
    assert fused.for_inference(half, emulated, CPU, 10 ** 6, 64) is half
    assert isinstance(fused.for_inference(plain, how, CPU, 10 ** 6, 64)(mx.nd.ones((2, 1, 1, 3))), mx.nd.NDArray)


def test_a_value_that_is_read_twice_is_not_lost():
    """Of ResNet-v2's first convolution, normalised and added, MXNet would keep the normalised value alone."""
    net, how = network('cifar_resnet20_v2')
    assert fused.for_inference(net, how, CPU, 10 ** 6, 32) is net
    output = net(mx.sym.var('data'))
    wrong = fused.Fused(output.get_backend_symbol('MKLDNN'), net.collect_params())
    assert apart(wrong(inputs(side=32)), net(inputs(side=32))) > 1e-3


class Twice(mx.gluon.HybridBlock):
    """Two outputs."""

    def hybrid_forward(self, F, x):
        return F.flatten(x), F.flatten(x) * 2


def test_several_outputs_are_left_as_they_are():
    net = Twice()
    assert fused.for_inference(net, precision('float32', CPU), CPU, 10 ** 6, 64) is net
