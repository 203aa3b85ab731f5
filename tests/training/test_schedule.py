"""The schedule against GluonCV's published logs, its classes of today, and the paper's words."""
import math
import pickle
import re
import subprocess
import sys

import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.training.schedule import Schedule
from support import ROOT

PUBLISHED = ROOT / '..' / 'shared' / 'published'
LOGS = ('resnet50_v1', 'resnet50_v1b', 'resnet50_v1c', 'resnet50_v1d', 'resnet50_v1d-mixup', 'inceptionv3-mixup',
        'mobilenet1.0-mixup')
UPDATES_PER_EPOCH = 1281167 // 1024


def logged(name):
    """The epochs of a published run and its rows (update, printed learning rate)."""
    path = PUBLISHED / (name + '.log')
    if not path.exists():
        pytest.skip(f'the published log {path.name} is not here')
    text = path.read_text()
    rows = re.findall(r'^Epoch\[(\d+)\] Batch \[(\d+)\]\t.*\tlr=(\d+\.\d{6})$', text, re.MULTILINE)
    return (int(re.search(r'num_epochs=(\d+)', text).group(1)),
            [(int(epoch) * UPDATES_PER_EPOCH + int(batch) + 1, lr) for epoch, batch, lr in rows])


@pytest.mark.parametrize('name', LOGS)
def test_published_learning_rates(name):
    epochs, rows = logged(name)
    assert len(rows) == epochs * 25
    assert rows[0] == (50, '0.003133')
    by_form = {form: Schedule(0.4, 'cosine', UPDATES_PER_EPOCH, epochs, warmup_epochs=5, form=form)
               for form in ('paper', 'gluoncv-2018')}
    assert [(update, f'{by_form["gluoncv-2018"](update):f}') for update, _ in rows] == rows
    # The paper's form is lr / m higher in the warmup, and the same to the printed digit from there on.
    gap, where = max((abs(by_form['paper'](update) - float(lr)), update) for update, lr in rows)
    print('%-20s %d lines, largest |paper - log| %.6f at epoch %d, batch %d (0-based)'
          % ((name, len(rows), gap) + divmod(where - 1, UPDATES_PER_EPOCH)))
    assert abs(gap - 0.4 / 6255) < 1e-6
    assert where <= 6255
    assert all(f'{by_form["paper"](update):f}' == lr for update, lr in rows if update > 6255)


