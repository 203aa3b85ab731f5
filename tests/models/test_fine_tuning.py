"""Which layer is new, what is taken over, and that nothing but the new layer changes where it alone is trained."""
import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models import zoo
from gluon_tricks.models.fine_tuning import freeze_base, load_base, output_layer
from gluon_tricks.models.weights import read_weights, stored_params
from gluon_tricks.models.zoo import get_model
from support.networks import initialised, saved, trained_elsewhere

import gluoncv

NAMES = ['resnet50_v1', 'inceptionv3', 'mobilenetv2_0.25', 'vgg11_bn', 'squeezenet1.0', 'densenet121', 'alexnet', zoo.DEMO]


def head_of(net):
    """Structural names of the output layer's arrays."""
    params = set(output_layer(net).collect_params().values())
    return {name for name, param in stored_params(net).items() if param in params}


def values(net):
    return {name: param.data().asnumpy() for name, param in stored_params(net).items()}


@pytest.mark.parametrize('name', NAMES + [pytest.param(name, marks=pytest.mark.slow) for name in zoo.all_names()
                                          if not zoo._PRUNED.search(name) and name not in NAMES])
def test_the_output_layer_is_what_depends_on_the_number_of_classes(name):
    shapes = [{name: param.shape for name, param in stored_params(get_model(name, classes=classes)).items()}
              for classes in (5, 7)]
    assert head_of(get_model(name, classes=5)) == {name for name in shapes[0] if shapes[0][name] != shapes[1][name]}


# ---------------------------------------------------------------------------------------------------------------------
# What is taken over

@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """(path, arrays) of a network of 7 classes with statistics of its own."""
    net = trained_elsewhere(get_model(zoo.DEMO, classes=7))
    return saved(net, tmp_path_factory.mktemp('base') / 'net.params'), values(net)


@pytest.mark.parametrize('classes', [1, 4, 7])
def test_all_but_the_output_layer_is_the_file_s(classes, base):
    """Where the number of classes is that of the file, too."""
    net = initialised(get_model(zoo.DEMO, classes=classes))
    before = values(net)
    load_base(net, read_weights(base[0]))
    for name, array in values(net).items():
        np.testing.assert_array_equal(array, (before if name in ('fc.weight', 'fc.bias') else base[1])[name], name)
    assert head_of(net) == {'fc.weight', 'fc.bias'}


def test_from_gluoncv_as_its_tutorial_does(tmp_path):
    """A new dense layer in the place of the old one: the same outputs and gradients in training, bit by bit."""
    theirs = trained_elsewhere(gluoncv.model_zoo.get_model('resnet18_v1b', pretrained=False, classes=7))
    path = saved(theirs, tmp_path / 'net.params')
    ours = initialised(get_model('resnet18_v1b', classes=4))
    load_base(ours, read_weights(path))
    with theirs.name_scope():
        theirs.fc = mx.gluon.nn.Dense(4, in_units=512)
    theirs.fc.initialize()
    theirs.fc.weight.set_data(ours.fc.weight.data())
    x, found = mx.nd.random.normal(shape=(4, 3, 64, 64)), []
    for net in (ours, theirs):
        with mx.autograd.record():
            output = net(x)
            loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(output, mx.nd.array([0, 1, 2, 3]))
        loss.backward()
        found.append([output.asnumpy()] + [param.grad().asnumpy() for param in stored_params(net).values()
                                           if param.grad_req != 'null'])
    assert len(found[0]) == len(found[1]) == 1 + 62
    assert all(np.array_equal(*pair) for pair in zip(*found))


