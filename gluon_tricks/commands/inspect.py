"""``python -m gluon_tricks inspect``: Check the checkpoints of a run; of two runs, find the first differences."""
import json
import os
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from gluon_tricks.api import CONFIGS
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.models.params_file import read_params
from gluon_tricks.noise import quiet
from gluon_tricks.training import checkpoint
from gluon_tricks.training.run_log import finite


def parser() -> Parser:
    result = Parser(prog='python -m gluon_tricks inspect', description=__doc__.split('``: ')[1], epilog='Exit code: 0 '
                    'all is whole (and equal), 1 damage or a difference, 2 wrong usage. Reads only, beside a run too.')
    result.add_argument('run', metavar='SAVE_DIR', help='the directory of a run, or a checkpoint in it')
    result.add_argument('other', metavar='OTHER', nargs='?', help='another one: compare the newest whole checkpoint of '
                        'each in its configuration, its figures and every array')
    result.add_argument('--json', action='store_true', help='print the result as JSON')
    return result


@quiet()
def main(argv: List[str]) -> int:
    """Inspect and print; returns the exit code."""
    arguments = parser().parse_args(argv)
    places = [os.path.expanduser(path) for path in (arguments.run, arguments.other) if path is not None]
    runs = [listing(path) for path in places]
    result: Dict[str, Any] = {'runs': runs}
    whole = all(each['state'] == 'whole' for run in runs for each in run['checkpoints'])
    whole = whole and not any(run['dangling'] for run in runs)
    if len(runs) == 2:
        result['comparison'] = compare(*(newest_whole(run) for run in runs))
    comparison = result.get('comparison')
    same = len(runs) == 1 or comparison is not None and comparison['equal']
    print(json.dumps(finite(result), indent=1) if arguments.json else '\n'.join(_text(result)))
    return 0 if whole and same else 1


# ---------------------------------------------------------------------------------------------------------------------
# One run

def listing(path: str) -> Dict[str, Any]:
    """The checkpoints of a run's directory, or of a checkpoint's own: path, task, checkpoints (the oldest first) and
    dangling: links to checkpoints that are not there.

    Raises UsageError where there is no checkpoint, whole or damaged.
    """
    if not os.path.isdir(path):
        raise UsageError(f'{path} is not a directory: give the SAVE_DIR of a run, or a checkpoint in it')
    names, links = checkpoint.names(path), {link: checkpoint.target(path, link) for link in ('latest', 'best')}
    if names or any(links.values()):
        found = [_describe(os.path.join(path, name), name, [link for link in links if links[link] == name])
                 for name in names]
        found = [each for each in found if os.path.lexists(each['path'])]  # a run that lasts removes older ones
    else:
        name = os.path.basename(os.path.realpath(path))
        if not checkpoint.is_name(name) and not os.path.lexists(os.path.join(path, 'manifest.json')):
            raise UsageError(f'{path} holds no checkpoint: give the SAVE_DIR of a run, or a checkpoint in it')
        found, links = [_describe(path, name, [])], {}
    tasks = [each['task'] for each in found if each['task']]
    return {'path': path, 'task': tasks[-1] if tasks else None, 'checkpoints': found,
            'dangling': {link: name for link, name in links.items() if name and name not in names}}


def _describe(path: str, name: str, links: List[str]) -> Dict[str, Any]:
    """State (whole, damaged, or unreadable for now), task, epoch, batch and metrics of a checkpoint, and its links."""
    facts: Dict[str, Any] = {'name': name, 'path': path, 'links': links, 'state': 'whole', 'problem': None,
                             'task': None, 'epoch': None, 'batch': None, 'metrics': {}}
    try:
        manifest = checkpoint.read(path)
    except checkpoint.Damaged as error:
        return dict(facts, state='damaged', problem=str(error))
    except UsageError as error:
        return dict(facts, state='unreadable', problem=str(error))
    metrics = manifest.get('metrics')
    return dict(facts, task=checkpoint.task_of(manifest), epoch=manifest['epoch'], batch=manifest.get('batch'),
                metrics=metrics if isinstance(metrics, dict) else {})


def newest_whole(run: Dict[str, Any]) -> Optional[str]:
    """The path of the newest whole checkpoint of a `listing`, None where there is none."""
    paths = [each['path'] for each in run['checkpoints'] if each['state'] == 'whole']
    return paths[-1] if paths else None


# ---------------------------------------------------------------------------------------------------------------------
# Two checkpoints

def compare(one: Optional[str], other: Optional[str]) -> Optional[Dict[str, Any]]:
    """How two whole checkpoints differ; None where one is missing.

    ``options``: [name, value, other value, whether it may change a number]; ``facts``: [name, value, other value] of
    task, epoch, batch, base and metrics; ``arrays``: of every array its file, name, shapes, dtypes, whether it is the
    same bits, and the largest absolute difference (None for another shape). ``equal``: nothing differs but options
    that change no number, as --save-dir.
    """
    if one is None or other is None:
        return None
    manifests = checkpoint.read_manifest(one), checkpoint.read_manifest(other)
    options = _options(*manifests)
    facts = [[name, *values] for name, values in _facts(*manifests) if values[0] != values[1]]
    arrays = [each for name in sorted({name for manifest in manifests for name in manifest['files']})
              for each in _arrays(one, other, name)]
    equal = not facts and all(each['equal'] for each in arrays) and not any(matters for *_, matters in options)
    return {'checkpoints': [one, other], 'equal': equal, 'options': options, 'facts': facts, 'arrays': arrays}


