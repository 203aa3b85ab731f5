"""``python -m gluon_tricks prepare``: Make from the official archives of a data set what training reads.

Each command resumes where it stopped when it is given again, and writes the same bytes whatever happened in between.
"""
import os

from gluon_tricks.cores import available_cores
from gluon_tricks.data.prepare import ade20k, demo_digits, demo_scenes, folder, imagenet, places365, voc
from gluon_tricks.data.records import certificate
from gluon_tricks.errors import Parser, UsageError

_SETS = {'imagenet': imagenet, 'places365': places365, 'voc': voc, 'ade20k': ade20k}


def parser():
    result = Parser(prog='python -m gluon_tricks prepare', description=__doc__.split('``: ')[1].split('\n\n')[0])
    sets = result.add_subparsers(dest='dataset', metavar='DATASET', parser_class=Parser)
    sets.required = True
    for name, module in _SETS.items():
        words = module.__doc__.split('``: ')[1].split('\n\n')[0].rstrip('.')
        command = sets.add_parser(name, help=words.split(' (paper')[0].split(' (Table')[0], description=words)
        module.add_arguments(command)
        _common(command, f'{module.DEFAULT_OUT}')
        command.add_argument('--no-checksum', action='store_true',
                             help='take archives of your own: neither digests nor counts are the published ones')
        if name in ('imagenet', 'places365'):
            _encoding(command)
    own = sets.add_parser('folder', help='records of DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG')
    own.add_argument('dir', metavar='DIR', help='the folder that holds train and val')
    _common(own, 'DIR/.gluon_tricks')
    _encoding(own)
    small = sets.add_parser('demo', help='handwritten digits as JPEGs and records, or scenes of them')
    small.add_argument('--scenes', action='store_true',
                       help='digits on photographs, as archives of VOC and ADE20K and what is prepared from them')
    small.add_argument('--train-per-class', type=int, metavar='N', help='digits of a class to train, the others to '
                       'validate, so that rows differ (default: every fifth to validate)')
    small.add_argument('--split', type=int, default=0, metavar='K', help='with --train-per-class: the number '
                       'that draws them (default: 0)')
    _common(small, 'runs/demo-data, runs/demo-data-N-split-K, runs/demo-scenes')
    return result


def _common(command, default):
    command.add_argument('--out', help=f'directory to write (default: {default})')
    command.add_argument('--processes', type=int, help='processes (default: all cores)')


def _encoding(command):
    command.add_argument('--resize', type=int, default=0, metavar='N',
                         help='bring the short side of all images to N, as im2rec does (default: bytes pass through)')
    command.add_argument('--quality', type=int, default=0, metavar='Q',
                         help='JPEG quality of what is encoded again (with --resize: 95)')
    command.add_argument('--seed', type=int, default=0, help='of the order of the training images (default: 0)')


def main(argv):
    """Prepare one data set and say what was written; returns the exit code."""
    arguments = parser().parse_args(argv)
    for name, low, high in (('processes', 1, 1024), ('resize', 0, 10000), ('quality', 0, 100),
                            ('seed', 0, 2 ** 32 - 1), ('train_per_class', 1, demo_digits.FEWEST - 1),
                            ('split', 0, 2 ** 32 - 1)):
        value = getattr(arguments, name, None)
        if value is not None and not low <= value <= high:
            raise UsageError(f'--{name.replace("_", "-")} {value} must be from {low} to {high}')
    arguments.processes = arguments.processes or available_cores()
    arguments.out = os.path.expanduser(arguments.out) if arguments.out else None
    if arguments.dataset == 'folder':
        packed = folder.pack_folder(os.path.expanduser(arguments.dir), arguments.out, arguments.processes,
                                    progress=True,
                                            seed=arguments.seed, resize=arguments.resize, quality=arguments.quality)
        if packed.skipped:
            print(f'left out: {len(packed.skipped)} files that are not JPEG or PNG, such as {packed.skipped[0]}')
        return _say_records([rec[:-len('.rec')] for rec, _ in packed.files.values()])
    if arguments.dataset == 'demo' and not arguments.scenes:
        return _digits(arguments)
    if arguments.dataset == 'demo':
        if arguments.train_per_class is not None or arguments.split:
            raise UsageError('--train-per-class and --split are for digits, not for --scenes: drop them, or --scenes')
        out = arguments.out or 'runs/demo-scenes'
        print('\n'.join(demo_scenes.write_scenes(out, arguments.processes) + [f'in {out}']))
        return 0
    module = _SETS[arguments.dataset]
    arguments.out = arguments.out or os.path.expanduser(module.DEFAULT_OUT)
    try:
        os.makedirs(arguments.out, exist_ok=True)
    except OSError as error:
        raise UsageError(f'--out {arguments.out} cannot be made ({error.strerror}): choose another '
                         'directory') from error
    result = module.run(arguments)
    if arguments.dataset in ('imagenet', 'places365'):
        return _say_records(result)
    print('\n'.join(result + [f'in {arguments.out}']))
    return 0


def _digits(arguments):
    few = arguments.train_per_class
    if few is None and arguments.split:
        raise UsageError(f'--split {arguments.split} does nothing without --train-per-class: add it, or drop --split')
    default = 'runs/demo-data' if few is None else f'runs/demo-data-{few}-split-{arguments.split}'
    packed = demo_digits.write_digits(arguments.out or default, arguments.processes, few, arguments.split)
    return _say_records([rec[:-len('.rec')] for rec, _ in packed.files.values()])


def _say_records(prefixes):
    for prefix in prefixes:
        facts = certificate.read(prefix + '.rec')
        quirks = [f'{len(facts["quirks"]["png"])} called JPEG are PNG'] if facts['quirks']['png'] else []
        quirks += [f'{len(facts["quirks"]["cmyk"])} are CMYK'] if facts['quirks']['cmyk'] else []
        print('%-5s %7d images, %d classes%s: %s.rec' % (os.path.basename(prefix), facts['images'],
                                                        facts['num_classes'], ''.join(', ' + each for each in quirks),
                                                        prefix))
    print(f'to decode every image once: python -m gluon_tricks verify {prefixes[-1]}.rec')
    return 0
