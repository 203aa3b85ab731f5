"""What a report holds: groups of runs, tables that are as few as suffice, what is looked at, and what is left out."""
import json

import numpy as np
import pytest

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.config.recipes_transfer import RECIPES as TRANSFER
from gluon_tricks.config.scales import DEMO
from gluon_tricks.errors import UsageError
from gluon_tricks.results import examples
from gluon_tricks.results import report as reports
from gluon_tricks.results.report import report, rows_in, took
from support.finished import finished
from support.tables import runs_of

MIXUP, COSINE = 'table6/resnet50_v1d/mixup', 'table6/resnet50_v1d/cosine'
DIGITS = [str(digit) for digit in range(10)]


def digits_run(folder, name=COSINE, top1=90.0, **changes):
    """A run of the demo's ladder, of which nothing but the records of figures is there."""
    config = DEMO.config(RECIPES[name]).replace(**changes)
    return finished(folder, config, {'top1': top1, 'top5': 99.0}, classes=DIGITS, images=(200, 1597))


def test_runs_that_differ_by_their_seed_are_one_group(tmp_path):
    paths = runs_of(tmp_path, COSINE, [77.9, 77.7, 78.0])
    config = RECIPES[COSINE].config.replace(lr=RECIPES[COSINE].lr)
    free = finished(tmp_path / 'free', config.replace(seed=7, log_interval=3), {'top1': 77.8, 'top5': 94.0})
    other = finished(tmp_path / 'other', config.replace(seed=8, wd=1e-3), {'top1': 70.0, 'top5': 94.0})
    data = finished(tmp_path / 'data', config.replace(seed=9), {'top1': 70.0, 'top5': 94.0}, data='cd' * 32)
    found = report([paths[2], other, paths[0], free, data, paths[1]])
    assert [[record.seed for record in group.records] for group in found.groups] == [[0, 1, 2, 7], [9], [8]]
    group = found.groups[0]
    values = [77.9, 77.7, 78.0, 77.8]
    assert group.values('top1').tolist() == values and group.values('top1', 'best')[:3] == pytest.approx(np.array(values[:3]) + 0.05)
    assert group.spread('top1') == f'{np.std(values, ddof=1):.2f}' and found.groups[1].spread('top1') == ''
    assert [group.title for group in found.groups] == [COSINE + ': 4 seeds', COSINE + ': data', 'resnet50_v1d: other']
    mixup = runs_of(tmp_path / 'mixup', MIXUP, [79.0])
    assert [group.title.split(':')[0] for group in report([other, *mixup, *paths]).groups] == [COSINE, MIXUP, 'resnet50_v1d']
    assert found.title == 'Table 6, 6 runs' and found.runs == 6
    assert any('different data' in note for note in found.notes) and not report(paths).notes


def test_what_was_run_and_how_to_run_it_again(tmp_path):
    group, = report(runs_of(tmp_path, COSINE, [77.9, 77.7], resume='auto')).groups
    facts = dict(group.facts)
    assert COSINE in facts['Rows'] and facts['Network'] == 'resnet50_v1d' and '1281167 to train and 50000' in facts['Data']
    assert facts['Epochs'] == '120' and 'mxnet 1.9.1' in facts['Ran on'] and facts['Started'].startswith('2026')
    first, second = group.commands
    assert first.startswith('python train_imagenet.py') and '--lr-mode cosine' in first and '--seed 1' in second
    assert '-again' in first and '--resume' not in first
    none = report([finished(tmp_path / 'x', RECIPES[COSINE].config.replace(wd=1e-3), {'top1': 1.0, 'top5': 2.0})])
    assert dict(none.groups[0].facts)['Rows'].startswith('none') and none.tables == ()


@pytest.mark.parametrize('seconds, words', [(60.0, '2e+02 GPU'), (0.05, '0.8 GPU-minutes')])
def test_time_in_words(tmp_path, seconds, words):
    path = finished(tmp_path / 'run', COSINE, {'top1': 1.0, 'top5': 2.0}, seconds=seconds)
    record, = report([path]).groups[0].records
    hours = seconds * 120 * len(record.devices) / 3600
    assert took([record]) == (f'{hours:.3g} GPU-hours' if hours >= 1 else f'{60 * hours:.2g} GPU-minutes')
    assert words.split(' ')[1] in took([record])
    assert float(took([record] * 3).split()[0]) == pytest.approx(3 * float(took([record]).split()[0]), rel=0.1)


