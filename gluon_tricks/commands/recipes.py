"""``python -m gluon_tricks recipes``: the rows of the paper's tables, their figures and commands."""
import json
import shlex
import textwrap

from gluon_tricks.config import recipes, recipes_transfer
from gluon_tricks.errors import Parser


def _pair(figures):
    shown = [f'{figures[key]:.2f}' if figures[key] is not None else '-' for key in ('top1', 'top5')]
    return '%5s %5s' % tuple(shown)


def listing(rows):
    """The table of recipes, at most 80 columns wide; the figures are top-1 and top-5 in percent."""
    lines = ['%-36s %5s %7s  %-11s  %s' % ('recipe', 'batch', 'lr', 'paper', 'GluonCV')]
    lines += [f'{recipe.name:<36} {recipe.total_batch_size:5d} {recipe.lr:7.4g}  {_pair(recipe.paper)}  '
              f'{_pair(recipe.gluoncv)}' for recipe in rows]
    return '\n'.join(lines)


def card(recipe):
    """Everything about one recipe, with its plain command in lines that a shell takes as they are."""
    def figures(values):
        return ', '.join(f'{key} {value}' for key, value in values.items() if value is not None) or 'none'

    devices = '' if recipe.config.num_gpus else ' on one device'
    same = [other.name for other in recipes.RECIPES.values()
            if other.config == recipe.config and other.name != recipe.name]
    facts = [('row', ', '.join(part for part in (recipe.table, recipe.column, recipe.heading) if part)),
             ('starts from', recipe.above), ('change', recipe.change), ('paper', figures(recipe.paper)),
             ('GluonCV', figures(recipe.gluoncv)),
             ('batch and lr', f'{recipe.total_batch_size}, {recipe.lr:.4g}{devices}'),
             ('same run as', ', '.join(same)), ('note', recipe.note)]
    lines = [recipe.name] + [textwrap.fill(text, 80, initial_indent=f'  {name:<12} ', subsequent_indent=' ' * 15,
                                           break_long_words=False, break_on_hyphens=False)
                             for name, text in facts if text]
    return '\n'.join(lines + ['', f'python train_imagenet.py --recipe {recipe.name}', '', _folded(recipe.config)])


def _folded(config):
    """The plain command, folded with backslashes before its flags; at most 80 columns where no flag is longer."""
    groups = []
    for word in map(shlex.quote, config.arguments()):
        if word.startswith('--'):
            groups.append(word)
        else:
            groups[-1] += ' ' + word
    lines = ['python train_imagenet.py']
    for group in groups:
        if len(lines[-1]) + len(group) > 77:
            lines[-1] += ' \\'
            lines.append('   ')
        lines[-1] += ' ' + group
    return '\n'.join(lines)


def transfer_listing(rows):
    """The table of the rows of tables 8 and 9, and of their demos."""
    lines = ['%-26s %-36s %s' % ('recipe', 'base trained by --recipe', 'paper')]
    lines += ['%-26s %-36s %s' % (recipe.name, recipe.base,
                                  ' '.join('%.2f' % value for value in _figures(recipe).values()))
              for recipe in rows]
    return '\n'.join(lines)


def transfer_card(recipe):
    """Everything about one row of tables 8 and 9."""
    command = f'python {recipe.config.PROGRAM} --recipe {recipe.name}'
    figures = ', '.join('%s %.2f' % pair for pair in _figures(recipe).items()) or 'none'
    return '\n'.join([recipe.name, '  row          ' + recipe.heading, '  base         ' + recipe.base,
                      '  paper        ' + figures, '',
                      command + f' --base-params {recipes.get(recipe.base).config.save_dir}/best/net.params'])


def _figures(recipe):
    return {name: value for name, value in recipe.paper.items() if name != 'top1'}  # its base's


def main(argv):
    """Print all recipes, or the card of one; returns the exit code."""
    parser = Parser(prog='python -m gluon_tricks recipes',
                    description='The rows of the paper\'s tables: figures and commands.')
    parser.add_argument('name', nargs='?', metavar='NAME', help='one recipe, in full (default: the table of all)')
    parser.add_argument('--json', action='store_true', help='print a JSON list')
    arguments = parser.parse_args(argv)
    transfer = recipes_transfer.RECIPES
    if arguments.name in transfer:
        chosen, others = [], [transfer[arguments.name]]
    else:
        chosen = [recipes.get(arguments.name)] if arguments.name else list(recipes.RECIPES.values())
        others = [] if arguments.name else list(transfer.values())
    if arguments.json:
        print(json.dumps([recipe.to_dict() for recipe in chosen + others], indent=2))
    elif arguments.name:
        print('\n'.join([card(recipe) for recipe in chosen] + [transfer_card(recipe) for recipe in others]))
    else:
        print(listing(chosen))
        print('\ntop-1 and top-5 in percent\n')
        print(transfer_listing(others))
        print('\nmAP (Table 8), pixAcc and mIoU (Table 9) in percent')
        print('\n`python -m gluon_tricks recipes NAME` tells more')
    return 0
