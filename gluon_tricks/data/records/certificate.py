"""The certificate of a record file: NAME.certificate.json beside NAME.rec, what the file is and where it came from.

`packing` writes it with the records, `verify` once every image was decoded; training prints its summary.

| field | what |
|---|---|
| ``images``, ``num_classes``, ``class_counts`` | how many, and how many of each class, by label |
| ``classes``, ``classes_sha256`` | the label map: names in the order of the labels (None: not known) and their digest |
| ``bytes``, ``sha256``, ``index_sha256``, ``list_sha256`` | of the .rec; of the .idx and the .lst |
| ``resize``, ``quality`` | short side and JPEG quality that images were brought to; 0: not; None: not known |
| ``quirks`` | images that are not what they are called: ``png`` and ``cmyk``, by name |
| ``seed`` | of the order (None: not shuffled, or not known) |
| ``source`` | the archives and their published digests |
| ``plan`` | a digest of all that packing was asked for |
| ``decoder`` | what decoded every image without a fault (None: nothing yet) |
"""
import hashlib
import json
import os
import re

from gluon_tricks.config.options import MOST_CLASSES
from gluon_tricks.errors import UsageError
from gluon_tricks.files import open_file

_LARGEST = 1 << 28  # bytes of a certificate; the names of a million images take less
_MOST = 1 << 62
_NO_TEXT = re.compile('[\ud800-\udc7f\udd00-\udfff]')  # what stands for no byte of any name


def _whole(least, most=_MOST):
    return lambda value: type(value) is int and least <= value <= most


def _none_or(holds):
    return lambda value: value is None or holds(value)


def _is_digest(value):
    return isinstance(value, str) and re.fullmatch('[0-9a-f]{64}', value)


def _is_label_map(value):
    return isinstance(value, list) and all(isinstance(name, str) and not _NO_TEXT.search(name) for name in value)


def _are_quirks(value):
    return isinstance(value, dict) and {'png', 'cmyk'} <= set(value) and all(map(_is_label_map, value.values()))


# field -> whether a value may stand there
_FIELDS = {
    'images': _whole(1), 'num_classes': _whole(1, MOST_CLASSES), 'bytes': _whole(0),
    'class_counts': lambda value: isinstance(value, list) and all(map(_whole(0), value)),
    'classes': _none_or(_is_label_map), 'classes_sha256': _none_or(_is_digest), 'sha256': _none_or(_is_digest),
    'index_sha256': _none_or(_is_digest), 'list_sha256': _none_or(_is_digest), 'plan': _none_or(_is_digest),
    'resize': _none_or(_whole(0, 1 << 20)), 'quality': _none_or(_whole(0, 100)), 'seed': _none_or(_whole(0)),
    'quirks': _are_quirks,
    'source': lambda value: isinstance(value, dict) and all(each is None or isinstance(each, str)
                                                            for each in value.values()),
    'decoder': _none_or(lambda value: isinstance(value, str) and value.isprintable() and len(value) <= 200)}


def path_of(rec):
    """The certificate's path for a record file's."""
    return os.path.splitext(rec)[0] + '.certificate.json'


def classes_sha256(classes):
    """Digest of a label map, a list of names; None without one."""
    if classes is None:
        return None
    return hashlib.sha256('\n'.join(classes).encode('utf-8', 'surrogateescape')).hexdigest()


def to_bytes(facts):
    """A certificate as it is written; the same facts always give the same bytes."""
    return (json.dumps(facts, indent=1, sort_keys=True) + '\n').encode('utf-8', 'surrogateescape')


def read(rec):
    """The certificate of a record file as a dict, None without one.

    Raises UsageError for one that is damaged, or that cannot be true.
    """
    path = path_of(rec)
    try:
        with open_file(path) as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f'it has more than {_LARGEST} bytes')
        facts = json.loads(content.decode())
        _check_fields(facts)
        return {name: facts[name] for name in _FIELDS}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f'{path} is not a certificate ({error}): remove it, and make it again with `python -m '
                         f'gluon_tricks verify {rec}`') from error


def _check_fields(facts):
    """Raise ValueError that names the fields that a certificate lacks, that hold something else than they should, or
    that contradict each other."""
    if not isinstance(facts, dict):
        raise ValueError('it is not a table of fields')
    wrong = [name for name, holds in _FIELDS.items() if name not in facts or not holds(facts[name])]
    if wrong:
        raise ValueError(f'it lacks {", ".join(wrong)}, or has something else there')
    counts, classes = facts['class_counts'], facts['classes']
    if len(counts) != facts['num_classes'] or sum(counts) != facts['images']:
        raise ValueError(f'its class_counts, {sum(counts)} of {facts["num_classes"]} classes in {len(counts)} '
                         f'numbers, do not fit its {facts["images"]} images')
    if classes is not None and len(classes) != facts['num_classes']:
        raise ValueError(f'its classes are {len(classes)} names of {facts["num_classes"]} classes')
    if facts['classes_sha256'] != classes_sha256(classes):
        raise ValueError('its classes are not those of its classes_sha256')


def digest(rec):
    """SHA-256 of the certificate's own bytes, None without one."""
    try:
        with open_file(path_of(rec)) as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except FileNotFoundError:
        return None


def check(rec, num_classes=None):
    """The certificate, None without one; UsageError where the record file is missing or has another size than it says,
    or other classes than `num_classes`.

    Without a label map there may be fewer: the last ones may have no image there.
    """
    facts = read(rec)
    if facts and not os.path.isfile(rec):
        raise UsageError(f'{rec} is missing, and its certificate is there: give the record file and its index')
    if facts and num_classes and (facts['num_classes'] > num_classes or
                                  facts['classes'] and len(facts['classes']) != num_classes):
        raise UsageError(f'--num-classes {num_classes}: {rec} has {facts["num_classes"]} classes; give --num-classes '
                         f'{facts["num_classes"]}, or other records')
    if facts and facts['bytes'] != os.path.getsize(rec):
        raise UsageError(f'{rec} has {os.path.getsize(rec)} bytes, its certificate says {facts["bytes"]}: it was '
                         'changed or cut short; copy or prepare it again, or look at it with `python -m gluon_tricks '
                         f'verify {rec}`')
    return facts


def summary(rec):
    """One line about the certificate of a record file, for the log of a run. Raises UsageError as `check`."""
    facts = check(rec)
    if not facts:
        return f'{rec}: no certificate; `python -m gluon_tricks verify {rec}` makes one'
    made = [text % facts[key] for key, text in (('resize', 'short side %d'), ('quality', 'JPEG quality %d'))
            if facts.get(key)]
    bytes_are = ', '.join(made) or ('packed elsewhere' if facts.get('resize') is None else 'bytes passed through')
    return '%s: certified, %d images of %d classes, %s, sha256 %s, %s' % (
        rec, facts['images'], facts['num_classes'], bytes_are, (facts['sha256'] or '')[:12],
        f'all decoded by {facts["decoder"]}' if facts['decoder'] else
        'not decoded yet (`python -m gluon_tricks verify`)')
