"""Runs the code of the cards and writes their pictures: `python docs/tricks/draw.py [NAME...]`, all without a name."""
import contextlib
import io
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')  # before pyplot: no window

import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).resolve().parent
CARDS = {path.stem: path for path in sorted(HERE.glob('*.md')) if path.stem != 'README'}
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.M | re.S)


def blocks(text):
    """[(language, content)] of a card's blocks, in order."""
    return BLOCK.findall(text)


def picture(name):
    """The path of a card's picture."""
    return HERE / 'pictures' / f'{name}.svg'


def run(name):
    """Run a card's Python blocks in one namespace: (what each printed, its one figure)."""
    plt.close('all')
    namespace, printed = {'__name__': name}, []
    for language, content in blocks(CARDS[name].read_text(encoding='utf-8')):
        if language == 'python':
            with contextlib.redirect_stdout(io.StringIO()) as out, plt.style.context('default'):
                exec(compile(content, f'{name}.md', 'exec'), namespace)
            printed.append(out.getvalue())
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert len(figures) == 1, f'{name}: {len(figures)} figures'
    return printed, figures[0]


def save(figure, target):
    """Write a figure as SVG, text as text, with the same bytes every time."""
    with plt.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'gluon_tricks', 'path.simplify': False}):
        figure.savefig(target, format='svg', metadata={'Date': None})


if __name__ == '__main__':
    for name in sys.argv[1:] or CARDS:
        save(run(name)[1], picture(name))
        print(picture(name).relative_to(HERE.parents[1]))
