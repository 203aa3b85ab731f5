"""What a run will take, from a short part of it that was measured (`trial`), and what is wrong with that."""
import glob
import os
from typing import Any, Dict, List, Optional, Tuple

from gluon_tricks.doctor import limits
from gluon_tricks.doctor.findings import FAILS, WARNING, Finding
from gluon_tricks.doctor.machine import Machine
from gluon_tricks.doctor.trial import Measured
from gluon_tricks.models.complexity import complexity
from gluon_tricks.models.zoo import get_model
from gluon_tricks.training import checkpoint
from gluon_tricks.training.retention import checkpoint_bytes, exported_bytes, most_kept

_TIGHT = 0.95  # of the memory of a device: more is close to its end


def estimates(measured: Measured, config: Any, workers: int = 1) -> Dict[str, Any]:
    """The figures, by name: hours, GPU-hours (None on a CPU), images/s with and without reading and of the reader
    alone, bytes of memory, of checkpoints and of exported weights, at most.

    config: resolved. workers: that train together, each as fast as this one; what they wait for each other is not in
    it.
    """
    epoch = measured.updates * measured.update + measured.evaluation + measured.checkpoint
    epochs = measured.epochs - getattr(config, 'resume_epoch', 0)
    seconds = measured.start + epochs * epoch
    on_gpus = measured.device_peak is not None
    return {'workers': workers, 'hours': seconds / 3600,
            'gpu_hours': seconds / 3600 * measured.devices * workers if on_gpus else None,
            'seconds_per_epoch': epoch, 'images_per_second': measured.images / measured.update,
            'step_images_per_second': measured.images / measured.step,
            'reader_images_per_second': measured.images / measured.read if measured.read else None,
            'device_memory': measured.device_peak, 'memory': measured.peak,
            'checkpoints': most_kept(config), 'checkpoint_bytes': measured.checkpoint_bytes,
            'disk': most_kept(config) * measured.checkpoint_bytes,
            'exported': exported_bytes(config, measured.weights_bytes)}


def lines(figures: Dict[str, Any], config: Any) -> List[str]:
    """The figures in words, a line each."""
    gpu_hours = '' if figures['gpu_hours'] is None else f', {figures["gpu_hours"]:.3g} GPU-hours'
    reader = '' if not figures['reader_images_per_second'] else (
        f'; updates alone {figures["step_images_per_second"]:.4g}, the reader alone '
        f'{figures["reader_images_per_second"]:.4g}')
    process = 'the process' if figures['workers'] == 1 else f'each of {figures["workers"]} workers'
    memory = '' if figures['device_memory'] is None else \
        f'{limits.gigabytes(figures["device_memory"])} of each GPU, '
    return [f'time: {hours(figures["hours"])}{gpu_hours}: {config.num_epochs} epochs of '
            f'{figures["seconds_per_epoch"]:.4g} s',
            f'speed: {figures["images_per_second"]:.4g} images/s{reader}',
            f'memory: {memory}{limits.gigabytes(figures["memory"])} of {process}',
            f'disk: {limits.gigabytes(figures["disk"] + figures["exported"])} at most: {figures["checkpoints"]} '
            f'checkpoints of {limits.gigabytes(figures["checkpoint_bytes"])} at the end, and '
            f'{limits.gigabytes(figures["exported"])} of weights, if each epoch is the best so far']


def hours(number: float) -> str:
    """Hours in words; below one, minutes."""
    return f'{number:.3g} hours' if number >= 1 else f'{60 * number:.2g} minutes'


def findings(machine: Machine, config: Any, measured: Measured) -> List[Finding]:
    """What is wrong with what was measured."""
    found = limits.disk(machine, config, most_kept(config), measured.checkpoint_bytes, bytes_there(config.save_dir),
                        exported_bytes(config, measured.weights_bytes))
    return found + _memory(machine, config, measured) + _reader(config, measured)


def _memory(machine, config, measured):
    if measured.device_peak is not None:
        share = measured.device_peak / measured.device_memory
        return [] if share < _TIGHT else [Finding(
            WARNING, 'memory', f'{100 * share:.0f} % of a GPU\'s {limits.gigabytes(measured.device_memory)} are taken '
            'after some updates: fragments of memory may end the run later; give a smaller --batch-size')]
    free = machine.free_memory()
    if free is None or free >= measured.peak:
        return []
    return [Finding(FAILS, 'memory', f'the run takes {limits.gigabytes(measured.peak)} of memory, and '
                    f'{limits.gigabytes(free)} are free: give a smaller --batch-size, or end other programs')]


def _reader(config, measured):
    if measured.read is None or measured.read <= measured.step:
        return []
    reader, step = measured.images / measured.read, measured.images / measured.step
    threads = getattr(config, 'decode_threads', None)
    return [Finding(WARNING, 'reader', f'the reader gives {reader:.4g} images/s at most, and the updates could take '
                    f'{step:.4g}: ' + (f'-j is {threads}; give more threads, if there are cores' if threads else
                                       'give more -j') + ', or records of a smaller short side (docs/data.md)')]


def bytes_there(save_dir: str) -> int:
    """Bytes of the checkpoints and exported weights that a SAVE_DIR holds; a link to a checkpoint's counts once."""
    total = sum(os.path.getsize(path) for path in glob.glob(os.path.join(glob.escape(save_dir), '*.params'))
                if os.stat(path).st_nlink == 1)
    for name in checkpoint.names(save_dir):
        folder = os.path.join(save_dir, name)
        total += sum(os.path.getsize(os.path.join(folder, each)) for each in os.listdir(folder))
    return total


def reckoned(config: Any) -> Optional[Tuple[int, int]]:
    """Bytes of a checkpoint and of the weights in it by the network's parameters alone, where nothing was measured;
    None for another task than classification."""
    if config.TASK != 'classification':
        return None
    params, _ = complexity(get_model(config.model, classes=config.num_classes), config.input_size)
    return checkpoint_bytes(params, config.dtype), 4 * params
