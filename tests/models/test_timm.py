"""timm's networks, array by array: the committed list against our networks, and where timm is, against timm's."""
import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.models import timm, zoo
from support import timm_networks

NETWORKS = timm.networks()
REFUSED = {'mobilenetv1_100': r'27 relu6; here 27 relu', 'senet154': 'with padding 1; here .* with padding 0 and what'}
SAME = sorted(set(NETWORKS) - set(REFUSED))


def test_the_list_has_every_network_of_gluoncv_that_the_maker_names():
    assert set(NETWORKS) == set(timm_networks.EQUAL) | set(timm_networks.ORDER) | set(timm_networks.BUILT)
    assert {len(NETWORKS[name].arrays) for name in ('resnet18', 'resnet50', 'resnet50d')} == {102, 267, 277}


@pytest.mark.parametrize('name', sorted(NETWORKS))
def test_every_array_has_its_place_and_none_is_left_over(name):
    """By the rule of the family: equal names, or equal order; and every shape."""
    network = NETWORKS[name]
    net, ours = timm_networks.outlined(network.model)
    theirs = [(each, shape) for each, _, shape in network.arrays]
    pairs = timm_networks.paired(theirs, ours, name not in timm_networks.ORDER)
    assert pairs == [(each, our, list(shape)) for each, our, shape in network.arrays]
    assert len({our for _, our, _ in network.arrays}) == len(ours) == len(theirs)
    if name in SAME:
        assert timm.computing(net) == network.computes
        timm.check_computing('x', network, net)


@pytest.mark.parametrize('name', sorted(NETWORKS))
@pytest.mark.parametrize('classes', [1000, 7])
def test_a_file_is_recognised_by_names_and_shapes(name, classes):
    network = NETWORKS[name]
    assert timm.recognise('x', dict(reversed(list(network.shapes(classes).items())))) == (network, classes)


@pytest.mark.parametrize('name', sorted(REFUSED))
def test_the_same_shapes_with_another_activation_or_pooling_are_refused(name):
    network = NETWORKS[name]
    with pytest.raises(UsageError, match=REFUSED[name] + r'.*\): every shape fits and the outputs would be wrong'):
        timm.check_computing('x.safetensors', network, timm_networks.outlined(network.model)[0])


def test_the_same_shapes_with_another_epsilon_are_refused():
    net = zoo.get_model('resnet18_v1b', norm_kwargs={'epsilon': 1e-3})
    with pytest.raises(UsageError, match=r'other BatchNorm epsilons \(20 1e-05; here 20 0.001\)'):
        timm.check_computing('x', NETWORKS['resnet18'], net)


@pytest.mark.parametrize('change, words', [
    (lambda shapes: shapes.pop('layer1.0.bn1.bias'), 'resnet18, whose layer1.0.bn1.bias is not in the file'),
    (lambda shapes: shapes.update(head=(3, 3)), "resnet18, which has no 'head'"),
    (lambda shapes: shapes.update({'bn1.bias': (63,)}), r'bn1.bias has the shape \(64,\), and \(63,\) in the file'),
    (lambda shapes: shapes.update({'fc.bias': (999,)}), r'fc.weight has the shape \(999, 512\), and \(1000, 512\)'),
    (lambda shapes: shapes.update({'fc.bias': ()}), r'fc.bias has the shape \(1000,\), and \(\)'),
    (lambda shapes: shapes.clear(), "its first array is 'missing'"),
    (lambda shapes: (shapes.clear(), shapes.update(x=(1,))), "its first array is 'x'"),
])
def test_what_is_no_known_network_is_named(change, words):
    shapes = NETWORKS['resnet18'].shapes(1000)
    change(shapes)
    with pytest.raises(UsageError, match=words) as caught:
        timm.recognise('x.safetensors', shapes)
    assert '\n' not in str(caught.value) and 'those' in str(caught.value)


def test_only_counters_beside_a_batch_norm_are_left_out():
    arrays = {'bn1.running_var': 1, 'bn1.num_batches_tracked': 2, 'fc.num_batches_tracked': 3}
    assert timm.split_counters(arrays) == ({'bn1.running_var': 1, 'fc.num_batches_tracked': 3},
                                           ['bn1.num_batches_tracked'])


def test_a_network_that_timm_lacks():
    with pytest.raises(UsageError, match='timm has no such network'):
        timm.named('resnet50_v1')


# ---------------------------------------------------------------------------------------------------------------------
# Where torch and timm are

@pytest.mark.parametrize('name', sorted(NETWORKS))
def test_the_list_is_timms(name, theirs):
    network = NETWORKS[name]
    computes, arrays = timm_networks.facts_of(*theirs, name)
    assert computes == network.computes
    assert arrays == [(each, shape) for each, _, shape in network.arrays]


FAST = ('resnet18d-demo', 'resnet18', 'resnet18d', 'seresnext50_32x4d')


@pytest.mark.parametrize('name', FAST + tuple(pytest.param(name, marks=pytest.mark.slow) for name in SAME
                                              if name not in FAST))
def test_both_compute_the_same_and_the_way_back_is_equal_bit_for_bit(name, theirs, tmp_path):
    """Logits within 1e-5 of the largest, where activations exceed 6, which ReLU6 would cut."""
    found = timm_networks.parity(*theirs, name, tmp_path)
    print(f'\n{name}: {found.difference:.1e} of the largest logit; activations up to {found.activation:.0f}')
    assert found.activation > 6 and found.back_equal
    assert found.difference < 1e-5


@pytest.mark.parametrize('name', sorted(REFUSED))
def test_a_file_of_a_network_that_computes_another_way_is_refused(name, theirs, tmp_path):
    with pytest.raises(UsageError, match=REFUSED[name]):
        timm_networks.parity(*theirs, name, tmp_path)
