"""A Report as one HTML file, which asks nobody for anything: styles and pictures are in it, and it runs no script."""
import base64
import os
import re
import shlex
import urllib.parse
from typing import Any, Sequence

import gluon_tricks
from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.picture import Picture, printable
from gluon_tricks.results import formats, printed
from gluon_tricks.results.report import Report, rows_in, took
from gluon_tricks.results.rows_picture import draw_rows

_TEMPLATE = 'page.html.jinja'
_SAFE = ' !$\'()*+,-./:;<=>?@[]^_`{|}~'  # in an address and in an attribute; no " # % &


def engine() -> Any:
    """The package jinja2. Raises UsageError where it is not installed."""
    try:
        import jinja2
    except ImportError as error:
        raise UsageError("report needs a package that is not installed: type `pip install '.[report]'`, or "
                         '`pip install jinja2`') from error
    return jinja2


def page(report: Report, words: Sequence[str] = ('report',)) -> bytes:
    """The file's bytes. words: of the command that makes it again."""
    jinja2 = engine()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown)
    markup = jinja2.utils.markupsafe.Markup
    environment.filters.update(picture=lambda picture: markup(_picture(picture)), jpeg=_jpeg, quoted=shlex.quote)
    command = ' '.join(['python -m gluon_tricks', *map(shlex.quote, words)])
    text = environment.get_template(_TEMPLATE).render(
        report=report, command=command, version=gluon_tricks.__version__, names=printed.NAMES,
        title_of=formats.title, rows_in=rows_in, took=took,
        tables=[(table, markup(formats.html(table)), draw_rows(table)) for table in report.tables])
    return text.encode('utf-8', 'replace')


def _shown(value):
    """What is written for a value: text that a file or a path held without what cannot be shown."""
    return printable(value) if isinstance(value, str) and not hasattr(value, '__html__') else value


def _picture(picture: Picture) -> str:
    """A Picture without its white ground, as the address of an image, ready for an attribute in double quotes.

    Paths have two decimals, a thirty-thousandth of its width: half the bytes.
    """
    for patch in [picture.figure.patch] + [axes.patch for axes in picture.figure.axes]:
        patch.set_alpha(0)
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r'(\.\d\d)\d+', r'\1', path.group()),
                  picture.content('svg').decode())
    return 'data:image/svg+xml,' + urllib.parse.quote(re.sub(r'\s+', ' ', text), safe=_SAFE)


def _jpeg(content: bytes) -> str:
    return f'data:image/jpeg;base64,{base64.b64encode(content).decode()}'
