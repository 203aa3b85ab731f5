import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tasks.segmentation.network import FCN, HEAD_LR, build_fcn, choose_norm, load_fcn, resize_like
from gluon_tricks.tricks.low_precision import precision

from gluoncv.model_zoo import fcn as gluoncv_fcn
from gluoncv.model_zoo import get_model as gluoncv_model

DEMO = 'resnet10_v1d_demo'


def images(height=40, width=56, number=2, seed=0):
    return mx.nd.array(np.random.RandomState(seed).normal(size=(number, 3, height, width)))


@pytest.fixture
def gluoncv_on(monkeypatch):
    """function(base's name, classes) -> GluonCV's FCN on a base that its own builder does not offer."""
    def build(name, classes):
        def base(_, pretrained, **options):
            net = gluoncv_model(name, pretrained=False, **options)
            net.initialize(mx.init.Xavier())
            return net
        monkeypatch.setattr('gluoncv.model_zoo.segbase.get_backbone', base)
        return gluoncv_fcn.FCN(classes, backbone='any', aux=True, pretrained_base=False)
    return build


@pytest.mark.parametrize('name', [pytest.param('resnet50_v1b', marks=pytest.mark.slow), 'resnet50_v1d'])
def test_weights_and_scores_agree_with_gluoncvs_fcn(name, gluoncv_on, tmp_path):
    ours, theirs, x = build_fcn(name, 7, aux=True), gluoncv_on(name, 7), images()
    theirs.predict(x)
    theirs.save_parameters(str(tmp_path / 'theirs.params'))
    ours.load_parameters(str(tmp_path / 'theirs.params'))
    for found, wanted in zip(ours(x), (theirs.predict(x), theirs(x)[1])):
        assert found.shape == (2, 7, 40, 56)
        np.testing.assert_allclose(found.asnumpy(), wanted.asnumpy(), atol=1e-5)
    for param in ours.collect_params().values():
        param.set_data(param.data() * 1.01)
    ours.save_parameters(str(tmp_path / 'ours.params'))
    theirs.load_parameters(str(tmp_path / 'ours.params'))
    np.testing.assert_allclose(ours(x)[0].asnumpy(), theirs.predict(x).asnumpy(), atol=1e-5)


def test_names_are_gluoncvs(gluoncv_on):
    names = set(build_fcn('resnet50_v1d', 150, aux=True)._collect_params_with_prefix())
    assert names == set(gluoncv_on('resnet50_v1d', 150)._collect_params_with_prefix())
    assert {'conv1.0.weight', 'layer4.2.bn3.gamma', 'head.block.0.weight', 'auxlayer.block.4.bias'} <= names
    assert not [name for name in names if name.startswith('fc.')]


def test_the_heads_learn_ten_times_as_fast():
    net = build_fcn(DEMO, 3, aux=True)
    rates = {name: param.lr_mult for name, param in net._collect_params_with_prefix().items()}
    assert {rate for name, rate in rates.items() if name.startswith(('head', 'aux'))} == {HEAD_LR} == {10}
    assert {rate for name, rate in rates.items() if not name.startswith(('head', 'aux'))} == {1}


def _moments(build):
    """{name: (mean, root of the mean square) over 4 seeds} of the arrays of the two heads."""
    moments = {}
    for seed in range(4):
        mx.random.seed(seed)
        for name, param in build()._collect_params_with_prefix().items():
            if name.startswith(('head', 'aux')):
                values = param.data().asnumpy().ravel()
                moments.setdefault(name, []).append((values.mean(dtype='float64'), values.dot(values) / values.size))
    return {name: (np.mean(rows, axis=0)[0], np.mean(rows, axis=0)[1] ** 0.5) for name, rows in moments.items()}


def test_the_heads_start_as_gluoncvs_do(monkeypatch):
    """Mean and second moment of each array over 4 seeds. The base, given to both, takes no part in it."""
    base = get_model('resnet50_v1b', classes=150)
    base.initialize()
    monkeypatch.setattr('gluoncv.model_zoo.segbase.get_backbone', lambda *args, **options: base)
    ours = _moments(lambda: FCN(base, 150, aux=True))
    theirs = _moments(lambda: gluoncv_fcn.FCN(150, aux=True, pretrained_base=False))
    assert len(ours) == 14 and set(ours) == set(theirs)
    for name, (mean, size) in ours.items():
        wanted_mean, wanted_size = theirs[name]
        assert size == pytest.approx(wanted_size, rel=0.02, abs=0), name
        assert mean == pytest.approx(wanted_mean, abs=0.02 * wanted_size), name
    assert theirs['head.block.0.weight'][1] == pytest.approx(0.07 / 3 ** 0.5, rel=0.02)


@pytest.mark.parametrize('hybrid', [False, True])
def test_images_of_any_size(hybrid):
    net = build_fcn(DEMO, 3, aux=True)
    if hybrid:
        net.hybridize()
    for height, width in ((64, 64), (33, 17), (8, 90), (64, 64)):
        for scores in net(images(height, width, 1)):
            assert scores.shape == (1, 3, height, width) and np.isfinite(scores.asnumpy()).all()


def test_scores_are_the_heads_enlarged_bilinearly():
    net, x = build_fcn(DEMO, 3), images()
    c4 = net.stages(x)[3]
    assert c4.shape[2:] == (5, 7)  # stride 8
    wanted = mx.nd.contrib.BilinearResize2D(net.head(c4), height=40, width=56)
    assert len(net(x)) == 1 and np.allclose(net(x)[0].asnumpy(), wanted.asnumpy(), atol=1e-5)


