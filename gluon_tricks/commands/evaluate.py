"""``python -m gluon_tricks evaluate``: exact top-1 and top-5 over a record file (paper section 2.1, validation)."""
import json
import math
import os

from gluon_tricks.config import classification as configuration
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import DTYPES, check_ranges
from gluon_tricks.cores import available_cores
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet


def parser():
    result = Parser(prog='python -m gluon_tricks evaluate', description=__doc__.split('``: ')[1])
    result.add_argument('params', help='a .params file (with --model), or the SAVE_DIR of a run: its best checkpoint')
    result.add_argument('--model', help='network of a .params file')
    result.add_argument('--rec-val', help='validation records (default: the run\'s)')
    result.add_argument('--rec-val-idx', help='their index (default: the same name, .idx)')
    result.add_argument('--num-classes', type=int, help='classes (default: the run\'s, else 1000)')
    result.add_argument('--use-se', action='store_true', help='the network is a resnext with squeeze-and-excitation')
    result.add_argument('--input-size', type=int, help='side of the images (default: the run\'s, else the network\'s)')
    result.add_argument('--crop-ratio', type=float, default=None, help='crop over resized short side (default: 0.875)')
    result.add_argument('--batch-size', type=int, help='images per device (default: the run\'s, else 32)')
    result.add_argument('--num-gpus', type=int, help='GPUs, 0 for the CPU (default: all visible, else the CPU)')
    result.add_argument('--devices', default='', help='devices by name, such as "gpu(0)"')
    result.add_argument('--dtype', choices=DTYPES, help='precision (default: the run\'s, else float32)')
    result.add_argument('-j', '--num-data-workers', dest='decode_threads', type=int, help='threads that decode (all cores)')
    result.add_argument('--gluoncv-padding', action='store_true',
                        help='also give the figure as GluonCV\'s script counts it: images that fill up the last batch '
                             'count twice')
    result.add_argument('--json', action='store_true', help='print the result as JSON')
    return result


def open_run(path, model=None, num_classes=None, input_size=None, crop_ratio=None, use_se=False):
    """What a .params file or a run's directory says: a dict with params, model, classes, sizes, mean and std.

    A run's own configuration stands behind what is not given. Raises UsageError.
    """
    facts, config, manifest = {'params': path}, configuration.TrainConfig(), {}
    if os.path.isdir(path):
        from gluon_tricks.training import checkpoint
        path = checkpoint.best_of(path)
        manifest = checkpoint.read(path)
        config = configuration.TrainConfig.from_dict(manifest.get('config'))
        facts['params'], model = os.path.join(path, 'net.params'), model or config.model
    elif not os.path.isfile(path):
        raise UsageError('%s is not there: give a .params file, or the SAVE_DIR of a run' % path)
    if not model:
        raise UsageError('%s does not say its network: give --model NAME' % path)
    from gluon_tricks.models.zoo import default_input_size
    return dict(facts, model=model, num_classes=num_classes or config.num_classes, config=config,
                input_size=input_size or config.input_size or default_input_size(model),
                crop_ratio=crop_ratio or config.crop_ratio, use_se=use_se or config.use_se,
                class_names=manifest.get('classes'))


def load_net(facts, devices, dtype='float32', hybridize=True):
    """(network, precision) of `open_run`'s facts, ready to score on the devices."""
    from gluon_tricks.models.zoo import trained_net
    from gluon_tricks.tricks.low_precision import precision
    low_precision = precision(dtype, devices)
    return trained_net(facts['model'], facts['params'], facts['num_classes'], facts['input_size'], devices,
                       low_precision, hybridize, facts['use_se']), low_precision


@quiet()
def main(argv):
    """Evaluate, print the protocol and the result; returns the exit code."""
    arguments = parser().parse_args(argv)
    check_ranges(arguments, TrainConfig, 'batch_size', 'num_classes', 'input_size', 'crop_ratio', 'decode_threads', 'num_gpus')
    facts = open_run(arguments.params, arguments.model, arguments.num_classes, arguments.input_size,
                     arguments.crop_ratio, arguments.use_se)
    config = facts['config']
    records = os.path.expanduser(arguments.rec_val or config.rec_val)
    if not records:
        raise UsageError('%s does not say its validation images: give --rec-val FILE' % arguments.params)
    index = os.path.expanduser(arguments.rec_val_idx or not arguments.rec_val and config.rec_val_idx
                               or os.path.splitext(records)[0] + '.idx')

    from gluon_tricks.data.pipeline import EvalStream
    from gluon_tricks.data.records import certificate
    from gluon_tricks.data.records.crash import watch
    from gluon_tricks.data.records.record_file import check_records
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.tasks.classification.evaluation import evaluate
    from gluon_tricks.tricks.low_precision import enable_bfloat16

    watch([(records, index)])
    certificate.check(records, facts['num_classes'])
    check_records(records, index, facts['num_classes'])
    devices = find_devices(arguments.devices, arguments.num_gpus)
    dtype = arguments.dtype or config.dtype
    if dtype == 'bfloat16':
        enable_bfloat16()
    net, low_precision = load_net(facts, devices, dtype)

    def score(**options):
        stream = EvalStream(records, index, total_batch_size=(arguments.batch_size or config.batch_size) * len(devices),
                            input_size=facts['input_size'], crop_ratio=facts['crop_ratio'], mean=config.rgb_mean,
                            std=config.rgb_std, threads=arguments.decode_threads or available_cores(),
                            num_classes=facts['num_classes'], **options)
        return evaluate(net, stream, devices, low_precision)

    metrics = score()
    result = {'params': facts['params'], 'model': facts['model'], 'records': records, 'dtype': dtype,
              'emulated': low_precision.emulated, 'resize': int(math.ceil(facts['input_size'] / facts['crop_ratio'])),
              'crop': facts['input_size'], 'interpolation': 'bilinear', 'top1': metrics['top1'], 'top5': metrics['top5'],
              'num_images': metrics['num_images'], 'loss': metrics['loss']}
    if arguments.gluoncv_padding:
        padded = score(gluoncv_padding=True)
        result['gluoncv_padding'] = {key: padded[key] for key in ('top1', 'top5', 'num_images')}
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
