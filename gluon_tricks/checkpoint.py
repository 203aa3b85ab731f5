"""Checkpoints: one atomic directory each, digests of everything, nothing pickled.

    SAVE_DIR/epoch-0004/net.params         float32 master weights and running statistics, loadable by GluonCV
    SAVE_DIR/epoch-0004/optimizer.params   momentum and float32 masters, as plain arrays
    SAVE_DIR/epoch-0004/devices.params     running statistics of each device (with several devices)
    SAVE_DIR/epoch-0004/manifest.json      counters, configuration, digests of the files and of itself
    SAVE_DIR/latest, SAVE_DIR/best         links to two of them

A checkpoint is written under another name, flushed to disk and renamed when it is whole, so a kill or a full disk
leaves the one before. It is verified by its digests before MXNet's loader reads a byte.
"""
import hashlib
import json
import os
import re
import shutil

from gluon_tricks import params_file
from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.files import sync
from gluon_tricks.models.zoo import stored_params
from gluon_tricks.optimizer import get_states, master_weights, set_states

FORMAT = 1
_PREFIX = 'epoch-'


def name_of(epoch):
    """Name of the checkpoint after `epoch`."""
    return '%s%04d' % (_PREFIX, epoch)


def epoch_of(name):
    """The epoch in a checkpoint's name."""
    return int(name[len(_PREFIX):])


# ---------------------------------------------------------------------------------------------------------------------
# Directories

