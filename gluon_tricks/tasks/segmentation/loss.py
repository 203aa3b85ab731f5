"""Cross entropy of every pixel, with an auxiliary head (paper section 6.2), and GluonCV's gradient beside it.

With N devices, B images in the whole batch, V pixels in it that have a class, V_d of them on device d, and l_i, a_i the
cross entropies of pixel i in the head and in the second head, an update descends

    'ours'       1/V sum_i (l_i + w a_i)            the mean over the pixels; the same on any number of devices
    'gluoncv'    1/B sum_d 1/V_d sum_{i in d} (l_i + a_i)

GluonCV's loss is a SoftmaxOutput, whose gradient takes no notice of what is multiplied on it: neither of the auxiliary
weight w nor of a loss scale; it is a mean on each device, and is then divided by B once more. On N devices it is N / B
of 'ours' (with w = 1): at its published 4 GPUs and batch of 16, a learning rate of 0.01 acts as 0.0025.
"""
from gluon_tricks.compat import mx

LOSSES = ('ours', 'gluoncv')


def pixel_loss(scores, label):
    """(B,) float32: summed cross entropy of each image's pixels, those without a class left out.

    scores: (B, K, H, W) of any float type; label: (B, H, W) of 0 to K - 1, or -1 for no class. Works under
    ``autograd.record()``, does not wait for the device, and is a plain composition: what is multiplied on it reaches
    its gradient.
    """
    label = label.astype('float32')
    log_q = mx.nd.log_softmax(scores.astype('float32'), axis=1)
    loss = -mx.nd.pick(log_q, mx.nd.maximum(label, 0), axis=1)
    return mx.nd.where(label >= 0, loss, mx.nd.zeros_like(loss)).sum(axis=(1, 2))


def fcn_loss(outputs, label, weight, aux_weight):
    """(B,) losses of one device: weight * (head's + aux_weight * second head's), each as `pixel_loss`.

    outputs: (scores,) or (scores, second head's scores); weight, aux_weight: of `loss_weights`. The loop sums it over
    devices and images and divides by the total batch size.
    """
    loss = pixel_loss(outputs[0], label)
    if len(outputs) > 1:
        loss = loss + aux_weight * pixel_loss(outputs[1], label)
    return weight * loss


def loss_weights(kind, counts, total_batch_size, aux_weight):
    """([weight of each device], weight of the second head) of one batch for `fcn_loss`.

    kind: 'ours' or 'gluoncv'; counts: pixels with a class on each device. A batch without any has the loss 0.
    """
    if kind == 'ours':
        return [total_batch_size / max(sum(counts), 1)] * len(counts), aux_weight
    return [1.0 / max(count, 1) for count in counts], 1.0


def mean_of(kind, loss, total_batch_size, num_devices):
    """The summed `fcn_loss` of a whole batch as a mean over pixels, for the log."""
    return loss / (total_batch_size if kind == 'ours' else num_devices)
