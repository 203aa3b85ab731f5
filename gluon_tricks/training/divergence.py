"""When a training has gone wrong: a loss that is not finite, or that stays far above what it was."""
import collections
import math
import statistics

_WINDOW = 200  # updates whose median a loss is compared with
_PATIENCE = 50  # updates above it in a row that stop a run


class Diverged(RuntimeError):
    """One sentence: the update, the learning rate, and what is wrong.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.training.divergence import Monitor
    >>> try:
    ...     Monitor().see(update=7, loss=float('nan'), lr=0.1)
    ... except gt.Diverged as error:
    ...     print(error)
    the loss is not finite at update 7 (learning rate 0.1)
    """

    exit_code = 3


class Monitor:
    """Looks at the loss of every update.

    factor: a loss is too high above this times the running median, that of the last 200 losses that were not; 50 such
    in a row are a divergence. 0 looks at infinite losses only.
    """

    def __init__(self, factor=3.0):
        self.factor, self.high = factor, 0
        self.losses = collections.deque(maxlen=_WINDOW)

    def see(self, update, loss, lr):
        """Raises Diverged at the update that makes it one."""
        if not math.isfinite(loss):
            raise Diverged(f'the loss is not finite at update {update} (learning rate {lr:.6g})')
        median = statistics.median(self.losses) if len(self.losses) >= _PATIENCE else math.inf
        if not self.factor or median <= 0 or loss <= self.factor * median:
            self.losses.append(loss)
            self.high = 0
            return
        self.high += 1
        if self.high == _PATIENCE:
            raise Diverged(f'the loss is {loss:.4g} at update {update} (learning rate {lr:.6g}), and was above '
                           f'--divergence-factor {self.factor:g} times its median of {median:.4g} for {_PATIENCE} '
                           'updates')

    def state(self):
        """JSON values for a checkpoint."""
        return {'losses': list(self.losses), 'high': self.high}

    def restore(self, state):
        self.losses, self.high = collections.deque(state['losses'], maxlen=_WINDOW), state['high']
