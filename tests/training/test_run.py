import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from gluon_tricks import files
from gluon_tricks.commands.console import console
from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.distributed.workers import connect
from gluon_tricks.errors import UsageError
from gluon_tricks.training import callbacks, checkpoint, state
from gluon_tricks.training.divergence import Diverged
from gluon_tricks.training.optimizer import create_optimizer
from gluon_tricks.training.run import Run, Setup, loss_scaler
from support import ROOT
from support.runs import Signalled, Task, history, train

CPU = [mx.cpu()]


def test_a_run_is_recorded_and_kept(tmp_path, capsys):
    code, weight, run = train(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert code == 0 and run['status'] == 'finished' and run['oven'] == 'hot'
    assert run['result'] == {'nearness': pytest.approx(-abs(weight - 3)), 'epoch': 2}
    assert lines[0].startswith('Namespace(') and lines[1] == 'a notice'
    assert lines[-2].startswith('nearness') and lines[-2].endswith('after epoch 2')
    assert (tmp_path / 'weights-2.params').exists() and list(tmp_path.glob('best-*.params'))
    assert json.loads((tmp_path / 'latest' / 'manifest.json').read_text())['of'] == 'bread'


@pytest.mark.parametrize('fails, code, status', [(KeyboardInterrupt(), 130, 'interrupted'),
                                                 (Diverged('the loss is not finite'), 3, 'diverged')])
def test_a_stopped_run_says_so_and_goes_on_to_the_same_weights(tmp_path, fails, code, status):
    whole = train(tmp_path / 'whole')[1]
    (tmp_path / 'stopped').mkdir()
    found, _, run = train(tmp_path / 'stopped', fails)
    assert (found, run['status']) == (code, status)
    assert train(tmp_path / 'stopped', resume='auto')[1] == whole


def test_a_users_error_is_recorded_and_raised(tmp_path):
    with pytest.raises(UsageError, match='bad record'):
        train(tmp_path, UsageError('bad record'))
    run = json.loads((tmp_path / 'run.json').read_text())
    assert run['status'] == 'failed' and run['reason'] == 'bad record'


@pytest.mark.parametrize('options, scale, fixed', [
    ({}, None, None), ({'dtype': 'float16'}, 128, False), ({'dtype': 'float16', 'loss_scale': '8'}, 8, True)])
def test_float16_has_a_loss_scale(options, scale, fixed):
    scaler = loss_scaler(TrainConfig(**options))
    assert (scaler and (scaler.scale, scaler.fixed)) == (scale and (scale, fixed))


# ---------------------------------------------------------------------------------------------------------------------
# Stops and resumptions inside an epoch

@pytest.mark.parametrize('update, number', [(update, number) for number in (signal.SIGINT, signal.SIGTERM)
                                            for update in range(1, 16)] + [(1, signal.SIGHUP), (8, signal.SIGHUP)])
def test_a_signal_at_any_update_is_undone_by_a_resume(update, number, whole, tmp_path, capsys):
    stopped = Signalled(number, update=update)
    code, _, run = train(tmp_path, task=stopped)
    assert stopped.seen == list(range(1, update + 1))  # the update is ended, and no other begun
    line = capsys.readouterr().out.splitlines()[-1]
    if update == 15:  # the last one: what is left is to evaluate
        assert code == 128 + number and 'epoch-0002-batch-000005' in line
    assert (code, run['status'], run['reason']) == (128 + number, 'interrupted', signal.Signals(number).name)
    assert signal.Signals(number).name in line and '--resume auto' in line
    task = Task()
    assert train(tmp_path, task=task, resume='auto')[:2] == (0, whole[0])
    assert task.seen == list(range(update + 1, 16)) and history(tmp_path) == whole[1]


@pytest.mark.parametrize('epoch', range(3))
def test_a_signal_in_an_evaluation(epoch, whole, tmp_path):
    assert train(tmp_path, task=Signalled(signal.SIGTERM, epoch=epoch))[0] == 143
    task = Task()
    assert train(tmp_path, task=task, resume='auto')[:2] == (0, whole[0])
    assert task.seen == list(range(5 * epoch + 6, 16)) and history(tmp_path) == whole[1]


def test_the_clock_saves_inside_an_epoch(whole, tmp_path):
    """With a checkpoint after each update, the newest two of them are kept; a stop without a signal loses none."""
    class Broken(Task):
        def begin_batch(self, update):
            super().begin_batch(update)
            if update == 8:
                names = sorted(path.name for path in tmp_path.glob('epoch-*'))
                assert names == ['epoch-0000', 'epoch-0001-batch-000001', 'epoch-0001-batch-000002']
                raise UsageError('gone')
    with pytest.raises(UsageError, match='gone'):
        train(tmp_path, task=Broken(), checkpoint_minutes=1e-9)
    task = Task()
    assert train(tmp_path, task=task, resume='auto')[:2] == (0, whole[0])
    assert task.seen == list(range(8, 16)) and history(tmp_path) == whole[1]


# ---------------------------------------------------------------------------------------------------------------------
# Divergence

class Diverging(Task):
    """The weight becomes infinite at update 8, unless the draws are others."""

    def __init__(self, always=False):
        super().__init__()
        self.always = always

    def begin_batch(self, update):
        super().begin_batch(update)
        if update == 8 and (self.always or self.seed == 0):
            self.net.weight.set_data(mx.nd.array([[np.inf]]))


def test_a_divergence_names_the_last_good_checkpoint(tmp_path, capsys):
    code, _, run = train(tmp_path, task=Diverging())
    assert code == 3 and run['status'] == 'diverged' and 'epoch-0000' in run['reason'] and 'update 8' in run['reason']
    assert not list(tmp_path.glob('epoch-0001*'))


@pytest.mark.parametrize('minutes', [0, 1e-9])
def test_a_rewind_goes_on_from_there_with_other_draws(minutes, tmp_path, capsys):
    task = Diverging()
    code, weight, run = train(tmp_path, task=task, on_divergence='rewind', checkpoint_minutes=minutes)
    out = capsys.readouterr().out
    assert code == 0 and np.isfinite(weight) and out.count('to continue with other draws (1 of at most 3 times)') == 1
    assert task.seed != 0 and task.seen[-10:] == list(range(6, 16))  # the epoch from its beginning
    manifest = json.loads((tmp_path / 'latest' / 'manifest.json').read_text())
    assert manifest['rewinds'] == 1
    events = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
    assert [event['rewinds'] for event in events if event['event'] == 'rewind'] == [1]


def test_a_resumed_run_keeps_the_draws_of_its_rewinds(tmp_path):
    whole = train(tmp_path / 'whole', task=Diverging(), on_divergence='rewind')[1]

    class Stopping(Diverging):
        def begin_batch(self, update):
            super().begin_batch(update)
            if update == 12:
                os.kill(os.getpid(), signal.SIGTERM)
    assert train(tmp_path / 'parts', task=Stopping(), on_divergence='rewind')[0] == 143
    assert train(tmp_path / 'parts', task=Diverging(), on_divergence='rewind', resume='auto')[:2] == (0, whole)


def test_rewinds_have_an_end(tmp_path):
    code, _, run = train(tmp_path, task=Diverging(always=True), on_divergence='rewind', max_rewinds=2)
    assert code == 3 and len([1 for line in (tmp_path / 'log.jsonl').read_text().splitlines() if '"rewind"' in line]) == 2


def test_metrics_that_are_no_numbers_are_never_the_best(tmp_path):
    class Nothing(Task):
        def evaluate(self, beat):
            return {'nearness': float('nan')}
    assert train(tmp_path, task=Nothing())[0] == 0
    assert not os.path.lexists(str(tmp_path / 'best'))


def test_a_full_disk_under_the_log_is_one_sentence(tmp_path):
    (tmp_path / 'train_imagenet.log').symlink_to('/dev/full')
    with pytest.raises(UsageError, match='train_imagenet.log cannot be written .No space left'):
        train(tmp_path)
    assert json.loads((tmp_path / 'run.json').read_text())['status'] == 'failed'


def test_a_console_that_is_gone_does_not_end_the_run(tmp_path):
    program = (f'import sys; sys.path[:0] = {[str(ROOT), str(ROOT / "tests")]!r}\nfrom pathlib import Path\nfrom '
               f'support import runs\nsys.exit(runs.train(Path({str(tmp_path)!r}))[0])')
    process = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err = process.stderr.read().decode()
    assert process.wait() == 0 and 'Traceback' not in err, err
    assert json.loads((tmp_path / 'run.json').read_text())['status'] == 'finished'


@pytest.mark.parametrize('minutes', [0, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_a_rewind_goes_back_before_the_losses_rose(minutes, tmp_path, capsys):
    """A weight that is far off but finite: fifty high losses, during which nothing is saved to go back to."""
    class Rising(Task):
        def batches(self, epoch, first=0):
            self.epoch, rng = epoch, np.random.RandomState([self.seed, epoch])
            return iter([mx.nd.array(rng.normal(size=(4, 1))) for _ in range(80)][first:])

        def loss(self, x):
            loss = mx.nd.abs(self.net(x)) * 0 + (1 if self.seen[-1] < 100 or self.seed else 50)
            self.sums.add(0, [loss.sum()], len(x))
            return loss
    task = Rising()
    config = TrainConfig(save_dir=str(tmp_path), num_epochs=3, on_divergence='rewind', checkpoint_minutes=minutes)
    trainer = mx.gluon.Trainer(task.net.collect_params(), create_optimizer(), update_on_kvstore=False)
    connect(trainer)
    with Run(config) as run, console():
        run.train(Setup(task, trainer, lambda update: 0.05, 80, 4))
    out = capsys.readouterr().out
    assert out.count('to continue with other draws') == 1 and '(1 of at most 3 times)' in out
    back = 'epoch-0001-batch-000019' if minutes else 'epoch-0000,'
    assert back in out and task.seen.count(149) == 2


def test_gradients_that_overflow_for_ever_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(state.Finite, '__call__', lambda gradients: False)
    monkeypatch.setattr(state.TrainState, 'is_finite', lambda self: True)
    monkeypatch.setattr(callbacks, 'MOST_SKIPPED', 7)
    code, _, run = train(tmp_path, dtype='float16')
    assert code == 3 and 'last 7 updates were not finite' in run['reason'] and 'update 7' in run['reason']


# ---------------------------------------------------------------------------------------------------------------------
# Links and exports that a kill kept from being made

@pytest.mark.parametrize('lost', ['best', 'best-0.params', 'weights-2.params'])
def test_what_a_kill_left_undone_is_done_by_a_resume(lost, tmp_path):
    train(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert lost in before
    os.remove(str(tmp_path / lost))
    if lost == 'best':
        os.symlink('epoch-0002', str(tmp_path / 'best'))
    assert train(tmp_path, resume='auto')[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert os.readlink(str(tmp_path / 'best')) == 'epoch-0000'


def test_a_resumption_that_would_lose_checkpoints_is_refused(tmp_path):
    train(tmp_path / 'a')
    with pytest.raises(UsageError, match='also holds epoch-0002'):
        train(tmp_path / 'a', resume=str(tmp_path / 'a' / 'epoch-0001'))
    train(tmp_path / 'b')
    with pytest.raises(UsageError, match='also holds epoch-0002'):
        train(tmp_path / 'b', resume=str(tmp_path / 'a' / 'epoch-0001'))
    assert train(tmp_path / 'c', resume=str(tmp_path / 'a' / 'epoch-0001'))[0] == 0


# ---------------------------------------------------------------------------------------------------------------------
# SAVE_DIR is one run's, and stays where it is

def test_a_terminal_that_is_closed_is_a_hangup_and_the_run_is_saved(tmp_path):
    """As by a lost connection: the bar, the lines and the signal come to nobody."""
    program = (f'import sys, time; sys.path[:0] = {[str(ROOT), str(ROOT / "tests")]!r}\nfrom pathlib import '
               'Path\nfrom support import runs\nclass Slow(runs.Task):\n    def begin_batch(self, update):\n        '
               f'super().begin_batch(update); time.sleep(0.2)\nsys.exit(runs.train(Path({str(tmp_path)!r}), '
               'task=Slow())[0])')
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, '-c', program])
    seen = b''
    while b'epoch 0' not in seen:
        seen += os.read(terminal, 4096)
    os.close(terminal)
    status = os.waitpid(process, 0)[1]
    run = json.loads((tmp_path / 'run.json').read_text())
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 129
    assert (run['status'], run['reason']) == ('interrupted', 'SIGHUP')
    assert checkpoint.names(str(tmp_path))


def sentence_of_another_process(folder, resume):
    """What a run says that a forked process starts on the directory; '' where it is not refused."""
    source, target = os.pipe()
    if not os.fork():
        try:
            files._held.clear()  # as in a process of its own
            Run(TrainConfig(save_dir=str(folder), num_epochs=3, resume=resume))
        except UsageError as error:
            os.write(target, str(error).encode())
        finally:
            os._exit(0)
    os.close(target)
    with os.fdopen(source) as said:
        return said.read()


def test_a_second_run_is_refused_and_harms_nothing(whole, tmp_path):
    class Watched(Task):
        said = []

        def begin_batch(self, update):
            super().begin_batch(update)
            self.said.append(sentence_of_another_process(tmp_path, 'auto' if update > 5 else ''))
    assert train(tmp_path, task=Watched(), resume='auto')[:2] == (0, whole[0]) and history(tmp_path) == whole[1]
    assert Watched.said == [f'--save-dir {tmp_path} is being written by process {os.getpid()} on '
                            f'{socket.gethostname()}: wait for its end, or give another --save-dir'] * 15
    assert not (tmp_path / '.lock').exists() and sentence_of_another_process(tmp_path, 'auto') == ''


def test_what_is_refused_leaves_no_directory(tmp_path):
    with pytest.raises(UsageError):
        Run(TrainConfig(save_dir=str(tmp_path / 'a' / 'b'), resume=str(tmp_path / 'none')))
    assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize('change', ['removed', 'moved', 'replaced'])
@pytest.mark.parametrize('update', [2, 8, 15])
def test_a_save_dir_that_is_gone_ends_the_run(change, update, tmp_path):
    folder = tmp_path / 'run'

    class Removing(Task):
        def begin_batch(self, now):
            super().begin_batch(now)
            if now == update:
                folder.rename(tmp_path / 'moved')
                if change != 'moved':
                    shutil.rmtree(str(tmp_path / 'moved'))
                if change == 'replaced':
                    folder.mkdir()
    with pytest.raises(UsageError, match=f'--save-dir {folder} was removed, moved or replaced while the run wrote'):
        train(folder, task=Removing())
    assert not folder.exists() or not os.listdir(str(folder))
    if change == 'moved':
        assert train(tmp_path / 'moved', resume='auto' if update > 5 else '')[0] == 0


def test_a_save_dir_that_goes_before_a_save_is_not_made_again(tmp_path):
    class Removing(Task):
        def evaluate(self, beat):
            metrics = super().evaluate(beat)
            shutil.rmtree(str(tmp_path / 'run'))
            return metrics

        def epoch_lines(self, epoch, facts, metrics):
            return []
    with pytest.raises(UsageError, match='was removed, moved or replaced'):
        train(tmp_path / 'run', task=Removing())
    assert not (tmp_path / 'run').exists()
