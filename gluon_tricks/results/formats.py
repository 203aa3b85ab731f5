"""A Table as text of 80 columns, Markdown, LaTeX (booktabs), CSV (timm's columns first), JSON and HTML."""
import csv
import functools
import html as escaping
import io
import json
import textwrap
from typing import Any, Callable, Dict, List, Optional, Tuple

from gluon_tricks.models.names import default_input_size
from gluon_tricks.results import printed
from gluon_tricks.results.verdict import DEVIATION, SOURCE

WIDTH = 80
# Of a cell: heading, and what stands there.
_COLUMNS: Tuple[Tuple[str, Callable[[Any], str]], ...] = (
    ('paper', lambda cell: _paper(cell)), ('zoo', lambda cell: _figure(cell.zoo)),
    ('log: last', lambda cell: _figure(cell.log_last)), ('best', lambda cell: _figure(cell.log_best)),
    ('timm', lambda cell: _figure(cell.timm)), ('n', lambda cell: str(cell.n or '')),
    ('mean', lambda cell: _figure(cell.mean)), ('sd', lambda cell: _figure(cell.sd)),
    ('best', lambda cell: _figure(cell.best)))
_TIMM = ('model', 'img_size', 'top1', 'top1_err', 'top5', 'top5_err', 'param_count', 'crop_pct', 'interpolation')


def _figure(value: Optional[float]) -> str:
    return '' if value is None else f'{value:.2f}'


def _paper(cell):
    return _figure(cell.paper) if cell.standard is None else f'{cell.standard:.2f}*'


def _verdict(cell):
    """The word, the interval, and why."""
    found = cell.verdict
    interval = f': {cell.mean:.2f} +- {found.half:.2f}' if found.half is not None else ''
    return found.word + interval + (f' ({found.reason})' if found.reason else '')


def title(table: Any) -> str:
    """What a table is."""
    return f'{"Slides" if table.number == "slides" else "Table " + table.number}: {table.title}'


def _blocks(table):
    """[(heading, metric, rows)]: each group of rows by each metric."""
    groups: Dict[str, List[Any]] = {}
    for row in table.rows:
        groups.setdefault(row.group, []).append(row)
    return [(', '.join(filter(None, (group, f'{printed.NAMES[metric]} in percent'))), metric, rows)
            for group, rows in groups.items() for metric in table.metrics]


