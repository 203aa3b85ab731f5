import types

import pytest

from gluon_tricks.compat import mx
from gluon_tricks.training import callbacks
from gluon_tricks.training.divergence import Diverged
from gluon_tricks.training.signals import Stopped
from support import runs
from support.checkpoints import make_net, make_state


class Losses:
    """A state of six updates an epoch, told of one loss after another."""

    def __init__(self, *losses, wishes=lambda: [0, 0]):
        self.state, self.seen = make_state(*make_net()), []
        self.state.updates_per_epoch = len(losses)
        self.state.monitor = types.SimpleNamespace(see=lambda update, loss, lr: self.seen.append((update, loss)))
        self.losses, self.divergence = losses, callbacks.Divergence(wishes)

    def tell(self, number):
        self.state.begin_update()
        self.divergence.after_update(self.state, [mx.nd.array([self.losses[number]])])


def test_a_loss_is_seen_two_updates_late_and_all_at_the_end_of_an_epoch():
    example = Losses(6.0, 12.0, 18.0, 24.0, 30.0)
    known = []
    for number in range(5):
        example.tell(number)
        known.append(len(example.seen))
    assert known == [0, 0, 1, 2, 5]  # divided by the 6 images of an update
    assert example.seen == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0)]


def test_losses_from_before_a_rewind_are_forgotten():
    example = Losses(6.0, 6.0, 6.0)
    example.tell(0)
    example.divergence.before_epoch(example.state)
    example.divergence.look(example.state)
    assert example.seen == []


def test_weights_that_are_not_finite_are_never_saved():
    example, saved = Losses(1.0), []
    checkpoint = callbacks.Checkpoint(types.SimpleNamespace(save_inside=saved.append), example.divergence)
    checkpoint.save_inside(example.state)
    assert saved == [example.state]
    weight = next(iter(example.state.net.collect_params('.*weight').values()))
    weight.set_data(weight.data() * float('nan'))
    for look in (checkpoint.save_inside, example.divergence.after_training):
        with pytest.raises(Diverged, match='a weight is not finite in epoch 0'):
            look(example.state)
    assert saved == [example.state]


@pytest.mark.parametrize('stop, due', [(15, 0), (0, 1.0), (0, 0)])
def test_a_wish_saves_and_a_stop_ends_after_it(stop, due):
    saved, ended = [], False
    example = Losses(1.0, 1.0, 1.0, wishes=lambda: [stop, due])
    checkpoint = callbacks.Checkpoint(types.SimpleNamespace(save_inside=saved.append), example.divergence)
    guard = types.SimpleNamespace(asked=stop, beat=lambda: None)
    end = callbacks.Stop(guard, example.divergence, checkpoint, 1)
    example.tell(0)
    try:
        for callback in (checkpoint, end):
            callback.after_update(example.state, None)
    except Stopped as error:
        ended = error.signal
    assert bool(saved) == bool(stop or due) and ended == (stop or False)


@pytest.mark.parametrize('interval, lines', [(0, 0), (2, 9), (5, 3), (50, 3)])
def test_a_line_at_each_interval_and_at_the_end_of_an_epoch(interval, lines, tmp_path, capsys):
    assert runs.train(tmp_path, log_interval=interval)[0] == 0
    assert capsys.readouterr().out.splitlines().count('batch') == lines
