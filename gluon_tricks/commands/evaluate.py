"""``python -m gluon_tricks evaluate``: Exact validation metrics of a run, or of a classifier over a record file."""
import json
import math
import os

from gluon_tricks.commands import known_answer
from gluon_tricks.commands.classifier_flags import RANGED, add_classifier_flags, classifier_values, other_task
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import DTYPES, check_ranges
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet


def parser():
    result = Parser(prog='python -m gluon_tricks evaluate', description=__doc__.split('``: ')[1])
    result.add_argument('params', nargs='?', metavar='PARAMS', help='a .params file, or timm\'s .safetensors (with '
                        '--model), or the SAVE_DIR of a run: its best checkpoint')
    result.add_argument('--params', dest='params_flag', metavar='FILE', help='the same')
    add_classifier_flags(result)
    result.add_argument('--rec-val', help='validation records (default: the run\'s)')
    result.add_argument('--rec-val-idx', help='their index (default: the same name, .idx)')
    result.add_argument('--batch-size', type=int, help='images per device (default: the run\'s, else 32)')
    result.add_argument('--num-gpus', type=int, help='GPUs, 0 for the CPU (default: all visible, else the CPU)')
    result.add_argument('--devices', default='', help='devices by name, such as "gpu(0)"')
    result.add_argument('--dtype', choices=DTYPES, help='precision (default: the run\'s, else float32)')
    result.add_argument('-j', '--num-data-workers', dest='decode_threads', type=int,
                        help='threads that decode (default: all cores)')
    result.add_argument('--gluoncv-padding', action='store_true',
                        help='also give the figure as GluonCV\'s script counts it: images that fill up the last batch '
                             'count twice')
    result.add_argument('--json', action='store_true', help='print the result as JSON')
    known_answer.add_flags(result)
    return result


@quiet()
def main(argv):
    """Evaluate, print the protocol and the result; returns the exit code."""
    arguments = parser().parse_args(argv)
    given = [path for path in (arguments.params, arguments.params_flag) if path]
    if len(given) != 1:
        raise UsageError('give one file of weights, or the SAVE_DIR of a run')
    arguments.params, arguments.params_flag = given[0], None
    known_answer.check_flags(arguments)
    check_ranges(arguments, TrainConfig, 'batch_size', *RANGED, 'decode_threads', 'num_gpus')
    if arguments.published:
        return known_answer.run(arguments)
    if other_task(arguments, 'devices', 'num_gpus', 'json'):
        return _evaluate_other(arguments)
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.classification.trained import facts_of, records_of, score
    facts = facts_of(os.path.expanduser(arguments.params), **classifier_values(arguments))
    records, index = records_of(facts, arguments.rec_val, arguments.rec_val_idx)
    devices, dtype = find_devices(arguments.devices, arguments.num_gpus), arguments.dtype or facts['config'].dtype
    (metrics, *padded), low_precision = score(facts, records, index, devices, dtype, arguments.batch_size,
                                              arguments.decode_threads, arguments.gluoncv_padding)
    result = {'params': facts['params'], 'model': facts['model'], 'records': records, 'dtype': dtype,
              'emulated': low_precision.emulated, 'resize': int(math.ceil(facts['input_size'] / facts['crop_ratio'])),
              'crop': facts['input_size'], 'interpolation': 'bilinear', 'top1': metrics['top1'],
              'top5': metrics['top5'],
              'num_images': metrics['num_images'], 'loss': metrics['loss']}
    if padded:
        result['gluoncv_padding'] = {key: padded[0][key] for key in ('top1', 'top5', 'num_images')}
    print(json.dumps(result, indent=1) if arguments.json else _text(result))
    return 0


def _text(result):
    lines = ['protocol: short side to {resize} ({interpolation}), centre crop {crop}, {dtype}%s, one crop an image'
             % (' (emulated)' if result['emulated'] else ''),
             '{model}: top-1 {top1:.3f} %  top-5 {top5:.3f} %  of {num_images} images, loss {loss:.4f}']
    if 'gluoncv_padding' in result:
        lines.append('as GluonCV counts: top-1 {gluoncv_padding[top1]:.3f} %  top-5 {gluoncv_padding[top5]:.3f} %  of '
                     '{gluoncv_padding[num_images]} rows')
    return '\n'.join(lines).format(**result)


def _evaluate_other(arguments):
    """Evaluate the run of a detector or a segmentation network; returns the exit code."""
    from gluon_tricks import api
    figures = api.evaluate(api.open_run(arguments.params), arguments.devices, arguments.num_gpus)
    if arguments.json:
        print(json.dumps(figures, indent=1))
    else:
        print('\n'.join('%-16s %s' % (name, f'{value:.4f}' if isinstance(value, float) else value)
                        for name, value in figures.items() if not isinstance(value, (dict, list))))
    return 0
