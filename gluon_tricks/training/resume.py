"""The checkpoint that a run resumes from, and whether every field of it fits the run, before anything is written.

It compares; `state.TrainState.restore` puts back. A manifest whose digest agrees was written whole, but by whom is not
known: it may be another program's, or forged.
"""
import math
import os

from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint

_MOST = 2 ** 53  # integers up to here are floats as well
_PARTS = {'train': 'training', 'val': 'validation'}


def find_to_resume(config, workers=1):
    """((path, manifest) or None, notices): where a run with this configuration starts.

    ``config.resume``: '' starts anew, 'auto' resumes from the newest whole checkpoint in ``config.save_dir``, else it
    names a checkpoint. workers: how many train. Raises UsageError where a new run would write over another one; where
    the checkpoint is damaged, for auto: where none is usable or the newest cannot be read now; where it was made with
    other options (the first that differs is named) or by another number of workers; and as `check_manifest`.
    """
    if config.resume in ('', 'auto'):
        names = checkpoint.names(config.save_dir)
        if not config.resume and names:
            raise UsageError(f'--save-dir {config.save_dir} holds the checkpoints of another run: add --resume auto '
                             'to resume it, or give another --save-dir')
        if not config.resume:
            return None, []
        if not names:
            return None, [f'--resume auto: no checkpoint in {config.save_dir}, the run starts at its beginning']
        path, manifest, damaged = checkpoint.find(config.save_dir)
        if path is None:
            raise UsageError(f'--resume auto: none of the {len(names)} checkpoints in {config.save_dir} can be used, '
                             f'and nothing was changed: {damaged[0]}; to start anew give another --save-dir')
        notices = [f'Warning: {sentence}; {os.path.basename(path)} is used' for sentence in damaged]
    else:
        path, notices = os.path.realpath(config.resume), []
        manifest = checkpoint.read(path)
        _check_place(config, path)
    task = checkpoint.task_of(manifest)
    if task != config.TASK:
        raise UsageError(f'--resume {config.resume}: {path} is a checkpoint of the task {_shown(task)}, and this is '
                         f'{config.TASK}; give another --save-dir')
    _check_options(config, path, manifest, workers)
    check_manifest(config, path, manifest)
    batch = manifest['batch']
    notices.append('resumed from %s: %d of %d epochs are done%s' % (
        path, manifest['epoch'] + (batch is None), config.num_epochs,
        '' if batch is None else f', and {batch} updates of the next'))
    return (path, manifest), notices


def _check_place(config, path):
    """Raise UsageError where going on from the checkpoint `path` would mix its run with what SAVE_DIR holds."""
    others = checkpoint.names(config.save_dir)
    if os.path.realpath(config.save_dir) == os.path.dirname(path) and checkpoint.is_name(os.path.basename(path)):
        named = checkpoint.position_of(os.path.basename(path))
        others = [name for name in others if checkpoint.position_of(name) > named]
    if others:
        raise UsageError(f'--resume {config.resume}: --save-dir {config.save_dir} also holds {others[-1]}, which '
                         'would be lost; give another --save-dir')


def _check_options(config, path, manifest, workers):
    try:
        before = type(config).from_dict(manifest['config']).to_dict()
    except UsageError as error:
        raise UsageError(f'checkpoint {path} cannot be resumed: {error}') from error
    for name, value in config.to_dict().items():
        if not config.field(name).metadata['free_on_resume'] and before[name] != value:
            raise UsageError(f'--resume {config.resume}: {name} is {value} now and was {_shown(before[name])} in '
                             f'{path}; give that value, or start a new run with another --save-dir')
    before = manifest.get('workers', 1)
    if before != workers:
        raise UsageError(f'--resume {config.resume}: {path} was trained by {_shown(before)} workers, and there are '
                         f'{workers} now; start that many, or start a new run with another --save-dir')


def _shown(value):
    """A value from a manifest in a sentence: in one line, and short."""
    text = str(value)
    return text if len(text) <= 60 and text.isprintable() else f'{text[:60]!r:.60}...'


# ---------------------------------------------------------------------------------------------------------------------
# The fields of a manifest

def is_number(value):
    """A number as JSON may hold it, infinite ones and NaN among them; no truth value, no integer beyond 2**53."""
    return type(value) is float or type(value) is int and abs(value) <= _MOST


def _is_finite(value):
    return is_number(value) and math.isfinite(value)


def _is_count(value, most=_MOST):
    return type(value) is int and 0 <= value <= most


def _are(test, values):
    return isinstance(values, list) and all(test(value) for value in values)


def _is_monitor(value):
    return value is None or (isinstance(value, dict) and set(value) == {'losses', 'high'}
                             and _are(_is_finite, value['losses']) and _is_count(value['high'], 49))


def _is_scaler(value):
    return isinstance(value, dict) and set(value) == {'scale', 'good', 'skipped'} and _is_finite(value['scale']) \
        and 0 < value['scale'] < 2 ** 127 and _is_count(value['good']) and _is_count(value['skipped'])


def _is_progress(value):
    return (isinstance(value, dict) and set(value) == {'batch', 'totals', 'counted', 'interval', 'waited', 'seconds'}
            and all(_is_count(value[name]) for name in ('batch', 'counted', 'interval'))
            and all(_is_finite(value[name]) and value[name] >= 0 for name in ('waited', 'seconds'))
            and _are(lambda pair: isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
                     and is_number(pair[1]), value['totals']))


