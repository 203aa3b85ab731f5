"""Cross entropy with a distribution as the truth (paper section 5.2, equations 2 and 3)."""
from gluon_tricks.compat import mx


def cross_entropy(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """Cross entropy of each image: -sum_i p_i log softmax(z)_i.

    ``output``: (B, K) scores z of the network, before the softmax, of any float type. ``target``: (B, K) true
    distributions p (`smooth_labels` makes them, `mix` mixes them). Returns (B,) float32 nats, on ``output``'s device;
    works under ``autograd.record()`` and does not wait for the device.

    Paper: equation 3 prints the two distributions in each other's place; its next line shows what is meant.
    GluonCV: the same loss, in the type of the network's output; in float16 a log-softmax can be 0.05 off.
    Here: float32 from the cast of the scores on.

    >>> from gluon_tricks.compat import mx
    >>> from gluon_tricks.losses import cross_entropy
    >>> print(cross_entropy(mx.nd.zeros((1, 4)), mx.nd.array([[1, 0, 0, 0]])).asnumpy().round(4))  # log 4
    [1.3863]
    """
    log_q = mx.nd.log_softmax(mx.nd.cast(output, dtype='float32'), axis=-1)
    return -(target.astype('float32', copy=False) * log_q).sum(axis=-1)
