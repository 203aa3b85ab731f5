"""What is read of a finished run, and which directories are left out, each with its reason."""
import importlib.util
import json
import os
import shutil

import pytest

from gluon_tricks.config import recipes
from gluon_tricks.config.recipes_transfer import RECIPES
from gluon_tricks.results.records import records
from gluon_tricks.training import checkpoint
from support.finished import finished

MIXUP = 'table6/resnet50_v1d/mixup'
FIGURES = {'top1': 79.1, 'top5': 94.5}


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / 'run', MIXUP, FIGURES, {'top1': 79.2, 'top5': 94.4})


def only(path):
    (record,), left_out = records([path])
    assert not left_out
    return record


def reason(path):
    found, ((named, text),) = records([path])
    assert not found and named == str(path) and '\n' not in text
    return text


def test_a_run_of_a_row(run):
    record = only(run)
    assert MIXUP in record.rows and record.task == 'classification' and record.config.mixup and record.seed == 0
    assert record.last == {'top1': 79.1, 'top5': 94.5, 'epoch': 199}
    assert record.best == {'top1': 79.2, 'top5': 94.4, 'epoch': 100}
    assert record.num_images == 50000 and len(record.epochs) == 200 and record.seconds == 200 * 60
    assert len(record.devices) == 8 and record.workers == 1 and record.facts['environment']['mxnet'] == '1.9.1'


def test_rows_with_equal_configurations_are_one_run(tmp_path):
    record = only(finished(tmp_path / 'run', 'table2/resnet50_v1', FIGURES))
    assert {'table1/resnet50_v1', 'table2/resnet50_v1', 'table3/baseline/resnet50_v1',
            'table4/bs256/linear_scaling'} <= set(record.rows)


def test_figures_are_in_percent(tmp_path):
    record = only(finished(tmp_path / 'run', 'table9/mixup', {'pix_acc': 0.7847, 'miou': 0.3799}))
    assert record.last == {'pix_acc': pytest.approx(78.47), 'miou': pytest.approx(37.99), 'epoch': 119}


@pytest.mark.parametrize('base, rows', [
    ('runs/table6/resnet50_v1d/mixup/best/net.params', ['mixup']), ('elsewhere/net.params', []), ('', []),
    ('/x/runs/table5/resnet50_v1d/best/net.params', ['efficient']), ('resnet50_v1d-117a384e.params', ['mixup']),
    ('resnet50d.gluon_in1k/model.safetensors', ['mixup']), ('runs/b_standard/best/net.params', [])])
def test_rows_of_table_8_are_told_apart_by_their_base(tmp_path, base, rows):
    config = RECIPES['table8/mixup'].config.replace(base_params=base)
    found = only(finished(tmp_path / 'run', config, {'map_voc07': 81.1})).rows
    assert list(found) == ['table8/' + name for name in rows]


def test_a_base_is_known_by_its_run(tmp_path):
    base = finished(tmp_path / 'mine', 'table6/resnet50_v1d/cosine', FIGURES)
    config = RECIPES['table9/mixup'].config.replace(base_params=base + '/epoch-0119/net.params')
    figures = {'pix_acc': 0.7, 'miou': 0.3}
    assert only(finished(tmp_path / 'run', config, figures)).rows == ('table9/cosine',)
    shutil.rmtree(base)
    assert only(finished(tmp_path / 'run2', config, figures)).rows == ()


def test_a_scale_s_run_is_its_row(tmp_path):
    config = recipes.get(MIXUP).config.replace(num_epochs=8, num_gpus=0, batch_size=20, lr=0.05)

    class Scale:
        @staticmethod
        def config(row):
            return config if row.name == MIXUP else None

    path = finished(tmp_path / 'run', config, FIGURES)
    assert records([path])[0][0].rows == () and records([path], [Scale])[0][0].rows == (MIXUP,)