def _is_sums(value):
    return (isinstance(value, dict) and set(value) == {'rows', 'count'} and _is_count(value['count'])
            and _are(lambda rows: _are(lambda row: _are(is_number, row), rows), value['rows']))


def _is_base(value):
    return isinstance(value, dict) and isinstance(value.get('sha256'), str) and _is_count(value.get('bytes'))


def _is_data(value):
    return isinstance(value, dict) and all(isinstance(facts, dict) for facts in value.values())


def check_manifest(config, path, manifest):
    """Raise UsageError that names the field where a checkpoint's manifest is not one of a run of this configuration."""
    epoch, batch = manifest['epoch'], manifest['batch']

    def is_best(value):
        return value is None or (isinstance(value, dict) and checkpoint.is_name(value.get('checkpoint'))
                                 and _is_count(value.get('epoch'), epoch)
                                 and value['checkpoint'] == checkpoint.name_of(value['epoch'])
                                 and all(is_number(each) for name, each in value.items() if name != 'checkpoint'))
    tests = {'best': is_best, 'metrics': lambda value: isinstance(value, dict), 'monitor': _is_monitor,
             'scaler': _is_scaler if config.dtype == 'float16' else lambda value: value is None,
             'rewinds': lambda value: _is_count(value, 10 ** 6)}
    if batch is not None:
        tests.update(progress=lambda value: _is_progress(value) and value['batch'] == batch, sums=_is_sums)
    missing = [name for name in tests if name not in manifest]
    if missing:
        raise UsageError(f'checkpoint {path} is not one of a run: its manifest has no {missing[0]}; give another')
    tests.update({'epoch': lambda value: value < config.num_epochs, 'updates_per_epoch': _is_count, 'data': _is_data,
                  'base': _is_base})
    for name, test in tests.items():
        if name in manifest and not test(manifest[name]):
            raise _unfit(path, name, manifest[name])
    name = os.path.basename(os.path.realpath(path))
    if checkpoint.is_name(name) and checkpoint.position_of(name) != (epoch, math.inf if batch is None else batch):
        raise _unfit(path, 'epoch', epoch)


def _unfit(path, field, value):
    return UsageError(f'checkpoint {path} cannot be resumed: {field} in its manifest is {_shown(value)}, which this '
                      'run cannot have; move it away to resume from the one before it')


# ---------------------------------------------------------------------------------------------------------------------
# A manifest and what the run has found

def check_fits(config, path, manifest, setup, workers, facts):
    """Raise UsageError where a checkpoint is of other data, or of another task, than the run that resumes from it.

    setup: run.Setup; workers: how many; facts: the run's own for manifests, of which ``data`` are {'train' and 'val':
    facts of data.identity} and ``classes`` names. What an older version did not keep is not compared.
    """
    task, updates_per_epoch = setup.task, setup.updates_per_epoch
    _check_data(config, path, manifest, facts)
    tests = {'metrics': lambda value: not value or _has_results(value, task),
             'best': lambda value: value is None or _has_results(value, task) and _is_finite(value[task.headline])}
    batch = manifest['batch']
    if batch is not None:
        interval = manifest['progress']['interval']
        rows = [len(task.devices)] * workers if interval else [0] * workers
        tests.update(
            batch=lambda value: value <= updates_per_epoch,
            progress=lambda value: value['counted'] + value['interval'] == batch * setup.total_batch_size
            and sorted(name for name, _ in value['totals']) == (sorted(task.metric_names) if value['counted'] else [])
            and (batch < updates_per_epoch or not interval),
            sums=lambda value: [len(each) for each in value['rows']] == rows and bool(value['count']) == bool(interval)
            and all(len(row) == task.sums.width for each in value['rows'] for row in each))
    for name, test in tests.items():
        if not test(manifest[name]):
            raise _unfit(path, name, manifest[name])


def _has_results(values, task):
    return all(is_number(values.get(name)) for name in task.result_names) and (
        'num_images' not in task.result_names or _is_count(values['num_images']))


def _check_data(config, path, manifest, facts):
    before = dict(manifest.get('data') or {})
    if 'val' not in before and manifest['metrics'].get('num_images') is not None:
        before['val'] = {'images': manifest['metrics']['num_images']}
    for part, now in (facts.get('data') or {}).items():
        for fact, value in now.items():
            was = before.get(part, {}).get(fact)
            if None not in (was, value) and was != value:
                raise _other_data(config, path, f'the {_PARTS[part]} data are others ({fact}: {_change(was, value)})')
    for name, what in (('updates_per_epoch', 'an epoch has another number of updates (%s)'),
                       ('classes', 'the classes are others (%s)')):
        was, now = manifest.get(name), facts.get(name)
        if None not in (was, now) and was != now:
            raise _other_data(config, path, what % _change(was, now))


def _change(was, now):
    if isinstance(was, list) and isinstance(now, list):
        if len(was) != len(now):
            return _change(len(was), len(now))
        was, now = next(pair for pair in zip(was, now) if pair[0] != pair[1])
    return f'{_shown(now)[:20]} now and {_shown(was)[:20]} then'


def _other_data(config, path, what):
    return UsageError(f'--resume {config.resume}: {what} than those that {path} was trained on; give those data, or '
                      'start a new run with another --save-dir')
