"""Versions that do not go together, by what is installed. Standard library only: it works where MXNet does not.

`compat` makes MXNet and GluonCV work beside later versions of NumPy 1, Python and PyTorch; what it does is told here as
a note, not done again.
"""
import re
from typing import List, NamedTuple

from gluon_tricks.doctor.findings import FAILS, NOTE, WARNING, Finding
from gluon_tricks.doctor.machine import OPENCV, Machine

PYTHON = '>=3.8,<3.13'  # setup.py's python_requires
_OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')


class Rule(NamedTuple):
    """A package's versions as setup.py has them, what goes wrong with others, and whether every run fails then."""

    package: str
    versions: str
    reason: str
    level: str = WARNING


RULES = (
    Rule('numpy', '>=1.17,<2', 'MXNet 1.9.1 cannot be imported with NumPy 2', FAILS),
    Rule('mxnet', '==1.9.1', 'it is the one version that this project was made with'),
    Rule('mxnet-cu112', '==1.9.1', 'it is the one version that this project was made with'),
    Rule('gluoncv', '==0.10.5.post0', 'the tests know this version alone'),
    *(Rule(name, OPENCV, '4.12 and later are built for NumPy 2') for name in _OPENCV),
    Rule('onnx', '>=1.17,<1.19', 'MXNet\'s export to ONNX needs onnx.mapping, which 1.19 removed; training does not'),
)


def findings(machine: Machine) -> List[Finding]:
    """What is wrong, or taken care of, among the installed packages."""
    installed = machine.packages()
    found = []
    python = '.'.join(map(str, machine.python))
    if not holds(python, PYTHON):
        found.append(_finding(WARNING, f'Python {python}: this project takes {PYTHON}, for which NumPy 1 and MXNet '
                              'have wheels; make the environment with one of these'))
    found += [_finding(rule.level, f'{rule.package} {installed[rule.package]} is installed: {rule.reason}; type `pip '
                       f"install '{rule.package}{rule.versions}'`")
              for rule in RULES if rule.package in installed and not holds(installed[rule.package], rule.versions)]
    return found + _twice(installed) + _protobuf(installed, machine) + _torch(installed)


def _finding(level, text):
    return Finding(level, 'versions', text)


def _twice(installed):
    """Packages of which one overwrites the other's files."""
    found = []
    builds = sorted(name for name in installed if name.split('-')[0] == 'mxnet')
    if len(builds) > 1:
        found.append(_finding(WARNING, f'{" and ".join(builds)} are both installed: they are one folder, mxnet, in '
                              f'which the later overwrote the other; type `pip uninstall -y {" ".join(builds)}` and '
                              'install the one that is meant'))
    opencvs = [name for name in _OPENCV if name in installed]
    if len(opencvs) > 1:
        found.append(_finding(WARNING, f'{" and ".join(opencvs)} are both installed: they are one folder, cv2, in '
                              f'which the later overwrote the other; type `pip uninstall -y {" ".join(opencvs)}` and '
                              f"`pip install 'opencv-python{OPENCV}'`"))
    return found


def _protobuf(installed, machine):
    """onnx beside an older protobuf than it needs."""
    wanted = next((re.match(r'protobuf\s*\(?([^;)]*)', need).group(1).replace(' ', '')
                   for need in (machine.needs('onnx') if 'onnx' in installed else [])
                   if re.match(r'protobuf\b', need)), '')
    if 'protobuf' not in installed or not wanted or holds(installed['protobuf'], wanted):
        return []
    return [_finding(WARNING, f'protobuf {installed["protobuf"]} is beside onnx {installed["onnx"]}, which needs '
                     f"protobuf{wanted}: export to ONNX fails, training does not; type `pip install "
                     f"'protobuf{wanted}'`")]


def _torch(installed):
    if not holds(installed.get('torch', '0'), '>=2'):
        return []
    return [_finding(NOTE, f'torch {installed["torch"]} is beside gluoncv, which refuses PyTorch 2: gluon_tricks keeps '
                     'it from looking; nothing is to be done')]


# ---------------------------------------------------------------------------------------------------------------------
# Versions

def holds(version: str, rule: str) -> bool:
    """Whether a version is one of a rule's, such as '>=1.17,<2': by its numbers, of which those that are not written
    are 0; what follows them (rc1, +cu118) is not looked at, but for `==`."""
    for operator, bound in re.findall(r'(>=|<=|==|!=|>|<)\s*([\w.+]+)', rule):
        ours, theirs = _numbers(version), _numbers(bound)
        length = max(len(ours), len(theirs))
        ours, theirs = (each + (0,) * (length - len(each)) for each in (ours, theirs))
        if not {'>=': ours >= theirs, '<=': ours <= theirs, '>': ours > theirs, '<': ours < theirs,
                '==': version == bound, '!=': version != bound}[operator]:
            return False
    return True


def _numbers(version):
    return tuple(int(number) for number in re.match(r'(\d+(?:\.\d+)*)?', version).group().split('.') if number)
