"""Metric sums of each device, which the host reads once per log interval."""
import numpy as np

from gluon_tricks.compat import mx


class Sums:
    """A row of `width` float32 sums on each device, and a count on the host."""

    def __init__(self, width):
        self.width = width
        self.clear()

    def clear(self):
        """Begin anew."""
        self._rows, self.count = {}, 0

    def add(self, number, values, count):
        """Add `width` arrays of one element each to the sums of device `number`, without waiting for them."""
        if len(values) != self.width:
            raise ValueError(f'{len(values)} values for {self.width} sums')
        row = mx.nd.concat(*[value.detach().astype('float32', copy=False).reshape((1,)) for value in values], dim=0)
        self._rows[number] = self._rows[number] + row if number in self._rows else row
        self.count += count

    def read(self):
        """(the rows as a float64 array (devices, values), the count); the sums begin anew. Waits for them."""
        rows = np.array([row.asnumpy() for _, row in sorted(self._rows.items())], 'float64')
        count = self.count
        self.clear()
        return rows, count

    def of_workers(self, workers):
        """The sums so far of every worker as JSON values, for a checkpoint inside an interval. Waits for them.

        workers: distributed.Workers, each of which must ask.
        """
        rows = np.array([row.asnumpy() for _, row in sorted(self._rows.items())], 'float64')
        gathered = workers.gather(rows.ravel()).reshape((workers.number,) + rows.shape)
        return {'rows': gathered.tolist(), 'count': self.count}

    def restore(self, state, devices, rank=0):
        """Put what `of_workers` gave back into the worker `rank`: the sums continue with the same bits."""
        self._rows = {number: mx.nd.array(row, ctx=devices[number]) for number, row in enumerate(state['rows'][rank])}
        self.count = state['count']
