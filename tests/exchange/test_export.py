"""Exported folders: what MXNet, onnxruntime, GluonCV's names and the sums say of them."""
import json
import os
import subprocess
import sys

import pytest

from gluon_tricks.api import open_run
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import export
from gluon_tricks.exchange.sha256sums import check
from gluon_tricks.exchange.subject import subject_of
from gluon_tricks.models.zoo import DEMO
from support.exported import TASKS

BOTH = {'net.params', 'net-symbol.json', 'model.onnx', 'README.md', 'export.json', 'SHA256SUMS'}


@pytest.mark.parametrize('task', TASKS)
def test_the_folder_is_whole(task, folders):
    _, folder = folders[task]
    names = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}
    more = {'model-from-image.onnx', 'model.safetensors', 'config.json'} if task == 'classification' else set()
    assert names == BOTH | more | {f'.eval_results/{task}.yaml'}
    assert check(str(folder)) == len(names) - 1
    assert subprocess.run(['sha256sum', '--check', '--quiet', 'SHA256SUMS'], cwd=str(folder)).returncode == 0
    stored = json.loads((folder / 'export.json').read_text())
    assert stored['task'] == task and stored['artefacts']['model.onnx']['difference'] < 1e-3
    assert not [name for name in os.listdir(str(folder.parent)) if name.startswith('.partial')]


@pytest.mark.parametrize('task', TASKS)
def test_the_card_tells_the_run(task, folders):
    text = (folders[task][1] / 'README.md').read_text(encoding='utf-8')
    for part in {'classification': ('75', '27 images of tiny', 'cd' * 32), 'detection': ('12.5', '8 images'),
                 'segmentation': ('0.25', '5 images')}[task] + ('ab' * 32, 'python ', 'after epoch 3'):
        assert part in text, part


def test_a_bare_file_is_exported_and_says_what_is_not_known(folders, tmp_path):
    run, _ = folders['classification']
    subject = subject_of(open_run(run).params, DEMO, 4)
    stored = export.export(subject, str(tmp_path / 'out'), license='mit')
    assert stored['classes'] == ['0', '1', '2', '3']
    text = (tmp_path / 'out' / 'README.md').read_text()
    assert 'Not measured' in text and 'license: "mit"' in text and not (tmp_path / 'out' / '.eval_results').exists()


def test_without_safetensors_there_is_one_sentence_and_no_folder(folders, tmp_path, monkeypatch):
    subjects = [subject_of(str(folders[task][0])) for task in ('classification', 'segmentation')]
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(UsageError, match=r"out/model.safetensors: .*type `pip install '.\[interchange\]'`"):
        export.export(subjects[0], str(tmp_path / 'out'))
    assert os.listdir(str(tmp_path)) == []
    export.export(subjects[1], str(tmp_path / 'out'))


def test_a_disk_that_is_full_leaves_no_folder(folders, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(export, '_write', full)
    with pytest.raises(UsageError, match='cannot be written .*free space'):
        export.export(subject_of(str(folders['classification'][0])), str(tmp_path / 'out'))
    assert os.listdir(str(tmp_path)) == []


def test_what_is_there_stays(folders, tmp_path):
    (tmp_path / 'file').write_text('mine')
    subject = subject_of(str(folders['classification'][0]))
    for target in (tmp_path, tmp_path / 'file'):
        with pytest.raises(UsageError, match='is there already'):
            export.export(subject, str(target))
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_forged_manifest_s_figures_are_left_out(folders, tmp_path):
    run = open_run(folders['classification'][0])
    for metrics in (None, [], {'top1': 'a'}):
        run.manifest.update(metrics=metrics, data=[1], workers='x', classes=7)
        subject = subject_of(str(folders['classification'][0]))
        subject.run = run
        facts = export.card_facts(subject, 'x', {}, 'mit', None)
        assert facts['figures'] == {} and facts['data'] == {}


