"""A picture of one or more panels, 80 mm wide: a column of a paper, a phone's screen.

Colours are those of Okabe and Ito, which colour-blind readers tell apart, less yellow; once they begin again, the
dashes are others. Lines carry their names at their ends; where they are too many, below the picture.
Nothing of matplotlib's state is changed: no pyplot, no backend, no rcParams outside of `style`.
"""
import contextlib
import io
import os
import warnings
from typing import Any, Iterator, List, Sequence, Tuple

import numpy as np

from gluon_tricks.errors import UsageError
from gluon_tricks.files import check_writable, remedy_for, unwritable, write_whole

WIDTH = 80.0  # mm
DPI = 300  # of PNG; words are as wide as measured at this
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#000000', '#E69F00', '#56B4E9')
DASHES = ('-', '--', ':')
MOST_LINES = len(COLOURS) * len(DASHES)
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 14.5, 3.0, 6.0, 9.0, 7.5  # mm around the panels, and between them
_AT_ENDS = 5  # as many names find room at the ends of lines
_SHORT, _LONG = 24, 36  # characters of a name that are shown, at the end of a line and below the picture
_STYLE = {
    'font.family': 'DejaVu Sans', 'font.size': 7.5, 'axes.titlesize': 7.5, 'axes.labelsize': 7.5,
    'xtick.labelsize': 7, 'ytick.labelsize': 7, 'axes.linewidth': 0.6, 'xtick.major.width': 0.6,
    'ytick.major.width': 0.6, 'xtick.major.size': 2.5, 'ytick.major.size': 2.5, 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.grid': True, 'grid.color': '#E4E4E4', 'grid.linewidth': 0.5,
    'axes.axisbelow': True, 'axes.titlelocation': 'left', 'axes.titlepad': 4, 'axes.formatter.useoffset': False,
    'axes.xmargin': 0.02, 'lines.linewidth': 1.1, 'text.hinting': 'none', 'text.parse_math': False,
    'svg.hashsalt': 'gluon_tricks'}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """While it is entered, matplotlib draws by this project's style, whatever the user's is."""
    import matplotlib.style
    with matplotlib.style.context(['default', _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'Glyph .* missing from')  # it draws a box
        yield


def look(number: int) -> dict:
    """The colour and the dashes of line `number`, from 0."""
    return {'color': COLOURS[number % len(COLOURS)], 'linestyle': DASHES[number // len(COLOURS) % len(DASHES)]}


def ink(colour: str) -> str:
    """The colour, darker: for words, which are thinner than lines."""
    return '#' + ''.join(f'{int(colour[at:at + 2], 16) * 7 // 10:02X}' for at in (1, 3, 5))


def check_number(number: int, what: str) -> None:
    """Raise UsageError for more lines than can be told apart."""
    if number > MOST_LINES:
        raise UsageError(f'{number} {what} are more than the {MOST_LINES} lines that a picture can tell apart: give '
                         'fewer')


def printable(text: str) -> str:
    """The text, without what cannot be drawn or stored: line ends, and bytes that are no text in a file's name."""
    return ''.join(letter if letter.isprintable() else '?' for letter in text)


def shown(name: str, most: int = _SHORT) -> str:
    """A name of at most so many characters, its middle left out."""
    name = printable(name)
    return name if len(name) <= most else name[:most // 2 - 1] + '…' + name[-(most - most // 2):]


def files(path: str) -> List[str]:
    """PATH.svg and PATH.png, or the one that the path ends with. Raises UsageError where they could not be written;
    nothing is."""
    path = os.path.expanduser(path)
    root, suffix = os.path.splitext(path)
    found = [root + suffix.lower()] if suffix.lower() in ('.svg', '.png') else [path + '.svg', path + '.png']
    if os.path.isdir(path) or not os.path.basename(path):
        raise UsageError(f'{path} is a directory: give the name of a picture in it')
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):  # it will be made
        folder = os.path.dirname(folder)
    for each in found:
        check_writable(os.path.join(folder, os.path.basename(each)), 'choose another place')
    return found


class Picture:
    """A finished drawing: `save` writes it, a notebook shows it. `figure`: matplotlib's, to change it further.

    title: one line; text: what is to be seen, in words.
    """

    def __init__(self, figure: Any, title: str, text: str) -> None:
        self.figure, self.title, self.text = figure, printable(title), printable(text)

    def content(self, kind: str) -> bytes:
        """The file's bytes; kind: 'svg' or 'png' (300 dots an inch)."""
        told = {'Title': self.title, 'Description': self.text}
        stream = io.BytesIO()
        with style():
            self.figure.savefig(stream, format=kind, dpi=DPI, metadata=dict(told, Date=None) if kind == 'svg' else told)
        return stream.getvalue()

    def save(self, path: str) -> List[str]:
        """Write PATH.svg and PATH.png, or the one that the path ends with; returns the paths. Raises UsageError."""
        paths = files(path)
        for each in paths:
            try:
                os.makedirs(os.path.dirname(each) or '.', exist_ok=True)
                write_whole(each, self.content(each[-3:]))
            except OSError as error:
                raise unwritable(each, error, remedy_for(error)) from error
        return paths

    def _repr_svg_(self) -> str:
        return self.content('svg').decode()


def _renderer(figure: Any) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    return FigureCanvasAgg(figure).get_renderer()


def width_of(texts: Sequence[str]) -> float:
    """The width of the widest text in mm, inside `style`."""
    from matplotlib.figure import Figure
    figure = Figure(dpi=DPI)
    renderer = _renderer(figure)
    pixels = [figure.text(0, 0, text, fontsize=7).get_window_extent(renderer).width for text in texts]
    return max(pixels, default=0.0) / figure.dpi * 25.4


class Canvas:
    """The panels of a picture that is being drawn, one below the other, inside `style`.

    heights: of each panel, mm; names: of the lines, which stand at their ends (`name_lines`), below the picture where
    they are too many or `below`, or not at all where there is but one. looks: of the lines, by default `look`. left,
    right, gap: mm before, after and between the panels.
    """

    def __init__(self, heights: Sequence[float], names: Sequence[str] = (), below: bool = False,
                 looks: Sequence[dict] = (), left: float = _LEFT, right: float = _RIGHT, gap: float = _GAP) -> None:
        from matplotlib.figure import Figure
        self.at_ends = 1 < len(names) <= _AT_ENDS and not below
        self.names = [shown(name, _SHORT if self.at_ends else _LONG) for name in names]
        listed = bool(names) and not self.at_ends and (below or len(names) > 1)
        columns = 2 if width_of(self.names) <= WIDTH / 2 - 11 else 1
        margin = 3.6 * -(-len(names) // columns) + 2 if listed else 0.0
        height = _TOP + sum(heights) + gap * (len(heights) - 1) + _BOTTOM + margin
        right = width_of(self.names) + 3.5 if self.at_ends else right
        self.figure = Figure(figsize=(WIDTH / 25.4, height / 25.4), dpi=DPI)
        self.axes, top = [], height - _TOP
        self.renderer = _renderer(self.figure)
        for each in heights:
            self.axes.append(self.figure.add_axes((
                left / WIDTH, (top - each) / height, (WIDTH - left - right) / WIDTH, each / height)))
            self.axes[-1].xaxis.set_major_formatter('{x:g}')  # each number whole, none above the panel
            self.axes[-1].yaxis.set_major_formatter('{x:g}')
            top -= each + gap
        if listed:
            self._list_names(height, columns, looks or [look(number) for number in range(len(names))])

    def _list_names(self, height: float, columns: int, looks: Sequence[dict]) -> None:
        from matplotlib.lines import Line2D
        handles = [Line2D([], [], **each) for each in looks]
        self.figure.legend(handles, self.names, loc='lower center', ncol=columns, fontsize=7, frameon=False,
                           borderpad=0, handlelength=2.2, labelspacing=0.35, bbox_to_anchor=(0.5, 0.8 / height))

    def share_x(self, label: str) -> None:
        """All panels have the horizontal axis of the last one, which alone carries numbers and the label."""
        low, high = zip(*(axes.get_xlim() for axes in self.axes))
        for axes in self.axes:
            axes.set_xlim(min(low), max(high))
            axes.tick_params(labelbottom=axes is self.axes[-1])
        self.axes[-1].set_xlabel(label)

    def name_lines(self, axes: Any, ends: Sequence[Tuple[str, float, str]]) -> None:
        """Write names at the right of a panel: (name, height of the line's end, colour), none upon another."""
        ends = [end for end in ends if np.isfinite(end[1])]
        if not ends:
            return
        step = 3.1 / 25.4 * self.figure.dpi  # pixels between two names
        box = axes.get_window_extent(self.renderer)
        ends = sorted(ends, key=lambda end: end[1])
        axes.get_ylim()  # matplotlib finds the limits when it is asked
        wanted = [axes.transData.transform((0, end[1]))[1] for end in ends]
        for (name, _, colour), place in zip(ends, apart(wanted, step, box.y0, box.y1 - step / 2)):
            axes.annotate(name, (1, (place - box.y0) / box.height), (4, 0), xycoords='axes fraction',
                          textcoords='offset points', va='center', fontsize=7, color=ink(colour),
                          annotation_clip=False)

    def done(self, title: str, text: str) -> Picture:
        return Picture(self.figure, title, text)


def apart(places: List[float], step: float, low: float, high: float) -> List[float]:
    """Places, in order, moved as little as needed to be `step` apart and, where they have room, inside low to high."""
    groups: List[Tuple[float, int]] = []  # where a group's first is wanted, summed over its members; how many they are
    for total in places:
        number = 1
        while groups and groups[-1][0] / groups[-1][1] + groups[-1][1] * step > total / number:
            before, members = groups.pop()
            total, number = before + total - number * members * step, members + number
        groups.append((total, number))
    found = [total / number + step * member for total, number in groups for member in range(number)]
    for at in reversed(range(len(found))):  # inside, from above and then from below
        found[at] = min(found[at], high - (len(found) - 1 - at) * step)
    for at in range(len(found)):
        found[at] = max(found[at], low + at * step)
    return found


def names_of(paths: Sequence[str]) -> List[str]:
    """The last part of each path; as many parts as tell them apart."""
    parts = [os.path.normpath(path).split(os.sep) for path in paths]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(map(tuple, parts))):
            break
    return names if parts else []


def end_of(y: Any) -> float:
    """The last finite height of a line, NaN where there is none."""
    finite = np.asarray(y, 'float64')[np.isfinite(np.asarray(y, 'float64'))]
    return float(finite[-1]) if len(finite) else float('nan')
