"""Figures as Hugging Face reads them: `.eval_results/*.yaml`, one entry for each, with how they were measured.

Values of the YAML are JSON, which YAML contains.
"""
import json
from typing import Any, Dict

from gluon_tricks.config.options import Options
from gluon_tricks.data.image_file import short_side
from gluon_tricks.models.names import default_input_size
from gluon_tricks.tasks.segmentation import protocol as segmentation

# task -> {figure: (Hugging Face's metric, in words)}
METRICS = {'classification': {'top1': ('accuracy', 'Top-1 accuracy, percent'),
                              'top5': ('accuracy', 'Top-5 accuracy, percent')},
           'detection': {'map_voc07': ('mAP', 'mAP (VOC 2007, 11 points), percent')},
           'segmentation': {'pix_acc': ('accuracy', 'Pixel accuracy, 0 to 1'),
                            'miou': ('mean_iou', 'Mean intersection over union, 0 to 1')}}


def figures_of(task: str, found: Dict[str, Any]) -> Dict[str, float]:
    """{name of a metric: value} of a checkpoint's, those of METRICS."""
    return {name: found[name] for name in METRICS[task] if isinstance(found.get(name), (int, float))}


def protocol(config: Options) -> str:
    """How a run with this configuration measures its figures, in a sentence."""
    if config.TASK == 'classification':
        side = config.input_size or default_input_size(config.model)
        return (f'Short side to {short_side(side, config.crop_ratio)} (bilinear), centre crop {side}, {config.dtype}, '
                'one crop an image.')
    if config.TASK == 'detection':
        return (f'Short side to {config.image_short}, long side at most {config.image_max_size}, {config.dtype}; '
                'overlap of 0.5, 11 points.')
    measured = segmentation.protocol('crop', crop_size=config.crop_size)
    return measured[len('protocol: '):].capitalize() + f', {config.dtype}.'


def yaml(task: str, dataset: str, figures: Dict[str, float], date: str, notes: str) -> Dict[str, str]:
    """{file name: text} of `.eval_results/`; {} without figures. date: YYYY-MM-DD, '' where not known."""
    lines = []
    for name, value in figures.items():
        lines += ['- dataset:', f'    id: {_json(dataset)}', f'    task_id: {_json(name)}', f'  value: {_json(value)}']
        lines += [f'  date: {_json(date)}'] if date else []
        lines += [f'  notes: {_json(f"{METRICS[task][name][1]}, {notes}")}']
    return {f'{task}.yaml': '\n'.join(lines) + '\n'} if lines else {}


def _json(value):
    return json.dumps(value, ensure_ascii=False)
