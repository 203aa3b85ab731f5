import re

import pytest

from gluon_tricks.doctor import versions
from support import ROOT
from support.machines import PACKAGES, machine


def test_a_healthy_one():
    assert versions.findings(machine()) == []


@pytest.mark.parametrize('changes, begin, level', [
    (dict(packages={'numpy': '2.1.3'}), 'numpy 2.1.3 is installed: MXNet 1.9.1 cannot be imported', 'fails'),
    (dict(packages={'opencv-python-headless': '4.10.0.84'}), 'opencv-python and opencv-python-headless are both', 'warning'),
    (dict(packages={'opencv-python': '4.12.0.88'}), 'opencv-python 4.12.0.88 is installed: 4.12 and later', 'warning'),
    *[(dict(packages={name: '4.12.0.88'}, without=['opencv-python']), f'{name} 4.12.0.88 is installed: 4.12 and later',
       'warning') for name in versions._OPENCV[1:]],
    (dict(packages={'mxnet-cu112': '1.9.1'}), 'mxnet and mxnet-cu112 are both installed', 'warning'),
    (dict(packages={'mxnet': '1.8.0.post0'}), 'mxnet 1.8.0.post0 is installed', 'warning'),
    (dict(packages={'gluoncv': '0.10.4'}), 'gluoncv 0.10.4 is installed', 'warning'),
    (dict(packages={'onnx': '1.19.1'}), 'onnx 1.19.1 is installed: MXNet\'s export to ONNX needs onnx.mapping', 'warning'),
    (dict(packages={'protobuf': '3.20.3'}), 'protobuf 3.20.3 is beside onnx 1.18.0, which needs protobuf>=4.25.1',
     'warning'),
    (dict(packages={'torch': '2.13.0'}), 'torch 2.13.0 is beside gluoncv', 'note'),
    (dict(python=(3, 13)), 'Python 3.13: this project takes >=3.8,<3.13', 'warning')])
def test_what_does_not_go_together(changes, begin, level):
    found, = versions.findings(machine(**changes))
    assert found.text.startswith(begin) and found.level == level and '; ' in found.text


@pytest.mark.parametrize('changes', [
    dict(packages={'torch': '1.13.1'}), dict(packages={'protobuf': '3.20.3'}, without=['onnx']), dict(python=(3, 8)),
    dict(packages={'opencv-python-headless': '4.10.0.84'}, without=['opencv-python']),
    dict(packages={'numpy': '1.17.0'}), dict(packages={'onnx': '1.17.0'}), dict(without=list(PACKAGES))])
def test_what_goes_together(changes):
    assert not versions.findings(machine(**changes))


def test_the_remedy_for_two_opencvs_has_the_version_that_setup_takes():
    found, = versions.findings(machine({'opencv-contrib-python': '4.10.0.84'}))
    assert "`pip install 'opencv-python>=4.5,<4.12'`" in found.text


def test_the_rules_are_those_of_setup():
    text = (ROOT / 'setup.py').read_text()
    asked = dict(re.findall(r"'([\w-]+)([<>=][\w.<>=,]+)'", text))
    asked.update(dict.fromkeys(versions._OPENCV, asked['opencv-python']))  # which is one of four
    assert {rule.package: rule.versions for rule in versions.RULES} == {rule.package: asked[rule.package]
                                                                        for rule in versions.RULES}
    assert re.search(r"python_requires='(.*?)'", text).group(1) == versions.PYTHON


def test_versions_as_pip_compares_them():
    packaging = pytest.importorskip('packaging.specifiers', reason='needs packaging, which pytest brings')
    some = ['1.16.9', '1.17', '1.17.0', '1.26.4', '2', '2.0.0', '2.1.3', '3.20.3', '4.11.0.86', '4.12.0.88', '7.36.2',
            '0.10.5.post0', '0.10.5']
    for rule in ['>=1.17,<2', '==1.9.1', '==0.10.5.post0', '>=4.5,<4.12', '>=4.25.1', '!=4.11.0.86', '<=1.17', '>2']:
        for version in some:
            assert versions.holds(version, rule) == packaging.SpecifierSet(rule).contains(version), (version, rule)
