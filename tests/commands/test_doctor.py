"""`doctor`: sixteen environments and more, each with one fault by a stubbed query: its one sentence, and no other.

Real ones, in environments of their own: tests/slow/test_doctor.py.
"""
import json
import os
import sys
from unittest import mock

import pytest

from gluon_tricks import compat
from gluon_tricks.__main__ import main
from gluon_tricks.commands import doctor
from gluon_tricks.doctor.examine import examine
from gluon_tricks.doctor.machine import Gpus
from gluon_tricks.doctor.trial import Measured
from gluon_tricks.errors import UsageError
from support import ROOT
from support.detection import write_tree
from support.machines import H100, V100, cuda, machine
from support.networks import initialised, saved


def compat_says(library):
    """`compat`'s sentence where MXNet's import lacks a library."""
    error = OSError(f'{library}: cannot open shared object file: No such file or directory')
    finder = mock.Mock(find_spec=mock.Mock(side_effect=error))
    with mock.patch.dict(sys.modules), mock.patch.object(sys, 'meta_path', [finder]):
        del sys.modules['mxnet']
        return str(pytest.raises(UsageError, compat._import_mxnet).value)


CUT = 'libquadmath.so.0: cannot open shared object file'
# name: (machine, what its sentence says, exit code)
ENVIRONMENTS = {
    'NumPy 2': (machine({'numpy': '2.1.3'}, import_faults=['np.PZERO']), "pip install 'numpy>=1.17,<2'", 1),
    'PyTorch 2': (machine({'torch': '2.13.0'}), 'nothing is to be done', 0),
    'two OpenCVs': (machine({'opencv-python-headless': '4.10.0.84'}), 'pip uninstall -y opencv-python opencv-python-headless', 0),
    'OpenCV for NumPy 2': (machine({'opencv-python': '4.12.0.88'}), "pip install 'opencv-python>=4.5,<4.12'", 0),
    'onnx 1.19': (machine({'onnx': '1.19.1'}), "pip install 'onnx>=1.17,<1.19'", 0),
    'an old protobuf': (machine({'protobuf': '3.20.3'}), "pip install 'protobuf>=4.25.1'", 0),
    'both MXNets': (machine({'mxnet-cu112': '1.9.1'}), 'pip uninstall -y mxnet mxnet-cu112', 0),
    'Python 3.13': (machine(python=(3, 13)), 'Python 3.13: this project takes >=3.8,<3.13', 0),
    'a missing library': (machine(import_faults=[f'mxnet cannot load a system library ({CUT}): type `apt-get']), CUT, 1),
    'no MXNet': (machine(without=['mxnet'], import_faults=['mxnet is not installed for python']), 'mxnet is not installed', 1),
    'sm_90': (cuda(V100, H100), 'gpu(1) is NVIDIA H100, compute capability 9.0: mxnet-cu112 has code for 5.0 to 8.9', 1),
    'an old driver': (cuda(V100, version=(10, 2)), 'install driver 450.80.02', 1),
    'no driver for the GPU build': (cuda(import_faults=[compat_says('libcuda.so.1')]), 'install the NVIDIA driver, or', 1),
    'no CUDA libraries for the GPU build': (cuda(V100, import_faults=[compat_says('libcudart.so.11.0')]),
                                            "type `make .venv EXTRA=cu112`, or `pip install '.[cu112]'`", 1),
    'no GPU visible': (cuda(environ={'CUDA_VISIBLE_DEVICES': ''}), 'unset CUDA_VISIBLE_DEVICES', 0),
    'GPUs, and the build for the CPU': (machine(gpus=Gpus((12, 4), (V100,))), 'make .venv EXTRA=cu112', 0),
}
# name: (machine, flags beside those of a run that is right, what its sentence says, exit code)
RUNS = {
    'records are missing': (machine(), ['--rec-train', 'no.rec'], 'no.rec is missing', 1),
    'another number of classes': (machine(), ['--num-classes', '3'], '--num-classes 3', 1),
    'the learning rate of 8 GPUs on one': (machine(), ['--lr', '0.4'], '64 times the 0.00625 of linear scaling', 0),
    'few open files': (machine(open_files=100), ['-j', '16'], 'ulimit -n 4096', 1),
    'a full disk': (machine(free_disk=10 ** 6), [], 'its disk has 1.0 MB free', 1),
    'GPUs that are not there': (machine(), ['--num-gpus', '8'], '--num-gpus 8: this machine has 0 GPUs', 1),
    'SAVE_DIR is a file': (machine(), ['--save-dir', os.path.abspath(__file__)], 'test_doctor.py is a file', 1),
    'an unknown network': (machine(), ['--model', 'resnet51'], 'resnet51', 1),
    'fewer images than a batch': (machine(), ['--batch-size', '512', '--lr', '0.2'], 'fewer than one batch of 512', 1),
    'weights to fine-tune are missing': (machine(), ['--base-params', '/nope.params'], '/nope.params: no such file', 1),
    'weights to start from are missing': (machine(), ['--resume-params', '/nope.params'], '/nope.params: no such file', 1),
    'workers without a launcher': (machine(), ['--kv-store', 'dist_sync'], 'which a launcher starts', 1),
    'the same, with a learning rate': (machine(), ['--kv-store', 'dist_sync', '--lr', '0.01'], 'which a launcher starts', 1),
    'fewer images than a batch of each worker': (machine(), ['--workers', '5'], '12 images for each worker, fewer than', 1),
    'the learning rate of one worker': (machine(), ['--workers', '4', '--lr', '0.00625'], '1/4 of the 0.025 of linear', 0),
    'a teacher without its weights': (machine(), ['--teacher', 'resnet10_v1d_demo', '--teacher-params', '/nope.params'],
                                      '/nope.params: no such file', 1),
}
# recipe: what is said where its data are not there
WITHOUT_DATA = {
    'table6/resnet50_v1d/mixup': 'is missing: prepare ImageNet',
    'demo': '`python -m gluon_tricks prepare demo --out runs/demo-data`',
    'table8/cosine': 'VOC2007/ImageSets/Main/trainval.txt cannot be read', 'table9/cosine': 'is missing: type `python -m '
    'gluon_tricks prepare ade20k', 'demo-detection': 'runs/demo-scenes/voc', 'demo-segmentation': 'runs/demo-scenes/ade'}


