"""The paper's Figures 3 and 4: 3a and 4a are computed, 3b and 4b are drawn from runs (sections 5.1 and 5.2)."""
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from gluon_tricks.config.recipes import get
from gluon_tricks.data.prepare.imagenet import COUNTS
from gluon_tricks.errors import UsageError
from gluon_tricks.pictures.curves import EPOCHS, accuracy
from gluon_tricks.pictures.picture import DASHES, Canvas, Picture, check_number, end_of, ink, look, style
from gluon_tricks.results.published_log import PublishedLog
from gluon_tricks.results.records import Record
from gluon_tricks.training.history import History
from gluon_tricks.training.schedule import MODES, Schedule
from gluon_tricks.tricks.label_smoothing import theoretical_gap

# The two rows of Table 6 between which only the schedule changes.
ROWS = ('table6/resnet50_v1d/efficient', 'table6/resnet50_v1d/cosine')
HEIGHT = 42.0  # mm of a panel
EPSILON = 0.1  # the paper's
_MOST_CLASSES = 999999
_MOST_BINS = 200


def _title(mode: str) -> str:
    return f'{mode} decay'


# ---------------------------------------------------------------------------------------------------------------------
# 3a

def schedules(form: str = 'paper') -> Dict[str, Schedule]:
    """{mode: Schedule} of the paper's two schedules on ImageNet: batch 1024, 120 epochs, 5 of them warmup."""
    found = {}
    for row in map(get, ROWS):
        config = row.config
        found[config.lr_mode] = Schedule(
            row.lr, config.lr_mode, COUNTS['train'] // row.total_batch_size, config.num_epochs, config.warmup_epochs,
            config.decay_epochs, config.lr_decay, form=form)
    return found


