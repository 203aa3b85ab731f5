"""The GPUs against what the MXNet wheel has code for, and the driver. Standard library only."""
from typing import Any, List, Optional

from gluon_tricks.doctor.findings import FAILS, WARNING, Finding
from gluon_tricks.doctor.machine import Machine

# mxnet-cu112's code is for 5.0 to 8.6; that for 8.6 runs on 8.9 as well: a GPU takes the code of its own major version.
LEAST, MOST = (5, 0), (8, 9)
CUDA = (11, 0)  # the oldest driver that CUDA 11's libraries run on (NVIDIA: minor version compatibility)


def findings(machine: Machine, config: Optional[Any] = None) -> List[Finding]:
    """What is wrong with the GPUs that a run would take; config: resolved or not, None for any run on GPUs."""
    if config is not None and not _wants_gpus(config):
        return []
    answer = machine.gpus()
    builds = [name for name in machine.packages() if name.split('-')[0] == 'mxnet']
    cuda_build = any(name != 'mxnet' for name in builds)
    if builds == ['mxnet']:
        return _no_code(answer)
    if not cuda_build or answer is None:  # the import of MXNet tells of a driver that is missing
        return []
    if answer.cuda < CUDA:
        return [_finding(FAILS, f'the NVIDIA driver knows CUDA {_version(answer.cuda)}: mxnet-cu112 needs one of '
                         f'CUDA {_version(CUDA)} or later; install driver 450.80.02 or later')]
    if not answer.devices:
        hidden = machine.environ.get('CUDA_VISIBLE_DEVICES')
        return [_finding(WARNING, 'the NVIDIA driver shows no GPU' + (
            f' (CUDA_VISIBLE_DEVICES is {hidden!r})' if hidden is not None else '') + ': a run takes the CPU; ' + (
            'unset CUDA_VISIBLE_DEVICES' if hidden is not None else 'look at `nvidia-smi`') + ', or give --num-gpus 0')]
    return [_finding(FAILS, f'gpu({place}) is {gpu.name}, compute capability {_version(gpu.capability)}: mxnet-cu112 '
                     f'has code for {_version(LEAST)} to {_version(MOST)}; take another GPU, or --num-gpus 0 for the '
                     'CPU')
            for place, gpu in enumerate(answer.devices)
            if not LEAST <= gpu.capability <= MOST and _takes(config, place)]


def _finding(level, text):
    return Finding(level, 'gpus', text)


def _version(pair):
    return '.'.join(map(str, pair))


def _no_code(answer):
    """MXNet's CPU build beside GPUs."""
    if answer is None or not answer.devices:
        return []
    number = len(answer.devices)
    gpus = f'{number} GPUs are' if number > 1 else 'a GPU is'
    return [_finding(WARNING, f'{gpus} here ({answer.devices[0].name}), and the installed mxnet is the CPU build, '
                     "which cannot use them: type `pip uninstall -y mxnet` and `pip install '.[cu112]'`, or `make "
                     '.venv EXTRA=cu112`; or give --num-gpus 0')]


def _wants_gpus(config):
    """Whether a configuration takes GPUs where there are some."""
    return 'gpu' in config.devices or not config.devices and getattr(config, 'num_gpus', None) != 0


def _takes(config, place):
    """Whether a run uses the GPU of this number."""
    if config is None:
        return True
    if config.devices:
        return f'gpu({place})' in config.devices.replace(' ', '')
    named = getattr(config, 'gpus', '').replace(' ', '')
    if named:
        return str(place) in named.split(',')
    number = getattr(config, 'num_gpus', None)
    return number is None or place < number
