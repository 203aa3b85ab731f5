"""Where a run goes on; checkpoints that cannot be read, forged ones, and those of other data."""
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import sys

import pytest

import train_imagenet
from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint
from gluon_tricks.training.resume import check_fits, find_to_resume
from gluon_tricks.training.run import Setup
from support.checkpoints import at, make_keeper, scores
from support.records import make_records
from support.runs import Signalled, Task, train


def test_where_a_run_starts(tmp_path):
    config, keeper, state = make_keeper(tmp_path)
    assert find_to_resume(config) == (None, [])
    (resumed, notices) = find_to_resume(config.replace(resume='auto'))
    assert resumed is None and 'beginning' in notices[0]
    keeper.save(state, scores(50.0))
    with pytest.raises(UsageError, match='--resume auto'):
        find_to_resume(config)
    (path, manifest), notices = find_to_resume(config.replace(resume='auto'))
    assert manifest['epoch'] == 0 and '1 of 12' in notices[0]
    assert find_to_resume(config.replace(resume=str(tmp_path / 'latest')))[0][0] == os.path.realpath(path)
    with pytest.raises(UsageError, match='wd is 0.5 now and was 0.0001'):
        find_to_resume(config.replace(resume='auto', wd=0.5))
    find_to_resume(config.replace(resume='auto', log_interval=7))  # changes no number


def test_a_damaged_newest_is_named_and_the_one_before_is_taken(tmp_path):
    config, keeper, state = make_keeper(tmp_path)
    for epoch, top1 in enumerate((50.0, 60.0)):
        keeper.save(at(state, epoch), scores(top1))
    (tmp_path / 'epoch-0001' / 'net.params').write_bytes(b'')
    (path, manifest), notices = find_to_resume(config.replace(resume='auto'))
    assert manifest['epoch'] == 0 and 'net.params' in notices[0]


# ---------------------------------------------------------------------------------------------------------------------
# Checkpoints that cannot be read now, and such as are of no use

def contents(folder):
    """What is in a directory: {path: link or digest}."""
    found = {}
    for place, folders, names in os.walk(str(folder)):
        for name in names + folders:
            path = os.path.join(place, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, 'rb') as stream:
                    found[path] = hashlib.sha256(stream.read()).hexdigest()
            else:
                found[path] = 'directory'
    return found


def unreadable(monkeypatch, wanted, error):
    """Have the files whose paths the function wants raise an error when they are opened to be read."""
    real = io.open

    def failing(path, mode='r', *arguments, **options):
        if 'w' not in mode and 'a' not in mode and wanted(str(path)):
            raise error
        return real(path, mode, *arguments, **options)
    monkeypatch.setattr('builtins.open', failing)


def refused(folder, **options):
    """The sentence that a resumed run ends with; the directory is as it was."""
    before = contents(folder)
    with pytest.raises(UsageError) as caught:
        train(folder, **dict({'resume': 'auto'}, **options))
    assert contents(folder) == before
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    assert train(folder, task=Signalled(signal.SIGTERM, epoch=2))[0] == 143
    shutil.rmtree(str(folder / 'epoch-0002-batch-000005'))
    checkpoint.point(str(folder), 'latest', 'epoch-0001')
    assert checkpoint.names(str(folder)) == ['epoch-0000', 'epoch-0001']
    return folder


@pytest.fixture
def two(two_epochs, tmp_path):
    """A directory with the checkpoints of two epochs, of a run of three."""
    folder = tmp_path / 'run'
    shutil.copytree(str(two_epochs), str(folder), symlinks=True)
    return folder


NOT_NOW = [OSError(code, os.strerror(code)) for code in (errno.EACCES, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT)] + [
    MemoryError()]