def run(monkeypatch, capsys, here, *words):
    """(exit code, the answer as JSON) of the command on a machine."""
    monkeypatch.setattr(doctor.machine, 'HERE', here)
    capsys.readouterr()
    code = main(['doctor', *words, '--json'])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def flags(tiny_data, tmp_path):
    return ['--data-dir', str(tiny_data), '--model', 'resnet10_v1d_demo', '--num-classes', '4', '--input-size', '32',
            '--batch-size', '16', '--num-epochs', '2', '--num-gpus', '0', '-j', '2', '--seconds', '0', '--save-dir',
            str(tmp_path / 'run')]


@pytest.mark.parametrize('name', list(ENVIRONMENTS))
def test_an_environment_with_one_fault_gets_one_sentence(name, monkeypatch, capsys):
    here, words, expected = ENVIRONMENTS[name]
    code, answer = run(monkeypatch, capsys, here)
    assert len(answer['findings']) == 1 and words in answer['findings'][0]['text'] and code == expected
    assert '\n' not in answer['findings'][0]['text']


def test_the_page_lists_each_environment_with_its_fact():
    rows = [line.strip('| \n').split(' | ') for line in (ROOT / 'docs' / 'doctor.md').read_text().splitlines()]
    listed = {row[0]: row[1:] for row in rows if row[0] in ENVIRONMENTS}
    for name, (here, _, _) in ENVIRONMENTS.items():
        found, = examine(here).findings
        level, fact = listed[name]
        assert found.level == level and found.text.startswith(fact)


@pytest.mark.parametrize('name', list(RUNS))
def test_a_run_with_one_fault_gets_one_sentence(name, flags, monkeypatch, capsys):
    here, more, words, expected = RUNS[name]
    code, answer = run(monkeypatch, capsys, here, *flags, *more)
    assert [words in found['text'] for found in answer['findings']] == [True], answer['findings']
    assert code == expected


def test_loader_processes_in_a_container(monkeypatch, capsys, tmp_path):
    code, answer = run(monkeypatch, capsys, machine(shared_memory=64 << 20), 'table8/cosine', '--devices', 'cpu(0)',
                       '--batch-size', '8', '--seconds', '0', '--save-dir', str(tmp_path / 'run'), '--data-dir',
                       str(write_tree(tmp_path / 'voc')))
    found, = answer['findings']
    assert '--shm-size' in found['text'] and code == 1