@pytest.mark.parametrize('form', ['export', 'float16', 'timm'])
def test_files_of_every_form(form, tmp_path):
    name = 'resnet18_v1b' if form == 'timm' else zoo.DEMO
    net = trained_elsewhere(get_model(name, classes=7))
    expected, path = values(net), str(tmp_path / 'net-0000.params')
    if form == 'export':
        net.hybridize()
        net(mx.nd.zeros((1, 3, 64, 64)))
        net.export(str(tmp_path / 'net'))
    elif form == 'float16':
        saved(net, path, 'float16')
        expected = {name: array.astype('float16').astype('float32') if array.ndim > 1 else array
                    for name, array in expected.items()}
    else:
        pytest.importorskip('safetensors', reason='needs the package safetensors')
        from gluon_tricks.exchange.convert import write_timm
        path = str(tmp_path / 'model.safetensors')
        write_timm(net, name, path)
    other = initialised(get_model(name, classes=4))
    load_base(other, read_weights(path))
    for name, array in values(other).items():
        assert name in ('fc.weight', 'fc.bias') or np.array_equal(array, expected[name]), name


def test_what_does_not_fit_is_named(base, tmp_path):
    with pytest.raises(UsageError, match='another network'):
        load_base(initialised(get_model('resnet18_v1d', classes=4)), read_weights(base[0]))
    for changes, words in (({'fc.weight': np.zeros((7, 64))}, 'another network: fc.weight'),
                           ({'fc.weight': np.zeros((7,))}, 'another network: fc.weight'),
                           ({'bn1.gamma': np.zeros(3)}, 'another network: bn1.gamma'),
                           ({'bn1.gamma': np.full(16, np.nan)}, 'not finite')):
        path = str(tmp_path / 'changed.params')
        mx.nd.save(path, {name: mx.nd.array(array) for name, array in dict(base[1], **changes).items()})
        with pytest.raises(UsageError, match=words):
            load_base(initialised(get_model(zoo.DEMO, classes=4)), read_weights(path))


# ---------------------------------------------------------------------------------------------------------------------
# The output layer alone

@pytest.mark.parametrize('name', [zoo.DEMO, 'cifar_resnet20_v1', 'mobilenet0.25'])
def test_nothing_but_the_output_layer_is_trained(name):
    """An update of softmax regression on the features of evaluation, by NumPy; all other arrays keep their bits."""
    net = trained_elsewhere(get_model(name, classes=4))
    layer, features = output_layer(net), []
    x, target = mx.nd.random.normal(shape=(6, 3, 64, 64)), np.eye(4)[[0, 1, 2, 3, 0, 1]]
    layer.weight.set_data(layer.weight.data() / net(x).abs().max())
    before = values(net)
    hook = layer.register_forward_pre_hook(lambda block, inputs: features.append(inputs[0]))
    scores = net(x).asnumpy().astype('float64')
    hook.detach()
    frozen = freeze_base(net)
    net.hybridize(static_alloc=True, static_shape=True)
    trainer = mx.gluon.Trainer(layer.collect_params(), 'sgd', {'learning_rate': 0.5, 'wd': 0.1})
    with mx.autograd.record():
        loss = -(mx.nd.log_softmax(net(x)) * mx.nd.array(target)).sum(axis=1)
    loss.backward()
    trainer.step(6)
    mx.nd.waitall()
    z = features[0].asnumpy().astype('float64').reshape(6, -1)
    slope = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) - target
    after = values(net)
    weight, bias = sorted(head_of(net), reverse=True)
    for array, gradient in ((weight, slope.T @ z / 6), (bias, slope.sum(axis=0) / 6)):
        expected = before[array] - 0.5 * (gradient + 0.1 * before[array])
        assert np.abs(after[array] - expected).max() < 1e-4 * np.abs(expected).max() + 1e-6, array
    assert set(frozen) == set(before) - {weight, bias}
    for other in frozen:
        assert before[other].tobytes() == after[other].tobytes() == frozen[other].asnumpy().tobytes(), other


def test_batch_normalisation_trains_otherwise():
    """The test above would see the statistics move."""
    net = trained_elsewhere(get_model(zoo.DEMO, classes=4))
    before = values(net)
    with mx.autograd.record():
        loss = net(mx.nd.random.normal(shape=(6, 3, 64, 64))).sum()
    loss.backward()
    mx.nd.waitall()
    assert not np.array_equal(values(net)['bn1.running_mean'], before['bn1.running_mean'])