def _options(one: Dict[str, Any], other: Dict[str, Any]) -> List[List[Any]]:
    """The options that differ; one that is not stored has its default. Raises UsageError for an unknown one."""
    tasks = [checkpoint.task_of(manifest) for manifest in (one, other)]
    if any(task not in CONFIGS for task in tasks):
        stored = [one['config'], other['config']]
    else:
        stored = [CONFIGS[task].from_dict(manifest['config']).to_dict() for task, manifest in zip(tasks, (one, other))]
    names = list(stored[0]) + [name for name in stored[1] if name not in stored[0]]
    free = {field.name for cls in CONFIGS.values() for field in cls.fields() if field.metadata['free_on_resume']}
    return [[name, stored[0].get(name), stored[1].get(name), name not in free] for name in names
            if stored[0].get(name) != stored[1].get(name)]


def _facts(one: Dict[str, Any], other: Dict[str, Any]) -> List[Tuple[str, Tuple[Any, Any]]]:
    metrics = [manifest['metrics'] if isinstance(manifest.get('metrics'), dict) else {} for manifest in (one, other)]
    pairs = [('task', (checkpoint.task_of(one), checkpoint.task_of(other)))]
    pairs += [(name, (one.get(name), other.get(name))) for name in ('epoch', 'batch', 'base')]
    return pairs + [(name, (metrics[0].get(name), metrics[1].get(name)))
                    for name in sorted(set(metrics[0]) | set(metrics[1]))]


def _arrays(one: str, other: str, file_name: str) -> List[Dict[str, Any]]:
    """Of each array in the file of this name of two checkpoints, how it differs."""
    both = [read_params(path) if os.path.lexists(path) else {}
            for path in (os.path.join(folder, file_name) for folder in (one, other))]
    return [dict(file=file_name, name=name, **_difference(*(arrays.get(name) for arrays in both)))
            for name in list(both[0]) + [name for name in both[1] if name not in both[0]]]


def _difference(*values: Any) -> Dict[str, Any]:
    facts: Dict[str, Any] = {
        'shapes': [None if value is None else list(value.shape) for value in values],
        'dtypes': [None if value is None else str(value.dtype) for value in values], 'equal': False, 'largest': None}
    if facts['shapes'][0] != facts['shapes'][1]:
        return facts
    facts['equal'] = facts['dtypes'][0] == facts['dtypes'][1] and values[0].tobytes() == values[1].tobytes()
    with np.errstate(invalid='ignore', over='ignore'):
        gaps = np.abs(values[0].astype('float64') - values[1].astype('float64')).reshape(-1)
    gaps[(values[0] == values[1]).reshape(-1)] = 0  # as inf and inf
    facts['largest'] = 0.0 if facts['equal'] or not gaps.size else float(gaps.max())
    return facts


# ---------------------------------------------------------------------------------------------------------------------
# As text

def _short(value: Any) -> str:
    """A value from a manifest in one short line, whatever is in it."""
    text = f'{value:.6g}' if isinstance(value, float) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + '...'


def _text(result: Dict[str, Any]) -> List[str]:
    lines = [line for run in result['runs'] for line in _listed(run)]
    return lines + (_compared(result['comparison'], result['runs']) if 'comparison' in result else [])


def _listed(run: Dict[str, Any]) -> List[str]:
    lines = [f'{run["path"]}: {_short(run["task"])[1:-1] if run["task"] else "no whole checkpoint"}']
    width = max([len(each['name']) for each in run['checkpoints']], default=0)
    for each in run['checkpoints']:
        words = [f'{each["name"]:{width}}', f'{each["state"]:7}']
        if each['state'] == 'whole':
            inside = '' if each['batch'] is None else f', update {each["batch"]} of the epoch'
            figures = [f'{_short(name)[1:-1]} {_short(value)}' for name, value in each['metrics'].items()
                       if isinstance(value, (int, float))]
            words += [f'epoch {each["epoch"]}{inside}'] + figures + [f'<- {link}' for link in each['links']]
        else:
            words += [f'<- {link}' for link in each['links']] + [each['problem']]
        lines.append('  ' + '  '.join(words))
    return lines + [f'  {link} is a link to {_short(name)[1:-1]}, which is not there'
                    for link, name in run['dangling'].items()]


def _compared(found: Optional[Dict[str, Any]], runs: List[Dict[str, Any]]) -> List[str]:
    if found is None:
        missing = next(run['path'] for run in runs if newest_whole(run) is None)
        return [f'not compared: {missing} has no whole checkpoint']
    lines = [f'{found["checkpoints"][0]} and {found["checkpoints"][1]}: {"equal" if found["equal"] else "different"}']
    lines += [f'  {name}: {_short(one)} and {_short(other)}' for name, one, other in found['facts']]
    for name, one, other, matters in found['options']:
        lines.append(f'  --{name.replace("_", "-")}: {_short(one)} and {_short(other)}'
                     f'{"" if matters else " (changes no number)"}')
    for each in found['arrays']:
        shape, dtype = (one if one == other else f'{one} and {other}'
                        for one, other in (each['shapes'], each['dtypes']))
        if each['equal']:
            words = 'equal'
        elif None in each['shapes']:
            words = 'in one of the two only'
        elif each['largest'] is None:
            words = 'another shape'
        else:
            words = f'largest difference {each["largest"]:.3g}'
        lines.append(f'  {each["file"]} {_short(each["name"])[1:-1]} {shape} {dtype}: {words}')
    return lines