def _columns(table):
    """The columns in which any cell has something."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    return [(heading, content) for heading, content in _COLUMNS if any(content(cell) for cell in cells)]


def sentences(table: Any) -> List[str]:
    """What must be said below a table: the steps between our rows, the rule, footnotes, and what was left out."""
    found = [f'{row.label} less {upper.label}{" (" + row.group + ")" if row.group else ""}: {_step(step)}'
             for upper, row, step in table.steps]
    if any(step.deviation is not None for _, _, step in table.steps):
        found.append('Rows less rows: pairs of equal seeds; +-: the 95 % interval of the mean difference, by '
                     'Student\'s t; P(above): the share of pairs that are above, and its 95 % interval.')
    if any(cell.standard is not None for row in table.rows for cell in row.cells.values()):
        found.append('* of the standard training of that network, not of this row\'s')
    if any(cell.zoo is not None for row in table.rows for cell in row.cells.values()):
        found.append('zoo; last, best: GluonCV\'s model zoo; the last and the best epoch of its training log, which '
                     'counts some images twice. timm: its evaluation of the zoo\'s network.')
    runs = [record for row in table.rows for record in row.runs]
    if runs:
        found.append('Ours: after the last epoch; best: of the best epoch, which the same images chose. '
                     + _spread_of(any(cell.n > 1 for row in table.rows for cell in row.cells.values())))
    if any(row.comparable and len(row.runs) == 1 for row in table.rows) and table.dataset == 'ImageNet':
        found.append(f'One run: +- 1.96 sqrt(2) 0.10, for top-1; {SOURCE}.')
    if not runs:
        found.append(f'Nothing of ours is given. A row is run by `{table.rows[0].command}`, and the like; '
                     f'`python -m gluon_tricks table {table.number} SAVE_DIR...` puts runs beside the figures.')
    return found + list(table.footnotes) + [f'left out: {path}: {why}' for path, why in table.left_out]


def _spread_of(several):
    """What is said of the spread of our runs, where a row has several, and where none has."""
    if not several:
        return ('One seed a row: a seed changes initial weights, order and augmentation together, and how far two '
                'seeds lie apart is not seen from one.')
    return ('sd: n - 1, over seeds, each of which changes initial weights, order and augmentation together. Verdict '
            '+-: the 95 % prediction interval of one more run, by Student\'s t.')


def _step(step):
    if step.noise is None:
        return f'{step.difference:+.2f}, of one seed in common: one seed does not tell a step from the noise; run more'
    needed = (f'{step.needed} {"seed finds" if step.needed == 1 else "seeds find"} as much, at 5 %, 4 times of 5'
              if step.needed else 'how many seeds find it is not known')
    where = f'{"inside" if step.noise else "outside"} the noise'
    if step.deviation is None:
        return (f'{step.difference:+.2f} +- {step.half:.2f}, of one seed in common, which tells nothing of the noise: '
                f'{where} of {DEVIATION:.2f} that others published; {needed}')
    return (f'{step.difference:+.2f} +- {step.half:.2f} ({len(step.seeds)} seeds in common; P(above) '
            f'{step.better:.2f}, {step.low:.2f} to {step.high:.2f}): {where}; {needed}')


# ---------------------------------------------------------------------------------------------------------------------
# Text, Markdown, LaTeX, HTML

def text(table: Any) -> str:
    """The table in at most 80 columns; a verdict that has no room beside its row stands below it."""
    lines, columns = textwrap.wrap(title(table), WIDTH), _columns(table)
    widths = [1 + max([len(heading.split(': ')[-1])] + [len(content(cell)) for row in table.rows
                                                        for cell in row.cells.values()])
              for heading, content in columns]
    width = max(len(row.label) for row in table.rows)

    def line(label, values):
        return f'{label:<{width}}' + ''.join(f'{value:>{each}}' for value, each in zip(values, widths))

    for heading, metric, rows in _blocks(table):
        names = [name.split(': ')[-1] for name, _ in columns]
        lines += [''] + ([line(heading, names)] if len(heading) <= width else [heading, line('', names)])
        for row in rows:
            shown = line(row.label, [content(row.cells[metric]) or '-' for _, content in columns])
            found = _verdict(row.cells[metric])
            if len(shown) + 2 + len(found) <= WIDTH:
                lines.append(f'{shown}  {found}')
            else:
                lines += [shown] + textwrap.wrap(found, WIDTH, initial_indent='    ', subsequent_indent='      ')
    lines += _also_lines(table) + ['']
    for sentence in sentences(table):
        lines += textwrap.wrap(sentence, WIDTH, initial_indent='- ', subsequent_indent='  ', break_long_words=False,
                               break_on_hyphens=False)
    return '\n'.join(line.rstrip() for line in lines)


def _also_lines(table):
    """The other printed figures of the rows."""
    found = []
    for row in table.rows:
        if row.also:
            shown = '; '.join(f'{printed.ALSO[name]} {value:g}' for name, value in row.also.items())
            found += textwrap.wrap(f'{", ".join(filter(None, (row.group, row.label)))}: {shown}', WIDTH,
                                   subsequent_indent='    ')
    return ['', 'Also printed:'] + found if found else []


def _grid(table):
    """(headings, [(heading of a block, [cells as texts])]): what Markdown, LaTeX and HTML draw."""
    columns = _columns(table)
    also = list(dict.fromkeys(name for row in table.rows for name in row.also))
    headings = ['row'] + [_long(name, place, columns) for place, (name, _) in enumerate(columns)] + ['verdict'] + [
        printed.ALSO[name] for name in also]
    return headings, [(heading, [[row.label] + [content(row.cells[metric]) for _, content in columns]
                                 + [_verdict(row.cells[metric])]
                                 + [f'{row.also[name]:g}' if name in row.also else '' for name in also]
                                 for row in rows]) for heading, metric, rows in _blocks(table)]


def _long(name, place, columns):
    """A column's heading where it stands alone."""
    if name in ('zoo', 'log: last') or name == 'best' and columns[place - 1][0] == 'log: last':
        return {'zoo': 'GluonCV zoo', 'best': 'log: best'}.get(name, name)
    return {'n': 'ours: n', 'best': 'best epoch', 'paper': 'paper', 'timm': 'timm'}.get(name, name)


