"""The table of published networks: its digests are GluonCV's, its names timm's, its figures the recipes'."""
import pytest

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.errors import UsageError
from gluon_tricks.models import published, timm
from gluon_tricks.models.zoo import all_names

TABLE = {each.name: each for each in published.table()}


def test_gluoncvs_digests():
    """Those of the living rows are the files that GluonCV's last release fetches."""
    from gluoncv.model_zoo.model_store import _model_sha1
    for each in TABLE.values():
        if each.name.endswith('.gluon_in1k'):
            assert _model_sha1[each.model].startswith(each.sha1) and len(each.sha1) == 8, each.name


def test_each_name_is_a_network_of_timms_that_is_known_here():
    for name, each in TABLE.items():
        assert each.model in all_names()
        if each.hub:
            assert each.hub == 'timm/' + name
            assert timm.networks()[name.split('.')[0]].model == each.model
            assert each.taken == (each.model != 'senet_154') and (each.taken or 'not taken here' in each.note)
    gone = {name for name, each in TABLE.items() if not each.hub}
    assert gone == {f'{each.model}-{each.sha1}' for each in TABLE.values() if not each.hub} and len(gone) == 5


def test_every_network_that_a_recipe_names_by_its_digest_is_listed_or_an_earlier_file_of_one():
    """GluonCV replaced two of its files; the recipes have those of the paper's time too."""
    listed = {each.sha1 for each in TABLE.values()}
    digests = {recipe.gluoncv['hash'] for recipe in RECIPES.values() if recipe.gluoncv.get('hash')}
    assert digests - listed == {'cfe0220d', '8659a9d6'}


@pytest.mark.parametrize('name, row, zoo', [
    ('resnet50d.gluon_in1k', 'table6/resnet50_v1d/mixup', (79.15, 94.58)),
    ('inception_v3.gluon_in1k', 'table6/inceptionv3/mixup', (78.77, 94.39)),
    ('resnet152d.gluon_in1k', 'teacher/resnet152_v1d_mixup', (80.61, 95.34)),
    ('mobilenet1.0-efbb2ca3', 'table6/mobilenet1.0/mixup', (73.28, 91.30)),
    ('resnet50.tv_in1k', 'b_standard', (None, None)),
])
def test_the_papers_rows(name, row, zoo):
    assert published.get(name).rows[0] == row and published.get(name).zoo == zoo


def test_figures_are_close_to_each_other():
    """timm resizes with another filter: a tenth of a point, and never half of one."""
    for each in TABLE.values():
        if each.zoo[0] and each.timm[0]:
            assert abs(each.zoo[0] - each.timm[0]) < 0.25, each.name


def test_a_name_without_its_tag_and_one_that_is_unknown():
    assert published.get('resnet50d') == TABLE['resnet50d.gluon_in1k']
    with pytest.raises(UsageError, match="'nix' is not a published network"):
        published.get('nix')


def test_a_network_here_that_was_published_once():
    assert published.get('resnet101_v1d').name == published.get('ResNet101_v1d').name == 'resnet101d.gluon_in1k'
    with pytest.raises(UsageError, match='resnet50_v1d was published 2 times: give one of resnet50d.gluon_in1k, resnet50_v1d-0'):
        published.get('resnet50_v1d')


@pytest.mark.parametrize('name, figures, expected', [
    ('resnet50d', (79.15, 79.08, None), (79.15, 79.08, 79.15)),
    ('resnet50s', (None, 78.71, None), (78.71, 78.71, 78.71)),
    ('resnet50.tv_in1k', (None, 76.156, 76.156), (76.156, 76.156, 76.156)),
    ('resnet50_v1-cc729d95', (77.36, None, None), (77.36, 77.36, 77.36))])
def test_the_figure_of_each_protocol(name, figures, expected):
    """The nearest where none was published."""
    network = published.get(name)
    assert network.figures() == dict(zip(published.PROTOCOLS, figures))
    assert tuple(network.expected(protocol) for protocol in published.PROTOCOLS) == expected


def test_timm_has_them(theirs):
    for each in TABLE.values():
        if each.hub:
            config = theirs[1].models.get_pretrained_cfg(each.name)
            assert (config.hf_hub_id, config.interpolation, config.crop_pct) == (each.hub, each.filter, 0.875)