def test_the_healthy_get_none(flags, monkeypatch, capsys):
    for here in (machine(), machine(gpus=Gpus((12, 4), ())), cuda(V100), cuda(V100, V100, version=(12, 8))):
        code, answer = run(monkeypatch, capsys, here)
        assert (code, answer['findings'], answer['healthy']) == (0, [], True)
    assert run(monkeypatch, capsys, machine(), *flags)[1]['findings'] == []
    several = [*flags, '--workers', '4']  # the learning rate is theirs by itself
    for more in ([], ['--kv-store', 'dist_sync'], ['--kv-store', 'dist_sync', '--lr', '0.025']):
        assert run(monkeypatch, capsys, machine(), *several, *more)[1]['findings'] == []
    main(['doctor', *flags])
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 1 and out[0].startswith('healthy: nothing was found by 12 checks: versions, imports, ')


@pytest.mark.parametrize('name', ['demo', 'demo-detection', 'demo-segmentation'])
def test_of_a_recipe_with_its_data_on_a_healthy_machine_nothing_is_told(name, tasks_data, tmp_path, monkeypatch, capsys):
    code, answer = run(monkeypatch, capsys, machine(), name, '--devices', 'cpu(0)', '--seconds', '0', '--data-dir',
                       tasks_data[name], '--save-dir', str(tmp_path / 'run'))
    assert (code, answer['findings'], answer['healthy']) == (0, [], True)


@pytest.mark.parametrize('name', ['demo-detection', 'demo-segmentation'])
@pytest.mark.parametrize('flags, words', [(['--batch-size', '17'], '17'), (['--base-params', '/nope.params'], '/nope.params')])
def test_what_another_task_would_be_refused_for(name, flags, words, tasks_data, tmp_path, monkeypatch, capsys):
    code, answer = run(monkeypatch, capsys, machine(), name, '--devices', 'cpu(0)', '--seconds', '0', '--data-dir',
                       tasks_data[name], '--save-dir', str(tmp_path / 'run'), *flags)
    assert code == 1 and [words in found['text'] for found in answer['findings']] == [True]


@pytest.mark.parametrize('words', [['--seconds', '0', 'NAME', '--devices', 'cpu(0)'], ['--devices=cpu(0)', '--seconds=0', 'NAME'],
                                   ['--devices', 'cpu(0)', '--seconds', '0', '--no-mirror', 'NAME'],
                                   ['--seconds', '0', '--devices', 'cpu(0)', '--recipe', 'NAME']])
@pytest.mark.parametrize('name', ['demo', 'demo-detection'])
def test_the_recipe_is_found_among_the_words(name, words, tasks_data, tmp_path, monkeypatch, capsys):
    words = [name if word == 'NAME' else word for word in words] + ['--data-dir', tasks_data[name], '--save-dir', 'demo']
    monkeypatch.chdir(tmp_path)
    code, answer = run(monkeypatch, capsys, machine(), *words)
    assert (code, answer['findings']) == (0, []) and 'save dir' in answer['checks']


