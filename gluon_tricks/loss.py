"""Cross entropy with a distribution as the truth (paper section 5.2, equations 2 and 3), and when a loss went bad."""
from gluon_tricks.compat import mx

_NEVER = 3e38  # "no bad update yet", as a float32


def cross_entropy(output, target):
    """Cross entropy of each image: -sum_i p_i log softmax(z)_i.

    ``output``: (B, K) scores z of the network, before the softmax, of any float type. ``target``: (B, K) true
    distributions p (`smooth_labels` makes them, `mix` mixes them). Returns (B,) float32 nats, on ``output``'s device;
    works under ``autograd.record()`` and does not wait for the device.

    Paper: equation 3 prints the two distributions in each other's place; its next line shows what is meant.
    GluonCV: the same loss, in the type of the network's output; in float16 a log-softmax can be 0.03 off.
    Here: float32 from the cast of the scores on.
    """
    log_q = mx.nd.log_softmax(mx.nd.cast(output, dtype='float32'), axis=-1)
    return -(target.astype('float32', copy=False) * log_q).sum(axis=-1)


def bad_update(total, update):
    """(1,) float32 on the device of the loss `total`: the update's number where it is not finite, else a huge one.

    Does not wait for the device; the least of several, by ``mx.nd.minimum``, is the first bad update.
    """
    return mx.nd.where(mx.nd.contrib.isfinite(total.reshape((1,))), mx.nd.full((1,), _NEVER, ctx=total.context),
                       mx.nd.full((1,), update, ctx=total.context))


def first_bad_update(values):
    """{'first_bad_update': number} of numbers that `bad_update` gave, {} where all losses were finite."""
    first = min(values)
    return {'first_bad_update': int(first)} if first < _NEVER / 2 else {}
