"""`PaperNAG` with little work for the host: the arrays of MXNet's kernels are listed once.

A parameter needs two kernels, and a call of MXNet with its arrays costs the host some 30 microseconds; a ResNet-50 has
161 parameters on each device. On fast GPUs the host would be the limit, so that there each call updates many
parameters, by MXNet's multi-tensor kernels. A CPU computes the update itself: there these kernels are faster for small
arrays and slower for large ones, which keep the single kernels. What a call of many costs grows with its arrays, each
some 3 microseconds: their velocities are pieces of one array, float32 masters of another. The numbers are the same, bit
for bit.
"""
import ctypes

from gluon_tricks.compat import mx
from gluon_tricks.training.optimizer import PaperNAG

DEVICES = ('gpu',)  # types of device whose calls update many parameters, of any size
SMALL = 2 ** 14  # numbers of a parameter, up to which calls on the others update many, too
_MOST = 45  # parameters of a call, as in MXNet's LAMB; from some 60 on the process ends
_BULK = 100  # calls that MXNet's engine runs as one


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
        with mx.engine.bulk(_BULK):
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
            kind = _Many if weight.context.device_type in DEVICES or weight.size <= SMALL else _Single
            alike = kind, number, state.master is None, param.lr_mult, param.wd_mult, state.lr
            groups.setdefault(alike, []).append((index, weight, grad, state))
    return [kind(members, trainer._optimizer) for (kind, *_), members in groups.items()]


def _in_one(states, name):
    """One flat array that holds this array of all states, each of which keeps a piece of it in its shape."""
    arrays = [getattr(state, name) for state in states]
    flat, first = mx.nd.empty(sum(array.size for array in arrays), ctx=arrays[0].context), 0
    for state, array in zip(states, arrays):
        piece = flat[first:first + array.size].reshape(array.shape)
        array.copyto(piece)
        setattr(state, name, piece)
        first += array.size
    return flat


class _Single:
    """Parameters on one device that have in common whether there are masters, their multipliers and the last rate.

    members: [(index, weight, gradient, state of `PaperNAG`)]. The two kernels of a parameter are called one after the
    other, so that the second finds its arrays in the cache.
    """

    def __init__(self, members, optimizer):
        self._index, self._states = members[0][0], [state for *_, state in members]
        self._half = self._states[0].master is not None
        self._list(members, optimizer)

    def _list(self, members, optimizer):
        """List the arrays of all calls."""
        kernel, self._calls = 'mp_sgd_mom_update' if self._half else 'sgd_mom_update', []
        for member in members:
            _, weight, _, state = member
            goes_back = state.master if self._half else weight
            self._calls.append((_Call('sgd_update', [goes_back, state.velocity], [goes_back]),
                                _Call(kernel, _inputs(*member), [weight])))

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
    """The same, `_MOST` to a call; the first kernel for all masters at once. Weights are Gluon's, in arrays of their
    own."""

    def _list(self, members, optimizer):
        device = members[0][1].context
        self._ones, self._zeros = mx.nd.ones(_MOST, ctx=device), mx.nd.zeros(_MOST, ctx=device)
        back, lr, wd = (mx.nd.zeros(_MOST, ctx=device) for _ in range(3))
        self._write_back, self._write_lr = self._writer(back), self._writer(lr)
        self._writer(wd)(_Options(lr=-optimizer._get_wd(self._index), wd=0))
        kernel = 'preloaded_multi_mp_sgd_mom_update' if self._half else 'preloaded_multi_sgd_mom_update'
        velocities, self._back = _in_one(self._states, 'velocity'), []
        if self._half:
            masters = _in_one(self._states, 'master')
            self._back = [_Call('sgd_update', [masters, velocities], [masters])]
        self._back_many, self._step = [], []  # [(how many parameters, call)]
        for first in range(0, len(members), _MOST):
            some = members[first:first + _MOST]
            number, weights = len(some), [member[1] for member in some]
            if not self._half:
                pairs = [array for _, weight, _, state in some for array in (weight, state.velocity)]
                self._back_many.append((number, _Call(
                    'preloaded_multi_sgd_update', pairs + [back[:number], self._zeros[:number]], weights)))
            arrays = [array for member in some for array in _inputs(*member)]
            self._step.append((number, _Call(kernel, arrays + [lr[:number], wd[:number]], weights)))

    def _writer(self, rates):
        """Lets all of an array be the negative of its option lr.

        The kernels read rates from arrays. A single kernel writes these, so that they are the float32 that it takes for
        a number: below 1e-4 MXNet reads a quarter of all numbers as the neighbour of the nearest one.
        """
        return _Call('sgd_update', [self._zeros, self._ones], [rates])

    def update(self, optimizer):
        back, options = self.rates(optimizer)
        for go_back in self._back:
            go_back(_Options(lr=back, wd=0))
        if self._back_many:
            self._write_back(_Options(lr=-back, wd=0))
        self._write_lr(_Options(lr=-options.pop('lr'), wd=0))
        del options['wd']
        for number, go_back in self._back_many:
            go_back(_Options(num_weights=number))
        for number, step in self._step:
            step(_Options(num_weights=number, **options))


def _inputs(index, weight, grad, state):
    """What the second kernel takes of a parameter."""
    return [weight, grad, state.velocity] + ([] if state.master is None else [state.master])


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
