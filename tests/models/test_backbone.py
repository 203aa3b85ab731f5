import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.models.backbone import build_backbone, classes_of
from gluon_tricks.models.weights import read_weights
from gluon_tricks.models.zoo import get_model


@pytest.fixture
def params(tmp_path):
    net = get_model('resnet10_v1d_demo', classes=7)
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 32, 32))).wait_to_read()
    net.save_parameters(str(tmp_path / 'a.params'))
    return str(tmp_path / 'a.params'), net


@pytest.mark.parametrize('options', [{}, {'dilated': True}, {'use_global_stats': True}])
def test_a_classifiers_weights_are_taken_over(options, params):
    path, net = params
    base = build_backbone('resnet10_v1d_demo', path, **options)
    x = mx.nd.random.normal(shape=(2, 3, 64, 64))
    ours, theirs = base.stages(x), net.stages(x)
    assert [each.shape[2] for each in ours] == ([16, 8, 8, 8] if options.get('dilated') else [16, 8, 4, 2])
    for a, b in list(zip(ours, theirs))[:2 if options.get('dilated') else 4]:
        assert (a == b).asnumpy().all()
    assert classes_of(read_weights(path)) == 7


def test_without_a_file_the_weights_are_new():
    base = build_backbone('resnet10_v1d_demo')
    assert float(base.layer1[0].conv1.weight.data().abs().mean().asscalar()) > 0


def test_what_does_not_fit_is_named(params, tmp_path):
    with pytest.raises(UsageError, match='ResNet-B, -C or -D'):
        build_backbone('mobilenet1.0')
    with pytest.raises(UsageError, match='another network'):
        build_backbone('resnet18_v1d', params[0])
    mx.nd.save(str(tmp_path / 'other.params'), {'a.weight': mx.nd.zeros(3)})
    with pytest.raises(UsageError, match='no fc.weight'):
        build_backbone('resnet18_v1d', str(tmp_path / 'other.params'))
    with pytest.raises(UsageError, match='no such file'):
        build_backbone('resnet18_v1d', str(tmp_path / 'none.params'))


@pytest.mark.parametrize('shape', [(70000, 1), (5,), (5, 3, 1)])
def test_a_file_cannot_ask_for_any_number_of_classes(tmp_path, shape):
    path = str(tmp_path / 'wide.params')
    mx.nd.save(path, {'fc.weight': mx.nd.zeros(shape, dtype='uint8')})
    with pytest.raises(UsageError, match='wrong fc.weight'):
        build_backbone('resnet10_v1d_demo', path)
