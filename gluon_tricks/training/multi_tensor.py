"""`PaperNAG` with little work for the host: the arrays of MXNet's kernels are listed once.

A parameter needs two kernels, and a call of MXNet with its arrays costs the host some 30 microseconds; a ResNet-50 has
161 parameters on each device. On fast GPUs the host would be the limit, so that there each call updates many
parameters, by MXNet's multi-tensor kernels. A CPU computes the update itself, and these kernels are the slower ones
there: it keeps the single kernels. The numbers are the same, bit for bit.
"""
import ctypes

from gluon_tricks.compat import mx
from gluon_tricks.training.optimizer import PaperNAG

DEVICES = ('gpu',)  # types of device whose calls update many parameters
_MOST = 45  # parameters of a call, as in MXNet's LAMB; from some 60 on the process ends


def multi_tensor_update(trainer):
    """The `MultiTensorNAG` of a gluon.Trainer, None where its optimizer takes the Trainer's update."""
    return MultiTensorNAG(trainer) if type(trainer._optimizer) is PaperNAG else None


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
    """The trained parameters as a list of `_Single` or `_Many`."""
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
    return [(_Many if members[0][1].context.device_type in DEVICES else _Single)(members, trainer._optimizer)
            for members in groups.values()]


class _Single:
    """Parameters on one device that have their multipliers and the last learning rate in common, one to a call.

    members: [(index, weight, gradient, state of `PaperNAG`)].
    """

    def __init__(self, members, optimizer):
        self._index, self._states = members[0][0], [state for *_, state in members]
        self._calls = []
        for _, weight, grad, state in members:
            back = weight if state.master is None else state.master
            nag, kernel = [weight, grad, state.velocity], 'sgd_mom_update'
            if state.master is not None:
                nag, kernel = nag + [state.master], 'mp_sgd_mom_update'
            self._calls.append((_Call('sgd_update', [back, state.velocity], [back]), _Call(kernel, nag, [weight])))

    def rates(self, optimizer):
        """`PaperNAG.rates` of the next update; all states keep its learning rate."""
        found = optimizer.rates(self._index, self._states[0])
        for state in self._states:
            state.lr = self._states[0].lr
        return found

    def update(self, optimizer):
        """One update, as `PaperNAG` does it."""
        back, options = self.rates(optimizer)
        first, second = _Options(lr=back, wd=0), _Options(**options)
        for go_back, step in self._calls:
            go_back(first)
            step(second)


class _Many(_Single):
    """The same, `_MOST` to a call."""

    def __init__(self, members, optimizer):
        self._index, self._states, device = members[0][0], [state for *_, state in members], members[0][1].context
        self._ones, self._zeros = mx.nd.ones(_MOST, ctx=device), mx.nd.zeros(_MOST, ctx=device)
        self._back, self._lr, wd = (mx.nd.zeros(_MOST, ctx=device) for _ in range(3))
        self._write_back, self._write_lr = self._writer(self._back), self._writer(self._lr)
        self._writer(wd)(_Options(lr=-optimizer._get_wd(self._index), wd=0))
        self._calls = []
        for half in (False, True):
            some = [member for member in members if (member[3].master is not None) == half]
            for first in range(0, len(some), _MOST):
                self._calls.append(self._pair(some[first:first + _MOST], half, wd))

    def _writer(self, rates):
        """Lets all of an array be the negative of its option lr.

        The kernels read rates from arrays. A single kernel writes these, so that they are the float32 that it takes for
        a number: below 1e-4 MXNet reads a quarter of all numbers as the neighbour of the nearest one.
        """
        return _Call('sgd_update', [self._zeros, self._ones], [rates])

    def _pair(self, members, half, wd):
        """(how many parameters, the calls of the two kernels) for at most `_MOST` members."""
        back, nag, number = [], [], len(members)
        for _, weight, grad, state in members:
            back += [state.master if half else weight, state.velocity]
            nag += [weight, grad, state.velocity] + [state.master] * half
        kernel = 'preloaded_multi_mp_sgd_mom_update' if half else 'preloaded_multi_sgd_mom_update'
        first = _Call('preloaded_multi_sgd_update', back + [self._back[:number], self._zeros[:number]], back[::2])
        second = _Call(kernel, nag + [self._lr[:number], wd[:number]], [member[1] for member in members])
        return number, first, second

    def update(self, optimizer):
        back, options = self.rates(optimizer)
        self._write_back(_Options(lr=-back, wd=0))
        self._write_lr(_Options(lr=-options.pop('lr'), wd=0))
        del options['wd']
        for number, first, second in self._calls:
            first(_Options(num_weights=number))
            second(_Options(num_weights=number, **options))


class _Options:
    """Options of an operator, as MXNet's library takes them."""

    def __init__(self, **options):
        self.number, self.names = len(options), mx.base.c_str_array(list(options))
        self.values = mx.base.c_str_array([str(value) for value in options.values()])


class _Call:
    """A call of an operator of MXNet whose arrays stay the same: their handles are listed once.

    ``mx.nd`` looks at each array three times at each call, which takes longer than the call.
    """

    def __init__(self, operator, inputs, outputs):
        self._operator, self._arrays = ctypes.c_void_p(), (inputs, outputs)  # which must outlive their handles
        mx.base.check_call(mx.base._LIB.NNGetOpHandle(mx.base.c_str(operator), ctypes.byref(self._operator)))
        self._inputs, self._outputs = mx.base.c_handle_array(inputs), mx.base.c_handle_array(outputs)
        self._number, self._kinds = ctypes.c_int(len(outputs)), ctypes.POINTER(ctypes.c_int)()

    def __call__(self, options):
        outputs = ctypes.cast(self._outputs, ctypes.POINTER(mx.base.NDArrayHandle))
        mx.base.check_call(mx.base._LIB.MXImperativeInvokeEx(
            self._operator, len(self._inputs), self._inputs, ctypes.byref(self._number), ctypes.byref(outputs),
            options.number, options.names, options.values, ctypes.byref(self._kinds)))