@pytest.mark.parametrize('name', list(WITHOUT_DATA))
def test_of_a_recipe_without_its_data_these_are_told(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    code, answer = run(monkeypatch, capsys, machine(), name, '--devices', 'cpu(0)', '--seconds', '0')
    found, = answer['findings']
    assert code == 1 and found['check'] == 'data' and WITHOUT_DATA[name] in found['text']


def test_a_save_dir_of_another_run_and_a_run_that_is_resumed(flags, tmp_path, monkeypatch, capsys):
    """A resumed run does not read --base-params again."""
    from gluon_tricks.commands import train
    from gluon_tricks.models.zoo import get_model
    base = saved(initialised(get_model('resnet10_v1d_demo', classes=3)), tmp_path / 'base.params')
    words = [*flags, '--lr', '0.00625', '--base-params', base]
    place = words.index('--seconds')
    assert train.main(words[:place] + words[place + 2:]) == 0
    os.remove(base)
    code, answer = run(monkeypatch, capsys, machine(), *words)
    assert code == 1 and 'holds the checkpoints of another run' in answer['findings'][0]['text']
    assert run(monkeypatch, capsys, machine(), *words, '--resume', 'auto')[1]['findings'] == []


def test_the_words_of_a_fault_and_the_end(flags, monkeypatch, capsys):
    monkeypatch.setattr(doctor.machine, 'HERE', machine(open_files=10))
    assert main(['doctor', *flags]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and out[0].startswith('fails: 10 files may be open') and out[1] == 'the run would fail'
    monkeypatch.setattr(doctor.machine, 'HERE', machine())
    assert main(['doctor', *flags, '--lr', '1']) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ['the run would work']


def test_figures_of_a_trial(flags, monkeypatch, capsys):
    from gluon_tricks.doctor import trial
    measured = Measured(1.0, 0.5, 0.4, 0.1, 2.0, 1.0, 16, 1, 4, 2, 10 ** 9, None, None, 5 * 10 ** 6, 2 * 10 ** 6)
    monkeypatch.setattr(trial, 'measure', lambda config, seconds, workers: measured)
    given = [word for place, word in enumerate(flags) if word != '--seconds' and flags[place - 1] != '--seconds']
    code, answer = run(monkeypatch, capsys, machine(), *given)
    assert code == 0 and answer['findings'] == [] and answer['checks'][-3:] == ['trial', 'memory', 'reader']
    assert answer['estimates']['hours'] == pytest.approx((1 + 2 * (4 * 0.5 + 2 + 1)) / 3600)
    main(['doctor', *given])
    assert [line.partition(':')[0] for line in capsys.readouterr().out.splitlines()] == [
        'time', 'speed', 'memory', 'disk', 'healthy']
    main(['doctor', *given, '--workers', '2'])
    assert 'memory: 1.00 GB of each of 2 workers' in capsys.readouterr().out


@pytest.mark.parametrize('words, part', [
    (['--seconds', '-1'], '--seconds -1 must be 0 to 3600'), (['demo', '--workers', '0'], '--workers 0 must be 1 to 1024'), (['--batch-sise', '3'], '--batch-sise'),
    (['no-such-recipe'], 'is unknown'), (['--json', 'no-such-recipe'], 'is unknown'),
    (['demo', 'demo'], 'unrecognized arguments: demo'), (['demo', '--recipe', 'demo'], 'both name a recipe'),
    (['--published', 'resnet50d.gluon_in1k'], '--params FILE go together'),
    (['--published', 'resnet50d.gluon_in1k', '--params', 'x'], 'needs the validation records'),
    (['demo', '--epsilon', '-1'], '--epsilon')])
def test_wrong_usage_is_one_sentence(words, part, capsys):
    assert main(['doctor', *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and part in err and len(err.splitlines()) == 1


# -- the known answer -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('verdict, cause, code, words', [
    ('as expected', None, 0, ': as expected'),
    ('too low', 'channels exchanged', 1, 'too low; channels exchanged; pack the records again'),
    ('at chance', None, 1, 'at chance; `python -m gluon_tricks evaluate --published` with the same files')])
def test_the_known_answer(verdict, cause, code, words, flags, monkeypatch, capsys):
    from gluon_tricks.commands import known_answer
    asked = []

    def answer(arguments):
        asked.append(arguments)
        return {'published': 'x', 'top1': 79.0, 'num_images': 2000, 'expected': 79.1, 'verdict': verdict, 'cause': cause,
                'remedy': 'pack the records again'}

    monkeypatch.setattr(known_answer, 'answer', answer)
    found_code, found = run(monkeypatch, capsys, machine(), *flags, '--published', 'x', '--params', 'w.safetensors')
    assert found_code == code and words in found['findings'][0]['text']
    assert asked[0].params == 'w.safetensors' and asked[0].rec_val.endswith('/rec/val.rec') and asked[0].num_gpus == 0


# ---------------------------------------------------------------------------------------------------------------------
# The self-test: tests/doctor/test_selftest.py

def test_the_selftest_is_of_the_machine_and_takes_devices_alone(tmp_path, monkeypatch, capsys):
    from gluon_tricks.doctor import selftest
    asked = []
    monkeypatch.setattr(selftest, 'selftest', lambda *words: asked.append(words) or 1)
    path = str(tmp_path / 'out.json')
    assert main(['doctor', '--gpu-selftest', path]) == 1
    assert main(['doctor', '--gpu-selftest', path, '--devices', 'cpu(0),cpu(1),cpu(2)']) == 1
    assert asked == [(path, ''), (path, 'cpu(0),cpu(1),cpu(2)')]
    for words, match in ((['demo'], 'give it alone'), (['--model', 'resnet50_v1d'], 'give it alone'), (['--json'], 'give it alone'),
                         (['--workers', '2'], 'give it alone'),
                         (['--devices', 'gpu(9)'], 'gpu(9) is not one of')):
        assert main(['doctor', *words, '--gpu-selftest', path]) == 2
        assert match in capsys.readouterr().err
    assert len(asked) == 2
