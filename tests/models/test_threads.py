"""How many threads compute a network on a CPU."""
import json
import os

import pytest

from gluon_tricks import compat, cores
from gluon_tricks.models import threads
from gluon_tricks.models.zoo import get_model
from support.fresh_python import run

mx = compat.mx

# Threads of the process by Linux's own count: OpenMP starts those of a team when an operator first needs them.
COUNT = '''
import os
from gluon_tricks import compat
from gluon_tricks.compat import mx
from gluon_tricks.models.threads import use_threads
from gluon_tricks.models.zoo import get_model

def started(device=mx.cpu()):
    before = len(os.listdir('/proc/self/task'))
    x = mx.nd.ones((8, 16, 32, 32), ctx=device)
    mx.nd.Convolution(x, mx.nd.ones((16, 16, 3, 3), ctx=device), kernel=(3, 3), num_filter=16,
                      no_bias=True).wait_to_read()
    return len(os.listdir('/proc/self/task')) - before

def threads():
    return compat.environment()['threads']

mx.nd.ones(1).wait_to_read(), mx.nd.ones(1, ctx=mx.cpu(1)).wait_to_read()  # the engine's own threads are there
'''


def printed(script, **variables):
    """The words that a fresh Python prints."""
    code, out, err = run(COUNT + script, **variables)
    assert code == 0, err
    return out.split()


@pytest.mark.parametrize('name, side, small', [
    ('resnet10_v1d_demo', 32, True), ('resnet18_v1d_demo', 32, True), ('resnet10_v1d_demo', 64, False),
    ('resnet18_v1b', 32, False), ('cifar_resnet20_v1', 32, False), ('mobilenet1.0', 32, False),
    ('resnet50_v1d', 224, False), ('mobilenet0.25', 224, False)])
def test_small_networks(name, side, small):
    assert threads.is_small(get_model(name), side) == small


def test_the_limit_by_hand():
    """A convolution of 1 x 1 from 3 to 1 channels costs 3 multiply-adds a pixel."""
    net = mx.gluon.nn.Conv2D(1, 1)
    assert threads.is_small(net, 258) and not threads.is_small(net, 259)  # 3 * 258**2 = 199,692; 3 * 259**2 = 201,243


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='the threads of a process are counted on Linux')
def test_the_engine_starts_that_many_threads():
    assert printed('compat.compute_with(3, [mx.cpu()]); print(started(), started(mx.cpu(1)), threads())',
                   OMP_NUM_THREADS='1') == ['2', '0', '3']
    assert printed('compat.compute_with(1, [mx.cpu(), mx.cpu(1)]); print(started(), started(mx.cpu(1)), threads())',
                   OMP_NUM_THREADS='3') == ['0', '0', '1']


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='the threads of a process are counted on Linux')
def test_all_cores_without_a_word_and_a_child_chooses_for_itself():
    """OMP_NUM_THREADS, which MXNet has to be told by, is not left behind for processes that are started."""
    child = 'import subprocess; subprocess.run("echo $OMP_NUM_THREADS", shell=True)'
    assert printed(f'print(started(), flush=True); {child}') == [str(cores.available_cores() - 1)]
    assert printed(f'print(started(), flush=True); {child}', OMP_NUM_THREADS='3') == ['2', '3']


def test_one_thread_where_all_networks_are_small():
    script = '''
demo, large = get_model('resnet10_v1d_demo'), get_model('resnet18_v1b')
for nets in [demo], [demo, demo], [demo, large], [large], [demo]:
    use_threads(nets, 32, [mx.cpu()])
    print(threads())
'''
    many = str(cores.available_cores())
    assert printed(script) == ['1', '1', many, many, '1']
    assert printed(script, OMP_NUM_THREADS='3') == ['3'] * 5


def test_gpus_are_left_alone(monkeypatch):
    monkeypatch.setattr(compat, 'THREADS_GIVEN', False)
    monkeypatch.setattr(compat, 'compute_with', None)
    before = compat.environment()['threads']
    threads.use_threads([get_model('resnet10_v1d_demo')], 32, [mx.gpu(0)])
    assert compat.environment()['threads'] == before


def test_a_run_and_its_evaluation_compute_with_one_thread(tmp_path):
    """run.json says so; both are processes of their own, without OMP_NUM_THREADS."""
    script = f'''
import sys, json, gluon_tricks as gt
from gluon_tricks.commands import train
train.main(['--data-backend', 'synthetic', '--model', 'resnet10_v1d_demo', '--num-classes', '10', '--input-size', '32',
            '--num-training-samples', '64', '--batch-size', '16', '--num-epochs', '1', '--devices', 'cpu(0),cpu(1)',
            '--save-dir', {str(tmp_path / 'run')!r}])
print(started() + started(mx.cpu(1)))
'''
    assert printed(script)[-1] == '0'
    assert json.loads((tmp_path / 'run/run.json').read_text())['environment']['threads'] == 1
    script = f'''
import gluon_tricks as gt
gt.open_run({str(tmp_path / 'run')!r}).net()
print(started(), threads())
'''
    assert printed(script)[-2:] == ['0', '1']
