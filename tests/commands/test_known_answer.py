"""`evaluate --published`: on records that are labelled by what the network predicts, so that its answer is known."""
import json

import numpy as np
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.data.records.packing import pack
from gluon_tricks.exchange import known_answer, protocols
from gluon_tricks.models import published
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tricks.low_precision import precision
from support.archives import devkit
from support.records import make_jpeg

CPU = [mx.cpu()]
IMAGES = [make_jpeg(number % 4, number, size=44 + number % 9) for number in range(120)]


@pytest.fixture(scope='module')
def given(tmp_path_factory):
    """(file of weights of a network of 1000 classes, what it predicts for IMAGES)."""
    folder = tmp_path_factory.mktemp('answer')
    mx.random.seed(0)
    net = get_model('resnet10_v1d_demo', classes=1000)
    net.initialize(mx.init.Xavier(magnitude=6))
    net(mx.nd.zeros((1, 3, 32, 32))).wait_to_read()
    net.save_parameters(str(folder / 'net.params'))
    pack([(content, 0, str(number)) for number, content in enumerate(IMAGES)], str(folder / 'all'), shuffle=False)
    scorer = known_answer.Scorer(net, str(folder / 'all.rec'), str(folder / 'all.idx'), protocols.get('opencv', 32),
                                   known_answer.imagenet_classes(), CPU, precision('float32', CPU))
    predicted = scorer.score(np.arange(len(IMAGES)))[1][:, 0]
    assert len(set(predicted.tolist())) > 2
    return str(folder / 'net.params'), predicted.tolist()


@pytest.fixture
def network(monkeypatch):
    one = published.Published('demo.gluon_in1k', 'resnet10_v1d_demo', '', (100.0, None), 'timm/demo', (99.9, None))
    monkeypatch.setattr(published, 'table', lambda: [one])
    return one


def evaluate(given, folder, capsys, *flags, relabel=lambda label: label):
    """(exit code, output) of records with other labels."""
    params, predicted = given
    pack([(content, relabel(label), str(number)) for number, (content, label) in enumerate(zip(IMAGES, predicted))],
         str(folder / 'val'))
    capsys.readouterr()
    code = main(['evaluate', '--published', 'demo', '--params', params, '--rec-val', str(folder / 'val.rec'),
                 '--num-gpus', '0', *flags])
    captured = capsys.readouterr()
    return code, captured.out or captured.err


def test_a_clean_set(given, network, tmp_path, capsys):
    code, out = evaluate(given, tmp_path, capsys, '--batch-size', '50')
    assert code == 0 and 'top-1 100.000 %' in out and 'of 120 images' in out and 'of 150 rows' in out
    assert 'expected: top-1 100.0 % (opencv 100.0, timm 99.9, torchvision not published)' in out
    assert 'verdict: as expected: +0.000 points, 0.0 standard errors of 0.830' in out and 'tried' not in out


def test_labels_that_begin_at_one(given, network, tmp_path, capsys):
    """Among them one beyond the classes, which `evaluate` refuses elsewhere."""
    code, out = evaluate(given, tmp_path, capsys, relabel=lambda label: label + 1)
    assert code == 1 and 'verdict: at chance' in out
    assert 'cause: the labels are one too high: the first class has label 1, and not 0\nremedy: pack the records' in out


def test_ilsvrc_ids_by_a_devkit(given, network, tmp_path, capsys):
    synsets = known_answer.imagenet_classes()
    ids = np.random.RandomState(0).permutation(1000) + 1
    (tmp_path / 'devkit.tar.gz').write_bytes(devkit({int(number): wnid for number, wnid in zip(ids, synsets)}, [1], {}))
    code, out = evaluate(given, tmp_path, capsys, '--json', '--devkit', str(tmp_path / 'devkit.tar.gz'), '--quick', '100',
                         relabel=lambda label: int(ids[label]) - 1)
    result = json.loads(out)
    assert code == 1 and result['num_images'] == result['tried_on']['num_images'] == 100 and result['of'] == 120
    assert result['cause'].startswith('the labels are ILSVRC2012 ids less one') and result['tried'][0]['top1'] == 100


def test_a_devkit_of_other_classes_is_refused(given, network, tmp_path, capsys):
    """Also where nothing is wrong with the records."""
    (tmp_path / 'devkit.tar.gz').write_bytes(devkit({1: 'n00000001', 2: 'n00000002'}, [1], {}))
    code, err = evaluate(given, tmp_path, capsys, '--devkit', str(tmp_path / 'devkit.tar.gz'))
    assert code == 2 and '--devkit names 2 classes' in err and len(err.splitlines()) == 1


@pytest.mark.parametrize('name, words, expected', [
    ('timm', 'short side to 36 (Pillow, bicubic), centre crop 32', '99.9 % (opencv'),
    ('torchvision', 'short side to 36 (Pillow, bilinear), centre crop 32', '100.0 %, the nearest that was published')])
def test_other_protocols(name, words, expected, given, network, tmp_path, capsys):
    code, out = evaluate(given, tmp_path, capsys, '--protocol', name)
    assert code in (0, 1) and f'protocol: {words}' in out and f'expected: top-1 {expected}' in out


@pytest.mark.parametrize('flags, words', [
    (['--published', 'nix'], "'nix' is not a published network"),
    (['--published', 'demo', '--model', 'resnet50_v1d'], '--model: --published says it'),
    (['--published', 'demo', '--gluoncv-padding'], '--gluoncv-padding: --published says it'),
    (['--published', 'demo', '--quick', '5'], '--quick 5 must be at least 100'),
    (['--quick', '500'], '--quick is of --published NAME'), (['--protocol', 'timm'], '--protocol is of --published NAME'),
    (['--devkit', 'x'], '--devkit is of --published NAME'),
    (['--published', 'demo', '--devkit', 'x.tar.gz'], 'x.tar.gz'),
    (['--published', 'demo', '--num-gpus', '-1'], '--num-gpus -1 must be'),
    (['--published', 'demo', '--params', 'b.params'], 'give one file of weights')])
def test_wrong_usage_is_one_sentence(flags, words, given, network, tmp_path, capsys):
    assert main(['evaluate', given[0], '--rec-val', str(tmp_path / 'val.rec')] + flags) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1


def test_what_is_missing_is_named(given, network, tmp_path, capsys):
    assert main(['evaluate', '--published', 'demo', '--params', given[0]]) == 2
    assert 'give --rec-val FILE' in capsys.readouterr().err
    assert main(['evaluate', '--published', 'demo', str(tmp_path), '--rec-val', 'x.rec']) == 2
    assert 'is a directory: give the file of weights' in capsys.readouterr().err
    assert main(['evaluate', '--rec-val', 'x.rec']) == 2
    assert 'give one file of weights, or the SAVE_DIR' in capsys.readouterr().err
