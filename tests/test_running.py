import json

import pytest

from gluon_tricks.compat import mx
from gluon_tricks.config import TrainConfig
from gluon_tricks.distributed import connect
from gluon_tricks.errors import UsageError
from gluon_tricks.loop import Diverged
from gluon_tricks.optimizer import create_optimizer
from gluon_tricks.running import Run

CPU = [mx.cpu()]


class Task:
    """One weight that is pulled to 3."""

    headline, result_names = 'nearness', ('nearness',)

    def __init__(self, fails=None):
        self.net, self.fails = mx.gluon.nn.Dense(1, in_units=1, use_bias=False, weight_initializer='zeros'), fails
        self.net.initialize()

    def begin_epoch(self, epoch):
        if self.fails and epoch == 1:
            raise self.fails
        return iter([mx.nd.ones((4, 1))] * 5)

    def begin_batch(self, update):
        pass

    def shards(self, batch, devices):
        return [(batch,)]

    def loss(self, x):
        return (self.net(x) - 3) ** 2

    def train_metrics(self):
        return {'loss': 1.0}

    def evaluate(self):
        return {'nearness': -abs(float(self.net.weight.data().asnumpy()[0, 0]) - 3)}

    def batch_line(self, *arguments):
        return 'batch'

    def epoch_lines(self, epoch, facts, metrics):
        return ['epoch %d' % epoch]

    def file_name(self, epoch, metrics):
        return 'weights-%d.params' % epoch

    def best_file_name(self, epoch, metrics):
        return 'best-%d.params' % epoch

    def result_line(self, result, best):
        return 'nearness %.3f after epoch %d' % (result['nearness'], result['epoch'])


def train(tmp_path, fails=None, **options):
    task = Task(fails)
    run = Run(TrainConfig(save_dir=str(tmp_path), num_epochs=3, **options))
    trainer = mx.gluon.Trainer(task.net.collect_params(), create_optimizer(), update_on_kvstore=False)
    connect(trainer)
    code = run.train(task, task.net, trainer, CPU, lambda update: 0.05, 3, 5, 4, ['a notice'], manifest={'of': 'bread'},
                     oven='hot')
    return code, task.net.weight.data().asscalar(), json.loads((tmp_path / 'run.json').read_text())


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
def test_float16_has_a_loss_scale(options, scale, fixed, tmp_path):
    scaler = Run(TrainConfig(save_dir=str(tmp_path), **options)).scaler
    assert (scaler and (scaler.scale, scaler.fixed)) == (scale and (scale, fixed))
