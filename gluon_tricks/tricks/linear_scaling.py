"""Linear scaling of the learning rate with the batch size (paper section 3.1; Goyal et al. 2017).

    lr = base_lr * b / 256          b = total batch size, over all devices

* Paper: 0.1 at a batch of 256, so 0.4 at 1024. GluonCV: no such rule; its published commands pass ``--lr 0.4`` by hand.
* Default: on, whenever ``--lr`` is not given.
* Cost: none.
* With others: the larger rate is what warmup is there for. The paper stops at batches of about 2000.
* Worked example: docs/tricks/linear_scaling.md.
"""
from gluon_tricks.errors import UsageError


def linear_scaling_lr(total_batch_size: float, base_lr: float = 0.1, base_batch_size: float = 256) -> float:
    """The initial learning rate for a total batch size.

    ``total_batch_size`` counts the images of one update over all devices and workers. Raises `UsageError` for a size
    below 1.

    >>> import gluon_tricks as gt
    >>> gt.tricks.linear_scaling_lr(1024)
    0.4
    """
    if total_batch_size < 1:
        raise UsageError(f'total_batch_size (={total_batch_size}) must be at least 1: raise --batch-size or the '
                         'number of devices')
    return base_lr * (total_batch_size / base_batch_size)
