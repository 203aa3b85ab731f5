"""No bias decay: GluonCV's choice on its own networks, layers whose names mislead, the effect on an update."""
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.tricks.no_bias_decay import no_bias_decay

nn = mx.gluon.nn


@pytest.mark.parametrize('name, count', [('resnet50_v1d', 111), ('resnet50_v1', 139), ('mobilenet1.0', 55),
                                         ('inceptionv3', 189)])
def test_as_gluoncvs_expression(name, count):
    from gluoncv.model_zoo import get_model
    net = get_model(name, pretrained=False)
    names = no_bias_decay(net)
    assert len(names) == count
    assert set(names) == set(net.collect_params('.*beta|.*gamma|.*bias'))
    decayed = {name for name, parameter in net.collect_params().items() if parameter.wd_mult != 0}
    assert decayed == set(net.collect_params('.*weight'))


class Misleading(mx.gluon.HybridBlock):
    """Layers and parameters whose names say something else than their types."""

    def __init__(self):
        super().__init__(prefix='net_')
        with self.name_scope():
            self.dense = nn.Dense(2, in_units=4, prefix='unbiased_')      # 'unbiased_weight' holds 'bias'
            self.conv = nn.Conv2D(4, 1, in_channels=4, prefix='gamma_')
            self.up = nn.Conv2DTranspose(4, 1, in_channels=4, use_bias=False)
            self.embedding = nn.Embedding(3, 4)
            self.slope = nn.PReLU()
            self.norm = nn.LayerNorm(in_channels=4, prefix='weight_')
            self.scale = self.params.get('weight', shape=(1,))


def test_decides_by_type_not_by_name():
    net = Misleading()
    decayed = {net.dense.weight, net.conv.weight, net.up.weight}
    names = no_bias_decay(net)
    for name, parameter in net.collect_params().items():
        assert parameter.wd_mult == (1 if parameter in decayed else 0), name
        assert (name in names) == (parameter not in decayed)
    by_expression = set(net.collect_params('.*beta|.*gamma|.*bias').values())
    assert net.dense.weight in by_expression and net.scale not in by_expression  # what the names would have said


def test_a_dense_weight_shared_with_an_embedding_decays():
    net = nn.HybridSequential()
    embedding = nn.Embedding(5, 4)
    net.add(embedding, nn.Dense(5, in_units=4, params=embedding.params))
    assert [name.split('_')[-1] for name in no_bias_decay(net)] == ['bias']
    assert embedding.weight.wd_mult == 1


def test_an_update_with_no_gradient_shrinks_only_weights():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(2, 1, in_channels=3), nn.BatchNorm(in_channels=2), nn.Dense(2, in_units=8))
    no_bias_decay(net)
    net.initialize(mx.init.One())
    for parameter in net.collect_params('.*bias|.*beta').values():
        parameter.set_data(mx.nd.ones(parameter.shape))
    trainer = mx.gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 1.0, 'wd': 0.25})
    with mx.autograd.record():
        loss = net(mx.nd.zeros((1, 3, 2, 2))).sum() * 0
    loss.backward()
    trainer.step(1)
    for name, parameter in net.collect_params('.*weight|.*bias|.*gamma|.*beta').items():
        assert parameter.data().asnumpy().ravel()[0] == (0.75 if name.endswith('weight') else 1), name