@pytest.mark.parametrize('name', ['manifest.json', 'net.params', 'optimizer.params'])
@pytest.mark.parametrize('error', NOT_NOW, ids=lambda error: '%s' % (getattr(error, 'errno', None) or 'memory'))
def test_what_cannot_be_read_now_stops_the_run_and_nothing_is_touched(name, error, two, monkeypatch):
    for wanted in (lambda path: path.endswith(name), lambda path: path.endswith('epoch-0001/' + name)):
        with monkeypatch.context() as patch:
            unreadable(patch, wanted, error)
            with pytest.raises(UsageError, match=f'epoch-0001.*{name}'):
                find_to_resume(TrainConfig(save_dir=str(two), num_epochs=3, resume='auto'))
    with monkeypatch.context() as patch:
        before = contents(two)
        unreadable(patch, lambda path: 'epoch-' in path and path.endswith(name), error)
        with pytest.raises(UsageError, match=name):
            train(two, resume='auto')
    assert contents(two) == before


@pytest.mark.parametrize('name', ['manifest.json', 'net.params', 'optimizer.params'])
def test_of_a_disk_that_does_not_give_it_back_the_one_before_is_used_and_it_is_kept(name, two, whole, monkeypatch, capsys):
    unreadable(monkeypatch, lambda path: path.endswith('epoch-0001/' + name), OSError(errno.EIO, os.strerror(errno.EIO)))
    capsys.readouterr()
    assert train(two, task=Signalled(signal.SIGTERM, update=7), resume='auto')[0] == 143
    out = capsys.readouterr().out
    assert f'Warning: checkpoint {two}/epoch-0001: its disk does not give {name} back' in out
    assert 'epoch-0000 is used' in out and '1 of 3 epochs are done' in out
    assert checkpoint.names(str(two)) == ['epoch-0000', 'epoch-0001-batch-000002', 'epoch-0001']
    monkeypatch.undo()  # the disk is well again
    task = Task()
    assert train(two, task=task, resume='auto')[:2] == (0, whole[0]) and task.seen == list(range(11, 16))


@pytest.mark.parametrize('name', ['manifest.json', 'net.params'])
def test_where_no_checkpoint_is_usable_a_run_stops_and_touches_nothing(name, two, monkeypatch):
    with monkeypatch.context() as patch:
        before = contents(two)
        unreadable(patch, lambda path: path.endswith(name), OSError(errno.EIO, os.strerror(errno.EIO)))
        with pytest.raises(UsageError, match='none of the 2 checkpoints in .* can be used, and nothing was changed'):
            train(two, resume='auto')
    assert contents(two) == before
    for epoch in ('epoch-0000', 'epoch-0001'):
        (two / epoch / name).write_bytes(b'{}')
    assert 'none of the 2 checkpoints' in refused(two)


def test_another_format_stops_the_run_though_there_is_an_older_one(two):
    forge(two / 'epoch-0001', lambda manifest: manifest.update(format=checkpoint.FORMAT + 1))
    assert f'format {checkpoint.FORMAT + 1}, this version reads' in refused(two)


