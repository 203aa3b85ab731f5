"""Checkpoints: one atomic directory each, digests of everything, nothing pickled.

    SAVE_DIR/epoch-0004/net.params         float32 master weights and running statistics, loadable by GluonCV
    SAVE_DIR/epoch-0004/optimizer.params   momentum and float32 masters, as plain arrays
    SAVE_DIR/epoch-0004/devices.params     running statistics of each device, where they differ (inside an epoch)
    SAVE_DIR/epoch-0004/manifest.json      counters, configuration, digests of the files and of itself
    SAVE_DIR/epoch-0005-batch-000120       the same, inside the next epoch
    SAVE_DIR/latest, SAVE_DIR/best         links to two of them

A checkpoint is written under another name, flushed to disk and renamed when it is whole, so a kill or a full disk
leaves the one before. It is verified by its digests before MXNet's loader reads a byte.

One that its digests prove damaged, or that its disk does not give back, is `Damaged`: the one before it may be used.
One that cannot be read now (rights, memory, another version's format) stops whoever looks for the newest: it may be
whole.
"""
import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import re
import shutil

from gluon_tricks.errors import UsageError
from gluon_tricks.files import file_digest, regular, remedy_for, sync, unwritable
from gluon_tricks.models import params_file

FORMAT = 2
_NAME = re.compile(r'epoch-([0-9]{4,9})(?:-batch-([0-9]{6,9}))?')
FILES = {'net.params': True, 'optimizer.params': True, 'devices.params': False}  # whether each checkpoint has it
_LARGEST_MANIFEST = 1 << 24  # bytes
_BAD_DISK = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)  # to try again does not help
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL)


class Damaged(UsageError):
    """A checkpoint that is of no use any more."""


def is_name(text):
    """Whether a text is the name of a checkpoint."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def name_of(epoch, batch=None):
    """Name of the checkpoint after `epoch`, or inside it, after `batch` of its batches."""
    return f'epoch-{epoch:04d}' + ('' if batch is None else f'-batch-{batch:06d}')


def position_of(name):
    """(epoch, batches) of a checkpoint's name, infinitely many batches after the epoch: they are in order."""
    epoch, batch = _NAME.fullmatch(name).groups()
    return int(epoch), math.inf if batch is None else int(batch)


# ---------------------------------------------------------------------------------------------------------------------
# Directories

def _self_digest(manifest):
    content = {key: value for key, value in manifest.items() if key != 'digest'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(save_dir, name, files, manifest):
    """Write the checkpoint SAVE_DIR/name and return its path.

    files: {file name: function(path) that writes it}; manifest: JSON values, to which the digests are added. Raises
    UsageError when it cannot be written; what was there before stays.
    """
    final, partial = os.path.join(save_dir, name), os.path.join(save_dir, f'.partial-{name}-{os.getpid()}')
    try:
        os.mkdir(partial)  # in SAVE_DIR, which whoever removed it does not want again
        manifest = dict(manifest, format=FORMAT, files={})
        for file_name, writer in files.items():
            path = os.path.join(partial, file_name)
            writer(path)
            sync(path)
            manifest['files'][file_name] = {'sha256': file_digest(path), 'bytes': os.path.getsize(path)}
        manifest['digest'] = _self_digest(manifest)
        path = os.path.join(partial, 'manifest.json')
        with open(path, 'w') as stream:
            json.dump(manifest, stream, indent=1, sort_keys=True)
        sync(path)
        sync(partial)
        _replace_directory(partial, final)
        sync(save_dir)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(f'the checkpoint {final} could not be written ({_first_line(error)}): the one before it is '
                         'whole; free space or choose another --save-dir, and resume with --resume auto'
                         ) from error
    return final


def _replace_directory(new, old):
    """Rename a directory to a name that may be taken, by an epoch that is trained again after an earlier one was
    resumed. A failure leaves what was there."""
    aside = new + '.replaced'
    if not os.path.isdir(old):
        os.rename(new, old)
        return
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _first_line(error):
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def point(save_dir, link, name):
    """Make SAVE_DIR/link a link to the checkpoint `name`, atomically. Raises UsageError."""
    path, partial = os.path.join(save_dir, link), os.path.join(save_dir, f'.{link}-{os.getpid()}')
    if os.path.isdir(path) and not os.path.islink(path):
        raise UsageError(f'{path} is a directory, where a link to a checkpoint belongs: move it away, and resume with '
                         '--resume auto')
    try:
        if os.path.lexists(partial):
            os.remove(partial)
        os.symlink(name, partial)
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error, remedy_for(error)) from error


