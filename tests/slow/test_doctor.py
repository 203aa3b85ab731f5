"""The doctor in real environments with one fault each, made for it; and what it foretells, beside a run."""
import glob
import json
import os
import subprocess
import sys

import pytest

from gluon_tricks.data.records.packing import pack
from support import ROOT
from support.records import make_jpeg

pytestmark = pytest.mark.slow
# name: (packages that are put before the installed ones, what its one sentence says, exit code)
OVERLAYS = {
    'NumPy 2': (['numpy>=2,<2.3'], "pip install 'numpy>=1.17,<2'", 1),
    'two OpenCVs': (['opencv-python-headless==4.10.0.84'], 'are both installed: they are one folder, cv2', 0),
    'onnx 1.19': (['onnx==1.19.1'], "pip install 'onnx>=1.17,<1.19'", 0),
    'an old protobuf': (['onnx==1.18.0', 'protobuf==3.20.3'], 'protobuf 3.20.3 is beside onnx 1.18.0', 0),
}


def doctor(*words, python=sys.executable, **environment):
    """(exit code, findings) of the command in a process of its own."""
    done = subprocess.run([python, '-m', 'gluon_tricks', 'doctor', *words, '--json'], capture_output=True, text=True,
                          env=dict(os.environ, **environment))
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def install(folder, packages):
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', str(folder), *packages],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        pytest.skip('needs a package index: ' + done.stdout.strip()[-200:])


@pytest.mark.parametrize('name', list(OVERLAYS))
def test_real_packages_that_do_not_go_together(name, tmp_path):
    packages, words, expected = OVERLAYS[name]
    install(tmp_path, packages)
    code, answer = doctor(PYTHONPATH=f'{tmp_path}:{ROOT}')
    assert [words in found['text'] for found in answer['findings']] == [True], answer['findings']
    assert code == expected


def test_an_environment_with_nothing_in_it(tmp_path):
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(tmp_path)], check=True)
    code, answer = doctor(python=str(tmp_path / 'bin' / 'python'), PYTHONPATH=str(ROOT))
    found, = answer['findings']
    assert code == 1 and ' is not installed for ' in found['text'] and 'make .venv' in found['text']


def test_a_missing_system_library(tmp_path):
    """A stand-in for the package whose library lacks another, as the loader says it."""
    (tmp_path / 'mxnet.py').write_text('import ctypes; ctypes.CDLL("libquadmath.so.99")')
    code, answer = doctor(PYTHONPATH=f'{tmp_path}:{ROOT}')
    found, = answer['findings']
    assert code == 1 and 'libquadmath.so.99: cannot open shared object file' in found['text']


def test_memory_and_disk_of_a_run(tmp_path, tiny_arguments):
    words = [*tiny_arguments, '--save-dir', str(tmp_path / 'run')]
    code, answer = doctor(*words, '--seconds', '4', PYTHONPATH=str(ROOT))
    assert code == 0 and {found['check'] for found in answer['findings']} == {'learning rate'}
    process = subprocess.Popen([sys.executable, str(ROOT / 'train_imagenet.py'), *words], stdout=subprocess.DEVNULL,
                               env=dict(os.environ, PYTHONPATH=str(ROOT)))
    _, status, usage = os.wait4(process.pid, 0)
    disk = sum(os.path.getsize(path) for path in glob.glob(str(tmp_path / 'run' / 'epoch-*' / '*')))
    assert status == 0
    assert answer['estimates']['memory'] == pytest.approx(usage.ru_maxrss << 10, rel=0.15)
    assert answer['estimates']['disk'] == pytest.approx(disk, rel=0.05)


@pytest.mark.parametrize('recipe', ['demo-detection', 'demo-segmentation'])
def test_no_false_alarm_over_the_tasks(recipe, tmp_path):
    subprocess.run([sys.executable, '-m', 'gluon_tricks', 'prepare', 'demo', '--scenes', '--out', str(tmp_path)], check=True,
                   env=dict(os.environ, PYTHONPATH=str(ROOT)), stdout=subprocess.DEVNULL)
    part = str(tmp_path / ('voc' if 'detection' in recipe else 'ade'))
    code, answer = doctor(recipe, '--data-dir', part, '--seconds', '4', PYTHONPATH=str(ROOT))
    assert (code, answer['findings']) == (0, []) and answer['estimates']['hours'] > 0


def test_no_false_alarm_over_the_demo(tmp_path):
    subprocess.run([sys.executable, '-m', 'gluon_tricks', 'prepare', 'demo', '--out', str(tmp_path / 'data')], check=True,
                   env=dict(os.environ, PYTHONPATH=str(ROOT)), stdout=subprocess.DEVNULL)
    code, answer = doctor('demo', '--data-dir', str(tmp_path / 'data'), '--save-dir', str(tmp_path / 'run'), '--seconds', '4',
                          PYTHONPATH=str(ROOT))
    assert (code, answer['findings'], answer['healthy']) == (0, [], True) and answer['estimates']['hours'] > 0


def test_no_false_alarm_over_records_of_imagenets_shape(tmp_path):
    """1000 classes by their WordNet ids, images of 500 pixels, a network of the paper's kind at 224."""
    from gluoncv.data import ImageNet1kAttr
    (tmp_path / 'rec').mkdir()
    for part, number in (('train', 64), ('val', 32)):
        pack([(make_jpeg(i % 4, i, 500), 15 * i, f'image{i}') for i in range(number)], str(tmp_path / 'rec' / part),
             classes=list(ImageNet1kAttr().synset))
    code, answer = doctor('--model', 'resnet18_v1b', '--batch-size', '16', '--data-dir', str(tmp_path), '--save-dir',
                          str(tmp_path / 'run'), '--seconds', '4', PYTHONPATH=str(ROOT))
    assert (code, answer['findings'], answer['healthy']) == (0, [], True) and answer['estimates']['hours'] > 0
