"""The workers of a training, and the key-value stores that add their gradients (Li et al. 2014)."""
import ctypes
import importlib.util
import os

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.config.options import KV_STORES, WORKER_STORES
from gluon_tricks.distributed.devices import mean_of
from gluon_tricks.errors import UsageError

_KEYS = 10 ** 6  # keys of `Workers` in the store; those below are the parameters'


def check_kv_store(name):
    """Raise UsageError for a store that cannot work here (MXNet makes a local store of any name it does not know)."""
    if name not in KV_STORES + WORKER_STORES:
        raise UsageError(f'--kv-store {name} must be one of: {", ".join(KV_STORES + WORKER_STORES)}')
    if name == 'nccl' and not mx.runtime.Features().is_enabled('NCCL'):
        raise UsageError('--kv-store nccl: this build of MXNet has no NCCL; use --kv-store device')
    if name == 'horovod' and not importlib.util.find_spec('horovod'):
        raise UsageError('--kv-store horovod: Horovod is not installed; docs/distributed.md has the commands that '
                         'build it')
    if name.startswith('dist') and os.environ.get('DMLC_ROLE') != 'worker':
        raise UsageError(f'--kv-store {name} is for several workers, which a launcher starts: type `python -m '
                         'gluon_tricks launch -n WORKERS -s SERVERS -- COMMAND`, or use --kv-store device')


def number_of_workers(name):
    """How many workers train with this store. Raises UsageError as `check_kv_store`."""
    check_kv_store(name)
    if name == 'horovod':
        return Horovod().num_workers
    return int(os.environ['DMLC_NUM_WORKER']) if name in WORKER_STORES else 1


def connect(trainer):
    """Let a Trainer connect to its key-value store now.

    It would do so inside the first update, and give every device the first one's running statistics again.
    """
    if not trainer._kv_initialized:
        trainer._init_kvstore()
    if trainer._params_to_init:
        trainer._init_params()


class Gradients:
    """The gradients of a Trainer, which `add` sums.

    The Trainer calls its store for each parameter. MXNet's stores of one process take all of them in one call; NCCL's
    would then wait for the whole backward pass. The handles of the arrays are listed once, at the first call.
    """

    def __init__(self, trainer):
        self.trainer, self._listed = trainer, None

    def add(self):
        """Sum over all devices and workers, as ``trainer.allreduce_grads``; does not wait for the sums."""
        store = self.trainer._kvstore
        if not isinstance(store, mx.kvstore.KVStore) or store.type not in ('local', 'device'):
            self.trainer.allreduce_grads()
            return
        if self._listed is None:
            pairs = [(key, grad) for key, param in enumerate(self.trainer._params) if param.grad_req != 'null'
                     for grad in param.list_grad()]
            arrays = [grad for _, grad in pairs]  # which must outlive their handles
            keys = (ctypes.c_int * len(pairs))(*[key for key, _ in pairs])
            self._listed = mx.base.mx_uint(len(pairs)), keys, mx.base.c_handle_array(arrays), arrays
        number, keys, handles, _ = self._listed
        mx.base.check_call(mx.base._LIB.MXKVStorePushPull(
            store.handle, number, keys, number, keys, handles, handles, ctypes.c_int(0)))


# ---------------------------------------------------------------------------------------------------------------------
# Several workers

