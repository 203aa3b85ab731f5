"""Bag of Tricks for Image Classification with Convolutional Neural Networks (He et al. 2018), on MXNet and GluonCV.

`import gluon_tricks as gt` imports nothing heavy; its names are those of `gluon_tricks.api`, and the rooms.
"""
import importlib
import logging

__version__ = '0.1.0'

_NAMES = {
    'train': 'api', 'evaluate': 'api', 'predict': 'api', 'open_run': 'api', 'recipe': 'config.rows', 'Run': 'api',
    'Result': 'training.run', 'Diverged': 'training.divergence', 'Stopped': 'training.signals', 'UsageError': 'errors',
    'get_model': 'models.zoo', 'load_params': 'models.weights', 'TrainConfig': 'config.classification',
    'read_params': 'models.params_file', 'read_records': 'data.records.record_file',
    'RCNNConfig': 'config.detection', 'FCNConfig': 'config.segmentation', 'table': 'results.table',
}
_ROOMS = ('tricks', 'config', 'models', 'data', 'training', 'tasks', 'exchange', 'results', 'pictures',
          'distributed', 'api')
__all__ = sorted(_NAMES) + ['tricks']

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module('gluon_tricks.' + _NAMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module('gluon_tricks.' + name)
    raise AttributeError(f'gluon_tricks has no {name!r}')


def __dir__():
    return sorted(set(globals()) | set(__all__))