def best_of(path):
    """The checkpoint that a run's directory stands for: its best, without a validation its latest, else itself.

    Raises UsageError for a ``best`` that leads to none.
    """
    link = os.path.join(path, 'best')
    if os.path.islink(link) and not os.path.isdir(link):
        raise UsageError('%s is a link to %s, which is not there: give a checkpoint of %s, such as %s'
                         % (link, os.readlink(link), path, os.path.join(path, (names(path) or ['epoch-0000'])[-1])))
    return next(filter(os.path.isdir, (link, os.path.join(path, 'latest'))), path)


def target(save_dir, link):
    """Name of the checkpoint that SAVE_DIR/link points to, or None."""
    path = os.path.join(save_dir, link)
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else None


def read(path):
    """The manifest of a checkpoint whose every file agrees with its digest.

    Raises Damaged that names the file which is missing or damaged, and UsageError for what cannot be read now.
    """
    manifest = read_manifest(path)
    for name, facts in manifest['files'].items():
        with _reading(path, name):
            if file_digest(os.path.join(path, name)) != facts['sha256']:
                raise Damaged(f'checkpoint {path} is damaged: {name} does not agree with its digest; use an earlier '
                              'one')
    return manifest


@contextlib.contextmanager
def _reading(path, name):
    """Around the reading of a file of the checkpoint `path`: what is wrong becomes Damaged or another UsageError."""
    try:
        regular(os.path.join(path, name))
        yield
    except MemoryError as error:
        raise UsageError(f'checkpoint {path}: there is not enough memory to read {name}; free some and try again'
                         ) from error
    except OSError as error:
        reason = error.strerror or error
        if error.errno in _BAD_DISK:
            raise Damaged(f'checkpoint {path}: its disk does not give {name} back ({reason}); look after the disk, or '
                          'use an earlier one') from error
        if error.errno not in _NOTHING_THERE:
            raise UsageError(f'checkpoint {path}: {name} cannot be read now ({reason}), though it may be whole; make '
                             'it readable') from error
        if name == 'manifest.json':
            raise Damaged(f'{path} is not a checkpoint: manifest.json cannot be read ({reason}); give a directory '
                          'that holds one, such as SAVE_DIR/latest') from error
        raise Damaged(f'checkpoint {path} is damaged: {name} cannot be read ({reason}); use an earlier one'
                      ) from error


def read_manifest(path):
    """The manifest of a checkpoint, whose own digest agrees; its files are not read. Raises as `read`."""
    content, whole = b'', False
    with _reading(path, 'manifest.json'):
        with open(os.path.join(path, 'manifest.json'), 'rb') as stream:
            content = stream.read(_LARGEST_MANIFEST + 1)
        with contextlib.suppress(ValueError, RecursionError):
            manifest = json.loads(content.decode()) if len(content) <= _LARGEST_MANIFEST else None
            whole = isinstance(manifest, dict) and manifest.get('digest') == _self_digest(manifest)
    version = manifest.get('format') if whole else None
    if type(version) is int and version > 0 and version != FORMAT:
        raise UsageError(f'checkpoint {path} has format {version!r:.20}, this version reads format {FORMAT}: use the '
                         'version that wrote it')
    if not whole or version != FORMAT or not _is_complete(manifest):
        raise Damaged(f'checkpoint {path} is damaged: manifest.json does not agree with its digest, or is not '
                      'complete; use an earlier one')
    return manifest


