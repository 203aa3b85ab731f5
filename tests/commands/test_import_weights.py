import json

import pytest

import gluon_tricks as gt
from gluon_tricks.__main__ import main
from gluon_tricks.models.zoo import get_model
from support.networks import initialised, saved


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """(path of GluonCV's names, path of timm's) of the same ResNet-18-B of 4 classes."""
    pytest.importorskip('safetensors', reason='needs the package safetensors')
    from gluon_tricks.exchange.convert import write_timm
    folder, net = tmp_path_factory.mktemp('source'), initialised(get_model('resnet18_v1b', classes=4))
    write_timm(net, 'resnet18_v1b', str(folder / 'model.safetensors'))
    return saved(net, folder / 'net.params'), str(folder / 'model.safetensors')


@pytest.mark.parametrize('which, words', [(0, 'of a .params file'), (1, "of timm's resnet18,")])
def test_it_writes_the_file_and_says_what_is_in_it(which, words, source, tmp_path, capsys):
    out = str(tmp_path / 'out.params')
    assert main(['import-weights', source[which], out, '--model', 'resnet18_v1b']) == 0
    text = capsys.readouterr().out
    assert words in text and '102 arrays' in text and '4 classes' in text and 'SHA-1' not in text
    assert {name: array.tobytes() for name, array in gt.read_params(out).items()} == {
        name: array.tobytes() for name, array in gt.read_params(source[0]).items()}
    assert main(['import-weights', source[which], out, '--model', 'resnet18_v1b', '--json', '--classes', '4']) == 0
    assert json.loads(capsys.readouterr().out)['classes'] == 4


def test_wrong_usage_is_one_sentence(source, tmp_path, capsys):
    out = str(tmp_path / 'out.params')
    (tmp_path / 'net.pth').write_bytes(b'PK\x03\x04')
    for words, sentence in (([source[1], out], '--model'),
                            ([source[1], out, '--model', 'resnet18_v1b', '--classes', '5'], 'must have 5'),
                            ([str(tmp_path / 'net.pth'), out, '--model', 'resnet18_v1b'], 'a pickle'),
                            ([str(tmp_path / 'none'), out, '--model', 'resnet18_v1b'], 'no such file')):
        assert main(['import-weights'] + words) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and sentence in lines[0], lines
    assert not (tmp_path / 'out.params').exists()


def test_evaluate_and_predict_take_the_file_as_it_is(source, rec, tmp_path, capsys):
    """The same figures as of the .params file, of a network trained nowhere."""
    image = tmp_path / 'a.jpg'
    image.write_bytes(next(gt.read_records(rec))[2])
    results = []
    for path in source:
        common = ['--model', 'resnet18_v1b', '--num-classes', '4', '--input-size', '64', '--json']
        assert main(['evaluate', path, '--rec-val', rec, '--num-gpus', '0'] + common) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(['predict', '--params', path, str(image)] + common) == 0
        results.append((found['top1'], found['loss'], json.loads(capsys.readouterr().out)))
    assert results[0] == results[1]


@pytest.mark.parametrize('flag, others', [
    ('--resume-params', []), pytest.param('--base-params', [], marks=pytest.mark.slow),
    pytest.param('--teacher-params', ['--teacher', 'resnet18_v1b'], marks=pytest.mark.slow)])
def test_training_takes_the_file_as_it_is(flag, others, source, tiny_arguments, tmp_path):
    """To start from, and as a teacher: the run is that with the .params file, bit for bit."""
    for number, path in enumerate(source):
        arguments = tiny_arguments + ['--model', 'resnet18_v1b', '--num-epochs', '1', flag, path, '--save-dir',
                                      str(tmp_path / str(number))] + others
        assert main(['train'] + arguments) == 0
    nets = [gt.read_params(str(tmp_path / number / 'latest' / 'net.params')) for number in '01']
    assert all(array.tobytes() == nets[1][name].tobytes() for name, array in nets[0].items())
