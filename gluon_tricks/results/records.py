"""What a finished run says: its rows of the paper, its figures and its data, read from SAVE_DIR.

Three files must agree: run.json (status, figures, devices), the manifest of the last checkpoint (configuration, data,
figures) and log.jsonl (the epochs). Of the checkpoint nothing but the manifest is read, so that a run whose weights
were taken away still counts.
"""
import contextlib
import dataclasses
import hashlib
import json
import math
import os
from typing import Any, Dict, Iterable, List, Optional, Tuple, Union

from gluon_tricks.api import CONFIGS
from gluon_tricks.config import recipes
from gluon_tricks.config.options import Options
from gluon_tricks.data.prepare import ade20k, imagenet, places365, voc
from gluon_tricks.data.records.certificate import classes_sha256
from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file
from gluon_tricks.models import published
from gluon_tricks.tasks.rows import rows_of
from gluon_tricks.training import checkpoint

Path = Union[str, 'os.PathLike[str]']
# task -> {figure: what makes percent of it}; the first is the one that chooses the best epoch.
FIGURES = {'classification': {'top1': 1, 'top5': 1}, 'detection': {'map_voc07': 1},
           'segmentation': {'miou': 100, 'pix_acc': 100}}
# SHA-256 of ImageNet's 1000 WordNet ids, sorted, a line each.
_IMAGENET_CLASSES = '385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd'
_LARGEST = 1 << 28  # bytes of run.json and of log.jsonl
_LONGEST = 1e9  # seconds of an epoch


@dataclasses.dataclass(frozen=True)
class Record:
    """A finished run.

    path: its SAVE_DIR, as it was given; task: classification, detection or segmentation; config: resolved. rows: names
    of the recipes that it is, () for a run of no row. last, best: {figure: percent} after the last epoch and after the
    best one, by FIGURES, with ``epoch``, from 0. num_images: validation images, each counted once. classes: their
    names, None where not known. data: {'train' and 'val': {'images', 'digest', 'certificate', ...}}, None for what is
    not known; dataset: ImageNet, Places365, VOC or ADE20K where the data are certified as that, else ''. epochs: the
    events of log.jsonl, one for each epoch, the one that was kept; seconds: of training and validation, epochs that
    were trained again included. devices: names; workers: processes. facts: run.json, whole.
    """

    path: str
    task: str
    config: Options
    rows: Tuple[str, ...]
    status: str
    last: Dict[str, float]
    best: Dict[str, float]
    num_images: int
    classes: Optional[List[str]]
    data: Dict[str, Dict[str, Any]]
    dataset: str
    epochs: Tuple[Dict[str, Any], ...]
    seconds: float
    devices: Tuple[str, ...]
    workers: int
    facts: Dict[str, Any]

    @property
    def seed(self) -> int:
        """Seed of the initial weights, the order of the data and all draws."""
        return self.config.seed

    @property
    def data_digest(self) -> str:
        """One digest of training and validation data: equal where runs may be compared."""
        parts = sorted((part, str(facts.get('digest'))) for part, facts in self.data.items())
        return hashlib.sha256(repr(parts).encode()).hexdigest()


class _LeftOut(Exception):
    """Why a directory is no record."""


def records(paths: Iterable[Path], scales: Iterable[Any] = ()) -> Tuple[List[Record], List[Tuple[str, str]]]:
    """(Records, [(path, reason)]) of the SAVE_DIRs of runs, in their order; the others are those that are left out.

    Left out are directories that are no run's, runs that did not end as they should, damaged ones, and one that was
    given twice or is a copy. scales: of which a run may be a row, beside the paper's (`tasks.rows.rows_of`). Raises
    nothing for what is on the disk.
    """
    found: List[Record] = []
    left_out: List[Tuple[str, str]] = []
    seen: Dict[str, str] = {}
    scales = list(scales)
    for given in paths:
        path = os.path.expanduser(os.fspath(given))
        try:
            record = _read(path, scales)
            identity = repr((record.facts.get('started'), record.config.replace(save_dir='x'), record.last,
                             record.data_digest))
            if identity in seen:
                raise _LeftOut(f'it is the same run as {seen[identity]}')
            seen[identity] = path
            found.append(record)
        except (_LeftOut, UsageError) as error:
            left_out.append((path, str(error)))
    return found, left_out


