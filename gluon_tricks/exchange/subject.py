"""A trained network that is exported, and what is known of it: of a run of any task, or of a classifier's file."""
import dataclasses
import os
from typing import Any, List, Optional, Tuple

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import short_side
from gluon_tricks.errors import UsageError
from gluon_tricks.tasks.eval_results import protocol
from gluon_tricks.tasks.segmentation.metrics import MEAN, STD
from gluon_tricks.tricks.low_precision import precision


@dataclasses.dataclass
class Subject:
    """A network to export, on the CPU in float32, and what is known of it.

    mean, std: of the channels, in 0 to 255. run: an api.Run, None for a bare file. figures_by: how its figures were
    measured. size: (height, width) of a classifier's or detector's images.
    """

    task: str
    model: str
    net: Any
    classes: List[str]
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    config: Any
    run: Any = None
    size: Tuple[int, int] = (0, 0)
    crop_ratio: float = 0.875
    figures_by: str = ''
    input: str = ''


def subject_of(path: str, model: Optional[str] = None, num_classes: Optional[int] = None,
               input_size: Optional[int] = None, crop_ratio: Optional[float] = None, use_se: bool = False,
               size: Optional[Tuple[int, int]] = None) -> Subject:
    """The Subject in a run's directory, or in a classifier's .params file, whose network is `model`.

    size: (height, width) of a detector's images. Raises UsageError as `api.open_run` and `classification.trained`.
    """
    if not os.path.isdir(path):
        return _classifier(path, None, model, num_classes, input_size, crop_ratio, use_se)
    from gluon_tricks import api
    run = api.open_run(path)
    given = {'--model': model, '--num-classes': num_classes, '--input-size': input_size, '--crop-ratio': crop_ratio,
             '--use-se': use_se}
    wrong = [flag for flag, value in given.items() if value and (run.task != 'classification' or flag == '--model')]
    if wrong:
        raise UsageError(f'{wrong[0]} is for a {"file" if wrong[0] == "--model" else "classifier"}, and {path} is a '
                         f'run of {run.task}: drop it')
    if size and run.task != 'detection':
        raise UsageError(f'--size is for a detector, and {path} is a run of {run.task}: drop it')
    if run.task == 'classification':
        return _classifier(path, run, None, num_classes, input_size, crop_ratio, use_se)
    return {'detection': _detector, 'segmentation': _segmenter}[run.task](run, size)


def _classifier(path, run, model, num_classes, input_size, crop_ratio, use_se):
    from gluon_tricks.tasks.classification import trained
    facts = trained.facts_of(path, model, num_classes, input_size, crop_ratio, use_se, run and run.manifest)
    config, side, ratio = facts['config'], facts['input_size'], facts['crop_ratio']
    net, _ = trained.load_net(facts, [mx.cpu()], hybridize=False)
    resize = short_side(side, ratio)
    return Subject(
        'classification', ('se_' if facts['use_se'] and facts['model'].startswith('resnext') else '') + facts['model'],
        net, list(trained.class_names(facts)), config.rgb_mean, config.rgb_std, config, run, (side, side), ratio,
        protocol(config.replace(input_size=side, crop_ratio=ratio)),
        f'`model.onnx` takes RGB images, (batch, 3, {side}, {side}) float32: short side to {resize}, bilinear, centre '
        f'crop {side}, values 0 to 255 less {list(config.rgb_mean)}, over {list(config.rgb_std)}; it gives logits. '
        '`model-from-image.onnx` takes an upright RGB image of any size, (height, width, 3) uint8, does all of this, '
        'and gives probabilities; the names of the classes are in its metadata.')


def _detector(run, size):
    from gluon_tricks.tasks.detection.pictures import stored_classes
    from gluon_tricks.tasks.detection.trained import trained_net
    config, devices = run.config, [mx.cpu()]
    classes = stored_classes(run.params)
    net = trained_net(config, run.params, classes, devices, precision('float32', devices))
    height, width = size or (config.image_short, config.image_max_size)
    if min(height, width) < config.image_short or max(height, width) > config.image_max_size:
        raise UsageError(f'--size {height} {width} must lie within {config.image_short} and {config.image_max_size}, '
                         'the short and the long side that the detector was trained with')
    return Subject(  # GluonCV's detectors have the mean and deviation of its segmentation networks
        'detection', config.network, net, list(classes), _times_255(MEAN), _times_255(STD), config, run,
        (height, width),
        figures_by=protocol(config),
        input=f'`model.onnx` takes one RGB image of one size, (1, 3, {height}, {width}) float32: values 0 to 1 less '
              f'{list(MEAN)}, over {list(STD)}, a smaller image in the upper left corner with zeros '
              'beside it; batch and size are fixed, for the number of anchors is part of the graph. It gives ids (-1: '
              'none), scores, and boxes in pixels, which may reach beyond the image.')


def _segmenter(run, size):
    from gluon_tricks.tasks.segmentation.network import load_fcn
    from gluon_tricks.tasks.segmentation.pictures import names_of
    net, number = load_fcn(run.params, run.config.backbone)
    names = run.manifest.get('classes')
    names = names if isinstance(names, list) and len(names) == number else list(names_of(number))
    return Subject(
        'segmentation', run.config.backbone, net, names, _times_255(MEAN), _times_255(STD), run.config, run,
        figures_by=protocol(run.config),
        input='`model.onnx` takes RGB images of any batch, height and width, (batch, 3, height, width) float32: values '
              f'0 to 1 less {list(MEAN)}, over {list(STD)}; it gives the logits of each pixel.')


def _times_255(values):
    return tuple(255 * value for value in values)