def test_figures_of_some_epochs(tmp_path):
    group, = report(runs_of(tmp_path, COSINE, [77.9, 77.7])).groups
    assert len(group.listed) == 11 and group.listed[-1] == (120, [77.9, 77.7]) and group.listed[0][0] == 1
    assert [history.name for history in group.figures.histories] == ['seed 0', 'seed 1']
    assert group.listed[5][1] == pytest.approx([77.9 * group.listed[5][0] / 120, 77.7 * group.listed[5][0] / 120])


def test_the_fewest_tables_that_have_every_run(tmp_path):
    baseline = finished(tmp_path / 'a', 'table2/resnet50_v1', {'top1': 75.9, 'top5': 92.7})  # of tables 1 to 4
    cosine = finished(tmp_path / 'b', COSINE, {'top1': 77.9, 'top5': 93.8})
    assert [table.number for table in report([cosine]).tables] == ['6']
    tables = report([baseline, cosine]).tables
    assert len(tables) == 2 and tables[1].number == '6' and [rows_in(table) for table in tables] == [1, 1]
    found = report([cosine], ['8', 'slides', '8'])
    assert [table.number for table in found.tables] == ['8', 'slides'] and found.title == 'Table 8, Slides, 1 run'
    assert not any(table.left_out for table in found.tables)


def test_titles_name_the_row_of_the_table_on_the_page_and_are_not_alike(tmp_path):
    paths = [finished(tmp_path / f'{data}{number}', RECIPES['table2/resnet50_v1'].config.replace(lr=0.1, seed=number), {
        'top1': 75.9, 'top5': 92.7}, data=data * 32) for data in ('ab', 'cd') for number in range(2)]
    assert [group.title for group in report(paths, ['4']).groups] == [
        'table4/bs256/linear_scaling: 2 seeds', 'table4/bs256/linear_scaling: 2 seeds (2)']
    assert report(paths, ['6']).groups[0].title == 'table2/resnet50_v1: 2 seeds'


def test_a_ladder_of_the_demo_is_rows(tmp_path):
    paths = [digits_run(tmp_path / str(seed), seed=seed) for seed in range(3)]
    table, = report(paths).tables
    cell = next(row for row in table.rows if row.name == COSINE).cells['top1']
    assert cell.n == 3 and cell.verdict.word == 'not comparable'


def test_what_is_left_out_is_named(tmp_path):
    run = finished(tmp_path / 'run', COSINE, {'top1': 77.9, 'top5': 93.8})
    half = finished(tmp_path / 'half', COSINE, {'top1': 77.9, 'top5': 93.8}, status='running')
    (tmp_path / 'foreign').mkdir()
    damaged = finished(tmp_path / 'damaged', MIXUP, {'top1': 79.1, 'top5': 94.5})
    (tmp_path / 'damaged' / 'run.json').write_text('{"status": ')
    found = report([half, str(tmp_path / 'foreign'), run, damaged, str(tmp_path / 'nowhere'), run])
    assert [path for path, _ in found.left_out] == [half, str(tmp_path / 'foreign'), damaged, str(tmp_path / 'nowhere')]
    assert found.runs == 1
    with pytest.raises(UsageError, match='not finished'):
        report([half])
    assert report([half], ['6']).runs == 0 and report([], ['6']).left_out == ()


def test_a_log_that_begins_anew_is_left_out(tmp_path):
    run, strange = (finished(tmp_path / name, COSINE, {'top1': 77.9, 'top5': 93.8}, seconds=seconds)
                    for name, seconds in (('run', 60.0), ('strange', 61.0)))
    facts = json.loads((tmp_path / 'strange' / 'run.json').read_text())
    (tmp_path / 'strange' / 'run.json').write_text(json.dumps(dict(facts, started='2026-02-01T00:00:00Z')))
    with open(strange + '/log.jsonl', 'a') as stream:
        stream.write('{"event": "batch", "epoch": 0, "batch": 1, "update": 1}\n')
    found = report([run, strange])
    assert found.runs == 1 and found.left_out == ((strange, 'log.jsonl begins anew after the last epoch'),)


