"""The bag of tricks, one file for each heading of the paper (paper sections 3 and 5; He et al. 2018).

In the paper's order:

* 3.1 large-batch training: ``linear_scaling``, ``warmup``, ``zero_gamma``, ``no_bias_decay``
* 3.2 low-precision training: ``low_precision``
* 5.1 ``cosine_decay``
* 5.2 ``label_smoothing``
* 5.3 ``distillation``
* 5.4 ``mixup``
* beyond the paper: ``cutmix``, ``cutout``

A trick takes plain numbers and arrays, does one thing, and imports no other trick. The first docstring of each file is
its card: the equation, what GluonCV does, the default, the cost, and how it goes with the others.
"""