def test_an_epoch_that_was_trained_again_counts_once_but_its_time_twice(run):
    with open(run + '/log.jsonl') as stream:
        lines = stream.read().splitlines()
    with open(run + '/log.jsonl', 'w') as stream:
        stream.write('\n'.join(lines[:3] + ['{"epoch": 3, "ev'] + lines[1:]))
    record = only(run)
    assert [event['epoch'] for event in record.epochs] == list(range(200)) and record.seconds == 202 * 60


def test_runs_on_equal_data_share_a_digest(tmp_path):
    one, two, other = (only(finished(tmp_path / str(number), MIXUP, FIGURES, data=data))
                       for number, data in enumerate(('ab' * 32, 'ab' * 32, 'cd' * 32)))
    assert one.data_digest == two.data_digest != other.data_digest


# ---------------------------------------------------------------------------------------------------------------------
# What is left out

def test_what_is_no_run(tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'empty').mkdir()
    assert 'no such directory' in reason(tmp_path / 'nowhere')
    assert 'not a directory' in reason(tmp_path / 'file')
    assert 'no run.json' in reason(tmp_path / 'empty')


@pytest.mark.parametrize('status', ['running', 'interrupted', 'diverged', 'failed', None, 3])
def test_a_run_that_is_not_finished(tmp_path, status):
    assert 'not finished' in reason(finished(tmp_path / 'run', MIXUP, FIGURES, status=status))


def test_a_run_that_is_given_twice_or_copied(run, tmp_path):
    shutil.copytree(run, str(tmp_path / 'copy'))
    found, left_out = records([run, run + '/', str(tmp_path / 'copy')])
    assert [record.path for record in found] == [run] and len(left_out) == 2
    assert all(f'the same run as {run}' in text for _, text in left_out)


def change(path, **values):
    with open(path + '/run.json') as stream:
        facts = json.load(stream)
    for name, value in values.items():
        facts[name] = dict(facts[name], **value) if isinstance(value, dict) else value
    with open(path + '/run.json', 'w') as stream:
        json.dump(facts, stream)


@pytest.mark.parametrize('values, words', [
    ({'result': {'top1': 79.2}}, 'disagree about top1'), ({'result': {'top1': 'nan'}}, 'no accuracy'),
    ({'result': {'top1': True}}, 'no accuracy'), ({'result': {'top1': 101.0}}, 'no accuracy'),
    ({'result': {'top1': None}}, 'disagree about top1|no accuracy'), ({'best': {'top5': 1.0}}, 'disagree about top5'),
    ({'result': 3}, 'disagree|not validated|no accuracy'), ({'best': None}, 'disagree|no accuracy'),
    ({'devices': []}, 'devices'), ({'devices': [3]}, 'devices'), ({'started': [3]}, ''), ({'result': {'epoch': 3}}, 'epoch'),
    ({'result': {'num_images': 0}}, 'num_images'), ({'result': {'num_images': '50000'}}, 'num_images')])
def test_figures_that_were_changed(run, values, words):
    change(run, **values)
    if not words:
        assert only(run).last['top1'] == 79.1
        return
    assert any(word in reason(run) for word in words.split('|'))


