"""What every picture must be: readable at its width."""
import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from gluon_tricks.pictures.picture import WIDTH, style


def texts(picture):
    """[(text, its box in pixels, its size in points)] of what is written in a picture."""
    with style():
        renderer = FigureCanvasAgg(picture.figure).get_renderer()
        picture.figure.draw(renderer)
        found = [text for text in picture.figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        hidden = {id(tick.label2) for axes in picture.figure.axes for axis in (axes.xaxis, axes.yaxis)
                  for tick in axis.get_major_ticks()}
        for axes in picture.figure.axes:  # numbers beside the panel are not drawn
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                low, high = sorted((low, high))
                hidden |= {id(tick.label1) for tick in axis.get_major_ticks()
                           if not low - 1e-9 <= tick.get_loc() <= high + 1e-9 or not tick.label1.get_visible()}
        return [(text.get_text(), Text.get_window_extent(text, renderer), text.get_fontsize())
                for text in found if id(text) not in hidden]


def assert_readable(picture):
    """80 mm wide; all words inside, none upon others, none smaller than 6.5 points; a title and words for who cannot
    see it."""
    figure = picture.figure
    assert abs(figure.get_figwidth() * 25.4 - WIDTH) < 1e-6 and picture.title and picture.text
    written = texts(picture)
    assert written
    for words, box, size in written:
        assert size >= 6.5, words
        assert box.x0 >= 0 and box.y0 >= 0, f'{words!r} is cut off'
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, f'{words!r} is cut off'
    for (one, box, _), (other, second, _) in itertools.combinations(written, 2):
        wide = min(box.x1, second.x1) - max(box.x0, second.x0)
        high = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert wide < 3 or high < 6, f'{one!r} is upon {other!r}'
