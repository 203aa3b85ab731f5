"""Machines for the doctor: a healthy one, whose answers a test replaces."""
import dataclasses

from gluon_tricks.doctor.machine import Gpu, Gpus, Machine

PACKAGES = {'mxnet': '1.9.1', 'gluoncv': '0.10.5.post0', 'numpy': '1.26.4', 'opencv-python': '4.11.0.86',
            'onnx': '1.18.0', 'protobuf': '7.36.2'}
V100, H100 = Gpu('Tesla V100', (7, 0), 16 << 30), Gpu('NVIDIA H100', (9, 0), 80 << 30)


def machine(packages=None, without=(), **answers):
    """A Machine without GPUs and without a fault; packages: in place of some of PACKAGES; without: names of some that
    are not installed; answers: what a question returns, by its name."""
    installed = {name: version for name, version in dict(PACKAGES, **packages or {}).items() if name not in without}
    healthy = dict(packages=installed, needs=['numpy>=1.22', 'protobuf>=4.25.1'], gpus=None, import_faults=[],
                   shared_memory=8 << 30, open_files=1024, free_disk=1 << 40, free_memory=8 << 30)
    plain = {name: answers.pop(name) for name in ('python', 'system', 'environ') if name in answers}
    asked = {name: lambda *question, answer=answer: answer for name, answer in dict(healthy, **answers).items()}
    return Machine(**dict(dict(python=(3, 11), system='Linux', environ={}), **plain, **asked))


def cuda(*devices, version=(11, 4), **answers):
    """A machine with MXNet's GPU build and these GPUs."""
    return dataclasses.replace(machine({'mxnet-cu112': '1.9.1'}, without=('mxnet',), **answers),
                               gpus=lambda: Gpus(version, devices))