class Workers:
    """The processes that train together: the `rank` of this one, their `number`, and sums over all of them.

    kv_store: the option; `store` is what a Trainer takes for it. A sum is asked for by all workers, at the same place
    of the run: each waits for the others. With one worker nothing happens. Raises UsageError as `check_kv_store`.
    """

    def __init__(self, kv_store='device'):
        check_kv_store(kv_store)
        self.store, self.rank, self.number, self._buffers = kv_store, 0, 1, {}
        if kv_store in WORKER_STORES:
            self.store = Horovod() if kv_store == 'horovod' else mx.kv.create(kv_store)
            self.rank, self.number = self.store.rank, self.store.num_workers
            self._wait_at_exit(False)

    def _wait_at_exit(self, wait):
        """Whether the end of this process waits for that of the others, which need not come after a failure."""
        if isinstance(self.store, mx.kvstore.KVStore):
            mx.base.check_call(mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self.store.handle, int(wait)))

    def finish(self):
        """The run has ended well, on all workers: they leave together, and the servers end."""
        self._wait_at_exit(True)

    def total(self, array):
        """A float32 NDArray's sum over the workers, on its device; does not wait for it."""
        if self.number == 1:
            return array
        key = _KEYS + array.size
        if key not in self._buffers:
            self._buffers[key] = mx.nd.zeros(array.size)
            self.store.broadcast(key, self._buffers[key], self._buffers[key])
        # One buffer for each key: the next sum waits for it. MXNet's server counts what arrives, not from whom, and
        # would take two numbers of one worker for one number of each.
        buffer = self._buffers[key]
        buffer[:] = array.reshape((-1,))
        self.store.pushpull(key, buffer)
        return buffer.copyto(array.context).reshape(array.shape)

    def gather(self, values):
        """The numbers of every worker, exactly: a float64 array (number, len(values)); waits for it."""
        if self.number == 1 or not len(values):
            return np.array([values] * self.number, 'float64')
        # The store computes in float32: each 16 bits of a number are sent as a number that it holds exactly.
        pieces = np.zeros((self.number, 4 * len(values)), 'float32')
        pieces[self.rank] = np.array(values, 'float64').view('uint16')
        return self.total(mx.nd.array(pieces)).asnumpy().astype('uint16').view('float64')

    def average(self, params):
        """Give every device of every worker the mean of the running statistics among the Parameters.

        They are moving averages, so that the mean is that of what would have been; and the network that
        is evaluated is the one that is saved.
        """
        statistics = [param.list_data() for param in params if param.name.endswith(('running_mean', 'running_var'))]
        if not statistics or self.number == len(statistics[0]) == 1:
            return
        mx.nd.waitall()  # a compiled network of static shape writes them unseen by who reads them
        mean = self.total(mx.nd.concat(*[mean_of(copies).reshape((-1,)) for copies in statistics], dim=0)) / self.number
        first = 0
        for copies in statistics:
            for copy in copies:
                copy[:] = mean[first:first + copy.size].reshape(copy.shape).as_in_context(copy.context)
            first += copies[0].size
        mx.nd.waitall()

    def check_same(self, numbers, what, remedy):
        """Raise UsageError, on every worker, where the numbers differ between workers."""
        rows = self.gather(numbers)
        for other in range(1, self.number):
            if (rows[other] != rows[0]).any():
                raise UsageError(f'worker {other} has {what} than worker 0: {remedy}')


class Horovod(mx.kvstore.KVStoreBase):
    """Horovod 0.28 in the place of MXNet's store: the same sums, by ring allreduce (Sergeev and Del Balso 2018)."""

    type, rank, num_workers = 'horovod', 0, 1

    def __init__(self):
        try:
            import horovod.mxnet as horovod
        except ImportError as error:
            raise UsageError('--kv-store horovod: Horovod was built without MXNet (%s); docs/distributed.md has the '
                             'commands that build it' % str(error).partition('\n')[0]) from error
        horovod.init()
        self._horovod, self.rank, self.num_workers = horovod, horovod.rank(), horovod.size()

    def is_capable(self, capability):
        return False

    def broadcast(self, key, value, out, priority=0):
        value = self._horovod.broadcast(value, 0, name=f'broadcast {key}', priority=priority)
        for copy in out if isinstance(out, list) else [out]:
            copy[:] = value.as_in_context(copy.context)

    def pushpull(self, key, value, out=None, priority=0):
        values = value if isinstance(value, list) else [value]
        total = sum((each.as_in_context(values[0].context) for each in values[1:]), values[0])
        total = self._horovod.allreduce(total, average=False, name=f'sum {key}', priority=priority)
        out = values if out is None else out
        for copy in out if isinstance(out, list) else [out]:
            copy[:] = total.as_in_context(copy.context)
