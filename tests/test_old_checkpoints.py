"""Checkpoints that an older version wrote resume to the bits of the run that nothing disturbed."""
import dataclasses
import functools
import json
import os
import re
import shutil
import signal
import tarfile

import numpy as np
import pytest

from gluon_tricks import api
from gluon_tricks.api import CONFIGS
from gluon_tricks.commands import train, train_detection, train_segmentation
from gluon_tricks.compat import environment, mx
from gluon_tricks.config.options import option
from gluon_tricks.data.prepare import command
from gluon_tricks.errors import UsageError
from gluon_tricks.models import resnet
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.tasks.detection.task import Detection
from gluon_tricks.tasks.segmentation.task import Segmentation
from gluon_tricks.training import checkpoint
from gluon_tricks.training.resume import find_to_resume
from support import ROOT
from support.archives import write_ade20k
from support.detection import write_tree
from support.old_checkpoints import make
from support.records import make_records
from support.runs import history

PROGRAMS = {'classification': train, 'detection': train_detection, 'segmentation': train_segmentation}
RENAMED = {'classification': {'num_workers'}, 'detection': {'num_workers', 'batch_size'},
           'segmentation': {'workers', 'batch_size', 'weight_decay'}}


@pytest.fixture(scope='module')
def unpacked(tmp_path_factory):
    """Function(task): a directory with what its archive holds; nobody writes there."""
    @functools.lru_cache(maxsize=None)
    def unpack(task):
        folder = tmp_path_factory.mktemp(task)
        with tarfile.open(str(make.HERE / (task + '.tar.xz'))) as archive:
            archive.extractall(str(folder))
        return folder
    return unpack


def make_data(task, folder):
    """The bytes that the older version's runs had."""
    if task == 'classification':
        make_records(folder / 'data', train=48, val=12)
    elif task == 'detection':
        write_tree(folder / 'data', images=6)
    else:
        command.main(['ade20k', '--out', str(folder / 'data')] + write_ade20k(folder / 'zip', train=12, val=4))


def end(folder):
    """How a run ended: digests of its arrays, its results, and the figures behind the place of the checkpoint."""
    manifest = json.loads((folder / 'latest' / 'manifest.json').read_text())
    run = json.loads((folder / 'run.json').read_text())
    figures = history(folder)
    return {'arrays': {name: facts['sha256'] for name, facts in manifest['files'].items()}, 'result': run['result'],
            'best': run['best'], 'scaler': manifest['scaler'], 'monitor': manifest['monitor'],
            'figures': [figures['batch', 10], figures['batch', 12], figures['epoch', 1]]}


def arrays(folder):
    return {name: value.asnumpy() for name, value in mx.nd.load(str(folder / 'latest' / 'net.params')).items()}


class Case:
    """A task; the directory of its archive; and a working directory with its data, of which stored paths are a part."""

    def __init__(self, task, old, folder):
        self.task, self.old, self.folder = task, old, folder

    def train(self, save_dir, *flags):
        """The program's exit code."""
        return PROGRAMS[self.task].main(make.FLAGS[self.task] + ['--data-dir', 'data', '--save-dir', save_dir]
                                        + list(flags))

    def take(self, save_dir):
        """A new SAVE_DIR that holds the old checkpoint alone."""
        shutil.copytree(str(self.old / 'stopped'), str(self.folder / save_dir))
        return self.folder / save_dir


