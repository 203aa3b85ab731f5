"""How many threads compute a network on a CPU: all cores, and one where its layers are very small.

At the end of each operator OpenMP's threads wait for one another. Where a layer is so small that this costs more than
the second thread gains, two threads train slower than one (docs/benchmarks.md, "End to end"). The rule looks at the
network and the size of its images alone, so that a run and a later `evaluate` of it compute alike.
"""
from gluon_tricks import compat
from gluon_tricks.cores import available_cores
from gluon_tricks.models.complexity import macs_of_layers

SMALL = 200_000  # multiply-adds of a network's mean layer for one image; the demo's network has 97,000 at 32 px


def use_threads(nets, input_size, devices):
    """Compute with one thread where all networks are small, else with all cores.

    nets: that a process computes; devices: list of contexts. ``OMP_NUM_THREADS`` holds where it is set, and nothing is
    done on GPUs.
    """
    if not compat.THREADS_GIVEN and all(device.device_type == 'cpu' for device in devices):
        compat.compute_with(1 if all(is_small(net, input_size) for net in nets) else available_cores(), devices)


def is_small(net, input_size):
    """Whether the mean layer of the network has fewer multiply-adds for an image of that side than `SMALL`."""
    layers = macs_of_layers(net, input_size)
    return sum(layers) < SMALL * len(layers)
