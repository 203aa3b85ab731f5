"""A script in a Python of its own, to which nobody has given a number of threads."""
import os
import subprocess
import sys

from support import ROOT


def run(script, **variables):
    """(exit code, stdout, stderr) of a fresh Python, with these environment variables and without OMP_NUM_THREADS."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('OMP_NUM_THREADS', 'MXNET_SAFE_ACCUMULATION')}
    environment.update(PYTHONPATH=str(ROOT), **variables)
    done = subprocess.run([sys.executable, '-c', script], env=environment, capture_output=True,
                          text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr
