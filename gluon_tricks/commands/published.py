"""``python -m gluon_tricks published``: Trained networks that can be had, and what they score."""
import json

from gluon_tricks.errors import Parser
from gluon_tricks.models import published


def parser():
    result = Parser(prog='python -m gluon_tricks published', description=__doc__.split('``: ')[1],
                    epilog='Nothing is downloaded. `evaluate --published NAME --params FILE --rec-val VAL.rec` scores '
                    'one.')
    result.add_argument('name', nargs='?', metavar='NAME', help='one network, in full (default: the table of all)')
    result.add_argument('--json', action='store_true', help='print a JSON list')
    return result


def main(argv):
    """Print the table, or one network in full; returns the exit code."""
    arguments = parser().parse_args(argv)
    chosen = [published.get(arguments.name)] if arguments.name else published.table()
    if arguments.json:
        print(json.dumps([each._asdict() for each in chosen], indent=1))
    elif arguments.name:
        print(card(chosen[0]))
    else:
        print(listing(chosen))
    return 0


def _figure(value, digits):
    return '-' if value is None else f'{value:.{digits}f}'


def _paper(rows):
    return [row for row in rows if not row.startswith('gluoncv/')]


def listing(table):
    """The table, at most 120 columns wide."""
    lines = ['%-29s %-20s %-9s %6s  %7s  %s' % ('network', 'model', 'SHA-1', 'zoo', 'timm', 'row')]
    lines += [('%-29s %-20s %-9s %6s  %7s  %s' % (
        each.name, each.model, each.sha1 or '-', _figure(each.zoo[0], 2), _figure(each.timm[0], 3),
        ', '.join(_paper(each.rows)) + ('' if each.sha1 else ', a stand-in') or '-')) for each in table]
    gone = next(number for number, each in enumerate(table) if not each.hub) + 1
    lines[gone:gone] = ['', 'no living copy is known; GluonCV kept them as ~/.mxnet/models/NAME.params:']
    return '\n'.join(lines + [
        '', 'top-1 in percent: zoo is GluonCV\'s figure, timm is timm\'s of its copy, with Pillow\'s bicubic resize',
        'hub: https://huggingface.co/timm/NETWORK, file model.safetensors; SHA-1: of GluonCV\'s file, its first digits',
        '`python -m gluon_tricks published NETWORK` tells more'])


def card(network):
    """All facts of one network, and what to type."""
    figures = [f'top-1 {_figure(top1, digits)}, top-5 {_figure(top5, digits)}'
               for (top1, top5), digits in ((network.zoo, 2), (network.timm, 3))]
    facts = [('model', network.model), ('rows', ', '.join(network.rows)), ('GluonCV\'s file', network.sha1 and
             f'{network.model}-{network.sha1}.params'), ('zoo', figures[0] if network.zoo[0] else ''),
             ('timm', figures[1] if network.hub else ''), ('hub', network.hub or 'no living copy is known'),
             ('note', network.note)]
    lines = [network.name] + [f'  {name:<15} {text}' for name, text in facts if text]
    if not network.taken:
        return '\n'.join(lines)
    params = f'{network.name}/model.safetensors' if network.hub else f'~/.mxnet/models/{network.name}.params'
    if network.hub:
        lines += ['', f'hf download {network.hub} model.safetensors --local-dir {network.name}']
    return '\n'.join(lines + [''] * (not network.hub) + [
        f'python -m gluon_tricks evaluate --published {network.name} --params {params} --rec-val VAL.rec'])
