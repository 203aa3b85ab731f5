import os
import subprocess
import sys

import pytest

from gluon_tricks import noise
from support import ROOT

NOISY = (b'[17:01:02] ../src/operator/nn/mkldnn/mkldnn_pooling-inl.h:88: MKLDNN Pooling: training with prop_kind is '
         b'forward_scoring', b'libpng warning: iCCP: known incorrect sRGB profile')


def run(code):
    """(exit code, lines of stderr) of a program that runs the code under `quiet`."""
    program = (f'import os, signal, sys, time; sys.path.insert(0, {str(ROOT)!r}); from gluon_tricks.noise import '
               f'quiet; NOISY = {NOISY!r}\nwith quiet():\n    {code}\n')
    done = subprocess.run([sys.executable, '-c', program], stderr=subprocess.PIPE, timeout=60)
    return done.returncode, done.stderr.split(b'\n')


def test_noise_is_dropped_and_all_else_is_kept():
    code, lines = run('os.write(2, NOISY[0] + b"\\nreal error\\n" + NOISY[1] + b"\\nlibpng error: bad\\n")')
    assert code == 0 and lines == [b'real error', b'libpng error: bad', b'']


@pytest.mark.parametrize('end, code', [('os.kill(os.getpid(), signal.SIGSEGV)', -11), ('os.abort()', -6),
                                       ('os._exit(3)', 3), ('os.kill(os.getpid(), signal.SIGKILL)', -9), ('sys.exit(4)', 4)])
def test_what_a_dying_process_wrote_is_kept(end, code):
    found, lines = run('os.write(2, NOISY[1] + b"\\nlast words, no end of a line"); ' + end)
    assert found == code and lines[0].startswith(b'last words, no end of a line')


def test_a_traceback_and_a_process_in_its_place():
    assert b'ZeroDivisionError: division by zero' in run('1 / 0')[1]
    code, lines = run('os.execv(sys.executable, [sys.executable, "-c", "import os, sys; os.write(2, b\'libpng warning: x'
                      '\' + bytes([10])); print(\'in its place\', file=sys.stderr)"])')
    assert code == 0 and lines == [b'in its place', b'']


def test_pythons_own_lines_and_progress_bars_are_not_held_back():
    """A line that is written in pieces, slowly, comes whole."""
    code, lines = run('print("python", file=sys.stderr); os.write(2, b"bar 1\\r"); time.sleep(0.6); '
                      'os.write(2, b"bar 2\\r" + NOISY[1] + b"\\n")')
    assert code == 0 and lines == [b'python', b'bar 1\rbar 2\r' + NOISY[1], b'']


def test_stderr_is_what_it_was_before():
    program = (f'import os, sys; sys.path.insert(0, {str(ROOT)!r}); from gluon_tricks.noise import quiet; before = '
               'sys.stderr\nfor _ in range(3):\n    with quiet():\n        assert sys.stderr.fileno() != 2\nassert '
               'sys.stderr is before and len(os.listdir("/proc/self/fd")) <= 5\nos.write(2, b"libpng warning: x")')
    done = subprocess.run([sys.executable, '-c', program], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0 and done.stderr == b'libpng warning: x'


def test_where_stderr_is_not_the_processs_nothing_is_done(capsys):
    before = sys.stderr
    with noise.quiet():
        assert sys.stderr is before


def test_the_programs_are_quiet(tiny_arguments, tmp_path):
    train = [str(ROOT / 'train_imagenet.py')] + list(tiny_arguments) + ['--num-epochs', '1', '--save-dir',
                                                                        str(tmp_path)]
    evaluate = ['-m', 'gluon_tricks', 'evaluate', str(tmp_path), '--num-gpus', '0']
    for words in (train, evaluate):
        done = subprocess.run([sys.executable] + words, cwd=str(ROOT), capture_output=True, env=dict(os.environ, PYTHONPATH=str(ROOT)))
        assert done.returncode == 0 and done.stderr == b''