def _read(path, scales):
    if not os.path.isdir(path):
        raise _LeftOut('it is not a directory: give the SAVE_DIR of a run' if os.path.lexists(path) else
                       'there is no such directory')
    if not os.path.lexists(os.path.join(path, 'run.json')):
        raise _LeftOut('it is not the SAVE_DIR of a run: it holds no run.json')
    facts = _json(os.path.join(path, 'run.json'))
    if facts.get('status') != 'finished':
        raise _LeftOut(f'the run is not finished: its status is {facts.get("status")!r:.40}')
    manifest = _last_manifest(path)
    task, config = _configuration(manifest)
    if manifest['batch'] is not None or manifest['epoch'] != config.num_epochs - 1:
        raise _LeftOut(f'its last checkpoint is not of the last epoch, {config.num_epochs - 1}')
    last = _figures(task, facts.get('result'), manifest.get('metrics'), manifest['epoch'])
    best = _figures(task, facts.get('best'), manifest.get('best'))
    events = _events(os.path.join(path, 'log.jsonl'))
    devices, workers = _devices(facts, manifest)
    data, classes = _data(facts, manifest), _names(manifest.get('classes'))
    return Record(path=path, task=task, config=config, rows=_rows(config, len(devices) * workers, scales),
                  status='finished', last=last, best=best, num_images=_number(facts['result'], 'num_images'),
                  classes=classes, data=data, dataset=_dataset(task, classes, data), epochs=_kept(events, task, last),
                  seconds=_seconds(events), devices=devices, workers=workers, facts=facts)


def _configuration(manifest):
    task = checkpoint.task_of(manifest)
    if task not in CONFIGS:
        raise _LeftOut(f'its task {task!r:.40} is not one of {", ".join(CONFIGS)}')
    return task, CONFIGS[task].from_dict(manifest['config'])


def _json(path):
    """The table in a JSON file. Raises _LeftOut."""
    try:
        with open_file(path) as stream:
            content = stream.read(_LARGEST + 1)
        found = json.loads(content.decode()) if len(content) <= _LARGEST else None
    except (OSError, ValueError, RecursionError) as error:
        raise _LeftOut(f'{os.path.basename(path)} cannot be read ({getattr(error, "strerror", None) or error})'
                       ) from error
    if not isinstance(found, dict):
        raise _LeftOut(f'{os.path.basename(path)} is damaged')
    return found


def _last_manifest(path):
    names = checkpoint.names(path)
    if not names:
        raise _LeftOut('it holds no checkpoint')
    return checkpoint.read_manifest(os.path.join(path, names[-1]))


def _table(value):
    """A dict that a file should hold, {} for anything else."""
    return value if isinstance(value, dict) else {}


def _number(table, name, default=None):
    value = _table(table).get(name, default)
    if type(value) is not int or value < 1:
        raise _LeftOut(f'its {name} is {value!r:.40}, not a number')
    return value


def _figures(task, told, stored, epoch=None):
    """{figure: percent} of run.json's figures, which must be the manifest's; with their epoch."""
    told, stored, found = _table(told), _table(stored), {}
    for name, factor in FIGURES[task].items():
        value = told.get(name)
        if value is None and stored.get(name) is None:
            raise _LeftOut(f'run.json has no {name}: it was not validated')
        if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value * factor <= 100:
            raise _LeftOut(f'its {name} is {value!r:.40}, which is no accuracy')
        if stored.get(name) != value:
            raise _LeftOut(f'run.json and the last checkpoint disagree about {name}')
        found[name] = float(value * factor)
    if type(told.get('epoch')) is not int or epoch not in (None, told['epoch']):
        raise _LeftOut('run.json and the last checkpoint disagree about the epoch')
    return dict(found, epoch=told['epoch'])


def _devices(facts, manifest):
    devices = facts.get('devices')
    if not isinstance(devices, list) or not devices or not all(isinstance(name, str) for name in devices):
        raise _LeftOut('run.json does not name its devices')
    return tuple(devices), _number(manifest, 'workers', 1)


def _names(value):
    return value if isinstance(value, list) and all(isinstance(name, str) for name in value) else None


# ---------------------------------------------------------------------------------------------------------------------
# Its rows

