"""Runs of the three tasks as their checkpoints, without a training."""
import json

from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.models.weights import stored_params
from gluon_tricks.models.zoo import DEMO, get_model
from gluon_tricks.tasks.segmentation.network import build_fcn
from gluon_tricks.training import checkpoint
from support.detection import SMALL_NET, build_detector
from support.onnx import with_statistics

TASKS = ('classification', 'detection', 'segmentation')


def write_run(folder, task):
    """SAVE_DIR of a small network of a task, as a run leaves it; returns its path."""
    net, config, classes, metrics = {'classification': _classifier, 'detection': _detector,
                                     'segmentation': _segmenter}[task]()
    folder.mkdir()
    arrays = {name: param.data() for name, param in stored_params(net).items()}
    manifest = {'task': task, 'config': config.to_dict(), 'epoch': 3, 'batch': None, 'metrics': metrics, 'best': None,
                'classes': classes, 'workers': 1, 'data': {'val': {'images': metrics['num_images'], 'digest': 'ab' * 32}}}
    checkpoint.save(str(folder), 'epoch-0003', {'net.params': arrays, 'optimizer.params': {'none': mx.nd.zeros(1)}}, manifest)
    checkpoint.point(str(folder), 'best', 'epoch-0003')
    (folder / 'run.json').write_text(json.dumps({'started': '2026-01-02T03:04:05Z', 'devices': ['cpu(0)'],
                                                 'data': {'certificates': {'val': 'cd' * 32}}}))
    return str(folder)


def _classifier():
    config = TrainConfig(model=DEMO, num_classes=4, input_size=32, data_dir='sets/tiny')
    return (with_statistics(get_model(DEMO, classes=4), 32), config, ['red', 'grün', 'blue', 'white'],
            {'top1': 75.0, 'top5': 100.0, 'num_images': 27, 'gap_histogram': [1, 2]})


def _detector():
    net = build_detector()
    net.collect_params('.*dense|.*rpn.*weight').initialize(mx.init.Normal(0.1), force_reinit=True)
    options = {name: value for name, value in SMALL_NET.items()}
    config = RCNNConfig(network=DEMO, total_batch_size=1, **options)
    return net, config, ['cat', 'dog'], {'map_voc07': 12.5, 'ap': {'cat': 12.5}, 'num_images': 8}


def _segmenter():
    mx.random.seed(0)
    net = build_fcn(DEMO, 4, aux=True)
    net.head.initialize(mx.init.Xavier(), force_reinit=True)
    config = FCNConfig(backbone=DEMO, num_classes=4, aux=True, crop_size=64, base_size=64)
    return net, config, ['sky', 'sea', 'sand', 'stone'], {'pix_acc': 0.5, 'miou': 0.25, 'class_iou': [0.25] * 4, 'num_images': 5}
