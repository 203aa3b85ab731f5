"""Parameters and multiply-adds against published figures, and against a count made on a forward pass."""
import json
import math

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import complexity as module
from gluon_tricks.models.complexity import complexity, main
from gluon_tricks.models.zoo import default_input_size, get_model

nn = mx.gluon.nn

# network, input size, trainable parameters, multiply-adds in 10^9 to the digits given
FIGURES = [('resnet50_v1', 224, 25575912, '3.858'), ('resnet50_v1b', 224, 25557032, '4.089'),
           ('resnet50_v1c', 224, 25576264, '4.329'), ('resnet50_v1d', 224, 25576264, '4.329'),
           ('resnet50_v1s', 224, 25680808, '5.444'), ('resnet101_v1d', 224, 44568392, '8.041'),
           ('resnet152_v1', 224, 60252648, '11.282'), ('resnet152_v1d', 224, 60212040, '11.753'),
           ('inceptionv3', 299, 23834568, '5.713'), ('mobilenet1.0', 224, 4231976, '0.5687')]


@pytest.mark.parametrize('name, size, params, giga', FIGURES)
def test_known_figures(name, size, params, giga):
    assert default_input_size(name) == size
    counted, macs = complexity(get_model(name), size)
    assert counted == params
    assert '%.*f' % (len(giga.split('.')[1]), macs / 1e9) == giga


def rounded(macs):
    return f'{macs / 1000000000.0:.1f}'


def truncated(macs):
    return f'{math.floor(macs / 100000000.0) / 10:.1f}'


def macs_of(name):
    return complexity(get_model(name), 224)[1]


@pytest.mark.parametrize('name, printed', [('resnet50_v1', '3.9'), ('resnext50_32x4d', '4.2'), ('se_resnet50', '3.9'),
                                           ('densenet201', '4.3'), ('resnet50_v1d', '4.3')])
def test_table_1_is_rounded(name, printed):
    assert rounded(macs_of(name)) == printed


def test_table_1_has_one_row_that_is_not_ours():
    """SE-ResNeXt-50: the paper prints 4.3, GluonCV's network has 4.233."""
    assert f'{macs_of("se_resnext50_32x4d") / 1000000000.0:.3f}' == '4.233'


def test_table_5_truncates_its_first_row():
    assert truncated(macs_of('resnet50_v1')) == '3.8'
    assert rounded(macs_of('resnet50_v1b')) == '4.1' and truncated(macs_of('resnet50_v1b')) == '4.0'
    for name in ('resnet50_v1c', 'resnet50_v1d'):
        assert rounded(macs_of(name)) == truncated(macs_of(name)) == '4.3'


def test_section_4_3():
    """ResNet-D costs less than 15 % more than ResNet-50, and has 25 M parameters as the others."""
    assert 1.12 < macs_of('resnet50_v1d') / macs_of('resnet50_v1') < 1.15
    assert {complexity(get_model(name), 224)[0] // 10 ** 6
            for name in ('resnet50_v1', 'resnet50_v1b', 'resnet50_v1c', 'resnet50_v1d')} == {25}


def counted_on_a_forward_pass(net, size):
    """The same two numbers by other means: hooks on the layers, from the shapes a real image leaves."""
    net.initialize()
    macs = []

    def convolution(layer, inputs, output):
        kernel, groups = layer._kwargs['kernel'], layer._kwargs['num_group']
        taps = kernel[0] * kernel[1] * inputs[0].shape[1] // groups
        macs.append(output.size * taps)

    def dense(layer, inputs, output):
        macs.append(output.size * layer.weight.shape[1])

    def hook(block):
        if isinstance(block, nn.Conv2D):
            block.register_forward_hook(convolution)
        elif isinstance(block, nn.Dense):
            block.register_forward_hook(dense)

    net.apply(hook)
    net(mx.nd.zeros((1, 3, size, size))).wait_to_read()
    params = sum(int(np.prod(p.shape)) for p in net.collect_params().values() if p.grad_req != 'null')
    return params, sum(macs)