@pytest.mark.parametrize('small, large', [((3, 5), (17, 40)), ((1, 1), (8, 8)), ((6, 6), (6, 6)), ((5, 4), (1, 9)),
                                          ((60, 60), (480, 480))])
def test_resizing_is_mxnets_and_its_gradient_always_the_same(small, large):
    scores, image = mx.nd.random.normal(shape=(2, 7) + small), mx.nd.zeros((2, 3) + large)
    head = mx.nd.random.normal(shape=(2, 7) + large)
    scores.attach_grad()

    def gradient(function):
        with mx.autograd.record():
            result = function()
        result.backward(head)
        return result.asnumpy(), scores.grad.asnumpy()
    wanted = gradient(lambda: mx.nd.contrib.BilinearResize2D(scores, image, mode='like'))
    found = [gradient(lambda: resize_like(mx.nd, scores, image)) for _ in range(10)]
    for one, two in zip(found[0], wanted):
        assert np.allclose(one, two, rtol=1e-5, atol=1e-4)
    assert all((one == two).all() for each in found for one, two in zip(found[0], each))


def test_the_classifiers_weights_are_the_bases(tmp_path):
    classifier = get_model(DEMO, classes=9)
    classifier.initialize(mx.init.Xavier())
    classifier.save_parameters(str(tmp_path / 'a.params'))
    net, x = build_fcn(DEMO, 3, base_params=str(tmp_path / 'a.params')), images()
    for ours, theirs in list(zip(net.stages(x), classifier.stages(x)))[:2]:
        assert (ours == theirs).asnumpy().all()


def test_every_weight_gets_a_gradient():
    net, x = build_fcn(DEMO, 3, aux=True), images()
    with mx.autograd.record():
        loss = sum((scores * images(seed=1).mean()).square().sum() for scores in net(x))
    loss.backward()
    for name, param in net._collect_params_with_prefix().items():
        if param.grad_req != 'null':
            assert param.grad().abs().sum().asscalar() > 0, name


def test_float16_is_emulated():
    net, x, low_precision = build_fcn(DEMO, 3, aux=True), images(), precision('float16', [mx.cpu()])
    wanted = net(x)[0].asnumpy()
    low_precision.prepare(net)
    found = net(low_precision.cast_input(x))[0]
    assert net.head.block[0].weight.data().dtype == np.float16
    assert 0 < abs(found.asnumpy() - wanted).max() < 0.02 * abs(wanted).max()


def test_a_file_says_its_classes_and_second_head(tmp_path):
    x = images()
    for aux in (False, True):
        net = build_fcn(DEMO, 5, aux)
        net.save_parameters(str(tmp_path / 'net.params'))
        loaded, classes = load_fcn(str(tmp_path / 'net.params'), DEMO)
        assert classes == 5 and len(loaded(x)) == 1 + aux
        assert (loaded(x)[0] == net(x)[0]).asnumpy().all()


def test_files_that_do_not_fit_are_named(tmp_path):
    build_fcn(DEMO, 5).save_parameters(str(tmp_path / 'net.params'))
    with pytest.raises(UsageError, match='another network'):
        load_fcn(str(tmp_path / 'net.params'), 'resnet18_v1d')
    classifier = get_model(DEMO, classes=9)
    classifier.initialize()
    classifier.save_parameters(str(tmp_path / 'a.params'))
    with pytest.raises(UsageError, match='no head.block.4.weight'):
        load_fcn(str(tmp_path / 'a.params'), DEMO)
    mx.nd.save(str(tmp_path / 'wide.params'), {'head.block.4.weight': mx.nd.zeros((70000, 1, 1, 1), dtype='uint8')})
    with pytest.raises(UsageError, match='wrong head.block.4.weight'):
        load_fcn(str(tmp_path / 'wide.params'), DEMO)
    with pytest.raises(UsageError, match='no such file'):
        load_fcn(str(tmp_path / 'none.params'), DEMO)


def test_synchronised_normalisation():
    plain, synchronised = mx.gluon.nn.BatchNorm, mx.gluon.contrib.nn.SyncBatchNorm
    assert choose_norm(False, [mx.gpu(0), mx.gpu(1)]) == (plain, None, '')
    assert choose_norm(True, [mx.gpu(0), mx.gpu(1)]) == (synchronised, {'num_devices': 2}, '')
    norm, options, notice = choose_norm(True, [mx.cpu()])
    assert (norm, options) == (plain, None) and 'one device' in notice
    with pytest.raises(UsageError, match='hangs'):
        choose_norm(True, [mx.cpu(0), mx.cpu(1)])


def test_synchronised_layers_have_the_same_names():
    options = dict(norm_layer=mx.gluon.contrib.nn.SyncBatchNorm, norm_kwargs={'num_devices': 2})
    net = build_fcn(DEMO, 3, True, **options)
    assert list(net._collect_params_with_prefix()) == list(build_fcn(DEMO, 3, True)._collect_params_with_prefix())
    layers = []
    net.apply(lambda block: layers.append(block) if isinstance(block, mx.gluon.nn.BatchNorm) else None)
    assert layers and all(type(layer).__name__ == 'SyncBatchNorm' for layer in layers)
    assert isinstance(net, FCN)