def test_every_published_log_that_is_here():
    """Each log of GluonCV's train_imagenet.py by the script of its time; a log may hold several starts of a run.

    The script of 2018 counts 1281167 // B updates in each epoch; the later one counts the batches of its reader, which
    fills up the last one of an epoch from the next epoch.
    """
    logs = [(path, path.read_text(errors='replace')) for path in sorted(PUBLISHED.glob('*.log'))]
    logs = [(path, text) for path, text in logs if 'lr_mode=' in text]
    if not logs:
        pytest.skip('no published log is here')
    for path, text in logs:
        for start in text.split('Namespace(')[1:]:
            options = dict(re.findall(r"(\w+)='?([^',)]*|[\d,]+(?='))'?[,)]", start.split('\n')[0]))
            rows = re.findall(r'Epoch\[(\d+)\] Batch \[(\d+)\]\t.*\tlr=(\d+\.\d{6})\b', start)
            batch = int(options['batch_size']) * int(options['num_gpus'])
            epochs, warmup = int(options['num_epochs']), int(options['warmup_epochs'])
            drops = re.search(r"lr_decay_epoch='([\d,]+)'", start)
            schedules = {form: Schedule(float(options['lr']), options['lr_mode'], 1281167 // batch, epochs, warmup,
                                        tuple(map(int, drops.group(1).split(','))), float(options['lr_decay']),
                                        form=form) for form in ('gluoncv-2018', 'gluoncv')}
            before = {'gluoncv-2018': lambda epoch: epoch * (1281167 // batch),
                      'gluoncv': lambda epoch: -(-epoch * 1281167 // batch)}
            assert any(all('%f' % schedule(before[form](int(epoch)) + int(number) + 1) == lr
                           for epoch, number, lr in rows) for form, schedule in schedules.items()), path.name


@pytest.mark.parametrize('mode', ['step', 'cosine', 'poly'])
@pytest.mark.parametrize('warmup_epochs', [0, 1, 5])
@pytest.mark.parametrize('updates_per_epoch', [2, 7])
def test_gluoncv_of_today(mode, warmup_epochs, updates_per_epoch):
    from gluon_tricks.compat import mx  # noqa: F401

    from gluoncv.utils import LRScheduler, LRSequential
    epochs, decay_epochs = 12, (3, 6, 9)
    theirs = LRSequential([
        LRScheduler('linear', base_lr=0, target_lr=0.4, nepochs=warmup_epochs, iters_per_epoch=updates_per_epoch),
        LRScheduler(mode, base_lr=0.4, target_lr=0, nepochs=epochs - warmup_epochs, iters_per_epoch=updates_per_epoch,
                    step_epoch=[epoch - warmup_epochs for epoch in decay_epochs], step_factor=0.1, power=2)])
    ours = Schedule(0.4, mode, updates_per_epoch, epochs, warmup_epochs, decay_epochs, form='gluoncv')
    updates = range(1, epochs * updates_per_epoch + 4)
    assert [ours(update) for update in updates] == pytest.approx([theirs(update) for update in updates], abs=1e-15)


@pytest.mark.parametrize('form', ['paper', 'gluoncv-2018'])
@pytest.mark.parametrize('warmup_epochs', [0, 5])
def test_step_falls_at_the_first_update_of_its_epoch(form, warmup_epochs):
    schedule = Schedule(0.1, 'step', 5004, 120, warmup_epochs, form=form)
    for epoch, before, after in ((30, 0.1, 0.01), (60, 0.01, 0.001), (90, 0.001, 0.0001)):
        assert schedule(epoch * 5004) == pytest.approx(before)
        assert schedule(epoch * 5004 + 1) == pytest.approx(after)
    assert schedule(5004 * 120) == pytest.approx(0.0001)


def test_step_of_gluoncv_today_falls_one_update_early():
    schedule = Schedule(0.1, 'step', 10, 120, 5, form='gluoncv')
    assert [schedule(update) for update in (299, 300, 301)] == pytest.approx([0.1, 0.01, 0.01])


def test_a_decay_inside_the_warmup_counts_after_it():
    schedule = Schedule(1.0, 'step', 4, 6, 2, decay_epochs=(1, 3), decay_factor=0.5)
    assert [schedule(update) for update in (8, 9, 12, 13)] == [1.0, 0.5, 0.5, 0.25]


def test_warmup_then_cosine_as_the_paper_words_it():
    m, total = 3 * 10, 17 * 10
    schedule = Schedule(0.4, 'cosine', 10, 20, warmup_epochs=3)
    expected = [i * 0.4 / m for i in range(1, m + 1)]
    expected += [0.4 * math.cos(t * math.pi / total / 2) ** 2 for t in range(total)]
    assert [schedule(update) for update in range(1, 201)] == pytest.approx(expected, abs=1e-15)
    assert schedule(m) == schedule(m + 1) == 0.4
    assert 0 < schedule(200) < 1e-4


def test_poly():
    schedule = Schedule(0.01, 'poly', 5, 4, power=0.9)
    assert schedule(1) == 0.01
    assert schedule(11) == pytest.approx(0.01 * math.exp(0.9 * math.log(0.5)))
    assert schedule(20) == pytest.approx(0.01 * 0.05 ** 0.9)


@pytest.mark.parametrize('form', ['paper', 'gluoncv-2018', 'gluoncv'])
@pytest.mark.parametrize('mode', ['step', 'cosine', 'poly'])
def test_outside_the_run_the_nearest_update_holds(mode, form):
    schedule = Schedule(0.4, mode, 3, 4, 1, form=form)
    assert schedule(0) == schedule(1)
    assert schedule(13) == schedule(1000) == schedule(12)


def test_pure_frozen_and_picklable():
    schedule = Schedule(0.4, 'cosine', 10, 20, 3)
    assert schedule(77) == pickle.loads(pickle.dumps(schedule))(77)
    assert schedule(3) < schedule(77)  # the order of the calls does not matter
    with pytest.raises(AttributeError):
        schedule.lr = 1.0


def test_drives_an_mxnet_optimizer():
    from gluon_tricks.compat import mx
    schedule = Schedule(0.8, 'cosine', 2, 4, 1)
    optimizer = mx.optimizer.create('sgd', lr_scheduler=schedule)
    weight, gradient = mx.nd.zeros((1,)), mx.nd.ones((1,))
    assert optimizer.learning_rate == schedule(1)
    steps = []
    for _ in range(8):
        before = weight.asscalar()
        optimizer.update(0, weight, gradient, None)
        steps.append(before - weight.asscalar())
    assert steps == pytest.approx([schedule(update) for update in range(1, 9)], abs=1e-6)


@pytest.mark.parametrize('change, word', [
    ({'mode': 'cosin'}, 'mode'), ({'form': 'gluoncv2018'}, 'form'), ({'lr': 0}, 'lr'), ({'lr': math.nan}, 'lr'),
    ({'updates_per_epoch': 0}, 'updates_per_epoch'), ({'epochs': 0}, 'epochs'),
    ({'warmup_epochs': 20}, 'warmup_epochs'), ({'warmup_epochs': -1}, 'warmup_epochs'),
    ({'decay_epochs': (30, 30)}, 'decay_epochs'), ({'decay_epochs': (60, 30)}, 'decay_epochs'),
    ({'decay_epochs': (0, 30)}, 'decay_epochs'),
    ({'decay_factor': 0}, 'decay_factor'), ({'power': -1}, 'power'),
    ({'form': 'gluoncv', 'updates_per_epoch': 1, 'warmup_epochs': 19}, 'form'),
])
def test_refuses_what_makes_no_schedule(change, word):
    values = dict(lr=0.4, mode='cosine', updates_per_epoch=10, epochs=20)
    Schedule(**values)
    values.update(change)
    with pytest.raises(UsageError, match=f'^{word} \\(='):
        Schedule(**values)


def test_needs_only_the_standard_library():
    code = ('import sys, gluon_tricks.training.schedule, gluon_tricks.tricks.linear_scaling; '
            'sys.exit(sum(name in sys.modules for name in ("numpy", "mxnet", "gluoncv")))')
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT)).returncode == 0
