"""Knowledge distillation (paper section 5.3, equation 6; Hinton et al. 2015).

    l(p, softmax(z)) + T^2 * l(softmax(r / T), softmax(z / T))          l = cross entropy, z student, r teacher

* Paper: the sum of both, T = 20. GluonCV: (1 - w) * T^2 * soft + w * hard with w = 0.5, exactly half of the paper's,
  and so half its gradient: at the paper's learning rates that is another training. The code of the paper's
  distillation rows was never published.
* Default: off without ``--teacher``; form 'paper' and T = 20 with one. ``--distill-loss gluoncv`` for the other form.
* Cost: one forward pass of the teacher in each update, and its weights on every device; the loss's own time was not
  measured.
* With others: the teacher sees the same, mixed images as the student. With mixup, the paper's teacher was itself
  trained with mixup. It helped ResNet and hurt Inception-V3 and MobileNet, whose teacher was a ResNet (Table 6).
* Worked example: docs/tricks/distillation.md.
"""
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError

FORMS = ('paper', 'gluoncv')


def distillation_loss(output: mx.nd.NDArray, target: mx.nd.NDArray, teacher_output: mx.nd.NDArray,
                      temperature: float = 20.0, form: str = 'paper', hard_weight: float = 0.5) -> mx.nd.NDArray:
    """The student's loss for each image, (B,) float32 nats.

    ``output`` and ``teacher_output``: (B, K) scores before the softmax, of any float type; ``target``: (B, K) true
    distributions. Softmax and loss run in float32; no gradient reaches the teacher; the device is not waited for.
    ``hard_weight`` counts in form 'gluoncv' only. Raises `UsageError` for a temperature that is not positive, a hard
    weight outside [0, 1], or an unknown ``form``.

    Paper: hard + T^2 * soft (equation 6). GluonCV: (1 - w) * T^2 * soft + w * hard; its teacher's softmax runs in the
    teacher's type, which in float16 at T = 20 sums to 0.94 to 1.04.

    >>> import gluon_tricks as gt
    >>> from gluon_tricks.compat import mx
    >>> scores, target = mx.nd.array([[2, 0], [0, 2]]), mx.nd.array([[1, 0], [1, 0]])
    >>> print(gt.tricks.distillation_loss(scores, target, teacher_output=scores, temperature=1).asnumpy().round(3))
    [0.492 2.492]
    """
    if form not in FORMS:
        raise UsageError(f'form (={form!r}) must be one of {", ".join(FORMS)}: give --distill-loss one of them')
    if not 0 < temperature < float('inf'):
        raise UsageError(f'temperature (={temperature}) must be a positive number: the paper takes --temperature 20')
    if not 0 <= hard_weight <= 1:
        raise UsageError(f'hard_weight (={hard_weight}) must lie in [0, 1]: GluonCV takes --hard-weight 0.5')
    z = mx.nd.cast(output, dtype='float32')
    r = mx.nd.cast(teacher_output.detach(), dtype='float32')
    hard = -(target.astype('float32', copy=False) * mx.nd.log_softmax(z, axis=-1)).sum(axis=-1)
    soft = -(mx.nd.softmax(r / temperature, axis=-1) * mx.nd.log_softmax(z / temperature, axis=-1)).sum(axis=-1)
    if form == 'paper':
        return hard + temperature ** 2 * soft
    return (1 - hard_weight) * temperature ** 2 * soft + hard_weight * hard
