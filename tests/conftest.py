"""Fixtures: small record files of real JPEGs, an undisturbed run, and PyTorch's packages where they are."""
import os
import signal

import pytest

if 'PYTEST_XDIST_WORKER' in os.environ:  # the processes share the cores
    os.environ.setdefault('OMP_NUM_THREADS', '1')
import gluon_tricks.compat  # noqa: F401  MXNet needs it before GluonCV is imported
from support.records import make_jpeg, make_records
from support.runs import history, train
from support.timm_networks import import_timm

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup no run would hear of a hangup


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """A data directory with 64 training and 27 validation images of 4 classes."""
    return make_records(tmp_path_factory.mktemp('data') / 'tiny')


@pytest.fixture(scope='session')
def tiny_arguments(tiny_data):
    """Flags of a training run on `tiny_data` that lasts a second or two."""
    return ['--data-dir', str(tiny_data), '--model', 'resnet10_v1d_demo', '--num-classes', '4', '--input-size', '32',
            '--batch-size', '16', '--num-epochs', '2', '--lr', '0.05', '--log-interval', '2', '--num-gpus', '0',
            '-j', '2']


@pytest.fixture(scope='session')
def tasks_data(tmp_path_factory):
    """{demo's name: a small tree that it can train on}."""
    from support.detection import write_tree
    folder = tmp_path_factory.mktemp('tasks')
    ade = folder / 'ade' / 'ADEChallengeData2016'
    for part in ('training', 'validation'):
        for kind, suffix, content in (('images', 'jpg', make_jpeg(1, 1)), ('annotations', 'png', b'')):
            (ade / kind / part).mkdir(parents=True)
            for number in range(8):
                (ade / kind / part / f'{number}.{suffix}').write_bytes(content)
    return {'demo': str(make_records(folder / 'demo', classes=10)), 'demo-detection': str(write_tree(folder / 'voc')),
            'demo-segmentation': str(folder / 'ade')}


@pytest.fixture
def packed(tmp_path):
    """Prefix of 12 records whose label is their number."""
    from gluon_tricks.data.records import packing
    prefix = str(tmp_path / 'set')
    assert packing.pack([(make_jpeg(i % 4, i), i, f'image{i}') for i in range(12)], prefix) == 12
    return prefix


@pytest.fixture
def rec(tmp_path):
    """Path of 12 images of 4 classes, three of each, with a certificate."""
    from gluon_tricks.data.records.packing import pack
    pack([(make_jpeg(i % 4, i), i % 4, f'class{i % 4}/image{i}') for i in range(12)], str(tmp_path / 'x'))
    return str(tmp_path / 'x.rec')


@pytest.fixture(scope='session')
def theirs():
    """(torch, timm), which needs safetensors; without them the test is skipped."""
    try:
        return import_timm()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f'needs torch and timm: {error}')


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    """(weight, history) of `support.runs.train`, undisturbed."""
    folder = tmp_path_factory.mktemp('whole')
    return train(folder)[1], history(folder)