def markdown(table: Any) -> str:
    """The table as GitHub's Markdown."""
    headings, blocks = _grid(table)
    lines = [f'**{_md(title(table))}**']
    for heading, rows in blocks:
        lines += ['', _md(heading), '', '| ' + ' | '.join(map(_md, headings)) + ' |', '|---' * len(headings) + '|']
        lines += ['| ' + ' | '.join(map(_md, row)) + ' |' for row in rows]
    return '\n'.join(lines + [''] + [f'- {_md(sentence)}' for sentence in sentences(table)])


def _md(value):
    return value.replace('\\', '\\\\').replace('|', '\\|').replace('*', '\\*').replace('<', '&lt;').replace(
        '_', '\\_').replace('\n', ' ')


_TEX = {'\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
        '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}',
        '"': "''", '`': r'\textasciigrave{}'}


def _tex(value):
    """Text as LaTeX takes it, in ASCII; +- becomes its sign."""
    escaped = ''.join(_TEX.get(char, char if ' ' <= char <= '~' else '?') for char in value)
    return escaped.replace('+-', r'$\pm$').replace('--', '-{}-').replace('\\textasciigrave{}', "'")


def latex(table: Any) -> str:
    """The table as LaTeX, for a document with ``\\usepackage{booktabs}``; the sentences are its caption's notes."""
    headings, blocks = _grid(table)
    numbers = len(headings)
    place = headings.index('verdict')
    form = 'l' + 'r' * (place - 1) + r'p{0.17\linewidth}' + 'r' * (numbers - place - 1)
    short = {'GluonCV zoo': 'zoo', 'log: last': 'log last', 'log: best': 'log best', 'ours: n': 'n'}
    lines = ['% needs \\usepackage{booktabs}', r'\begin{table}',
             r'\centering\footnotesize\setlength{\tabcolsep}{2.5pt}',
             rf'\caption{{He et al. (2018), {_tex(title(table))}}}', rf'\begin{{tabular}}{{{form}}}', r'\toprule',
             ' & '.join(_tex(short.get(name, name)) for name in headings) + r' \\']
    for heading, rows in blocks:
        lines += [r'\midrule', rf'\multicolumn{{{numbers}}}{{l}}{{\emph{{{_tex(heading)}}}}} \\']
        lines += [' & '.join(map(_tex, row)) + r' \\' for row in rows]
    lines += [r'\bottomrule', r'\end{tabular}', '', r'\raggedright\scriptsize']
    lines += [_tex(sentence) + r'\par' for sentence in sentences(table)]
    return '\n'.join(lines + [r'\end{table}'])


def html(table: Any) -> str:
    """The table as an HTML fragment, for a notebook or a page."""
    headings, blocks = _grid(table)
    name, place = escaping.escape(title(table)), headings.index('verdict')
    lines = ['<div class="gluon-tricks-table">',  # the inner one scrolls, by the keyboard too
             f'<div role="region" tabindex="0" aria-label="{name}" style="overflow-x: auto">', '<table>',
             f'<caption>{name}</caption>',
             '<thead><tr>' + ''.join(f'<th scope="col"{_verdicts(at == place)}>{escaping.escape(name)}</th>'
                                     for at, name in enumerate(headings)) + '</tr></thead>']
    for heading, rows in blocks:
        lines.append(f'<tbody><tr><th colspan="{len(headings)}" scope="rowgroup">{escaping.escape(heading)}</th></tr>')
        for row in rows:
            cells = ''.join(f'<td{_verdicts(at == place)}>{escaping.escape(value)}</td>'
                            for at, value in enumerate(row) if at)
            lines.append(f'<tr><th scope="row">{escaping.escape(row[0])}</th>{cells}</tr>')
        lines.append('</tbody>')
    lines += ['</table>', '</div>', '<ul>']
    lines += [f'<li>{escaping.escape(sentence)}</li>' for sentence in sentences(table)]
    return '\n'.join(lines + ['</ul>', '</div>'])


