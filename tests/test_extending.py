"""docs/extending.md, carried out: its edits on a copy of the tree give a trick that trains, and the tests pass."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from support import ROOT

PAGE = ROOT / 'docs' / 'extending.md'
EDIT = re.compile(r'^`([\w/.]+)`, (?:(new)|(after|before) `([^`\n]+)`):\n\n```\w+\n(.*?)^```$', re.M | re.S)
EDITS = [match.groups() for match in EDIT.finditer(PAGE.read_text(encoding='utf-8'))]
FLAG = ['--confidence-penalty', '0.5']
TRAIN = ['--data-backend', 'synthetic', '--model', 'resnet10_v1d_demo', '--num-classes', '4', '--input-size', '32',
         '--batch-size', '8', '--num-training-samples', '8', '--num-epochs', '1', '--num-gpus', '0']


def apply(root, path, new, side, anchor, text):
    """One edit: a new file, or `text` after or before the only line that holds `anchor`."""
    target = root / path
    if new:
        assert not target.exists(), path
        target.write_text(text, encoding='utf-8')
        return
    lines = target.read_text(encoding='utf-8').splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if anchor in line]
    assert len(found) == 1, f'{path} has {len(found)} lines with {anchor}'
    lines.insert(found[0] + (side == 'after'), text)
    target.write_text(''.join(lines), encoding='utf-8')


def start(root, *words):
    """A Python process in a tree, which imports that tree's package."""
    return subprocess.Popen([sys.executable, *words], cwd=str(root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS='1'),
                            universal_newlines=True)


def output(process):
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    return text


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """The tree, with the page's edits."""
    root = tmp_path_factory.mktemp('tree')
    for name in ('gluon_tricks', 'tests', 'docs', 'transfer'):
        shutil.copytree(str(ROOT / name), str(root / name), ignore=shutil.ignore_patterns('__pycache__'))
    for path in ROOT.glob('*.*'):
        if path.is_file():
            shutil.copy(str(path), str(root))
    for edit in EDITS:
        apply(root, *edit)
    return root


def test_five_files_are_touched():
    assert len({path for path, *_ in EDITS}) == 5
    assert len(EDITS) == PAGE.read_text(encoding='utf-8').count('\n```') / 2  # no block is left out


def test_one_update_is_trained_in_which_it_shows(copy, tmp_path):
    """And with the option off every bit is the tree's."""
    trainings = {'tree': (ROOT, []), 'off': (copy, []), 'on': (copy, FLAG)}
    running = {name: start(root, 'train_imagenet.py', *TRAIN, *words, '--save-dir', str(tmp_path / name))
               for name, (root, words) in trainings.items()}
    weights, losses = {}, {}
    for name, process in running.items():
        output(process)
        weights[name] = hashlib.sha256((tmp_path / name / 'latest' / 'net.params').read_bytes()).hexdigest()
        events = [json.loads(line) for line in (tmp_path / name / 'log.jsonl').read_text().splitlines()]
        losses[name] = [event['loss'] for event in events if event['event'] == 'batch']
    assert len(losses['on']) == 1
    assert weights['tree'] == weights['off'] != weights['on']
    # 4 classes: the entropy is at most log 4, and that of an untrained network is not far below
    assert losses['tree'] == losses['off'] and 0.3 < losses['off'][0] - losses['on'][0] <= 0.5 * 1.3863


def test_the_flag_is_listed_and_its_range_checked(copy):
    listed = [start(root, 'train_imagenet.py', '--help') for root in (ROOT, copy)]
    refused = start(copy, 'train_imagenet.py', '--confidence-penalty', '-1')
    assert [FLAG[0] in output(process) for process in listed] == [False, True]
    assert '--confidence-penalty -1.0 must be 0 or more' in refused.communicate(timeout=60)[0] and refused.returncode == 2


@pytest.mark.slow
def test_the_tests_of_the_copy_ask_for_no_other_file(copy):
    """Those that look over tricks, options, rooms and pages."""
    passed = output(start(
        copy, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'tests/tricks/test_confidence_penalty.py',
        'tests/test_architecture.py', 'tests/test_docs.py', 'tests/test_api.py', 'tests/test_doctests.py',
        'tests/config', '-k',
        'confidence_penalty or test_classification or tasks.classification.task or s_tricks or every_trick or tricks_are or '
        'readme or every_option or every_name or every_public_name or has_a_range or test_file'))
    assert re.search(r'\b\d{2,} passed', passed)