@pytest.fixture(scope='module', params=sorted(PROGRAMS))
def case(request, unpacked, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        narrow = make.narrow(resnet)
        patch.setattr(resnet, 'demo', lambda depth, variant, **options: narrow(**options))
        patch.chdir(folder)
        make_data(request.param, folder)
        yield Case(request.param, unpacked(request.param), folder)


@pytest.fixture(scope='module')
def resumed(case):
    """SAVE_DIR of the old checkpoint's run, resumed to its end by other processes or threads that read the data."""
    folder = case.take('resumed')
    assert case.train('resumed', '--resume', 'auto', '-j', '2') == 0
    return folder


def manifest_of(folder):
    return json.loads((folder / make.INSIDE / 'manifest.json').read_text())


def test_all_of_it_is_put_back(case, monkeypatch):
    """Saved again before the next update it is the same, on every machine: arrays bit by bit, sums and counters."""
    folder = case.take('stopped')
    for task in (Classification, Detection, Segmentation):
        def stopped(*arguments, real=task.batches):
            os.kill(os.getpid(), signal.SIGTERM)
            return real(*arguments)
        monkeypatch.setattr(task, 'batches', stopped)
    assert case.train('stopped', '--resume', 'auto') == 143
    assert checkpoint.names(str(folder)) == [make.INSIDE]
    before, after = manifest_of(case.old / 'stopped'), manifest_of(folder)
    assert {name for name in before if before[name] != after[name]} == {'config', 'digest'}
    assert set(after) - set(before) == {'task'} and after['task'] == case.task


def test_it_resumes_to_the_bits_of_the_undisturbed_run(case, resumed):
    """Three ends are compared: of the older version's undisturbed run, of today's, and of the resumed run.

    On the machine of the archives all three are equal bit by bit; so is the resumed run on every machine where today's
    undisturbed run has the bits of the older one. Elsewhere a processor rounds otherwise, and the first half of the
    resumed run was rounded on the archives' machine: there it must come near to both.
    """
    assert case.train('now') == 0
    wanted, today, found = (end(folder) for folder in (case.old / 'whole', case.folder / 'now', resumed))
    before, here = json.loads((case.old / 'machine.json').read_text()), make.machine(environment())
    if before == {name: here[name] for name in before}:
        assert today == wanted
    if today == wanted:
        assert found == wanted
    assert found['monitor']['losses'] == pytest.approx(wanted['monitor']['losses'], rel=0.02)
    ours, theirs = arrays(resumed), arrays(case.folder / 'now')
    assert set(ours) == set(theirs)
    assert all(np.allclose(ours[name], theirs[name], rtol=0.01, atol=0.001) for name in ours)


def test_an_option_that_came_later_has_its_default_there(case, resumed):
    """It resumes to the same bits; then another value is refused, and so is the name by who does not know it."""
    known = CONFIGS[case.task]
    later = dataclasses.make_dataclass('Later', [('extra', int, option(3, 'came later', at_least=0))], bases=(known,),
                                       frozen=True)
    folder, stored = case.take('later'), manifest_of(case.old / 'stopped')['config']
    config = later.from_dict(stored).replace(save_dir='later', resume='auto')
    assert api.train(config).save_dir == 'later' and end(folder) == end(resumed)
    assert json.loads((folder / 'latest' / 'manifest.json').read_text())['config']['extra'] == 3
    config = config.replace(resume='later/latest')
    with pytest.raises(UsageError, match='extra is 4 now and was 3 in'):
        find_to_resume(config.replace(extra=4))
    with pytest.raises(UsageError, match="option 'extra' of the stored configuration is unknown to this version"):
        find_to_resume(known.from_dict(stored).replace(save_dir='later', resume='later/latest'))


def test_the_page_names_all_that_a_checkpoint_holds(case, resumed):
    """Every file and field of a checkpoint inside an epoch and of one after it, and nothing else, in its table."""
    page = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    section = page.split('## What a checkpoint holds')[1].split('\n## ')[0]
    inside, after = manifest_of(case.old / 'stopped'), json.loads((resumed / 'latest' / 'manifest.json').read_text())
    held = set(inside) | set(after) | set(inside['files'])
    assert held <= set(re.findall('`([a-z_.]+)`', section))
    table = {name for row in section.splitlines() if row.startswith('| ')
             for name in re.findall('`([a-z_.]+)`', row.split('|')[2])}
    assert {'net.params', 'progress'} < table <= held | {'manifest.json', 'devices.params'}


@pytest.mark.parametrize('task', sorted(PROGRAMS))
def test_its_configuration_is_read_by_the_names_of_today(task, unpacked):
    """Each option that was renamed is off its default there."""
    stored = manifest_of(unpacked(task) / 'stopped')['config']
    run = api.open_run(unpacked(task) / 'stopped' / make.INSIDE)
    assert run.task == task and RENAMED[task] <= set(CONFIGS[task].RENAMED)
    for name in RENAMED[task]:
        now = CONFIGS[task].RENAMED[name]
        assert stored[name] == getattr(run.config, now) != CONFIGS[task].field(now).default


@pytest.mark.parametrize('task, name, value', [
    ('detection', 'total_batch_size', 4), ('segmentation', 'total_batch_size', 4), ('segmentation', 'wd', 0.01)])
def test_a_renamed_option_with_another_value_is_refused(task, name, value, unpacked, tmp_path):
    path = str(unpacked(task) / 'stopped' / make.INSIDE)
    config = api.open_run(path).config.replace(resume=path, save_dir=str(tmp_path))
    find_to_resume(config)
    with pytest.raises(UsageError, match=f'{name} is {value} now and was '):
        find_to_resume(config.replace(**{name: value}))


@pytest.mark.parametrize('task', sorted(PROGRAMS))
def test_another_task_does_not_resume_it(task, unpacked, tmp_path):
    """Though an older version did not store what it trains."""
    path = unpacked(task) / 'stopped' / make.INSIDE
    assert 'task' not in manifest_of(path.parent)
    for other in set(PROGRAMS) - {task}:
        with pytest.raises(UsageError, match=f'a checkpoint of the task {task}, and this is {other};'):
            find_to_resume(CONFIGS[other](resume=str(path), save_dir=str(tmp_path)))
