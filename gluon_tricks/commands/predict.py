"""``python -m gluon_tricks predict``: the five likeliest classes of images, with their probabilities."""
import json
import os
import sys

from tqdm import tqdm

from gluon_tricks.commands.evaluate import load_net, open_run
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet


def parser():
    result = Parser(prog='python -m gluon_tricks predict', description=__doc__.split('``: ')[1])
    result.add_argument('images', nargs='*', metavar='IMAGE', help='image files')
    result.add_argument('--params', required=True, help='a .params file (with --model), or the SAVE_DIR of a run')
    result.add_argument('--model', help='network of a .params file')
    result.add_argument('--num-classes', type=int, help='classes (default: the run\'s, else 1000)')
    result.add_argument('--use-se', action='store_true', help='the network is a resnext with squeeze-and-excitation')
    result.add_argument('--input-size', type=int, help='side of the images (default: the run\'s, else the network\'s)')
    result.add_argument('--crop-ratio', type=float, help='crop over resized short side (default: 0.875)')
    result.add_argument('--top', type=int, default=5, help='how many classes (default: 5)')
    result.add_argument('--places-submission', metavar='FILE',
                        help='write the five classes of each image of --rec-test, as Places365\'s test server wants them')
    result.add_argument('--rec-test', metavar='FILE.rec', help='test images of `prepare places365 --test`')
    result.add_argument('--batch-size', type=int, default=32, help='images at a time of --rec-test (default: 32)')
    result.add_argument('--json', action='store_true', help='print a JSON list')
    return result


def class_names(facts):
    """Names of the classes: the run's own, ImageNet's words for its WordNet ids or 1000 classes, else numbers."""
    names = facts['class_names']
    if not isinstance(names, list) or len(names) != facts['num_classes']:
        names = None
    if facts['num_classes'] == 1000:
        from gluon_tricks.compat import mx  # noqa: F401  before GluonCV

        from gluoncv.data import ImageNet1kAttr
        imagenet = ImageNet1kAttr()
        if not names or list(names) == list(imagenet.synset):
            return imagenet.classes
    return names or [str(number) for number in range(facts['num_classes'])]


def write_submission(facts, rec, path, batch_size):
    """Write ``NAME label label label label label`` of every image of a record file, in its order; returns 0.

    The five likeliest classes first to last, one crop an image, as the test server of Places365 wants it. The names
    come from the .lst beside the records. Raises UsageError.
    """
    from gluon_tricks.data.pipeline import EvalStream
    from gluon_tricks.data.records.crash import watch
    from gluon_tricks.data.records.record_file import check_records
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.files import check_writable, write_whole
    check_writable(path, 'give --places-submission a file in a directory that is there and can be written')
    stem = os.path.splitext(rec)[0]
    watch([(rec, stem + '.idx')])
    number = check_records(rec, stem + '.idx')
    try:
        with open(stem + '.lst', encoding='utf-8', errors='surrogateescape') as stream:
            names = [line.rstrip('\n').split('\t')[2].split('/')[-1] for line in stream]
    except (OSError, IndexError) as error:
        raise UsageError('%s.lst cannot be read: it names the images; prepare them again' % stem) from error
    if len(names) != number or facts['num_classes'] < 5:
        raise UsageError('%s.lst names %d images of %d, and there are %d classes: five are asked for'
                         % (stem, len(names), number, facts['num_classes']))
    devices, config = find_devices()[:1], facts['config']
    net, _ = load_net(facts, devices)
    stream = EvalStream(rec, stem + '.idx', batch_size, facts['input_size'], facts['crop_ratio'], config.rgb_mean,
                        config.rgb_std)
    lines = []
    with tqdm(total=number, unit='img', desc=os.path.basename(rec)) as bar:
        for batch, valid in stream.batches():
            (x, _), = batch.shards(devices)
            best = net(x).astype('float32').topk(k=5, dtype='int32').asnumpy()[:valid]
            lines += ['%s %s\n' % (names[len(lines) + row], ' '.join(map(str, labels)))
                      for row, labels in enumerate(best)]
            bar.update(valid)
    try:
        write_whole(path, ''.join(lines).encode('utf-8', 'surrogateescape'))
    except OSError as error:
        raise UsageError('--places-submission %s cannot be written (%s): free space, or give a file on another disk'
                         % (path, error.strerror)) from error
    print('%s: %d images, five classes each' % (path, len(lines)))
    return 0


@quiet()
def main(argv):
    """Predict and print; returns the exit code, 2 where an image could not be read."""
    arguments = parser().parse_args(argv)
    check_ranges(arguments, TrainConfig, 'batch_size', 'num_classes', 'input_size', 'crop_ratio')
    if arguments.top < 1:
        raise UsageError('--top %d must be at least 1' % arguments.top)
    if bool(arguments.places_submission) != bool(arguments.rec_test) or \
            bool(arguments.places_submission) == bool(arguments.images):
        raise UsageError('give image files, or --places-submission FILE together with --rec-test FILE.rec')
    facts = open_run(arguments.params, arguments.model, arguments.num_classes, arguments.input_size,
                     arguments.crop_ratio, arguments.use_se)
    from gluon_tricks.compat import mx
    from gluon_tricks.data.image_file import preprocess
    if arguments.places_submission:
        return write_submission(facts, os.path.expanduser(arguments.rec_test), arguments.places_submission,
                                arguments.batch_size)
    net, _ = load_net(facts, [mx.cpu()], hybridize=False)
    names, results, code = class_names(facts), [], 0
    for path in arguments.images:
        try:
            x = preprocess(path, facts['input_size'], facts['crop_ratio'], facts['config'].rgb_mean,
                           facts['config'].rgb_std)
        except UsageError as error:  # the others are predicted
            print('error: %s' % error, file=sys.stderr)
            code = 2
            continue
        probability = mx.nd.softmax(net(x).astype('float32')).asnumpy()[0]
        order = probability.argsort(kind='stable')[::-1][:arguments.top]
        results.append({'image': path, 'classes': [
            {'name': names[k], 'index': int(k), 'probability': float(probability[k])} for k in order]})
        if not arguments.json:
            print(_text(results[-1]), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))
    return code


def _text(result):
    lines = [os.path.basename(result['image'])]
    return '\n'.join(lines + ['  %6.2f %%  %s (%d)' % (100 * item['probability'], item['name'], item['index'])
                              for item in result['classes']])
