"""``python -m gluon_tricks import-weights``: Weights of timm, GluonCV or MXNet to a .params file of this project."""
import json
import os

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.errors import Parser
from gluon_tricks.noise import quiet


def parser():
    result = Parser(prog='python -m gluon_tricks import-weights', description=__doc__.split('``: ')[1],
                    epilog='`published` lists networks of timm. Whatever takes a .params file takes their '
                    '.safetensors too; the file that is written here is for GluonCV and MXNet.')
    result.add_argument('source', metavar='SOURCE', help="timm's .safetensors, or a .params file of GluonCV or MXNet "
                        'of any age')
    result.add_argument('out', metavar='OUT.params', help='the file to write')
    result.add_argument('--model', required=True, help='the network, by its name here, such as resnet50_v1d')
    result.add_argument('--classes', dest='num_classes', metavar='K', type=int,
                        help='refuse a file of another number of classes (default: the file\'s is taken)')
    result.add_argument('--json', action='store_true', help='print the result as JSON')
    return result


@quiet()
def main(argv):
    """Import, print what was written; returns the exit code."""
    arguments = parser().parse_args(argv)
    check_ranges(arguments, TrainConfig, 'num_classes')
    from gluon_tricks.exchange.convert import import_weights
    source, out = os.path.expanduser(arguments.source), os.path.expanduser(arguments.out)
    found = import_weights(source, out, arguments.model, arguments.num_classes)
    if arguments.json:
        print(json.dumps(dict(found._asdict(), out=out), indent=1))
        return 0
    origin = f"timm's {found.timm}" if found.timm else 'a .params file'
    print(f'{out}: {found.model} of {origin}, {found.arrays} arrays of {found.values} values, {found.classes} classes')
    if found.counters:
        print(f'left out: {found.counters} num_batches_tracked, PyTorch\'s count of updates')
    print(f'SHA-256: {found.sha256}, of {source} {found.source_sha256}')
    return 0
