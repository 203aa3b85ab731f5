"""``python -m gluon_tricks prepare``: make the record files that training reads."""
import os

from gluon_tricks.data.demo import write_digits
from gluon_tricks.data.records import count, pack_folder
from gluon_tricks.errors import Parser, UsageError


def parser():
    result = Parser(prog='python -m gluon_tricks prepare', description=__doc__.split('``: ')[1])
    sets = result.add_subparsers(dest='dataset', metavar='DATASET', parser_class=Parser)
    sets.required = True
    demo = sets.add_parser('demo', help='handwritten digits of scikit-learn, as JPEGs and records')
    demo.add_argument('--out', default='runs/demo-data', help='directory to write (default: runs/demo-data)')
    folder = sets.add_parser('folder', help='records of DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG')
    folder.add_argument('dir', metavar='DIR', help='the folder that holds train and val')
    folder.add_argument('--out', help='directory for the records (default: DIR/.gluon_tricks)')
    return result


def main(argv):
    """Prepare one data set and say what was written; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.dataset == 'demo':
        packed = write_digits(arguments.out)
    else:
        if not os.path.isdir(arguments.dir):
            raise UsageError('%s is not a directory: give the folder that holds train and val' % arguments.dir)
        packed = pack_folder(arguments.dir, arguments.out)
    for part, (rec, idx) in packed.files.items():
        print('%-5s %7d images, %d classes: %s' % (part, count(idx), len(packed.classes), rec))
    return 0
