"""The command's lines, its JSON, and its refusals; the folder is `exchange/test_export.py`'s."""
import importlib.util
import json
import sys

import pytest

from gluon_tricks.__main__ import main
from support.exported import write_run

needs_onnx = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnx', 'onnxruntime', 'safetensors'))),
                                reason="pip install '.[onnx,interchange]'")


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp('export') / 'run', 'classification')


@needs_onnx
def test_a_folder_is_written_and_checked(run_dir, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['export', run_dir, str(out)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == f'{out}: resnet10_v1d_demo, 4 classes' and captured.err == ''
    assert [line.split()[0] for line in lines[1:]] == ['net.params', 'net-symbol.json', 'model.onnx', 'model-from-image.onnx',
                                                       'model.safetensors', 'config.json']
    assert float(next(line for line in lines if 'model.onnx' in line).split()[1]) < 1e-5
    assert main(['export', '--check', str(out)]) == 0
    assert 'all of them whole' in capsys.readouterr().out
    (out / 'model.onnx').write_bytes(b'')
    assert main(['export', '--check', str(out)]) == 2
    assert 'model.onnx is damaged' in capsys.readouterr().err


@needs_onnx
def test_a_bare_file_as_json(run_dir, tmp_path, capsys):
    arguments = ['--params', f'{run_dir}/epoch-0003/net.params', '--model', 'resnet10_v1d_demo', '--num-classes', '4']
    assert main(['export', str(tmp_path / 'out'), '--json'] + arguments) == 0
    stored = json.loads(capsys.readouterr().out)
    assert stored == json.loads((tmp_path / 'out' / 'export.json').read_text())


@pytest.mark.parametrize('arguments, words', [
    ([], 'give the SAVE_DIR'), (['a'], 'give the SAVE_DIR'), (['a', 'b', 'c'], 'give the SAVE_DIR'),
    (['--params', 'a.params', 'b', 'c'], 'give the SAVE_DIR'), (['a', 'b', '--model', 'resnet50_v1d'], '--model is for a file'),
    (['--check', 'a', 'b'], '--check looks at a folder'), (['--check', 'a', '--size', '3', '4'], 'drop size'),
    (['--check', 'nowhere'], 'cannot be read'), (['a', 'b', '--crop-ratio', '2'], '--crop-ratio'),
    (['nowhere', 'b'], 'nowhere')])
def test_wrong_usage_is_one_sentence(arguments, words, capsys):
    if words == 'nowhere':
        pytest.importorskip('onnxruntime')
    assert main(['export'] + arguments) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1


def test_without_the_extra_it_says_what_to_type(run_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    assert main(['export', run_dir, str(tmp_path / 'out')]) == 2
    assert capsys.readouterr().err == ("error: onnx is not installed: type `pip install '.[onnx]'` in this project's "
                                       'directory\n')
    assert not (tmp_path / 'out').exists()