@pytest.mark.parametrize('name', ['run.json', 'log.jsonl', 'manifest.json'])
@pytest.mark.parametrize('damage', ['remove', 'empty', 'cut', 'binary', 'directory', 'deep', 'list', 'pipe'])
def test_damaged_files(run, name, damage):
    path = os.path.join(run, 'epoch-0199', name) if name == 'manifest.json' else os.path.join(run, name)
    with open(path, 'rb') as stream:
        content = stream.read()
    os.remove(path)
    if damage == 'directory':
        os.mkdir(path)
    elif damage == 'pipe':
        os.mkfifo(path)
    elif damage != 'remove':
        with open(path, 'wb') as stream:
            stream.write({'empty': b'', 'cut': content[:len(content) // 2], 'binary': bytes(range(256)) * 8,
                          'deep': b'[' * 100000, 'list': b'[1]\n'}[damage])
    assert reason(run)


def test_every_cut_of_every_file_is_a_record_or_has_a_reason(run):
    """A length of each file from a grid: never an exception; what is still read has the run's figures."""
    for name in ('run.json', 'epoch-0199/manifest.json', 'log.jsonl'):
        path = os.path.join(run, name)
        with open(path, 'rb') as stream:
            content = stream.read()
        for length in range(0, len(content), max(1, len(content) // 40)):
            with open(path, 'wb') as stream:
                stream.write(content[:length])
            found, left_out = records([run])
            assert len(found) + len(left_out) == 1 and all(record.last['top1'] == 79.1 for record in found)
        with open(path, 'wb') as stream:
            stream.write(content)
    only(run)


def manifest_with(run, **values):
    folder = os.path.join(run, 'epoch-0199')
    with open(os.path.join(folder, 'manifest.json')) as stream:
        manifest = dict(json.load(stream), **values)
    manifest['digest'] = checkpoint._self_digest(manifest)
    with open(os.path.join(folder, 'manifest.json'), 'w') as stream:
        json.dump(manifest, stream)


@pytest.mark.parametrize('values, words', [
    ({'task': 'ranking'}, 'ranking'), ({'config': {'no_such_option': 1}}, 'no_such_option'),
    ({'epoch': 3}, 'not of the last epoch'), ({'workers': 'many'}, 'workers'), ({'metrics': 3}, 'disagree'),
    ({'format': 1}, 'format'), ({'config': {'num_epochs': 'x'}}, 'num_epochs')])
def test_manifests_of_other_programs_and_versions(run, values, words):
    manifest_with(run, **values)
    assert words in reason(run)


@pytest.mark.parametrize('values', [{'data': 3}, {'data': {'val': 3}}, {'classes': 3}, {'classes': [3]}, {'data': {}}])
def test_data_that_are_not_known_are_no_known_data_set(run, values):
    manifest_with(run, **values)
    assert only(run).dataset == ''


# ---------------------------------------------------------------------------------------------------------------------
# The data

def test_imagenet_is_known_by_certificates_numbers_and_classes(tmp_path):
    timm = importlib.util.find_spec('timm')
    if timm is None:
        pytest.skip('needs timm, whose list of ImageNet\'s classes is the oracle')
    with open(os.path.join(os.path.dirname(timm.origin), 'data', '_info', 'imagenet_synsets.txt')) as stream:
        classes = stream.read().split()
    whole = finished(tmp_path / 'whole', MIXUP, FIGURES, classes=classes)
    assert only(whole).dataset == 'ImageNet'
    assert only(finished(tmp_path / 'few', MIXUP, FIGURES, classes=classes, images=(1281167, 49999))).dataset == ''
    assert only(finished(tmp_path / 'swap', MIXUP, FIGURES, classes=classes[::-1])).dataset == ''
    change(whole, data={'certificates': {'train': 'ab' * 32, 'val': None}})
    assert only(whole).dataset == ''


@pytest.mark.parametrize('row, figures, classes, dataset', [
    ('table7/best', {'top1': 56.7, 'top5': 87.3}, 365, ''), ('table8/mixup', {'map_voc07': 81.1}, 20, ''),
    ('table9/mixup', {'pix_acc': 0.7, 'miou': 0.3}, 150, 'ADE20K'),
    ('table9/mixup', {'pix_acc': 0.7, 'miou': 0.3}, 149, '')])
def test_the_other_data_sets(tmp_path, row, figures, classes, dataset):
    assert only(finished(tmp_path / 'run', row, figures, classes=list(map(str, range(classes))))).dataset == dataset


def test_voc_and_places(tmp_path):
    from gluon_tricks.data.prepare import places365, voc
    assert only(finished(tmp_path / 'voc', 'table8/mixup', {'map_voc07': 81.1}, classes=list(voc.CLASSES))
                ).dataset == 'VOC'
    images = places365.COUNTS['train'], places365.COUNTS['val']
    assert only(finished(tmp_path / 'places', 'table7/best', {'top1': 56.7, 'top5': 87.3}, images=images,
                         classes=list(map(str, range(365))))).dataset == 'Places365'