def test_what_a_page_has_no_room_for_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, 'MOST_DRAWN', 1)
    paths = runs_of(tmp_path, COSINE, [77.0] * 6) + runs_of(tmp_path, MIXUP, [79.0])
    first, second = report(paths).groups
    assert first.curves and len(first.figures.histories) == 5 and any('first 5 runs' in note for note in first.notes)
    assert second.curves is None and any('figure curves' in note for note in second.notes)


# ---------------------------------------------------------------------------------------------------------------------
# Images

def test_only_the_demo_s_images_are_looked_at_unless_asked_for(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(examples, 'look', lambda record, *_: looked.append(record.path) or 'seen')
    other = finished(tmp_path / 'other', COSINE, {'top1': 77.9, 'top5': 93.8})
    digits = [digits_run(tmp_path / str(seed), seed=seed) for seed in range(2)]
    found = report([other, *digits])
    assert [group.classes for group in found.groups] == [None, 'seen'] and looked == [digits[0]]
    assert any('--look' in note for note in found.groups[0].notes) and not found.groups[1].notes
    assert [group.classes for group in report([other, *digits], look=True).groups] == ['seen', 'seen']
    monkeypatch.setattr(reports, 'MOST_LOOKED', 1)
    assert [group.classes for group in report([other, *digits], look=True).groups] == ['seen', None]


def test_images_that_are_gone_are_said(tmp_path):
    group, = report([digits_run(tmp_path / 'run')]).groups
    assert group.classes is None and any('could not be looked at' in note for note in group.notes)


def test_pictures_that_lie_beside_a_detector(tmp_path, monkeypatch):
    import cv2
    config = TRANSFER['table8/mixup'].config
    paths = [finished(tmp_path / f'run{number}', config.replace(base_params=base), {'map_voc07': 80.0})
             for number, base in enumerate(('one.params', 'other.params'))]
    for number, path in enumerate(paths):
        folder = tmp_path / f'run{number}' / 'pictures'
        folder.mkdir()
        for name in 'abcde':
            cv2.imwrite(str(folder / f'{name}.png'), np.full((12, 1280, 3), 200, 'uint8'))
    (tmp_path / 'run0' / 'pictures' / 'a.png').write_text('<svg onload="alert(1)">')
    first, second = report(paths).groups
    assert [picture.name for picture in first.shown] == ['b.png', 'c.png', 'd.png', 'e.png']
    assert any('a.png' in note for note in first.notes) and len(second.shown) == 4
    assert first.shown[0][2:] == (640, 6)
    monkeypatch.setattr(reports, 'MOST_PICTURES', 5)
    assert [len(group.shown) for group in report(paths).groups] == [4, 1]


def test_a_classifier_s_pictures_are_not_taken(tmp_path):
    import cv2
    path = finished(tmp_path / 'run', COSINE, {'top1': 77.9, 'top5': 93.8})
    (tmp_path / 'run' / 'pictures').mkdir()
    cv2.imwrite(str(tmp_path / 'run' / 'pictures' / 'a.png'), np.zeros((8, 8, 3), 'uint8'))
    assert report([path]).groups[0].shown == ()


def test_run_json_may_hold_anything_beside_its_figures(tmp_path):
    path = finished(tmp_path / 'run', COSINE, {'top1': 77.9, 'top5': 93.8})
    facts = json.loads((tmp_path / 'run' / 'run.json').read_text())
    for strange in ({'environment': [1]}, {'environment': {'mxnet': {'a': 1}}}, {'started': {}}, {'started': 'x' * 10 ** 6}):
        (tmp_path / 'run' / 'run.json').write_text(json.dumps(dict(facts, **strange)))
        group, = report([path]).groups
        assert sum(len(words) for _, words in group.facts) < 5000
