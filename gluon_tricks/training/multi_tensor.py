"""`PaperNAG` in few calls: each updates many parameters of one device, by MXNet's multi-tensor kernels.

A call of MXNet costs the host some 30 microseconds, a parameter needs two, and a ResNet-50 has 161 of them on each
device: on fast GPUs the host would be the limit. The numbers are those of the single kernels, bit for bit. GPUs are
updated so; on a CPU, which computes the update itself, these kernels are the slower ones (`DEVICES`).
"""
import ctypes

from gluon_tricks.compat import mx
from gluon_tricks.training.optimizer import PaperNAG

DEVICES = ('gpu',)  # types of device that are updated so
_MOST = 45  # parameters of a call, as in MXNet's LAMB; from some 60 on the process ends


def multi_tensor_update(trainer):
    """The `MultiTensorNAG` of a gluon.Trainer, None where its optimizer or its devices take the Trainer's update."""
    devices = {device.device_type for param in trainer._params for device in param.list_ctx()}
    return MultiTensorNAG(trainer) if type(trainer._optimizer) is PaperNAG and devices <= set(DEVICES) else None


class MultiTensorNAG:
    """``trainer.update`` for a Trainer of `PaperNAG`: the same states, the same bits.

    Lists of arrays are made by the first update, and anew where states were restored or multipliers changed.
    """

    def __init__(self, trainer):
        self.trainer, self._groups, self._states, self._multipliers = trainer, [], [], []

    def update(self, lr, batch_size):
        """Update all weights on all devices at the learning rate `lr`; gradients are divided by `batch_size`.

        Raises UserWarning, as Gluon does, where a parameter has never had a gradient.
        """
        optimizer, updaters = self.trainer._optimizer, self.trainer._updaters
        optimizer.set_learning_rate(lr)
        optimizer.rescale_grad = self.trainer._scale / batch_size
        multipliers = [(param.lr_mult, param.wd_mult) for param in self.trainer._params]
        if multipliers != self._multipliers or any(
                updater.states is not states for updater, states in zip(updaters, self._states)):
            self._groups = _groups(self.trainer)
            self._states, self._multipliers = [updater.states for updater in updaters], multipliers
        for group in self._groups:
            group.update(optimizer)


def _groups(trainer):
    """The trained parameters as a list of `_Group`."""
    groups = {}
    for number, updater in enumerate(trainer._updaters):
        for index, param in enumerate(trainer._params):
            if param.grad_req == 'null':
                continue
            weight, grad = param.list_data()[number], param.list_grad()[number]
            if not weight._fresh_grad:
                raise UserWarning(f'{param.name} on {weight.context} has no gradient: the loss does not depend on it')
            if index not in updater.states:
                updater.states[index] = trainer._optimizer.create_state_multi_precision(index, weight)
                updater.states_synced[index] = True
            state = updater.states[index]
            alike = number, param.lr_mult, param.wd_mult, state.lr
            groups.setdefault(alike, []).append((index, weight, grad, state))
    return [_Group(members, trainer._optimizer) for members in groups.values()]


class _Group:
    """Parameters on one device that have their multipliers and the last learning rate in common.

    members: [(index, weight, gradient, state of `PaperNAG`)].
    """

    def __init__(self, members, optimizer):
        self._index, weight, _, self._state = members[0]
        self._all_states = [member[3] for member in members]
        self._ones, self._zeros = mx.nd.ones(_MOST, ctx=weight.context), mx.nd.zeros(_MOST, ctx=weight.context)
        self._back, self._lr, self._wd = (mx.nd.zeros(_MOST, ctx=weight.context) for _ in range(3))
        self._write_back, self._write_lr, write_wd = (self._writer(each) for each in (self._back, self._lr, self._wd))
        write_wd(lr=-optimizer._get_wd(self._index), wd=0)
        self._calls = []
        for half in (False, True):
            some = [member for member in members if (member[3].master is not None) == half]
            for first in range(0, len(some), _MOST):
                self._calls += self._pair(some[first:first + _MOST], half)

    def _writer(self, rates):
        """Lets all of an array be the negative of its argument lr.

        The kernels read rates from arrays. A single kernel writes these, so that they are the float32 that it takes for
        a number: below 1e-4 MXNet reads a quarter of all numbers as the neighbour of the nearest one.
        """
        return _Call('sgd_update', [self._zeros, self._ones], [rates])

    def _pair(self, members, half):
        """[(call of a kernel, whether it is the second)] for at most `_MOST` members."""
        back, nag, number = [], [], len(members)
        for _, weight, grad, state in members:
            back += [state.master if half else weight, state.velocity]
            nag += [weight, grad, state.velocity] + [state.master] * half
        kernel = 'preloaded_multi_mp_sgd_mom_update' if half else 'preloaded_multi_sgd_mom_update'
        first = _Call('preloaded_multi_sgd_update', back + [self._back[:number], self._zeros[:number]], back[::2],
                      num_weights=number)
        second = _Call(kernel, nag + [self._lr[:number], self._wd[:number]], [member[1] for member in members],
                       num_weights=number)
        return [(first, False), (second, True)]

    def update(self, optimizer):
        """One update, as `PaperNAG` does it."""
        back, options = optimizer.rates(self._index, self._state)
        self._write_back(lr=-back, wd=0)
        self._write_lr(lr=-options.pop('lr'), wd=0)
        del options['wd']
        for state in self._all_states:
            state.lr = self._state.lr
        for call, is_second in self._calls:
            call(**(options if is_second else {}))


class _Call:
    """A call of an operator of MXNet whose arrays stay the same: their handles are listed once.

    ``mx.nd`` looks at each array three times at each call, which takes longer than the call. options: those that stay
    the same; the others are given at each call, by the same names in the same order.
    """

    def __init__(self, operator, inputs, outputs, **options):
        self._operator, self._arrays = ctypes.c_void_p(), (inputs, outputs)  # which must outlive their handles
        mx.base.check_call(mx.base._LIB.NNGetOpHandle(mx.base.c_str(operator), ctypes.byref(self._operator)))
        self._inputs, self._outputs = mx.base.c_handle_array(inputs), mx.base.c_handle_array(outputs)
        self._number, self._options, self._names = ctypes.c_int(len(outputs)), options, None

    def __call__(self, **options):
        options = {**self._options, **options}
        if self._names is None:
            self._names = mx.base.c_str_array(list(options))
        outputs = ctypes.cast(self._outputs, ctypes.POINTER(mx.base.NDArrayHandle))
        mx.base.check_call(mx.base._LIB.MXImperativeInvokeEx(
            self._operator, len(self._inputs), self._inputs, ctypes.byref(self._number), ctypes.byref(outputs),
            len(options), self._names, mx.base.c_str_array([str(value) for value in options.values()]),
            ctypes.byref(ctypes.POINTER(ctypes.c_int)())))
