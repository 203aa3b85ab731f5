import dataclasses
import os

import pytest

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.doctor import estimates
from gluon_tricks.doctor.trial import Measured
from support.machines import machine

MEASURED = Measured(start=10.0, update=0.5, step=0.4, read=0.1, evaluation=20.0, checkpoint=1.0, images=256, devices=8,
                    updates=100, epochs=3, peak=2 * 10 ** 9, device_peak=None, device_memory=None,
                    checkpoint_bytes=3 * 10 ** 8, weights_bytes=10 ** 8)
CONFIG = TrainConfig(num_epochs=3, decode_threads=4, save_dir='nowhere')


def test_the_figures():
    found = estimates.estimates(MEASURED, CONFIG)
    assert found['hours'] == pytest.approx((10 + 3 * (100 * 0.5 + 20 + 1)) / 3600) and found['gpu_hours'] is None
    assert (found['images_per_second'], found['step_images_per_second'], found['reader_images_per_second']) == (512, 640, 2560)
    assert found['disk'] == 3 * 3 * 10 ** 8


def test_gpu_hours():
    measured = dataclasses.replace(MEASURED, device_peak=10, device_memory=100)
    found = estimates.estimates(measured, CONFIG, workers=2)
    assert found['gpu_hours'] == pytest.approx(16 * found['hours'])
    assert ' GPU-hours: 3 epochs' in estimates.lines(found, CONFIG)[0]


def test_lines():
    text = estimates.lines(estimates.estimates(MEASURED, CONFIG), CONFIG)
    assert text == ['time: 3.7 minutes: 3 epochs of 71 s',
                    'speed: 512 images/s; updates alone 640, the reader alone 2560',
                    'memory: 2.00 GB of the process', 'disk: 900.0 MB at most: 3 checkpoints of 300.0 MB at the end, and '
                    '0.0 MB of weights, if each epoch is the best so far']
    longer = CONFIG.replace(num_epochs=13)
    assert estimates.lines(estimates.estimates(MEASURED, longer), longer)[3].startswith(
        'disk: 2.10 GB at most: 4 checkpoints of 300.0 MB at the end, and 900.0 MB of weights')
    assert estimates.hours(14.913) == '14.9 hours' and estimates.hours(0.5) == '30 minutes'


@pytest.mark.parametrize('changes, answers, words', [
    (dict(), dict(), ''),
    (dict(read=0.8), dict(), 'the reader gives 320 images/s at most, and the updates could take 640: -j is 4'),
    (dict(read=None), dict(), ''),
    (dict(), dict(free_memory=10 ** 9), 'the run takes 2.00 GB of memory, and 1.00 GB are free'),
    (dict(), dict(free_memory=None), ''),
    (dict(), dict(free_disk=10 ** 9), 'checkpoints take 1.20 GB (4 of 300.0 MB at a time)'),
    (dict(device_peak=97, device_memory=100), dict(), '97 % of a GPU\'s'),
    (dict(device_peak=90, device_memory=100), dict(), '')])
def test_what_is_wrong(changes, answers, words):
    found = estimates.findings(machine(**answers), CONFIG, dataclasses.replace(MEASURED, **changes))
    assert len(found) == bool(words) and all(words in finding.text for finding in found)


def test_checkpoints_that_are_there_count(tmp_path):
    assert estimates.bytes_there(str(tmp_path / 'no')) == 0
    (tmp_path / 'epoch-0003').mkdir()
    (tmp_path / 'epoch-0003' / 'net.params').write_bytes(bytes(5))
    os.link(str(tmp_path / 'epoch-0003' / 'net.params'), str(tmp_path / 'a-3-best.params'))
    assert estimates.bytes_there(str(tmp_path)) == 5
    (tmp_path / 'a-2-best.params').write_bytes(bytes(7))  # its checkpoint was pruned
    assert estimates.bytes_there(str(tmp_path)) == 12


def test_a_checkpoint_by_its_parameters():
    config = CONFIG.replace(model='resnet50_v1b', input_size=224)
    assert estimates.reckoned(config) == (2 * 4 * 25557032, 4 * 25557032)  # the paper's ResNet-50, as torchvision counts it
    assert estimates.reckoned(config.replace(dtype='float16'))[0] == 3 * 4 * 25557032
