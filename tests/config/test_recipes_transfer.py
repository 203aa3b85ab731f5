
import pytest

from gluon_tricks.commands.train_detection import main
from gluon_tricks.config import recipes_transfer as tables
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.recipes import RECIPES as CLASSIFIERS
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.errors import UsageError
from support import ROOT

# Tables 8 and 9 of the paper, row by row; they name the last one differently.
HEADINGS = ['B-standard', 'D-efficient', '+ cosine', '+ smooth', '+ distill w/o mixup', '+ mixup w/o distill']
LAST = ['+ distill w/ mixup', '+ mixup w/ distill']
TOP1 = [76.14, 77.16, 77.91, 78.34, 78.67, 79.16, 79.29]
MAP = [77.54, 78.30, 79.23, 80.71, 80.96, 81.10, 81.33]
PIX_ACC = [78.08, 78.88, 79.25, 78.64, 78.97, 78.47, 78.72]
MIOU = [37.05, 38.88, 39.33, 38.75, 38.90, 37.99, 38.40]


def test_the_papers_figures():
    rows = [row for name, row in tables.RECIPES.items() if name.startswith('table')]
    assert [row.heading for row in rows] == HEADINGS + LAST[:1] + HEADINGS + LAST[1:]
    assert [row.paper['top1'] for row in rows] == TOP1 + TOP1
    assert [row.paper['map_voc07'] for row in rows[:7]] == MAP
    assert [row.paper['pix_acc'] for row in rows[7:]] == PIX_ACC and [row.paper['miou'] for row in rows[7:]] == MIOU


@pytest.mark.parametrize('name', [name for name in tables.RECIPES if name.startswith('table')])
def test_a_row_names_the_recipe_of_its_backbone(name):
    """Its network is that recipe's, and its accuracy is, to the paper's own rounding, the one of that table."""
    row = tables.RECIPES[name]
    base = CLASSIFIERS[row.base]
    assert base.paper['top1'] == pytest.approx(row.paper['top1'], abs=0.035)
    network = row.config.network if name.startswith('table8') else row.config.backbone
    assert base.config.model == network


def test_rows_differ_in_the_backbone_alone():
    for table, kind in (('table8', 'network'), ('table9', 'backbone')):
        configs = {recipe.config.replace(**{kind: 'resnet50_v1d', 'save_dir': 'x'})
                   for name, recipe in tables.RECIPES.items() if name.startswith(table)}
        assert len(configs) == 1


@pytest.mark.parametrize('name', ['demo-detection', 'demo-segmentation'])
def test_a_demo_stands_on_the_demo_of_classification(name):
    row = tables.RECIPES[name]
    network = getattr(row.config, 'network', None) or row.config.backbone
    assert CLASSIFIERS[row.base].config.model == network
    makefile = (ROOT / 'Makefile').read_text()
    assert f'--recipe {name} ' in makefile and row.config.data_dir.startswith('runs/demo-scenes/')


def test_get():
    assert tables.get('table8/mixup', RCNNConfig).network == 'resnet50_v1d'
    for name, kind, part in (('table8/mixup', FCNConfig, 'train_faster_rcnn.py'),
                             ('table9/mixup', RCNNConfig, 'train_fcn.py'), ('table8/mixd', RCNNConfig, 'did you mean')):
        with pytest.raises(UsageError, match=part):
            tables.get(name, kind)


def test_table_8_clips_gradients_as_gluoncv_did_when_the_paper_was_written():
    assert {recipe.config.clip_gradient for name, recipe in tables.RECIPES.items() if name.startswith('table8')} == {5.0}


def test_a_recipe_is_a_beginning_that_flags_change(capsys):
    assert main(['--recipe', 'table8/mixup', '--devices', 'cpu(0)', '--print-config']) == 0
    shown = capsys.readouterr().out
    assert '"network": "resnet50_v1d"' in shown and '"lr_warmup": 500' in shown and '"devices": "cpu(0)"' in shown
