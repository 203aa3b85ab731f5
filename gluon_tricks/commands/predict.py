"""``python -m gluon_tricks predict``: Classes, boxes or segments of images, by the network of a run."""
import json
import os
import sys

from tqdm import tqdm

from gluon_tricks.commands.classifier_flags import RANGED, add_classifier_flags, classifier_values, other_task
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet


def parser():
    result = Parser(prog='python -m gluon_tricks predict', description=__doc__.split('``: ')[1])
    result.add_argument('images', nargs='*', metavar='IMAGE',
                        help='image files; without --params, the SAVE_DIR of a run '
                        'in front of them')
    result.add_argument('--params', help='a .params file, or timm\'s .safetensors (with --model), or the SAVE_DIR of a '
                        'run')
    result.add_argument('--out', metavar='DIR', help='of a detector or a segmentation network: write a '
                        'picture of each image there')
    add_classifier_flags(result)
    result.add_argument('--top', type=int, default=5, help='how many classes (default: 5)')
    result.add_argument('--places-submission', metavar='FILE',
                        help="write the five classes of each image of --rec-test, as Places365's test server wants "
                             'them')
    result.add_argument('--rec-test', metavar='FILE.rec', help='test images of `prepare places365 --test`')
    result.add_argument('--batch-size', type=int, default=32, help='images at a time of --rec-test (default: 32)')
    result.add_argument('--json', action='store_true', help='print a JSON list')
    return result


def write_submission(facts, rec, path, batch_size):
    """Write ``NAME label label label label label`` of every image of a record file, in its order; returns 0.

    The five likeliest classes first to last, one crop an image, as the test server of Places365 wants it. The names
    come from the .lst beside the records. Raises UsageError.
    """
    from gluon_tricks.data.pipeline import EvalStream, Normalise
    from gluon_tricks.data.records.crash import watch
    from gluon_tricks.data.records.record_file import check_records
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.files import check_writable, write_whole
    from gluon_tricks.models.fused import for_inference
    from gluon_tricks.tasks.classification.trained import load_net
    check_writable(path, 'give --places-submission a file in a directory that is there and can be written')
    stem = os.path.splitext(rec)[0]
    watch([(rec, stem + '.idx')])
    number = check_records(rec, stem + '.idx')
    try:
        with open(stem + '.lst', encoding='utf-8', errors='surrogateescape') as stream:
            names = [line.rstrip('\n').split('\t')[2].split('/')[-1] for line in stream]
    except (OSError, IndexError) as error:
        raise UsageError(f'{stem}.lst cannot be read: it names the images; prepare them again') from error
    if len(names) != number or facts['num_classes'] < 5:
        raise UsageError(f'{stem}.lst names {len(names)} images of {number}, and there are {facts["num_classes"]} '
                         'classes: five are asked for')
    devices, config = find_devices()[:1], facts['config']
    net = for_inference(*load_net(facts, devices), devices, number, facts['input_size'])
    stream = EvalStream(rec, stem + '.idx', batch_size, facts['input_size'], facts['crop_ratio'],
                        Normalise(config.rgb_mean, config.rgb_std))
    lines = []
    with tqdm(total=number, unit='img', desc=os.path.basename(rec)) as bar:
        for batch, valid in stream.batches():
            (x, _), = batch.shards(devices)
            best = net(x).astype('float32').topk(k=5, dtype='int32').asnumpy()[:valid]
            lines += [f'{names[len(lines) + row]} {" ".join(map(str, labels))}\n'
                      for row, labels in enumerate(best)]
            bar.update(valid)
    try:
        write_whole(path, ''.join(lines).encode('utf-8', 'surrogateescape'))
    except OSError as error:
        raise UsageError(f'--places-submission {path} cannot be written ({error.strerror}): free space, or give a '
                         'file on another disk') from error
    print(f'{path}: {len(lines)} images, five classes each')
    return 0


@quiet()
def main(argv):
    """Predict and print; returns the exit code, 2 where an image could not be read."""
    arguments = parser().parse_args(argv)
    if not arguments.params and not arguments.images:
        raise UsageError('give the SAVE_DIR of a run and image files, such as `predict runs/demo-seed0 photo.jpg`')
    arguments.params = os.path.expanduser(arguments.params or arguments.images.pop(0))
    check_ranges(arguments, TrainConfig, 'batch_size', *RANGED)
    if arguments.top < 1:
        raise UsageError(f'--top {arguments.top} must be at least 1')
    if bool(arguments.places_submission) != bool(arguments.rec_test) or \
            bool(arguments.places_submission) == bool(arguments.images):
        raise UsageError('give image files, or --places-submission FILE together with --rec-test FILE.rec')
    if other_task(arguments, 'images', 'out', 'top', 'batch_size'):
        return _draw(arguments)
    from gluon_tricks.compat import mx
    from gluon_tricks.tasks.classification.trained import classify, facts_of
    facts = facts_of(arguments.params, **classifier_values(arguments))
    if arguments.places_submission:
        return write_submission(facts, os.path.expanduser(arguments.rec_test), arguments.places_submission,
                                arguments.batch_size)
    results, code = [], 0
    for result in classify(facts, arguments.images, mx.cpu(), arguments.top):
        if isinstance(result, UsageError):  # the others are predicted
            print(f'error: {result}', file=sys.stderr)
            code = 2
            continue
        results.append(result)
        if not arguments.json:
            print(_text(result), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))
    return code


def _draw(arguments):
    """Draw what the run of a detector or a segmentation network finds; returns the exit code."""
    from gluon_tricks import api
    from gluon_tricks.commands import train_detection, train_segmentation
    run = api.open_run(arguments.params)
    command = {'detection': train_detection, 'segmentation': train_segmentation}[run.task]
    return command.predict_run(run, arguments.images, arguments.out or 'pictures')


def _text(result):
    lines = [os.path.basename(result['image'])]
    return '\n'.join(lines + [f'  {100 * item["probability"]:6.2f} %  {item["name"]} ({item["index"]})'
                              for item in result['classes']])