def _rows(config, devices, scales):
    """Names of the recipes; of tables 8 and 9, whose rows differ in the base network alone, by the run of its weights.
    """
    rows = rows_of(config, devices) + [row for scale in scales for row in rows_of(config, devices, scale)]
    if config.TASK != 'classification':
        known = base_rows(config.base_params)
        if known or len(rows) > 1:
            rows = [row for row in rows if row.base in known]
    return tuple(dict.fromkeys(row.name for row in rows))


def base_rows(path: str) -> Tuple[str, ...]:
    """Names of the recipes whose run wrote these weights, () where that is not known.

    By the checkpoint around them, where it is still there; else by the name of its SAVE_DIR, where that is a recipe's;
    else by the name of a published network.
    """
    folder, path = os.path.dirname(os.path.expanduser(path)), path.replace(os.sep, '/')
    with contextlib.suppress(_LeftOut, UsageError):
        config = _configuration(checkpoint.read_manifest(folder))[1]
        facts = _json(os.path.join(os.path.dirname(folder), 'run.json'))
        return _rows(config, len(_devices(facts, {})[0]), ())
    for row in recipes.RECIPES.values():
        if f'/{path}'.find(f'/{row.config.save_dir}/') >= 0:
            return tuple(other.name for other in recipes.RECIPES.values() if other.config == row.config)
    for network in published.table():
        if network.name in path.split('/') or network.sha1 and f'{network.model}-{network.sha1}.params' in path:
            return network.rows
    return ()


# ---------------------------------------------------------------------------------------------------------------------
# The log

def _events(path):
    """The events of log.jsonl that are of an epoch's end; a torn line is left out, as a kill leaves one."""
    found = []
    try:
        with open_file(path) as stream:
            for line in stream.read(_LARGEST).splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    event = json.loads(line.decode())
                    if isinstance(event, dict) and event.get('event') == 'epoch' and type(event.get('epoch')) is int:
                        found.append(event)
    except OSError as error:
        raise _LeftOut(f'log.jsonl cannot be read ({error.strerror or error})') from error
    return found


def _kept(events, task, last):
    """One event for each epoch, the last of those that were trained again; the last one must be the run's result."""
    kept = {event['epoch']: event for event in events}
    validation = _table(kept.get(last['epoch'], {}).get('validation'))
    for name, factor in FIGURES[task].items():
        value = validation.get(name)
        if type(value) not in (int, float) or value * factor != last[name]:
            raise _LeftOut(f'run.json and log.jsonl disagree about {name} after the last epoch')
    return tuple(kept[epoch] for epoch in sorted(kept))


def _seconds(events):
    times = [event.get(name) for event in events for name in ('time', 'evaluation_time')]
    return sum(float(value) for value in times if type(value) in (int, float) and 0 <= value < _LONGEST)


# ---------------------------------------------------------------------------------------------------------------------
# The data

def _data(facts, manifest):
    """{part: facts} of the manifest's digests and of run.json's certificates."""
    certificates = _table(_table(facts.get('data')).get('certificates'))
    return {part: dict(_table(digests), certificate=certificates.get(part))
            for part, digests in _table(manifest.get('data')).items()}


def _dataset(task, classes, data):
    """The name of the data, '' where they are not known to be one of the paper's.

    By number of images and names of the classes; records must also have had their certificates. A tree of VOC or
    ADE20K is checked whole against its own before a run starts.
    """
    images = tuple(_table(data.get(part)).get('images') for part in ('train', 'val'))
    certified = all(_table(data.get(part)).get('certificate') for part in ('train', 'val'))
    names = classes or []
    if task == 'classification' and certified:
        if images == (imagenet.COUNTS['train'], imagenet.COUNTS['val']) and \
                classes_sha256(names) == _IMAGENET_CLASSES:
            return 'ImageNet'
        if images == (places365.COUNTS['train'], places365.COUNTS['val']) and \
                len(names) == places365.COUNTS['classes']:
            return 'Places365'
    counts = voc.COUNTS
    if task == 'detection' and tuple(names) == voc.CLASSES and images == (
            counts['VOC2007 trainval images'] + counts['VOC2012 trainval images'], counts['VOC2007 test images']):
        return 'VOC'
    if task == 'segmentation' and len(names) == ade20k.COUNTS['classes'] and images == (
            ade20k.COUNTS['training images'], ade20k.COUNTS['validation images']):
        return 'ADE20K'
    return ''
