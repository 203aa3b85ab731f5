"""Nesterov's accelerated gradient with float32 masters (paper sections 2.1, 3.2; Nesterov 1983, Sutskever et al. 2013).

    m <- mu m + g'          g' = rescale g + wd w
    w <- w - lr (g' + mu m)

is the NAG of MXNet 1.3, which trained the paper's networks: the learning rate stands outside the momentum. Since
MXNet 1.5 the rate is part of the momentum, so that a warmup or a decay reaches a running momentum only after some ten
updates, and weight decay enters it by way of the weight that was just updated (``--nag mxnet``).

The optimizer runs beside the key-value store, never on it: `master_weights`, `get_states` and `set_states` read the
states of a ``gluon.Trainer`` made with ``update_on_kvstore=False``.
"""
import re

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

_SMALLEST_LR = 1e-20  # stands for a learning rate of 0: moves no weight, and the velocity keeps its direction


class _State:
    """The state of `PaperNAG` for one parameter on one device: velocity, float32 master or None, last learning rate."""

    def __init__(self, velocity, master):
        self.velocity, self.master, self.lr = velocity, master, None


@mx.optimizer.register
class PaperNAG(mx.optimizer.Optimizer):
    """MXNet 1.3's NAG, as fast as MXNet 1.9.1's fused one: two kernels, neither with a temporary array.

    Its state is the velocity v = -lr (1 + mu) m of the last update's lr. With g' and m as above, m- the momentum of
    before, and w' = w + lr mu m- (the weight without its look-ahead), the update is

        w' = w - lr / lr- mu / (1 + mu) v-                                                       (sgd_update)
        v  = lr / lr- mu (1 - lr wd) v- - lr (1 + mu) (rescale g + wd w'),   w = w' + v          (sgd_mom_update)

    which is the same algebraically: m = mu m- + rescale g + wd (w' - lr mu m-).

    momentum: mu; other arguments as ``mx.optimizer.Optimizer``. Set the learning rate before each update with
    ``trainer.set_learning_rate``. float16 weights need ``multi_precision=True``, else UsageError.
    """

    def __init__(self, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum

    def create_state_multi_precision(self, index, weight):
        if weight.dtype != np.float16:
            return _State(mx.nd.zeros_like(weight), None)
        if not self.multi_precision:
            raise UsageError('multi_precision (=False) must be True for float16 weights: small updates would be '
                             'rounded away without a float32 master')
        master = weight.astype('float32')
        return _State(mx.nd.zeros_like(master), master)

    create_state = create_state_multi_precision

    def rates(self, index, state):
        """(lr of the first kernel, options of the second) for the next update of a parameter; its state keeps lr."""
        lr, wd, mu = max(self._get_lr(index), _SMALLEST_LR), self._get_wd(index), self.momentum
        change = 1.0 if state.lr is None else lr / state.lr
        state.lr = lr
        return change * mu / (1 + mu), dict(
            lr=lr * (1 + mu), wd=wd, momentum=change * mu * (1 - lr * wd), rescale_grad=self.rescale_grad,
            clip_gradient=self.clip_gradient or -1)

    def update_multi_precision(self, index, weight, grad, state):
        self._update_count(index)
        back, options = self.rates(index, state)
        master = weight if state.master is None else state.master
        mx.nd.sgd_update(master, state.velocity, out=master, lr=back, wd=0)
        if state.master is None:
            mx.nd.sgd_mom_update(weight, grad, state.velocity, out=weight, **options)
        else:
            mx.nd.mp_sgd_mom_update(weight, grad, state.velocity, master, out=weight, **options)

    update = update_multi_precision


def create_optimizer(nag='paper', momentum=0.9, wd=1e-4, multi_precision=False):
    """The optimizer of a run: nag 'paper' (`PaperNAG`) or 'mxnet' (MXNet 1.9.1's NAG).

    multi_precision keeps float32 masters of float16 weights. Raises UsageError for another ``nag``.

    Paper: NAG, no momentum or weight decay is given. GluonCV: MXNet's NAG, momentum 0.9, weight decay 1e-4.
    """
    if nag not in ('paper', 'mxnet'):
        raise UsageError(f'nag (={nag!r}) must be paper or mxnet: give --nag one of them')
    return mx.optimizer.create({'paper': 'papernag', 'mxnet': 'nag'}[nag], momentum=momentum, wd=wd,
                               multi_precision=multi_precision)


def _named(state, is_half):
    """{name: array} of one parameter's state, for `PaperNAG` and for MXNet's NAG; is_half: its weight is float16.

    Its last learning rate is a number, not an array.
    """
    if isinstance(state, _State):
        arrays = {'velocity': state.velocity, 'master': state.master}
    else:
        momentum, master = state if isinstance(state, tuple) else (state, None)
        arrays = {'momentum': momentum, 'master': master if is_half else None}
    return {name: array for name, array in arrays.items() if array is not None}


def _is_half(param):
    return np.dtype(param.dtype) == np.float16


def master_weights(trainer):
    """{Parameter: float32 NDArray on the first device} of the parameters whose masters the optimizer keeps.

    Empty before the first update, and for float32 parameters.
    """
    masters = {}
    for index, state in trainer._updaters[0].states.items():
        param = trainer._params[index]
        arrays = _named(state, _is_half(param))
        if 'master' in arrays:
            masters[param] = arrays['master']
    return masters


def get_states(trainer):
    """{'<parameter's index>/<name>': NDArray} of a trainer's optimizer on its first device; all devices hold the same.

    Names: ``velocity`` and ``lr`` of PaperNAG, ``momentum`` of MXNet's NAG, ``master`` of float16 weights.
    """
    found, rates = {}, {}
    for index, state in trainer._updaters[0].states.items():
        for name, array in _named(state, _is_half(trainer._params[index])).items():
            found[f'{index}/{name}'] = array
        lr = state.lr if isinstance(state, _State) else None
        if lr is not None:
            if lr not in rates:  # an array takes a tenth of a millisecond; most parameters have the same rate
                rates[lr] = mx.nd.array([lr], dtype='float64')
            found[f'{index}/lr'] = rates[lr]
    return found


def set_states(trainer, arrays):
    """Put back what `get_states` gave, on every device: the next update is the one that would have followed.

    Raises UsageError where the arrays are those of another optimizer or of other parameters.
    """
    strange = [key for key in arrays if not re.fullmatch('[0-9]{1,9}/[a-z]+', key)]
    if strange:
        raise UsageError(f'the saved optimizer state has {strange[0]!r:.60} in it: this program did not write it')
    indices = sorted({int(key.split('/')[0]) for key in arrays})
    optimizer = trainer._optimizer
    for number, updater in enumerate(trainer._updaters):
        updater.states = {}
        for index in indices:
            if index >= len(trainer._params):
                raise _other_states(index)
            param = trainer._params[index]
            weight = param.list_data()[number]
            state = updater.states[index] = optimizer.create_state_multi_precision(index, weight)
            given = {key.split('/')[1]: array for key, array in arrays.items() if int(key.split('/')[0]) == index}
            if isinstance(state, _State) and 'lr' in given:
                rates = given.pop('lr').asnumpy().ravel().tolist()
                if len(rates) != 1 or not 0 < rates[0] < float('inf'):
                    raise _other_states(index)
                state.lr = rates[0]
            wanted = _named(state, _is_half(param))
            if set(given) != set(wanted) or any(given[name].shape != wanted[name].shape for name in given):
                raise _other_states(index)
            for name, array in given.items():
                array.copyto(wanted[name])
        updater.states_synced = dict.fromkeys(updater.states, True)


def _other_states(index):
    return UsageError(f'the saved optimizer state of parameter {index} does not fit: it is of another network, --nag '
                      'or --dtype; resume with the options it was saved with')