def rate_line(schedule: Schedule) -> Tuple[np.ndarray, np.ndarray]:
    """(epochs done, the learning rate) of a schedule, both sides of its corners included."""
    each = schedule.updates_per_epoch
    corners = [epoch * each for epoch in (schedule.warmup_epochs, *schedule.decay_epochs)]
    updates = {1, *range(each // 10, schedule.total_updates + 1, max(each // 10, 1)), schedule.total_updates}
    updates.update(near for corner in corners for near in (corner, corner + 1) if 1 <= near <= schedule.total_updates)
    order = np.array(sorted(updates))
    return order / each, np.array([schedule(int(update)) for update in order])


def logged_rates(log: PublishedLog) -> Tuple[np.ndarray, np.ndarray]:
    """(epochs done, the learning rate) of the lines of a log of ImageNet."""
    sizes = [log.options.get('batch_size', 128), log.options.get('num_gpus', 8)]
    total = int(np.prod([max(size, 1) if type(size) is int else 1 for size in sizes], dtype='float64'))
    return log.updates['epoch'] + log.updates['batch'] / max(COUNTS['train'] // total, 1), log.updates['lr']


def figure_3a(form: str = 'paper', logs: Sequence[PublishedLog] = ()) -> Picture:
    """Figure 3a: step and cosine decay with warmup; some sixty rates of published logs as points.

    form: as of training.schedule. Raises UsageError for an unknown one.
    """
    chosen = schedules(form)
    looks = [dict(look(number), linestyle='', marker='.', markersize=3) for number in range(2, 2 + len(logs))]
    check_number(2 + len(logs), 'schedules and logs')
    with style():
        canvas = Canvas([HEIGHT], [log.name for log in logs], below=True, looks=looks)
        (axes,) = canvas.axes
        for (mode, schedule), number, at in zip(chosen.items(), range(2), (0.38, 0.52)):  # where a line is by itself
            axes.plot(*rate_line(schedule), **look(number))
            update = round(at * schedule.total_updates)
            axes.annotate(_title(mode), (update / schedule.updates_per_epoch, schedule(update)), (4, 4),
                          textcoords='offset points', color=ink(look(number)['color']))
        for log, kind in zip(logs, looks):
            axes.plot(*logged_rates(log), markevery=max(len(log.updates['lr']) // 60, 1), **kind)
        axes.set_title(f'learning rate, formula: {form}')
        canvas.share_x(EPOCHS)
    return canvas.done('Figure 3a: learning rate schedules with warmup',
                       'The learning rate rises over the warmup; cosine decay falls slowly at first, then almost '
                       'linearly; step decay falls by ten at its epochs.')


# ---------------------------------------------------------------------------------------------------------------------
# 3b

def figure_3b(runs: Sequence[Tuple[Record, History]], logs: Sequence[PublishedLog] = ()) -> Picture:
    """Figure 3b: top-1 on the validation data over the epochs; runs of one schedule have one colour, published logs are
    dashed."""
    lines: List[Tuple[str, str, History]] = [
        (record.config.to_dict()['lr_mode'], 'ours', history) for record, history in runs]
    lines += [(str(log.options.get('lr_mode', 'unknown')), 'published', log) for log in logs]
    kinds = list(dict.fromkeys((mode, origin) for mode, origin, _ in lines))
    number = {kind: sum((mode, origin) == kind for mode, origin, _ in lines) for kind in kinds}
    names = [(_title(mode) if origin == 'ours' else f'{mode} (GluonCV)')
             + (f', n = {number[mode, origin]}' if number[mode, origin] > 1 else '') for mode, origin in kinds]
    modes = [mode for mode in MODES if mode in dict(kinds)]
    looks = {(mode, origin): dict(look(modes.index(mode) if mode in modes else len(modes)),
                                  linestyle=DASHES[origin == 'published']) for mode, origin in kinds}
    with style():
        canvas = Canvas([HEIGHT], names, below=len(names) == 1, looks=list(looks.values()))
        (axes,), ends = canvas.axes, {}
        for mode, origin, history in lines:
            line, kind = accuracy(history), (mode, origin)
            axes.plot(*line, **looks[kind])
            ends[kind] = (canvas.names[kinds.index(kind)], end_of(line[1]), looks[kind]['color'])
        axes.set_title('top-1 on the validation data (%)')
        canvas.share_x(EPOCHS)
        if canvas.at_ends:
            canvas.name_lines(axes, list(ends.values()))
    return canvas.done('Figure 3b: top-1 on the validation data after each epoch', '; '.join(
        f'{history.name}: last {end_of(accuracy(history)[1]):.2f} % ({mode})' for mode, _, history in lines))


# ---------------------------------------------------------------------------------------------------------------------
# 4a

def gap_line(classes: int) -> Tuple[np.ndarray, np.ndarray]:
    """(epsilon, the theoretical gap), from 0.001 to (K - 1) / K, where it is 0."""
    last = (classes - 1) / classes
    epsilons = np.unique(np.append(np.geomspace(1e-3, last, 400), np.linspace(1e-3, last, 400)))
    return epsilons, np.array([theoretical_gap(classes, float(epsilon)) for epsilon in epsilons])


def figure_4a(classes: int = 1000) -> Picture:
    """Figure 4a: the gap between the optimal score of the label's class and the others', against epsilon.

    Raises UsageError for fewer than 3 classes, and for a million and more.
    """
    if not 3 <= classes <= _MOST_CLASSES:
        raise UsageError(f'--classes {classes} must be 3 to {_MOST_CLASSES}: the paper takes 1000')
    last, at = (classes - 1) / classes, theoretical_gap(classes, EPSILON)
    with style():
        canvas = Canvas([HEIGHT])
        (axes,) = canvas.axes
        axes.plot(*gap_line(classes), **look(0))
        axes.plot([EPSILON, last], [at, 0], 'o', markersize=3, color=look(1)['color'], clip_on=False)
        axes.annotate(f'{at:.3f} at ε = {EPSILON}', (EPSILON, at), (5, 4), textcoords='offset points')
        axes.annotate(f'0 at ε = (K − 1) / K = {last:.4g}', (last, 0), (0.97, 0.86), textcoords='axes fraction',
                      ha='right', arrowprops={'arrowstyle': '-', 'linewidth': 0.5, 'relpos': (1, 0)})
        axes.set_title(f'gap log((K − 1)(1 − ε) / ε), K = {classes}')
        axes.set_ylim(bottom=0)
        canvas.share_x('ε of label smoothing')
    return canvas.done('Figure 4a: theoretical gap', f'The gap falls from infinity at epsilon 0 over {at:.3f} at '
                       f'{EPSILON} to 0 at {last:.4g}.')


# ---------------------------------------------------------------------------------------------------------------------
# 4b

def smoothed_gap(config: Any) -> float:
    """The theoretical gap of a TrainConfig with label smoothing, NaN without."""
    if not config.label_smoothing:
        return float('nan')
    share = (config.num_classes - 1) / config.num_classes if config.smoothing == 'gluoncv' else 1
    return theoretical_gap(config.num_classes, config.epsilon * share)


def figure_4b(runs: Sequence[Tuple[str, Any, np.ndarray]]) -> Picture:
    """Figure 4b: the distribution of the gap between the largest score and the mean of the others.

    runs: (name, TrainConfig, (N,) gaps over the validation data). A dashed line is the theoretical gap of smoothing.
    """
    check_number(len(runs), 'runs')
    every = np.concatenate([gaps for _, _, gaps in runs])
    edges = np.histogram_bin_edges(every, 'auto')
    edges = edges if len(edges) <= _MOST_BINS else np.histogram_bin_edges(every, _MOST_BINS)
    names = [f'{name}, ' + (f'ε = {config.epsilon:g}' if config.label_smoothing else 'no smoothing')
             for name, config, _ in runs]
    words: List[str] = []
    with style():
        canvas = Canvas([HEIGHT], names, below=True)
        (axes,) = canvas.axes
        for number, (name, (_, config, gaps)) in enumerate(zip(names, runs)):
            density, _ = np.histogram(gaps, edges, density=True)
            axes.stairs(density, edges, **look(number))
            axes.stairs(density, edges, fill=True, color=look(number)['color'], alpha=0.15, linewidth=0)
            words.append(f'{name}: {gaps.mean():.3f} +- {gaps.std():.3f} over {len(gaps)} images')
        wanted = sorted({round(smoothed_gap(config), 6) for _, config, _ in runs if config.label_smoothing})
        for gap in wanted:
            axes.axvline(gap, color='black', linestyle='--', linewidth=0.8)
            axes.annotate(f'theory {gap:.2f}', (gap, 1), (2, -2), xycoords=('data', 'axes fraction'),
                          textcoords='offset points', va='top', fontsize=7.5)
        axes.set_ylim(top=1.12 * axes.get_ylim()[1])  # room for the words
        axes.set_title('density of images')
        canvas.share_x('largest score − mean of the others')
    return canvas.done('Figure 4b: empirical distributions of the gap', '; '.join(words))
