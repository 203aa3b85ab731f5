import importlib

import pytest

from gluon_tricks.config import recipes_transfer
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.recipes import get
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.data.records.packing import pack
from gluon_tricks.doctor import examine
from gluon_tricks.doctor.machine import Gpus
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks import low_precision
from support.machines import H100, V100, cuda, machine
from support.records import make_jpeg


def test_one_cause_one_finding():
    """Without MXNet nothing else is asked; with NumPy 2 its import is not tried."""
    def never():
        raise AssertionError('asked')

    broken = machine({'numpy': '2.0.2'}, import_faults=['mxnet cannot be imported'])
    assert [found.check for found in examine.environment(broken)] == ['versions']
    missing = machine(without=['mxnet'], import_faults=['mxnet is not installed'])
    assert [found.check for found in examine.environment(missing)] == ['imports']
    answer = examine.examine(missing, TrainConfig(lr=100.0), 5.0)
    assert len(answer.findings) == 1 and answer.fails and answer.config is None


def test_without_a_run():
    answer = examine.examine(machine())
    assert answer.healthy and not answer.fails and answer.checks == examine.CHECKS


def test_a_note_is_no_fault():
    answer = examine.examine(machine({'torch': '2.13.0'}))
    assert len(answer.findings) == 1 and answer.healthy


def test_options_that_cannot_be_resolved():
    answer = examine.examine(machine(), TrainConfig(kv_store='dist_sync', num_gpus=0))
    assert answer.fails and 'dist_sync' in answer.findings[0].text and answer.checks[-1] == 'options'


def words_of(config):
    """The text of what would end a run, without a trial."""
    answer = examine.examine(machine(), config)
    return [finding.text for finding in answer.findings if finding.level == 'fails']


def test_fewer_synthetic_images_than_a_batch(tmp_path):
    config = TrainConfig(model='resnet10_v1d_demo', data_backend='synthetic', num_training_samples=100, batch_size=64,
                         devices='cpu(0),cpu(1)', save_dir=str(tmp_path))
    assert ['fewer than one batch of 128' in words for words in words_of(config)] == [True]
    assert words_of(config.replace(num_training_samples=128)) == []


def test_a_type_that_the_devices_do_not_have(tmp_path, monkeypatch):
    config = TrainConfig(model='resnet10_v1d_demo', data_backend='synthetic', dtype='bfloat16', num_gpus=0,
                         save_dir=str(tmp_path))
    for flags, number in (({'avx2'}, 1), ({'avx512bw'}, 0)):
        monkeypatch.setattr(low_precision, '_cpu_flags', lambda: flags)
        assert ['no AVX512' in words for words in words_of(config)] == [True] * number


def test_a_batch_that_does_not_divide(tasks_data, tmp_path):
    config = recipes_transfer.get('demo-segmentation', FCNConfig).replace(
        data_dir=tasks_data['demo-segmentation'], save_dir=str(tmp_path), devices='cpu(0),cpu(1)', base_params='',
        total_batch_size=3, test_batch_size=4)
    assert ['does not divide over 2 devices' in words for words in words_of(config) if '--batch-size' in words] == [True]


def test_save_dir(tmp_path):
    examine.check_save_dir(TrainConfig(save_dir=str(tmp_path / 'a' / 'b')))
    assert not (tmp_path / 'a').exists()
    (tmp_path / 'file').write_text('')
    with pytest.raises(examine.UsageError, match='file is a file'):
        examine.check_save_dir(TrainConfig(save_dir=str(tmp_path / 'file' / 'x')))


# -- when a run starts ------------------------------------------------------------------------------------------------

CONFIG = get('demo').config.replace(num_gpus=0, decode_threads=2, lr=0.0125)


def test_a_healthy_start_is_silent():
    assert examine.warnings(CONFIG, CONFIG, machine()) == []


@pytest.mark.parametrize('here, words', [
    (machine({'opencv-python-headless': '4.10.0.84'}), 'are both installed'),
    (machine(open_files=64), '64 files may be open'),
    (machine(free_disk=10 ** 6), 'its disk has 1.0 MB free')])
def test_what_a_run_is_told(here, words):
    line, = examine.warnings(CONFIG, CONFIG, here)
    assert line.startswith('Warning: ') and words in line


def test_a_gpu_without_code_is_told():
    line, = examine.warnings(CONFIG.replace(num_gpus=1), CONFIG, cuda(H100))
    assert 'compute capability 9.0' in line
    assert not examine.warnings(CONFIG.replace(num_gpus=1), CONFIG, cuda(V100))


def test_no_answer_of_a_machine_ends_a_run():
    def broken(*question):
        raise OSError('no such thing')

    here = examine.Machine(**{name: broken for name in ('packages', 'gpus', 'open_files', 'shared_memory', 'free_disk')})
    assert examine.warnings(CONFIG.replace(num_gpus=None), CONFIG, here) == []


def test_imagenet_in_another_order_is_told(tmp_path):
    """By the certificate of its records."""
    from gluoncv.data import ImageNet1kAttr
    theirs = list(ImageNet1kAttr().synset)
    config = CONFIG.replace(rec_train=str(tmp_path / 'train.rec'))
    for classes, number in ((theirs, 0), ([theirs[1], theirs[0]] + theirs[2:], 1)):
        pack([(make_jpeg(i, i), i, f'{i}') for i in range(4)], str(tmp_path / 'train'), classes=classes)
        lines = examine.warnings(config, config, machine())
        assert [line.startswith('Warning: ') and 'in every published network' in line for line in lines] == [True] * number


@pytest.mark.parametrize('program, name', [('train', 'demo'), ('train_detection', 'demo-detection'),
                                           ('train_segmentation', 'demo-segmentation')])
def test_a_warning_reaches_the_console_of_each_program(program, name, tasks_data, tmp_path, monkeypatch, capsys):
    from gluon_tricks.training import run

    def end(*arguments):
        raise UsageError('the first epoch begins')

    monkeypatch.setattr(run, 'fit', end)
    monkeypatch.setattr(examine, 'HERE', machine(packages={'gluoncv': '0.10.4'}))
    main = importlib.import_module(f'gluon_tricks.commands.{program}').main
    assert main(['--recipe', name, '--devices', 'cpu(0)', '--data-dir', tasks_data[name], '--save-dir',
                 str(tmp_path / 'run')]) == 2
    told = capsys.readouterr()
    assert 'the first epoch begins' in told.err
    assert told.out.count('Warning: gluoncv 0.10.4 is installed') == 1


def test_it_is_in_the_log_of_a_run(tiny_data, tmp_path, monkeypatch):
    """Although the run's own configuration takes the CPU by then."""
    from gluon_tricks import api
    monkeypatch.setattr(examine, 'HERE', machine(gpus=Gpus((12, 4), (V100,))))
    config = TrainConfig(model='resnet10_v1d_demo', num_classes=4, input_size=32, batch_size=32, num_epochs=1,
                         data_dir=str(tiny_data), save_dir=str(tmp_path), decode_threads=2)
    api.train(config)
    assert (tmp_path / 'train_imagenet.log').read_text().count('the installed mxnet is the CPU build') == 1
    assert not examine.warnings(config.replace(devices='cpu(0)'), config)
    assert len(examine.warnings(config, config)) == 1
