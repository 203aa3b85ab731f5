"""The checks in their order: the environment first, without which nothing else can be asked; then the run.

Standard library only at its import: `environment` works where MXNet does not.
"""
import importlib
import os
from typing import Any, Dict, List, NamedTuple, Optional

from gluon_tricks.doctor import gpus, limits, versions
from gluon_tricks.doctor.findings import FAILS, NOTE, Finding, told
from gluon_tricks.doctor.machine import HERE, Machine
from gluon_tricks.errors import UsageError
from gluon_tricks.files import existing

CHECKS = ('versions', 'imports', 'gpus')  # without a run
RUN_CHECKS = ('options', 'devices', 'open files', 'shared memory', 'save dir', 'weights', 'data')
OF_RECORDS = ('learning rate', 'disk')  # of classification without a trial
TRIED = ('trial', 'memory', 'reader')


class Answer(NamedTuple):
    """findings; figures: `estimates.estimates`, None where nothing was measured; config: resolved, None without one;
    checks: names of those that were made."""

    findings: List[Finding]
    figures: Optional[Dict[str, Any]] = None
    config: Any = None
    checks: tuple = ()

    @property
    def fails(self) -> bool:
        """Whether the run would."""
        return any(finding.level == FAILS for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to say but what is taken care of."""
        return all(finding.level == NOTE for finding in self.findings)


def environment(machine: Machine = HERE, config: Any = None) -> List[Finding]:
    """What is wrong with packages, libraries, driver and GPUs; one cause, one finding."""
    found = versions.findings(machine)
    if not _fail(found):
        found += [Finding(FAILS, 'imports', sentence) for sentence in machine.import_faults()]
    return found if _fail(found) else found + gpus.findings(machine, config)


def examine(machine: Machine = HERE, config: Any = None, seconds: float = 0.0, workers: Optional[int] = None) -> Answer:
    """All that can be told of the environment and, with a configuration, of its run.

    seconds: of its trial, 0 for none. workers: how many train; None: as the launcher says.
    """
    found = environment(machine, config)
    if config is None or _fail(found):
        return Answer(found, checks=CHECKS)
    resolved: List[Any] = []
    found += told('options', lambda: resolved.extend(_resolve(config, workers)))
    if not resolved:
        return Answer(found, checks=CHECKS + ('options',))
    config, number = resolved
    found += _run(machine, config, number)
    checks = CHECKS + RUN_CHECKS + (OF_RECORDS if config.TASK == 'classification' else ())
    if _fail(found) or not seconds or _is_unpacked(config):
        return Answer(found + _reckoned_disk(machine, config), None, config, checks)
    from gluon_tricks.doctor import estimates, trial
    try:
        measured = trial.measure(config, seconds, number)
    except UsageError as error:
        return Answer(found + [Finding(FAILS, 'trial', str(error))], None, config, checks + TRIED)
    found += estimates.findings(machine, config, measured)
    return Answer(found, estimates.estimates(measured, config, number), config, checks + TRIED)


def _fail(found):
    return any(finding.level == FAILS for finding in found)


def _resolve(config, workers):
    """(the resolved configuration, how many workers train); those that are asked for need no launcher now."""
    from gluon_tricks.distributed.workers import number_of_workers
    if not workers or not config.kv_store.startswith('dist'):
        workers = max(workers or 0, number_of_workers(config.kv_store))
    resolve = importlib.import_module(f'gluon_tricks.tasks.{config.TASK}.assembly').resolve
    return (resolve(config, workers) if config.TASK == 'classification' else resolve(config))[0], workers


def _run(machine, config, workers):
    """The checks of a resolved configuration that measure nothing."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.doctor import data
    from gluon_tricks.training.resume import find_to_resume
    from gluon_tricks.tricks.low_precision import precision
    devices: List[Any] = []
    resumed: List[Any] = []
    found = told('devices', lambda: devices.extend(find_devices(config.devices, getattr(config, 'num_gpus', None))))
    if devices:
        found += told('options', precision, config.dtype, devices)
    if devices and config.TASK == 'segmentation':
        from gluon_tricks.tasks.segmentation.assembly import check_batches
        found += told('options', check_batches, config, devices)
    found += limits.findings(machine, config) + told('save dir', check_save_dir, config)
    found += told('save dir', lambda: resumed.append(find_to_resume(config, workers)[0]))
    found += told('weights', data.check_weights, config, any(resumed))
    found += data.findings(config, max(len(devices), 1), workers)
    if config.TASK == 'classification' and devices:
        found += data.batch(config, len(devices) * config.batch_size * workers)
    return found


def check_save_dir(config: Any) -> None:
    """Raise UsageError for a SAVE_DIR that cannot be written; it is not made."""
    path = existing(config.save_dir)
    if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f'--save-dir {config.save_dir} cannot be written ({path} is '
                         f'{"not yours to write" if os.path.isdir(path) else "a file"}): choose another')


def _is_unpacked(config):
    if config.TASK != 'classification':
        return False
    from gluon_tricks.doctor import data
    return data.is_unpacked(config)


def _reckoned_disk(machine, config):
    """The disk by the network's parameters, where nothing was measured."""
    from gluon_tricks.doctor import estimates
    from gluon_tricks.training.retention import exported_bytes, most_kept
    try:
        sizes = estimates.reckoned(config)
    except UsageError as error:  # such as a network that is not known
        return [Finding(FAILS, 'options', str(error))]
    if sizes is None:
        return []
    size, weights = sizes
    return limits.disk(machine, config, most_kept(config), size, estimates.bytes_there(config.save_dir),
                       exported_bytes(config, weights))


# ---------------------------------------------------------------------------------------------------------------------
# When a run starts

_LARGE = 2 << 30  # bytes: no network has a larger checkpoint


def warnings(asked: Any, config: Any, machine: Optional[Machine] = None) -> List[str]:
    """Lines for the log of a run that begins, of the checks that measure nothing and cost next to nothing; those that
    the run makes itself are left out. Never raises: no check may end a run that would have worked.

    asked: the configuration before it is resolved, which takes the CPU where MXNet sees no GPU; config: resolved.
    """
    lines: List[str] = []
    for check, of in ((_start_versions, config), (gpus.findings, asked), (limits.findings, config),
                      (_start_disk, config), (_start_labels, config)):
        try:
            lines += [f'Warning: {finding.text}' for finding in check(machine or HERE, of) if finding.level != NOTE]
        except Exception:  # whatever a machine answers that nobody thought of
            continue
    return lines


def _start_versions(machine, config):
    return versions.findings(machine)


def _start_labels(machine, config):
    if config.TASK != 'classification' or config.data_backend == 'synthetic':
        return []
    from gluon_tricks.doctor import data
    return data.label_map(config)


def _start_disk(machine, config):
    """The network's parameters are counted only where the disk may be too small for a large one."""
    from gluon_tricks.training.retention import exported_bytes, most_kept
    if machine.free_disk(config.save_dir) > (most_kept(config) + 1) * _LARGE + exported_bytes(config, _LARGE // 2):
        return []
    return _reckoned_disk(machine, config)
