import os
import struct
import subprocess
import sys

import pytest

from conftest import ROOT, make_jpeg, make_records
from gluon_tricks.data import crash
from gluon_tricks.data.packing import pack
from gluon_tricks.data.records import read_index


def bad_image(rec, idx, row):
    """Keep the first bytes of one image, and nothing that can be decoded."""
    offset = int(read_index(idx)[1][row])
    with open(rec, 'r+b') as stream:
        stream.seek(offset + 8 + 24 + 4)
        stream.write(b'\x00' * 400)


def train(data, *flags):
    return subprocess.run(
        [sys.executable, str(ROOT / 'train_imagenet.py'), '--data-dir', str(data), '--model', 'resnet10_v1d_demo',
         '--num-classes', '4', '--input-size', '32', '--batch-size', '8', '--num-epochs', '1', '--num-gpus', '0',
         '--save-dir', str(data / 'run'), *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)


@pytest.mark.parametrize('part, code', [('train', 2), ('val', 1)])
def test_a_bad_image_is_named_whatever_it_does_to_the_process(part, code, tmp_path):
    """In training MXNet raises an error, in validation it divides by zero."""
    data = make_records(tmp_path / 'data', train=24, val=16)
    rec, idx = str(data / 'rec' / (part + '.rec')), str(data / 'rec' / (part + '.idx'))
    bad_image(rec, idx, 5)
    done = train(data)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode == code, done.stderr.decode()[-2000:]
    assert last.startswith('error: ') and 'record 5 at offset' in last and rec in last and 'verify' in last


def test_a_crash_of_another_cause_gives_the_command_that_goes_on(tmp_path):
    prefix = str(tmp_path / 'x')
    pack([(make_jpeg(0, i), 0, str(i)) for i in range(4)], prefix)
    code = ('import os, signal, sys; sys.path.insert(0, %r); from gluon_tricks.data.crash import watch; '
            'watch([(%r, %r)], "python train.py --resume auto"); os.kill(os.getpid(), signal.SIGSEGV); '
            'import time; time.sleep(60)' % (str(ROOT), prefix + '.rec', prefix + '.idx'))
    done = subprocess.run([sys.executable, '-c', code], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode().strip().endswith('go on after the last checkpoint with python train.py --resume auto')


def test_a_crash_of_a_program_without_checkpoints_speaks_of_none(tmp_path):
    prefix = str(tmp_path / 'x')
    pack([(make_jpeg(0, i), 0, str(i)) for i in range(4)], prefix)
    code = ('import os, signal, sys; sys.path.insert(0, %r); from gluon_tricks.data.crash import watch; '
            'watch([(%r, %r)]); os.kill(os.getpid(), signal.SIGSEGV); import time; time.sleep(60)'
            % (str(ROOT), prefix + '.rec', prefix + '.idx'))
    done = subprocess.run([sys.executable, '-c', code], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert b'start the same command again' in done.stderr and b'checkpoint' not in done.stderr


def test_a_missing_file_is_told_too(tmp_path, capsys):
    assert crash.main(['8', 'again', str(tmp_path / 'no.rec'), str(tmp_path / 'no.idx')]) == 1
    assert 'SIGFPE' in capsys.readouterr().err


@pytest.mark.slow
def test_random_damage_never_ends_a_run_without_a_sentence(tmp_path):
    """40 variants of damage behind what is checked before training: a code of 0, 1 or 2, and a last line that says why."""
    import random
    for seed in range(40):
        generator = random.Random(seed)
        data = make_records(tmp_path / str(seed), train=24, val=16)
        path = str(data / 'rec' / generator.choice(['train.rec', 'val.rec']))
        size = os.path.getsize(path)
        with open(path, 'r+b') as stream:
            for _ in range(generator.randrange(1, 40)):
                stream.seek(generator.randrange(size - 8))
                stream.write(struct.pack('<I', generator.randrange(2 ** 32))[:generator.randrange(1, 5)])
        done = train(data)
        assert done.returncode in (0, 1, 2), (seed, done.returncode, done.stderr.decode()[-500:])
        if done.returncode:
            assert done.stderr.decode().strip().splitlines()[-1].startswith('error: '), seed
