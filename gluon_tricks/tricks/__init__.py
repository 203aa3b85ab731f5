"""The bag of tricks, one file for each heading of the paper (paper sections 3 and 5; He et al. 2018).

In the paper's order:

* 3.1 large-batch training: ``linear_scaling``, ``warmup``, ``zero_gamma``, ``no_bias_decay``
* 3.2 low-precision training: ``low_precision``
* 5.1 ``cosine_decay``
* 5.2 ``label_smoothing``
* 5.3 ``distillation``
* 5.4 ``mixup``
* beyond the paper: every other file

A trick takes plain numbers and arrays, or a network, does one thing, and imports no other trick. The first docstring
of each file is its card: the equation, what GluonCV does, the default, the cost, and how it goes with the others.
Those of the paper have a longer card in docs/tricks/, with code that runs.
"""
import importlib
import pkgutil
import sys
import types

# {function: file}. A file without an entry has one function, of the file's own name.
_NAMES = {
    'linear_scaling_lr': 'linear_scaling', 'warmup_lr': 'warmup', 'zero_gamma': 'zero_gamma', 'one_gamma': 'zero_gamma',
    'cosine_lr': 'cosine_decay', 'smooth_labels': 'label_smoothing', 'distillation_loss': 'distillation',
    'sample_lam': 'mixup', 'sample_partner': 'mixup', 'mix': 'mixup', 'sample_box': 'cutmix', 'cutmix': 'cutmix',
    'sample_centres': 'cutout', 'cutout': 'cutout', 'precision': 'low_precision', 'LossScaler': 'low_precision',
}
_NAMES.update({name: name for _, name, _ in pkgutil.iter_modules(__path__) if name not in _NAMES.values()})
__all__ = sorted(_NAMES)


class _Tricks(types.ModuleType):
    """This package: a name is the trick's function, also where its file has the same name and was imported before."""

    def __getattr__(self, name):
        if name not in _NAMES:
            raise AttributeError(f'gluon_tricks.tricks has no {name!r}')
        return getattr(importlib.import_module('gluon_tricks.tricks.' + _NAMES[name]), name)

    def __setattr__(self, name, value):
        if not (name in _NAMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Tricks
