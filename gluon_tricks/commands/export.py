"""``python -m gluon_tricks export``: One folder of a trained network: ONNX, MXNet, timm, a model card."""
import json
import os

from gluon_tricks.commands.classifier_flags import RANGED, add_classifier_flags, classifier_values
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import check_ranges
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet


def parser():
    result = Parser(prog='python -m gluon_tricks export', description=__doc__.split('``: ')[1])
    result.add_argument('folders', nargs='*', metavar='RUN DIR', help='the SAVE_DIR of a run of any task, and the '
                        'folder to write; with --params DIR alone')
    result.add_argument('--params', metavar='FILE', help='a classifier\'s .params file, with --model')
    add_classifier_flags(result)
    result.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='of a detector\'s images, which '
                        'the ONNX model fixes (default: its short and its long side)')
    result.add_argument('--dataset', help='name of the validation images in the model card (default: that of their '
                        'directory)')
    result.add_argument('--license', help='licence of the weights in the model card (default: apache-2.0)')
    result.add_argument('--check', metavar='DIR', help='only check the folder DIR by its SHA256SUMS')
    result.add_argument('--json', action='store_true', help='print the result as JSON')
    return result


@quiet()
def main(argv):
    """Export or check, print the differences; returns the exit code."""
    arguments = parser().parse_args(argv)
    check_ranges(arguments, TrainConfig, *RANGED)
    if arguments.check:
        return _check(arguments)
    wanted = 1 if arguments.params else 2
    if len(arguments.folders) != wanted:
        raise UsageError('give the SAVE_DIR of a run and the folder to write, such as `export runs/demo-seed0 '
                         'exported`, or --params FILE --model NAME and the folder')
    if arguments.model and not arguments.params:
        raise UsageError('--model is for a file, and a run knows its network: drop it, or give --params FILE')
    from gluon_tricks.exchange import export, onnx_graph
    from gluon_tricks.exchange.subject import subject_of
    onnx_graph.require('onnx', 'onnxruntime')
    subject = subject_of(os.path.expanduser(arguments.params or arguments.folders[0]), size=arguments.size,
                         **classifier_values(arguments))
    out = arguments.folders[-1]
    stored = export.export(subject, out, arguments.license or 'apache-2.0', arguments.dataset)
    print(json.dumps(stored, indent=1) if arguments.json else _text(out, stored))
    return 0


def _check(arguments):
    wrong = [name for name, value in vars(arguments).items() if value and name not in ('check', 'json')]
    if wrong:
        raise UsageError(f'--check looks at a folder and writes none: drop {wrong[0].replace("_", "-")}')
    from gluon_tricks.exchange.sha256sums import check
    number = check(arguments.check)
    print(json.dumps({'folder': arguments.check, 'files': number}) if arguments.json else
          f'{arguments.check}: {number} files, all of them whole')
    return 0


def _text(out, stored):
    lines = [f'{out}: {stored["model"]}, {len(stored["classes"])} classes']
    for name, facts in stored['artefacts'].items():
        if 'difference' in facts:
            counted = ''.join(f', {key.replace("_", " ")} {value}' for key, value in facts.items()
                              if key not in ('what', 'difference', 'limit', 'about'))
            lines.append(f'  {name:<22} {facts["difference"]:.2g}  largest {facts["what"]}{counted}')
        else:
            lines.append(f'  {name:<22} {facts["about"]}')
    return '\n'.join(lines)
