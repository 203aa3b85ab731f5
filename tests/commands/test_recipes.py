import json
import re
import shlex

import pytest

from gluon_tricks.commands.recipes import card, main
from gluon_tricks.config import classification as configuration
from gluon_tricks.config import recipes_transfer
from gluon_tricks.config.recipes import RECIPES, get
from gluon_tricks.errors import UsageError
from gluon_tricks.results.records import base_rows


def test_the_listing_fits_and_names_all(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if line and line.split()[0] in RECIPES}
    assert list(rows) == list(RECIPES)
    assert rows['table6/resnet50_v1d/mixup'] == ['1024', '0.4', '79.15', '94.58', '79.15', '94.58']
    assert rows['table1/densenet201'] == ['1024', '0.4', '-', '-', '-', '-']


@pytest.mark.parametrize('name', list(RECIPES))
def test_a_card_tells_all(name, capsys):
    assert main([name]) == 0
    out = capsys.readouterr().out
    words = ' '.join(out.split())
    recipe = get(name)
    assert max(map(len, out.splitlines())) <= 80
    for text in (recipe.table, recipe.heading, recipe.change, recipe.note, recipe.above,
                 'python train_imagenet.py --recipe ' + name):
        assert text in words
    for figures in (recipe.paper, recipe.gluoncv):
        assert all(str(value) in words for value in figures.values() if value is not None)


def test_json(capsys):
    assert main(['--json']) == 0
    every = json.loads(capsys.readouterr().out)
    assert [row['name'] for row in every] == list(RECIPES) + list(recipes_transfer.RECIPES)
    for row in every[:len(RECIPES)]:
        assert {'name', 'table', 'heading', 'change', 'paper', 'gluoncv', 'config', 'command'} <= set(row)
        assert configuration.TrainConfig.from_dict(row['config']) == get(row['name']).config
        assert row['command'] == get(row['name']).command
        assert {'top1', 'top5'} <= set(row['paper']) and {'top1', 'top5'} <= set(row['gluoncv'])
    assert main(['b_standard', '--json']) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one['name'] == 'b_standard' and one['paper']['top1'] == 76.14


@pytest.mark.parametrize('name', list(RECIPES))
def test_the_card_ends_with_the_plain_command(name):
    folded = card(get(name)).split('\n\n')[-1].replace('\\\n', '')
    assert shlex.split(folded) == shlex.split(get(name).command)


def test_the_rows_of_tables_8_and_9(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f'\n{name} ' in out for name in recipes_transfer.RECIPES)
    assert main(['table9/mixup']) == 0
    card = capsys.readouterr().out
    assert 'pix_acc 78.47, miou 37.99' in card and 'python transfer/train_fcn.py --recipe table9/mixup --base' in card
    assert main(['table8/mixup', '--json']) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row['config']['lr_warmup'] == 500 and row['paper']['map_voc07'] == 81.1


def test_wrong_usage():
    with pytest.raises(UsageError, match="recipe 'zzz' is unknown"):
        main(['zzz'])
    with pytest.raises(UsageError, match='--jsonn'):
        main(['--jsonn'])


@pytest.mark.parametrize('name', [name for name in recipes_transfer.RECIPES if name.startswith('table')])
def test_a_base_is_where_its_run_writes_it(name, capsys):
    """And a run over it is known as the row, by the path alone."""
    assert main([name]) == 0
    path = re.search(r'--base-params (\S+)', capsys.readouterr().out).group(1)
    assert path == get(recipes_transfer.RECIPES[name].base).config.save_dir + '/best/net.params'
    assert recipes_transfer.RECIPES[name].base in base_rows(path)
