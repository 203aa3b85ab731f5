import json
import os

import pytest

from gluon_tricks.commands.train import configuration
from gluon_tricks.data.records.packing import pack
from gluon_tricks.doctor import data
from gluon_tricks.tasks.classification.assembly import resolve
from support.records import make_jpeg, make_records

from gluoncv.data import ImageNet1kAttr


def config_of(folder, *flags):
    words = ['--data-dir', str(folder), '--num-classes', '4', '--input-size', '32', '--num-gpus', '0', *flags]
    return resolve(configuration.from_namespace(configuration.parser().parse_args(words)))[0]


def test_records_that_are_right(tiny_data):
    config = config_of(tiny_data)
    assert data.findings(config) == [] and not data.is_unpacked(config)
    assert data.findings(config.replace(data_backend='synthetic', rec_train='no', num_training_samples=1000)) == []


def test_records_that_are_missing(tmp_path):
    found, = data.findings(config_of(tmp_path))
    assert found.level == 'fails' and f'{tmp_path}/rec/train.rec is missing: prepare ImageNet' in found.text


def test_records_that_were_cut(tmp_path):
    rec = make_records(tmp_path / 'x') / 'rec' / 'train.rec'
    os.truncate(str(rec), rec.stat().st_size - 400)
    found, = data.findings(config_of(tmp_path / 'x'))
    assert found.level == 'fails' and 'its certificate says' in found.text


def test_records_without_a_certificate(tmp_path):
    folder = make_records(tmp_path / 'x')
    (folder / 'rec' / 'val.certificate.json').unlink()
    found, = data.findings(config_of(folder))
    assert found.level == 'warning' and f'type `python -m gluon_tricks verify {folder}/rec/val.rec`' in found.text


def test_two_label_maps(tmp_path):
    rec = make_records(tmp_path / 'x') / 'rec'
    for part, names in (('train', 'abcd'), ('val', 'abdc')):
        pack([(make_jpeg(i % 4, i), i % 4, f'{i}') for i in range(16)], str(rec / part), classes=list(names))
    found, = data.findings(config_of(tmp_path / 'x'))
    assert found.level == 'fails' and 'has other classes than' in found.text


def test_another_number_of_classes(tiny_data):
    found, = data.findings(config_of(tiny_data, '--num-classes', '3'))
    assert found.level == 'fails' and '--num-classes 3' in found.text


def test_imagenet_in_another_order(tmp_path):
    theirs = list(ImageNet1kAttr().synset)
    others = [theirs[1], theirs[0]] + theirs[2:]
    folder = make_records(tmp_path / 'x')
    for classes, number in ((theirs, 0), (others, 1), (['a'] + theirs[1:], 0)):
        for part in ('train', 'val'):
            pack([(make_jpeg(i % 4, i), i, f'{i}') for i in range(4)], str(folder / 'rec' / part), classes=classes)
        found = data.findings(config_of(folder, '--num-classes', '1000', '--batch-size', '4'))
        assert len(found) == number
    pack([(make_jpeg(i % 4, i), i, f'{i}') for i in range(4)], str(folder / 'rec' / 'train'), classes=others)
    assert json.loads((folder / 'rec' / 'train.certificate.json').read_text())['classes'] == others
    assert f'label 0 is {theirs[1]}, and {theirs[0]} in every published network' in data._label_map('x.rec', others)[0].text


def test_a_folder_that_is_not_packed(tmp_path):
    for part in ('train', 'val'):
        for label in range(4):
            folder = tmp_path / part / f'class{label}'
            folder.mkdir(parents=True)
            (folder / 'a.jpg').write_bytes(make_jpeg(label, 1))
    config = config_of(tmp_path)
    found, = data.findings(config)
    assert data.is_unpacked(config) and found.level == 'note' and 'is not packed yet' in found.text
    assert not (tmp_path / '.gluon_tricks').exists()


@pytest.mark.parametrize('lr, total, words', [
    (0.4, 128, '--lr 0.4 at a total batch size of 128: it is 8 times the 0.05 of linear scaling'),  # of 8 GPUs, on one
    (0.05, 1024, 'it is 1/8 of the 0.4 of linear scaling'), (0.1, 256, ''), (0.15, 256, ''), (0.06, 256, '')])
def test_the_learning_rate(tiny_data, lr, total, words):
    found = data.batch(config_of(tiny_data, '--lr', str(lr)), total)
    assert len(found) == bool(words) and all(words in finding.text and finding.level == 'warning' for finding in found)
