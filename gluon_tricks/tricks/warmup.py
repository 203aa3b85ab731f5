"""Gradual warmup of the learning rate (paper section 3.1; Goyal et al. 2017).

    lr_i = i * lr / m          i = 1 .. m, the update; m = updates of the warmup, 5 epochs in the paper

* Paper: the first update takes lr / m, update m the full rate.
* GluonCV in 2018, when the paper's networks were trained: (i - 1) * lr / m, so that the first update does nothing.
  GluonCV today: i * lr / (m - 1), so that the full rate comes one update early.
* Default: form 'paper', 0 epochs (``--warmup-epochs``); the paper's efficient setting has 5.
* Cost: none.
* With others: cosine, step and poly decay begin after it; step decay counts its epochs from the start of training.
* Worked example: docs/tricks/warmup.md.
"""
from gluon_tricks.errors import UsageError

FORMS = ('paper', 'gluoncv-2018', 'gluoncv')


def warmup_lr(update: int, lr: float, warmup_updates: int, form: str = 'paper') -> float:
    """The learning rate at ``update`` (1 at the first); ``lr`` itself after the warmup.

    ``lr`` is the rate at the warmup's end, ``warmup_updates`` its length m (0: no warmup). Raises `UsageError` for an
    unknown ``form``.

    >>> import gluon_tricks as gt
    >>> [round(gt.tricks.warmup_lr(update, 0.4, warmup_updates=4), 4) for update in (1, 2, 4, 5)]
    [0.1, 0.2, 0.4, 0.4]
    """
    if form == 'paper':
        part, whole = update, warmup_updates
    elif form == 'gluoncv-2018':
        part, whole = update - 1, warmup_updates
    elif form == 'gluoncv':
        part, whole = update, warmup_updates - 1
    else:
        raise UsageError(f'form (={form!r}) must be one of {", ".join(FORMS)}')
    return lr * (part / whole) if part < whole else lr
