"""What the machine grants a run: open files, shared memory, disk. Standard library only."""
from typing import Any, List

from gluon_tricks.doctor.findings import FAILS, WARNING, Finding
from gluon_tricks.doctor.machine import Machine

FILES = 64  # open in a run without any thread that decodes: libraries, log, records
_OF_A_THREAD = 4  # a piece of records and its index, in training and in validation
_AHEAD = 2  # batches that each of MXNet's loader processes keeps


def findings(machine: Machine, config: Any) -> List[Finding]:
    """What is too little for a resolved configuration; disk is `disk`'s."""
    return _files(machine, config) + _shared_memory(machine, config)


def _files(machine, config):
    limit, threads = machine.open_files(), getattr(config, 'decode_threads', None) or 0
    needed = FILES + _OF_A_THREAD * threads
    if limit is None or limit >= needed:
        return []
    return [Finding(FAILS, 'open files', f'{limit} files may be open: a run with -j {threads} opens up to {needed}; '
                    f'type `ulimit -n {max(4096, needed)}` before it, or take a smaller -j')]


def _shared_memory(machine, config):
    """Loader processes hand batches over in /dev/shm; threads that decode do not."""
    processes, free = getattr(config, 'loader_processes', 0), machine.shared_memory()
    if not processes or free is None:
        return []
    pixels = config.image_short * config.image_max_size * 3 * 4
    needed = _AHEAD * processes * config.total_batch_size * pixels
    if free >= needed:
        return []
    return [Finding(FAILS, 'shared memory', f'/dev/shm has {gigabytes(free)} free: {processes} loader processes put up '
                    f'to {gigabytes(needed)} of batches there; start the container with --shm-size '
                    f'{-(-2 * needed >> 30)}g, or give -j 0')]


def disk(machine: Machine, config: Any, kept: int, size: int, there: int = 0, exported: int = 0) -> List[Finding]:
    """Checkpoints and exported weights against the disk of SAVE_DIR. kept: how many checkpoints there are at the end;
    size: bytes of one; there: bytes of those that SAVE_DIR holds already; exported: of the weights, at most."""
    needed, free = (kept + 1) * size - there, machine.free_disk(config.save_dir)  # one is written before one goes
    if free >= needed + exported:
        return []
    if free >= needed:
        return [Finding(WARNING, 'disk', f'--save-dir {config.save_dir}: its disk has {gigabytes(free)} free, and '
                        f'beside checkpoints of {gigabytes(needed)} the weights of each epoch that is the best so far '
                        f'take up to {gigabytes(exported)}; free space, or choose another --save-dir')]
    remedy = 'free space, or choose another --save-dir' + (
        ', or keep fewer (--save-frequency)' if config.save_frequency else '')
    return [Finding(FAILS, 'disk', f'--save-dir {config.save_dir}: its disk has {gigabytes(free)} free, and the run\'s '
                    f'checkpoints take {gigabytes(needed)} ({kept + 1} of {gigabytes(size)} at a time); {remedy}')]


def gigabytes(size: float) -> str:
    """Bytes in words: GB, or MB below one."""
    return f'{size / 1e9:.2f} GB' if size >= 1e9 else f'{size / 1e6:.1f} MB'
