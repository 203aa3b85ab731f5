"""Names of networks, and what they tell."""
from gluon_tricks.models import names, zoo


def test_default_input_size():
    known = 'InceptionV3', 'resnet50_v1d', names.DEMO, 'cifar_resnet20_v1'
    assert [names.default_input_size(name) for name in known] == [299, 224, 32, 32]


def test_the_demos_are_networks_of_each_variant():
    assert names.DEMO in names.DEMOS and set(names.DEMOS) < set(zoo.own_names())
    assert {variant for _, variant in names.DEMOS.values()} == set(names.VARIANTS)