def _is_complete(manifest):
    """Whether a manifest has the fields of every manifest, in their types."""
    files, epoch, batch = manifest.get('files'), manifest.get('epoch'), manifest.get('batch')
    return (type(epoch) is int and epoch >= 0 and (batch is None or type(batch) is int and batch >= 0)
            and isinstance(manifest.get('config'), dict) and isinstance(files, dict)
            and {name for name in FILES if FILES[name]} <= set(files) <= set(FILES)
            and all(isinstance(facts, dict) and isinstance(facts.get('sha256'), str) for facts in files.values()))


def task_of(manifest):
    """The task of a checkpoint; of an older one, which did not store it, told by an option of that task alone."""
    if isinstance(manifest.get('task'), str):
        return manifest['task']
    own = {'network': 'detection', 'backbone': 'segmentation'}
    return next((task for name, task in own.items() if name in manifest['config']), 'classification')


def names(save_dir):
    """Names of the checkpoints in SAVE_DIR, the oldest first."""
    try:
        return sorted(filter(is_name, os.listdir(save_dir)), key=position_of)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f'--save-dir {save_dir} cannot be read ({error.strerror}): make it readable, or give '
                         'another') from error


def find(save_dir, wanted=lambda manifest: True):
    """(path, manifest, notices) of the newest whole checkpoint in SAVE_DIR that is wanted; path None where there is
    none.

    Every newer one that is damaged is named in the notices. Raises UsageError at one that cannot be read now.
    """
    notices = []
    for name in reversed(names(save_dir)):
        path = os.path.join(save_dir, name)
        try:
            manifest = read(path)
            if wanted(manifest):
                return path, manifest, notices
        except Damaged as error:
            notices.append(str(error))
    return None, None, notices


def prune(save_dir, keep):
    """Remove the checkpoints whose names are not in `keep`, and what a killed run left half-written."""
    with contextlib.suppress(OSError):  # what stays is in nobody's way
        _remove_others(save_dir, keep)


def _remove_others(save_dir, keep):
    for name in os.listdir(save_dir):
        if name.startswith('.partial-') or is_name(name) and name not in keep:
            shutil.rmtree(os.path.join(save_dir, name), ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------
# What is written

def save(save_dir, name, arrays, manifest):
    """Write the checkpoint SAVE_DIR/name, make it the latest, and return its path.

    arrays: {file name: {name: NDArray}}; manifest: as `write`. Raises UsageError.
    """
    path = write(save_dir, name, {file_name: functools.partial(_save_arrays, content)
                                  for file_name, content in arrays.items()}, manifest)
    point(save_dir, 'latest', name)
    return path


def _save_arrays(arrays, path):
    params_file.save(path, arrays)


def _stays_float32(name):
    """BatchNorm's four vectors stay float32 in a float16 file, as in GluonCV's."""
    return name.rsplit('.', 1)[-1] in ('gamma', 'beta', 'running_mean', 'running_var')


def export(checkpoint_path, target_path, dtype='float32'):
    """Give net.params of a checkpoint a second name (a hard link, or a copy where links cannot be), atomically; in
    float16 it is another file. Raises UsageError.
    """
    source, partial = os.path.join(checkpoint_path, 'net.params'), target_path + '.partial'
    try:
        if os.path.lexists(partial):
            os.remove(partial)
        if dtype == 'float16':
            params_file.save(partial, {name: value.astype('float32' if _stays_float32(name) else dtype)
                                       for name, value in params_file.load(source).items()})
        else:
            _link_or_copy(source, partial)
        os.replace(partial, target_path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise unwritable(target_path, error, remedy_for(error)) from error


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