def _digest(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def _self_digest(manifest):
    content = {key: value for key, value in manifest.items() if key != 'digest'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(save_dir, name, files, manifest):
    """Write the checkpoint SAVE_DIR/name and return its path.

    files: {file name: function(path) that writes it}; manifest: JSON values, to which the digests are added. Raises
    UsageError when it cannot be written; what was there before stays.
    """
    final, partial = os.path.join(save_dir, name), os.path.join(save_dir, '.partial-%s-%d' % (name, os.getpid()))
    try:
        os.makedirs(partial)
        manifest = dict(manifest, format=FORMAT, files={})
        for file_name, writer in files.items():
            path = os.path.join(partial, file_name)
            writer(path)
            sync(path)
            manifest['files'][file_name] = {'sha256': _digest(path), 'bytes': os.path.getsize(path)}
        manifest['digest'] = _self_digest(manifest)
        path = os.path.join(partial, 'manifest.json')
        with open(path, 'w') as stream:
            json.dump(manifest, stream, indent=1, sort_keys=True)
        sync(path)
        sync(partial)
        replaced = partial + '.replaced'
        if os.path.isdir(final):  # an epoch that is trained again after an earlier one was resumed
            os.rename(final, replaced)
        os.rename(partial, final)
        shutil.rmtree(replaced, ignore_errors=True)
        sync(save_dir)
    except (OSError, mx.MXNetError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UsageError('the checkpoint %s could not be written (%s): the one before it is whole; free space or '
                         'choose another --save-dir, and go on with --resume' % (final, _first_line(error))) from error
    return final


def _first_line(error):
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def point(save_dir, link, name):
    """Make SAVE_DIR/link a link to the checkpoint `name`, atomically."""
    partial = os.path.join(save_dir, '.%s-%d' % (link, os.getpid()))
    if os.path.lexists(partial):
        os.remove(partial)
    os.symlink(name, partial)
    os.replace(partial, os.path.join(save_dir, link))


def target(save_dir, link):
    """Name of the checkpoint that SAVE_DIR/link points to, or None."""
    path = os.path.join(save_dir, link)
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else None


def read(path):
    """The manifest of a checkpoint whose every file agrees with its digest.

    Raises UsageError that names the file which is missing or damaged.
    """
    manifest_path = os.path.join(path, 'manifest.json')
    try:
        with open(manifest_path) as stream:
            manifest = json.load(stream)
        whole = isinstance(manifest, dict) and manifest.get('digest') == _self_digest(manifest)
    except OSError as error:
        raise UsageError('%s is not a checkpoint: manifest.json cannot be read (%s); give a directory that holds one, '
                         'such as SAVE_DIR/latest' % (path, error.strerror)) from error
    except ValueError:
        whole = False
    if not whole:
        raise UsageError('checkpoint %s is damaged: manifest.json does not agree with its digest; use an earlier one'
                         % path)
    if manifest['format'] != FORMAT:
        raise UsageError('checkpoint %s has format %s, this version reads format %d: use the version that wrote it'
                         % (path, manifest['format'], FORMAT))
    for name, facts in manifest['files'].items():
        file_path = os.path.join(path, name)
        if not os.path.isfile(file_path) or _digest(file_path) != facts['sha256']:
            raise UsageError('checkpoint %s is damaged: %s does not agree with its digest; use an earlier one'
                             % (path, name))
    return manifest


def names(save_dir):
    """Names of the checkpoints in SAVE_DIR, oldest epoch first."""
    if not os.path.isdir(save_dir):
        return []
    return sorted((name for name in os.listdir(save_dir) if re.fullmatch(_PREFIX + r'\d+', name)), key=epoch_of)


def find(save_dir):
    """(path, manifest, notices) of the newest whole checkpoint in SAVE_DIR; path None where there is none.

    Every newer one that is damaged is named in the notices.
    """
    notices = []
    for name in reversed(names(save_dir)):
        path = os.path.join(save_dir, name)
        try:
            return path, read(path), notices
        except UsageError as error:
            notices.append(str(error))
    return None, None, notices


def prune(save_dir, keep):
    """Remove the checkpoints whose names are not in `keep`, and what a killed run left half-written."""
    for name in os.listdir(save_dir):
        if name.startswith('.partial-') or re.fullmatch(_PREFIX + r'\d+', name) and name not in keep:
            shutil.rmtree(os.path.join(save_dir, name), ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------
# Contents

def _is_statistic(param):
    return param.grad_req == 'null'


def net_arrays(net, trainer=None, dtype='float32'):
    """{structural name: array} of a network as ``save_parameters`` names them: masters where the optimizer keeps them.

    Running statistics are averaged over the devices, as MXNet does.
    """
    masters = master_weights(trainer) if trainer is not None else {}
    arrays = {}
    for name, param in stored_params(net).items():
        copies = param.list_data()
        if _is_statistic(param) and len(copies) > 1:
            value = sum((copy.as_in_context(copies[0].context) for copy in copies[1:]), copies[0]) / len(copies)
        else:
            value = masters.get(param, copies[0])
        keep = 'float32' if value.dtype != dtype and _stays_float32(name) else dtype
        arrays[name] = value.astype(keep, copy=False)
    return arrays


def _stays_float32(name):
    """BatchNorm's four vectors stay float32 in a float16 file, as in GluonCV's."""
    return name.rsplit('.', 1)[-1] in ('gamma', 'beta', 'running_mean', 'running_var')


def save(save_dir, epoch, net, trainer, manifest, dtype='float32'):
    """Write the checkpoint after `epoch`, make it the latest, and return its path."""
    files = {'net.params': lambda path: mx.nd.save(path, net_arrays(net, trainer, dtype)),
             'optimizer.params': lambda path: mx.nd.save(path, get_states(trainer) or {'empty': mx.nd.zeros(1)})}
    devices = net.collect_params().list_ctx()
    if len(devices) > 1:
        files['devices.params'] = lambda path: mx.nd.save(path, _device_statistics(net))
    path = write(save_dir, name_of(epoch), files, dict(manifest, epoch=epoch))
    point(save_dir, 'latest', name_of(epoch))
    return path


def _device_statistics(net):
    return {'%d:%s' % (number, name): copy for name, param in stored_params(net).items()
            if _is_statistic(param) for number, copy in enumerate(param.list_data())}


def restore(path, net, trainer):
    """Put a checkpoint's weights, running statistics and optimizer state into a network and its trainer.

    The manifest must have been read (`read`) before. Raises UsageError where the network is another one.
    """
    saved = params_file.load(os.path.join(path, 'net.params'))
    params = stored_params(net)
    if set(saved) != set(params):
        odd = sorted(set(saved) ^ set(params))[0]
        raise UsageError('checkpoint %s holds another network: %s stands in only one of the two' % (path, odd))
    for name, param in params.items():
        param.set_data(saved[name])
    states = params_file.load(os.path.join(path, 'optimizer.params'))
    states.pop('empty', None)
    set_states(trainer, states)
    devices_path = os.path.join(path, 'devices.params')
    if os.path.isfile(devices_path):
        for key, value in params_file.load(devices_path).items():
            number, name = key.split(':', 1)
            copy = params[name].list_data()[int(number)]
            value.copyto(copy)


def export(checkpoint_path, target_path):
    """Give net.params of a checkpoint a second name (a hard link, or a copy where links cannot be), atomically."""
    source, partial = os.path.join(checkpoint_path, 'net.params'), target_path + '.partial'
    if os.path.lexists(partial):
        os.remove(partial)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    os.replace(partial, target_path)
