"""``evaluate --published NAME``: the known-answer test of a published network on one's own records."""
import json
import os

from gluon_tricks.errors import UsageError
from gluon_tricks.models import published

LEAST = 100  # images of a sample
FLAGS = ('quick', 'protocol', 'devkit')
# What the published network says itself.
_SAID = ('model', 'num_classes', 'use_se', 'input_size', 'crop_ratio', 'gluoncv_padding')
_REMEDIES = {
    'labels': 'pack the records again: `python -m gluon_tricks prepare imagenet` gives each image the place of its '
              'WordNet id among all',
    'channels': 'pack the records again from the files as they are (OpenCV reads blue first), or take the published '
                'weights',
    'shape': 'pack the records again from images in their own shape, or take the published weights',
    'normalisation': 'take the published weights, which want the mean and deviation of ImageNet'}

_UNKNOWN = {
    'too high': 'cause: not known: images that the network was trained on, or other weights than the published',
    'at chance': 'cause: none of these: other weights than the published, or images of other classes',
    'too low': 'cause: none of these: score more images (one right sample of fifty is called too low), or compare the '
               'digest of the weights'}


def add_flags(parser):
    """Add --published, and what it takes."""
    group = parser.add_argument_group(
        'known-answer test', 'a published network on your records: the figure that is expected, a verdict, and what is '
        'wrong where it is too low; exit code 1 where it is not as expected')
    group.add_argument('--published', metavar='NAME', help='one that `python -m gluon_tricks published` lists')
    group.add_argument('--quick', type=int, metavar='IMAGES', help='score a sample over all classes, the same each '
                       'time')
    group.add_argument('--protocol', choices=published.PROTOCOLS, help='how images are prepared: as GluonCV does '
                       '(opencv, the default), as timm, or as torchvision')
    group.add_argument('--devkit', metavar='TAR.GZ', help='ILSVRC2012_devkit_t12.tar.gz: try its ids as labels')


def check_flags(arguments):
    """Raise UsageError for flags that do nothing without --published, or beside it."""
    wrong = [name for name in (_SAID if arguments.published else FLAGS) if getattr(arguments, name)]
    if wrong:
        raise UsageError(f'--{wrong[0].replace("_", "-")}: --published says it, and gives GluonCV\'s count too; drop it'
                         if arguments.published else f'--{wrong[0]} is of --published NAME: give both')
    if arguments.published and not arguments.rec_val:
        raise UsageError('--published needs the validation records: give --rec-val FILE')
    if arguments.quick is not None and arguments.quick < LEAST:
        raise UsageError(f'--quick {arguments.quick} must be at least {LEAST}: fewer images tell nothing')


def run(arguments):
    """Print the figures, the verdict and the cause; returns the exit code: 0 where all is as expected, else 1."""
    result = answer(arguments)
    print(json.dumps(result, indent=1) if arguments.json else _text(result))
    return 0 if result['verdict'] == 'as expected' else 1


def answer(arguments):
    """The figures, the verdict and the cause as JSON has them. Raises UsageError."""
    from gluon_tricks.exchange import known_answer
    network = published.get(arguments.published)
    by_id = None
    if arguments.devkit:
        from gluon_tricks.data.prepare.imagenet import read_devkit
        by_id = read_devkit(os.path.expanduser(arguments.devkit))[0]
    scorer, classes = _scorer(arguments, network)
    found = known_answer.examine(scorer, network.expected(scorer.protocol.name), arguments.quick, by_id, classes)
    return _result(arguments, network, scorer, found)


def _scorer(arguments, network):
    """(Scorer, names of the records' classes or None)."""
    from gluon_tricks.data.records import certificate
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.exchange import known_answer, protocols
    from gluon_tricks.tasks.classification.trained import checked_net, facts_of, records_of
    if os.path.isdir(os.path.expanduser(arguments.params)):
        raise UsageError(f'--published {arguments.published}: {arguments.params} is a directory: give the file of '
                         'weights that was published')
    facts = facts_of(os.path.expanduser(arguments.params), network.model)
    rec, idx = records_of(facts, arguments.rec_val, arguments.rec_val_idx)
    devices = find_devices(arguments.devices, arguments.num_gpus)
    net, precision = checked_net(facts, rec, idx, devices, arguments.dtype or 'float32', any_label=True)
    certified = certificate.read(rec)
    protocol = protocols.get(arguments.protocol or 'opencv', facts['input_size'], facts['crop_ratio'], network.filter,
                             facts['config'].rgb_mean, facts['config'].rgb_std)
    return known_answer.Scorer(net, rec, idx, protocol, known_answer.imagenet_classes(), devices, precision,
                                arguments.batch_size or facts['config'].batch_size,
                                arguments.decode_threads), certified and certified['classes']


def _result(arguments, network, scorer, answer):
    """What is printed, as JSON has it."""
    result = {'published': network.name, 'model': network.model, 'params': arguments.params,
              'records': arguments.rec_val, 'protocol': scorer.protocol.name, 'prepared': scorer.protocol.words(),
              'dtype': arguments.dtype or 'float32', **answer.metrics, 'of': len(scorer.labels),
              'gluoncv_padding': answer.padded, 'expected': answer.expected, 'figures': network.figures(),
              'standard_error': answer.error, 'verdict': answer.verdict, 'cause': None, 'remedy': None, 'tried': []}
    if answer.sampled:
        result['tried_on'] = {'num_images': answer.sampled, 'top1': answer.as_it_is}
        result['tried'] = [each._asdict() for each in answer.trials]
    if answer.cause:
        result.update(cause=answer.cause.fault, remedy=_REMEDIES[answer.cause.kind])
    return result


def _text(result):
    sampled = '' if result['num_images'] == result['of'] else f' (a sample of {result["of"]}, over all classes)'
    figures = ', '.join(f'{name} {"not published" if figure is None else figure}'
                        for name, figure in result['figures'].items())
    nearest = '' if result['figures'][result['protocol']] else ', the nearest that was published'
    off = result['top1'] - result['expected']
    lines = [f'protocol: {result["prepared"]}, {result["dtype"]}, one crop an image',
             f'{result["published"]} ({result["model"]}): top-1 {result["top1"]:.3f} %  top-5 {result["top5"]:.3f} %  '
             f'of {result["num_images"]} images{sampled}',
             'as GluonCV counts: top-1 {top1:.3f} %  top-5 {top5:.3f} %  of {num_images} rows'.format(
                 **result['gluoncv_padding']),
             f'expected: top-1 {result["expected"]} %{nearest} ({figures})',
             f'verdict: {result["verdict"]}: {off:+.3f} points, {abs(off) / result["standard_error"]:.1f} standard '
             f'errors of {result["standard_error"]:.3f}']
    if result['tried']:
        lines.append('tried on {num_images} images, of which {top1:.2f} % are hit as they are:'.format(
            **result['tried_on']))
        lines += [f'  {each["top1"]:6.2f} %  {each["gain"]:+7.2f} +- {each["error"]:.2f}  {each["fault"]}'
                  for each in result['tried']]
    if result['cause']:
        lines += [f'cause: {result["cause"]}', f'remedy: {result["remedy"]}; then test again']
    elif result['verdict'] != 'as expected':
        lines.append(_UNKNOWN[result['verdict']])
    return '\n'.join(lines)
