"""A task: classification, detection and segmentation differ in these methods, and share everything else."""
from typing import Any


class Task:
    """The base class of what `loop.fit` trains. A task supplies the five methods that raise NotImplementedError here.

    net: the network; devices: list of mx.Context that it is on; sums: `sums.Sums`, to which `loss` adds on the devices,
    which `train_metrics` reads and a checkpoint keeps. A task also has ``headline``, the metric by which the best
    checkpoint is chosen (higher is better), ``result_names``, the metrics of a run's result, and ``metric_names``,
    those of `train_metrics`. draws: whether an update draws from MXNet's generators, which are then seeded for it.
    """

    net: Any
    devices: list
    sums: Any
    headline, result_names, metric_names = '', (), ('loss',)
    draws = True

    def batches(self, epoch, first=0):
        """Iterator over the batches of an epoch, from the batch `first` on; the same ones whenever it is asked."""
        raise NotImplementedError

    def preprocess(self, batch, update):
        """List of shards, one a device, each an argument of `loss`.

        Draws depend on the seed, `update` and the worker alone.
        """
        raise NotImplementedError

    def loss(self, shard):
        """Loss of one device as an NDArray, whose sum is differentiated; also adds to `sums`, without waiting."""
        raise NotImplementedError

    def train_metrics(self):
        """{name: value} of the updates since the last call; reads and clears `sums`: the host waits here."""
        raise NotImplementedError

    def evaluate(self, beat=lambda: None):
        """{name: value}, exact over all validation images; {} without validation. beat() is called now and then."""
        raise NotImplementedError

    # -- with defaults ----------------------------------------------------------------------------------------------

    def reseed(self, seed):
        """Take other orders and draws from here on: the run's seed, after a rewind another one."""
        self.train_stream.reseed(seed)

    def batch_line(self, epoch, batch, speed, metrics, lr, wait):
        """The log's line at the end of a log interval. speed: images a second; wait: the share spent waiting for
        data."""
        return f'Epoch[{epoch}] Batch [{batch}]\tSpeed: {speed:.2f} samples/sec\tloss={metrics["loss"]:.4f}\tlr={lr:f}'

    def epoch_lines(self, epoch, facts, metrics):
        """The log's lines after an epoch. facts: `Progress.figures`, and lr; metrics: of `evaluate`."""
        return [f'[Epoch {epoch}] {name}={metrics[name]}' for name in self.result_names if name in metrics]

    def file_name(self, epoch, metrics):
        """The name under which an epoch's weights are exported beside the checkpoints."""
        return f'epoch-{epoch:04d}.params'

    def best_file_name(self, epoch, metrics):
        """The name under which the best weights are exported."""
        return f'best-{epoch:04d}.params'

    def result_line(self, result, best):
        """The run's last words: the result of the last epoch, and the best."""
        return 'Result: %s %s after epoch %d (best: %s after epoch %d)' % (
            self.headline, result[self.headline], result['epoch'], best[self.headline], best['epoch'])