def test_a_directory_that_cannot_be_listed_is_a_sentence(two, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(os, 'listdir', failing)
    with pytest.raises(UsageError, match=f'--save-dir {two} cannot be read'):
        find_to_resume(TrainConfig(save_dir=str(two), num_epochs=3, resume='auto'))


# ---------------------------------------------------------------------------------------------------------------------
# Forged manifests, with the right digest

def forge(path, change):
    """Change the manifest of a checkpoint, and its digest with it."""
    with open(str(path / 'manifest.json')) as stream:
        manifest = json.load(stream)
    change(manifest)
    manifest['digest'] = checkpoint._self_digest(manifest)
    with open(str(path / 'manifest.json'), 'w') as stream:
        json.dump(manifest, stream)


INSIDE = 'epoch-0001-batch-000003'
NAN, INF, HUGE = float('nan'), float('inf'), 10 ** 400
# Values that no field takes, but for those where it does.
ODD = {'null': None, 'true': True, 'minus one': -1, 'NaN': NAN, 'infinity': INF, 'huge': HUGE, 'word': 'x\ny',
       'long word': 'x' * 100000, 'list': [[]], 'object': {'a': {}}, 'fraction': 0.5}
FIELDS = {
    'epoch': (), 'batch': (), 'best': ('null',), 'metrics': (), 'monitor': ('null',), 'rewinds': (), 'progress': (),
    'sums': (), 'scaler': ('null',), 'workers': ('true',), 'config': (), 'files': (), 'updates_per_epoch': ('null',),
    'best/checkpoint': (), 'best/epoch': (), 'best/nearness': ('minus one', 'fraction'),
    'metrics/nearness': ('minus one', 'fraction', 'NaN', 'infinity'),
    'monitor/losses': (), 'monitor/high': (), 'monitor/losses/0': ('minus one', 'fraction'),
    'progress/batch': (), 'progress/totals': (), 'progress/counted': (), 'progress/interval': (),
    'progress/waited': ('fraction',), 'progress/seconds': ('fraction',), 'progress/totals/0/0': (),
    'progress/totals/0/1': ('minus one', 'fraction', 'NaN', 'infinity'),
    'sums/count': (), 'sums/rows': (), 'sums/rows/0': (), 'sums/rows/0/0': (),
    'sums/rows/0/0/0': ('minus one', 'fraction', 'NaN', 'infinity'),
}
SPECIAL = {
    'batch far beyond the epoch': {'batch': 10 ** 9, 'progress/batch': 10 ** 9},
    'batch one beyond the epoch': {'batch': 6, 'progress/batch': 6, 'progress/counted': 24, 'progress/interval': 0},
    'batch of another place': {'batch': 2, 'progress/batch': 2},
    'epoch of another place': {'epoch': 0},
    'epoch beyond the run': {'epoch': 3},
    'best outside': {'best/checkpoint': '../../epoch-0000'},
    'best is a whole path': {'best/checkpoint': '/etc'},
    'best is this directory': {'best/checkpoint': '.'},
    'best has a line more': {'best/checkpoint': 'epoch-0000\n'},
    'best has digits of another script': {'best/checkpoint': 'epoch-\u0660\u0660\u0660\u0660'},
    'best has many digits': {'best/checkpoint': 'epoch-' + '9' * 5000},
    'best is inside an epoch': {'best/checkpoint': 'epoch-0000-batch-000001'},
    'best is to come': {'best/checkpoint': 'epoch-0002', 'best/epoch': 2},
    'best of another epoch': {'best/epoch': 1},
    'fifty high losses': {'monitor/high': 50},
    'a scaler without float16': {'scaler': {'scale': 1.0, 'good': 0, 'skipped': 0}},
    'more images than there were': {'progress/counted': 1000},
    'a metric that the task has not': {'progress/totals': [['other', 1.0]]},
    'a metric twice': {'progress/totals': [['loss', 1.0], ['loss', 1.0]]},
    'no metric': {'progress/totals': []},
    'two workers in the sums': {'sums/rows': [[[1.0]], [[1.0]]]},
    'two devices in the sums': {'sums/rows': [[[1.0], [1.0]]]},
    'two sums': {'sums/rows': [[[1.0, 2.0]]]},
    'no sums': {'sums/rows': [[]]},
    'no images in the sums': {'sums/count': 0},
    'another number of updates': {'updates_per_epoch': 33},
    'data that are none': {'data': {'train': 3}},
    'another worker more': {'workers': 2},
    'a field more in progress': {'progress/more': 1},
    'a field more in the monitor': {'monitor/more': 1},
    'a word in best': {'best/more': 'x'},
}
GONE = ('best', 'metrics', 'monitor', 'scaler', 'rewinds', 'progress', 'sums', 'config', 'files', 'epoch', 'digest',
        'best/checkpoint', 'best/epoch', 'best/nearness', 'metrics/nearness', 'monitor/high', 'monitor/losses',
        'progress/batch', 'progress/totals', 'progress/seconds', 'sums/rows', 'sums/count')
HARMLESS_GONE = ('workers', 'updates_per_epoch', 'config/wd', 'task')  # an option that is gone has its default


def cases():
    found = {}
    for field, fits in FIELDS.items():
        for name, value in ODD.items():
            if name not in fits:
                found[f'{field}: {name}'] = {field: value}
    found.update(SPECIAL)
    found.update({'no ' + field: {field: KeyError} for field in GONE})
    return found


CASES = cases()


def put(changes):
    """A change of a manifest: values at paths into it; KeyError takes one away."""
    def change(manifest):
        for field, value in changes.items():
            place, words = manifest, [int(word) if word.isdigit() else word for word in field.split('/')]
            for word in words[:-1]:
                place = place[word]
            if value is KeyError:
                place.pop(words[-1])
            else:
                place[words[-1]] = value
    return change


@pytest.fixture(scope='module')
def inside(tmp_path_factory):
    """A run that was stopped at update 8, in its second epoch and its log interval."""
    folder = tmp_path_factory.mktemp('inside')
    assert train(folder, task=Signalled(signal.SIGTERM, update=8))[0] == 143
    assert checkpoint.names(str(folder)) == ['epoch-0000', INSIDE]
    return folder


def test_there_are_forged_manifests_enough():
    assert len(CASES) > 300


@pytest.mark.parametrize('field', sorted({case.split(':')[0] for case in CASES}))
def test_a_forged_manifest_is_one_sentence_and_nothing_is_touched(field, inside, tmp_path):
    """`digest`, `files`, and what makes a manifest none, let the one before be used; all others stop the run."""
    for number, (case, changes) in enumerate(sorted(CASES.items())):
        if case.split(':')[0] != field:
            continue
        folder = tmp_path / str(number)
        shutil.copytree(str(inside), str(folder), symlinks=True)
        if case == 'no digest':
            manifest = json.loads((folder / INSIDE / 'manifest.json').read_text())
            del manifest['digest']
            (folder / INSIDE / 'manifest.json').write_text(json.dumps(manifest))
        elif 'huge' in case and sys.version_info < (3, 11) and not hasattr(sys, 'set_int_max_str_digits'):
            continue
        else:
            forge(folder / INSIDE, put(changes))
        try:
            checkpoint.read(str(folder / INSIDE))
        except checkpoint.Damaged:
            config = TrainConfig(save_dir=str(folder), num_epochs=3, log_interval=2, resume='auto')
            assert find_to_resume(config)[0][0] == str(folder / 'epoch-0000'), case
            continue
        sentence = refused(folder)
        assert str(folder / INSIDE) in sentence, (case, sentence)


@pytest.mark.parametrize('stored, task', [
    ({'task': 'segmentation'}, 'segmentation'), ({'task': KeyError, 'config': {'network': 'x'}}, 'detection'),
    ({'task': KeyError, 'config': {'backbone': 'x'}}, 'segmentation')])
def test_a_checkpoint_of_another_task_is_refused_by_its_name(stored, task, inside, tmp_path):
    shutil.copytree(str(inside), str(tmp_path / 'run'), symlinks=True)
    forge(tmp_path / 'run' / INSIDE, put(stored))
    with pytest.raises(UsageError, match=f'is a checkpoint of the task {task}, and this is classification'):
        train(tmp_path / 'run', resume=str(tmp_path / 'run' / INSIDE))


def test_an_older_manifest_that_lacks_fields_goes_on(inside, whole, tmp_path):
    for field in HARMLESS_GONE:
        folder = tmp_path / field.replace('/', '-')
        shutil.copytree(str(inside), str(folder), symlinks=True)
        forge(folder / INSIDE, put({field: KeyError}))
        task = Task()
        assert train(folder, task=task, resume='auto')[:2] == (0, whole[0]) and task.seen == list(range(9, 16))


@pytest.mark.parametrize('scaler', [None, {}, {'scale': 0, 'good': 0, 'skipped': 0}, {'scale': NAN, 'good': 0, 'skipped': 0},
                                    {'scale': 2.0, 'good': -1, 'skipped': 0}, {'scale': 2.0, 'good': 0},
                                    {'scale': 'x', 'good': 0, 'skipped': 0}, {'scale': HUGE, 'good': 0, 'skipped': 0}])
def test_a_forged_loss_scale(scaler, tmp_path):
    assert train(tmp_path, task=Signalled(signal.SIGTERM, update=8), dtype='float16')[0] == 143
    forge(tmp_path / INSIDE, put({'scaler': scaler}))
    assert 'scaler in its manifest is' in refused(tmp_path, dtype='float16')


def forge_arrays(path, name, change):
    """Change the arrays of a checkpoint's file, and all digests with them."""
    arrays = mx.nd.load(str(path / name))
    change(arrays)
    mx.nd.save(str(path / name), arrays)
    digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
    forge(path, lambda manifest: manifest['files'].update({name: {'sha256': digest, 'bytes': 1}}))


@pytest.mark.parametrize('name, arrays', [
    ('optimizer.params', {'x': mx.nd.ones(1)}), ('optimizer.params', {'x/velocity': mx.nd.ones(1)}),
    ('optimizer.params', {'-1/velocity': mx.nd.ones(1)}), ('optimizer.params', {'7/velocity': mx.nd.ones((1, 1))}),
    ('optimizer.params', {'0/lr': mx.nd.zeros(1)}), ('optimizer.params', {'0/lr': mx.nd.ones(2)}),
    ('optimizer.params', {'0/velocity': mx.nd.ones(3)}), ('optimizer.params', {'0/velocity/x': mx.nd.ones(1)}),
    ('net.params', {'weight': mx.nd.ones(3)}), ('net.params', {'other': mx.nd.ones(1)}),
    ('devices.params', {'weight': mx.nd.ones((1, 1))}), ('devices.params', {'x:weight': mx.nd.ones((1, 1))}),
    ('devices.params', {'0:other': mx.nd.ones(1)}), ('devices.params', {'0:weight': mx.nd.ones((1, 1))})])
def test_forged_arrays_are_one_sentence(name, arrays, inside, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(str(inside), str(folder), symlinks=True)
    if name == 'devices.params':
        mx.nd.save(str(folder / INSIDE / name), arrays)
    forge_arrays(folder / INSIDE, name, lambda before: before.update(arrays))
    with pytest.raises(UsageError) as caught:
        train(folder, resume='auto')
    assert '\n' not in str(caught.value) and checkpoint.names(str(folder)) == ['epoch-0000', INSIDE]


# ---------------------------------------------------------------------------------------------------------------------
# The whole program: forged manifests, and other data

@pytest.fixture(scope='module')
def stopped(tiny_arguments, tmp_path_factory):
    """(SAVE_DIR, function(flags) -> exit code) of a training with one of two epochs done."""
    folder = tmp_path_factory.mktemp('program') / 'run'

    def resumed(*flags):
        return train_imagenet.main(tiny_arguments + ['--save-dir', str(folder), '--resume', 'auto'] + list(flags))
    assert resumed() == 0
    shutil.rmtree(str(folder / 'epoch-0001'))
    checkpoint.point(str(folder), 'latest', 'epoch-0000')
    checkpoint.point(str(folder), 'best', 'epoch-0000')
    manifest = json.loads((folder / 'epoch-0000' / 'manifest.json').read_text())
    assert manifest['updates_per_epoch'] == 4 and manifest['data']['train']['images'] == 64
    assert manifest['data']['val']['images'] == 27 and manifest['data']['train']['sha256']
    return folder, resumed


def says(stopped, capsys, words, *flags):
    """The program ends with code 2 and one sentence that has the words; nothing is changed."""
    folder, resumed = stopped
    before = contents(folder)
    capsys.readouterr()
    assert resumed(*flags) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and err.count('\n') == 1 and words in err, err
    assert contents(folder) == before


@pytest.mark.parametrize('changes, words', [
    ({'best/checkpoint': '../../x'}, 'best in its manifest'), ({'best/top1': 'x'}, 'best in its manifest'),
    ({'best/top5': KeyError}, 'best in its manifest'),
    ({'metrics/num_images': 0.5}, 'metrics in its manifest'),
    ({'metrics/top1': None}, 'metrics in its manifest'),
    ({'data/train/images': 65}, 'images'), ({'data/val/digest': '0' * 64}, 'digest')])
def test_the_program_refuses_a_forged_manifest(changes, words, stopped, capsys):
    folder = stopped[0]
    kept = (folder / 'epoch-0000' / 'manifest.json').read_text()
    try:
        forge(folder / 'epoch-0000', put(changes))
        says(stopped, capsys, words)
    finally:
        (folder / 'epoch-0000' / 'manifest.json').write_text(kept)


def test_other_data_are_refused_and_the_same_elsewhere_are_not(stopped, tiny_data, tmp_path, capsys):
    folder, resumed = stopped
    more = make_records(tmp_path / 'more', train=65)
    says(stopped, capsys, 'the training data are others (images: 65 now and 64 then)', '--rec-train',
         str(more / 'rec' / 'train.rec'))
    fewer = make_records(tmp_path / 'fewer', val=26)
    says(stopped, capsys, 'the validation data are others (images: 26 now and 27 then)', '--rec-val',
         str(fewer / 'rec' / 'val.rec'))
    same = tmp_path / 'elsewhere'
    shutil.copytree(str(tiny_data), str(same))
    with open(str(same / 'rec' / 'train.rec'), 'r+b') as stream:
        stream.seek(-100, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-100, os.SEEK_END)
        stream.write(bytes([byte ^ 1]))
    says(stopped, capsys, 'the training data are others (digest', '--data-dir', str(same))
    kept = tmp_path / 'kept'
    shutil.copytree(str(folder), str(kept), symlinks=True)
    shutil.rmtree(str(same))
    shutil.copytree(str(tiny_data), str(same))
    os.remove(str(same / 'rec' / 'train.certificate.json'))
    assert resumed('--data-dir', str(same), '--save-dir', str(kept)) == 0


@pytest.mark.parametrize('before, now, words', [
    (['a', 'b'], ['a', 'c'], 'the classes are others (c now and b then)'),
    (['a', 'b'], ['a'], 'the classes are others (1 now and 2 then)'), (['a'], None, None), (None, ['a'], None)])
def test_other_classes_are_refused(before, now, words):
    manifest = {'classes': before, 'metrics': {}, 'best': None, 'batch': None}

    def check():
        setup = Setup(Task(), None, None, 5, 4)
        check_fits(TrainConfig(), 'PATH', manifest, setup, 1, {'classes': now})
    if words is None:
        return check()
    with pytest.raises(UsageError) as caught:
        check()
    assert words in str(caught.value)


def test_a_checkpoint_that_kept_no_data_is_compared_by_what_it_has(stopped, tmp_path, capsys):
    folder, resumed = stopped
    old = tmp_path / 'old'
    shutil.copytree(str(folder), str(old), symlinks=True)
    forge(old / 'epoch-0000', put({'data': KeyError, 'updates_per_epoch': KeyError}))
    fewer = make_records(tmp_path / 'fewer', val=26)
    assert resumed('--save-dir', str(old), '--rec-val', str(fewer / 'rec' / 'val.rec')) == 2
    assert 'validation data are others (images: 26 now and 27 then)' in capsys.readouterr().err
    assert resumed('--save-dir', str(old)) == 0