def _verdicts(is_verdict):
    return ' class="verdict"' if is_verdict else ''


# ---------------------------------------------------------------------------------------------------------------------
# CSV and JSON

def as_dict(table: Any) -> Dict[str, Any]:
    """The table as JSON has it."""
    return {
        'table': table.number, 'title': table.title, 'dataset': table.dataset, 'metrics': list(table.metrics),
        'rows': [{
            'name': row.name, 'group': row.group, 'label': row.label, 'command': row.command, 'also': dict(row.also),
            'comparable': row.comparable, 'runs': [record.path for record in row.runs],
            'cells': {metric: dict(
                {name: getattr(cell, name) for name in (
                    'paper', 'standard', 'step', 'zoo', 'log_last', 'log_best', 'timm', 'seeds', 'n', 'mean', 'sd',
                    'best')},
                values=[{'seed': seed, 'value': value} for seed, value in cell.values],
                verdict=cell.verdict._asdict()) for metric, cell in row.cells.items()}} for row in table.rows],
        'steps': [dict(step._asdict(), upper=upper.name, row=row.name, seeds=list(step.seeds))
                  for upper, row, step in table.steps],
        'footnotes': list(table.footnotes),
        'left_out': [{'path': path, 'reason': why} for path, why in table.left_out]}


def as_json(table: Any) -> str:
    """The table as JSON text."""
    return json.dumps(as_dict(table), indent=1)


def as_csv(table: Any) -> str:
    """A line for each row: timm's columns, of our runs' means, then all the others."""
    stream = io.StringIO()
    metrics = table.metrics
    names = ('paper', 'zoo', 'log_last', 'log_best', 'timm', 'n', 'mean', 'sd', 'best', 'half', 'verdict', 'reason')
    also = list(dict.fromkeys(name for row in table.rows for name in row.also))
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(list(_TIMM) + ['row', 'group', 'label'] + [f'{metric}_{name}' for metric in metrics
                                                              for name in names] + also)
    for row in table.rows:
        values = []
        for metric in metrics:
            cell = row.cells[metric]
            values += [cell.standard if cell.paper is None else cell.paper] + [
                getattr(cell, name) for name in names[1:9]] + [cell.verdict.half, cell.verdict.word,
                                                               cell.verdict.reason]
        writer.writerow([_csv(value) for value in _timm_columns(row) + [row.name, row.group, row.label] + values
                         + [row.also.get(name) for name in also]])
    return stream.getvalue().rstrip('\n')


def _csv(value):
    return '' if value is None else f'{value:.6g}' if isinstance(value, float) else value


def _timm_columns(row):
    """timm's columns of a row: the network, and the mean of our runs; parameters in millions."""
    config = row.config
    top1, top5 = (row.cells[metric].mean if metric in row.cells else None for metric in ('top1', 'top5'))
    if config.TASK != 'classification':
        return [getattr(config, 'network', None) or config.backbone] + [None] * (len(_TIMM) - 1)
    side = config.input_size or default_input_size(config.model)
    errors = [None if value is None else 100 - value for value in (top1, top5)]
    return [config.model, side, top1, errors[0], top5, errors[1], _millions(config.model, config.num_classes, side),
            config.crop_ratio, 'bilinear']


@functools.lru_cache(maxsize=None)
def _millions(model, classes, side):
    """Trainable parameters of a network, in millions."""
    from gluon_tricks.models.complexity import complexity
    from gluon_tricks.models.zoo import get_model
    return f'{complexity(get_model(model, classes=classes), side)[0] / 1e6:.2f}'


FORMATS = {'text': text, 'markdown': markdown, 'latex': latex, 'csv': as_csv, 'json': as_json, 'html': html}
