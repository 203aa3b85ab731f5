import inspect

import pytest

from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.tasks.detection.task import Detection
from gluon_tricks.tasks.segmentation.task import Segmentation
from gluon_tricks.training.task import Task
from support import runs

REQUIRED = ['batches', 'preprocess', 'loss', 'train_metrics', 'evaluate']


class Least(Task):
    """The five methods and what they need; everything else is the default."""

    headline, result_names = 'nearness', ('nearness',)
    batches, preprocess, loss = runs.Task.batches, runs.Task.preprocess, runs.Task.loss
    train_metrics, evaluate, begin_batch = runs.Task.train_metrics, runs.Task.evaluate, runs.Task.begin_batch
    __init__, reseed = runs.Task.__init__, runs.Task.reseed


@pytest.mark.parametrize('method', REQUIRED)
def test_five_methods_must_be_supplied(method):
    arguments = [None] * (len(inspect.signature(getattr(Task, method)).parameters) - 1)
    with pytest.raises(NotImplementedError):
        getattr(Task(), method)(*arguments)


@pytest.mark.parametrize('cls', [Classification, Detection, Segmentation])
def test_the_tasks_supply_them(cls):
    assert issubclass(cls, Task) and all(method in vars(cls) for method in REQUIRED)
    assert cls.headline in cls.result_names


def test_the_defaults_serve_a_whole_run(tmp_path, capsys):
    code, weight, facts = runs.train(tmp_path, task=Least())
    out = capsys.readouterr().out
    assert code == 0 and facts['result']['nearness'] == pytest.approx(-abs(weight - 3))
    assert out.count('Epoch[1] Batch [') == 3 and '[Epoch 2] nearness=-' in out
    assert 'Result: nearness -' in out and (tmp_path / 'epoch-0002.params').exists()
    assert list(tmp_path.glob('best-*.params'))
