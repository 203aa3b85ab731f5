import json

from gluon_tricks.__main__ import main
from gluon_tricks.models import published


def test_the_table_has_every_network_and_says_which_live(capsys):
    assert main(['published']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    gap = next(number for number, line in enumerate(lines) if line.startswith('no living copy'))
    for each in published.table():
        number = next(number for number, line in enumerate(lines) if line.startswith(each.name + ' '))
        assert (number < gap) == bool(each.hub) and each.model in lines[number]
    assert any('b_standard, a stand-in' in line for line in lines)


def test_one_network_in_full(capsys):
    assert main(['published', 'resnet50d']) == 0
    text = capsys.readouterr().out
    for words in ('table6/resnet50_v1d/mixup', 'resnet50_v1d-117a384e.params', '79.15', '79.080', 'timm/resnet50d.gluon',
                  'python -m gluon_tricks evaluate --published resnet50d.gluon_in1k --params resnet50d.gluon_in1k/model.safe'):
        assert words in text, words
    assert main(['published', 'mobilenet1.0-efbb2ca3']) == 0
    text = capsys.readouterr().out
    assert 'no living copy is known' in text and '~/.mxnet/models/mobilenet1.0-efbb2ca3.params' in text
    assert main(['published', 'senet154']) == 0
    text = capsys.readouterr().out
    assert 'is not taken here' in text and 'python -m' not in text


def test_as_json_and_a_wrong_name(capsys):
    assert main(['published', '--json']) == 0
    assert [each['name'] for each in json.loads(capsys.readouterr().out)] == [each.name for each in published.table()]
    assert main(['published', 'nix']) == 2
    assert 'is not a published network' in capsys.readouterr().err