@pytest.mark.parametrize('name, size', [('resnet10_v1d_demo', 32), ('resnet18_v1d', 64), ('resnet50_v1', 65),
                                        ('resnext50_32x4d', 64), ('se_resnet50', 64), ('mobilenet1.0', 64),
                                        ('mobilenetv2_0.25', 64), ('densenet121', 224), ('squeezenet1.1', 224),
                                        ('shufflenet_v1', 64), ('cifar_resnet20_v2', 32), ('resnest14', 64)])
def test_against_a_count_on_a_forward_pass(name, size):
    assert complexity(get_model(name, classes=7), size) == counted_on_a_forward_pass(get_model(name, classes=7), size)


def test_dilation_and_classes():
    plain, dilated = (get_model('resnet18_v1d', classes=3, dilated=dilated) for dilated in (False, True))
    assert complexity(dilated, 64)[0] == complexity(plain, 64)[0]
    assert complexity(dilated, 64)[1] > complexity(plain, 64)[1]
    assert complexity(get_model('resnet18_v1d', classes=4), 64)[0] - complexity(plain, 64)[0] == 513
    assert complexity(dilated, 64) == counted_on_a_forward_pass(dilated, 64)


def test_hand_made_layers():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, groups=1, padding=1),           # 16*16*8 * 3*9, bias not counted
            nn.Conv2D(8, 3, groups=4, dilation=2),          # 12*12*8 * 2*9
            nn.Conv2DTranspose(4, 2, strides=2),            # 12*12 positions of 8 * 4*2*2
            nn.Dense(5, flatten=False), nn.BatchNorm())     # 4*24 rows of 24 * 5
    params, macs = complexity(net, 16)
    assert macs == 16 * 16 * 8 * 27 + 12 * 12 * 8 * 18 + 144 * 8 * 16 + 4 * 24 * 24 * 5
    assert params == 8 * 27 + 8 + 8 * 18 + 8 + 8 * 16 + 4 + 24 * 5 + 5 + 2 * 4


def test_a_shared_layer_counts_twice_in_cost_and_once_in_size():
    layer = nn.Conv2D(3, 3, padding=1, use_bias=False)
    net = nn.HybridSequential()
    net.add(layer, layer)
    assert complexity(net, 10) == (81, 2 * 100 * 81)


def test_the_network_is_left_as_it_is():
    net = get_model('resnet10_v1d_demo')
    complexity(net, 32)
    assert net.fc.weight._data is None
    net.initialize()
    net.hybridize()
    net.cast('float16')
    assert complexity(net, 32)[0] == 438080
    net.collect_params('.*batchnorm.*').setattr('grad_req', 'null')
    assert complexity(net, 32)[0] < 438080


def test_json(capsys):
    assert main(['ResNet50_v1d', '--json']) == 0
    assert json.loads(capsys.readouterr().out) == {'model': 'resnet50_v1d', 'input_size': 224, 'params': 25576264,
                                                   'macs': 4328824832}
    assert main(['inceptionv3', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['input_size'] == 299


def test_text_fits_80_columns(capsys):
    assert main(['residualattentionnet452', '--input-size', '224']) == 0
    out = capsys.readouterr().out
    assert 'residualattentionnet452' in out and '224' in out and '182,285,224' in out
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize('argv, words', [(['inceptionv3', '--input-size', '64'], 'input size 64'),
                                         (['resnet50_v1d', '--input-size', '0'], '--input-size 0'),
                                         (['resnet50v1d'], 'resnet50_v1d')])
def test_usage_errors(argv, words, capsys):
    with pytest.raises(UsageError, match=words):
        main(argv)
    assert capsys.readouterr().out == ''


def test_reason_of_an_error_is_one_short_line():
    assert module._reason(mx.MXNetError('Traceback\n  frame\nCheck failed: a < b (3 vs. 2) : too small\n')) == \
        'a < b (3 vs. 2) : too small'
