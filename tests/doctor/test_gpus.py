import pytest

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.doctor import gpus
from gluon_tricks.doctor.machine import Gpu, Gpus
from support.machines import H100, V100, cuda, machine


def test_a_gpu_that_the_wheel_has_no_code_for():
    found, = gpus.findings(cuda(V100, H100))
    assert found.text.startswith('gpu(1) is NVIDIA H100, compute capability 9.0: mxnet-cu112 has code for 5.0 to 8.9;')
    assert found.level == 'fails'


@pytest.mark.parametrize('capability, fails', [((3, 7), True), ((5, 0), False), ((7, 5), False), ((8, 6), False),
                                               ((8, 9), False), ((9, 0), True), ((10, 0), True), ((12, 0), True)])
def test_each_capability(capability, fails):
    assert bool(gpus.findings(cuda(Gpu('x', capability, 1)))) == fails


@pytest.mark.parametrize('config, number', [
    (TrainConfig(num_gpus=1), 0), (TrainConfig(num_gpus=2), 1), (TrainConfig(num_gpus=0), 0), (TrainConfig(), 1),
    (TrainConfig(devices='gpu(0)'), 0), (TrainConfig(devices='gpu(0), gpu(1)'), 1), (TrainConfig(devices='cpu(0)'), 0),
    (RCNNConfig(gpus='0'), 0), (RCNNConfig(gpus='1'), 1)])
def test_only_gpus_that_the_run_takes_are_looked_at(config, number):
    assert len(gpus.findings(cuda(V100, H100), config)) == number


def test_a_driver_that_is_too_old():
    found, = gpus.findings(cuda(V100, version=(10, 2)))
    assert found.text.startswith('the NVIDIA driver knows CUDA 10.2: mxnet-cu112 needs one of CUDA 11.0')
    assert not gpus.findings(cuda(V100, version=(11, 0))) and not gpus.findings(cuda(V100, version=(13, 1)))


def test_gpus_beside_the_build_for_the_cpu():
    found, = gpus.findings(machine(gpus=Gpus((12, 4), (V100, V100))))
    assert found.level == 'warning' and found.text.startswith('2 GPUs are here (Tesla V100), and the installed mxnet is '
                                                               'the CPU build')
    assert not gpus.findings(machine(gpus=Gpus((12, 4), ())))


def test_no_gpu_is_visible():
    found, = gpus.findings(cuda(environ={'CUDA_VISIBLE_DEVICES': ''}))
    assert found.level == 'warning' and "CUDA_VISIBLE_DEVICES is ''" in found.text
    assert 'nvidia-smi' in gpus.findings(cuda())[0].text
    assert not gpus.findings(cuda(), TrainConfig(num_gpus=0))


def test_no_driver():
    assert not gpus.findings(machine())
