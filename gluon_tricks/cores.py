"""How many cores this process may use."""
import math
import os


def available_cores():
    """Number of cores this process may use (int, at least 1): its affinity, and a container's share of CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    quota = _quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _quota(root='/sys/fs/cgroup'):
    """Cores' worth of CPU time that the control group may use (float), None for no limit (Linux's cgroups 2 and 1)."""
    try:
        with open(os.path.join(root, 'cpu.max')) as stream:
            limit, period = stream.read().split()
        return None if limit == 'max' else float(limit) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        numbers = []
        for name in ('cpu.cfs_quota_us', 'cpu.cfs_period_us'):
            with open(os.path.join(root, 'cpu', name)) as stream:
                numbers.append(float(stream.read()))
        return numbers[0] / numbers[1] if min(numbers) > 0 else None
    except (OSError, ValueError):
        return None
