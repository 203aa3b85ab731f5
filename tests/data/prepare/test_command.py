import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.data.prepare.demo_digits import write_digits
from gluon_tricks.data.records.record_file import check_records
from support import ROOT
from support.archives import write_ade20k, write_imagenet, write_places365, write_voc

pytest.importorskip('sklearn')


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp('prepare') / 'digits'
    write_digits(str(folder))
    return folder


def test_prepare_demo_says_what_it_wrote(digits, capsys):
    assert main(['prepare', 'demo', '--out', str(digits)]) == 0
    out = capsys.readouterr().out
    assert 'train    1433 images, 10 classes' in out and 'val       364 images' in out
    assert str(digits / '.gluon_tricks' / 'val.rec') in out


def test_prepare_folder(digits, tmp_path, capsys):
    assert main(['prepare', 'folder', str(digits), '--out', str(tmp_path / 'records')]) == 0
    assert f'train    1433 images, 10 classes: {tmp_path / "records" / "train.rec"}' in capsys.readouterr().out
    assert check_records(str(tmp_path / 'records' / 'val.rec'), str(tmp_path / 'records' / 'val.idx')) == 364


@pytest.mark.parametrize('arguments, part', [
    ([], 'DATASET'), (['imagenet2012'], 'imagenet2012'), (['folder'], 'DIR'), (['folder', 'no/such'], 'no/such'),
    (['demo', '--outt', 'x'], '--outt')])
def test_wrong_usage_is_one_sentence(arguments, part, capsys):
    assert main(['prepare'] + arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and part in err and len(err.splitlines()) == 1


def test_prepare_demo_with_few_digits_to_train(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['prepare', 'demo', '--train-per-class', '3', '--split', '2', '--processes', '1']) == 0
    out = capsys.readouterr().out
    assert 'train      30 images, 10 classes' in out and 'runs/demo-data-3-split-2/.gluon_tricks/val.rec' in out


@pytest.mark.parametrize('flags, part', [
    (['--train-per-class', '0'], '--train-per-class 0 must be from 1'),
    (['--train-per-class', '174'], '--train-per-class 174 must be from 1 to 173'),
    (['--split', '1'], '--split 1 does nothing without --train-per-class'),
    (['--train-per-class', '3', '--split', '-1'], '--split -1'), (['--scenes', '--split', '1'], 'are for digits'),
    (['--scenes', '--train-per-class', '3'], 'are for digits')])
def test_wrong_splits_of_the_demo(flags, part, capsys):
    assert main(['prepare', 'demo'] + flags) == 2
    err = capsys.readouterr().err
    assert part in err and len(err.splitlines()) == 1


@pytest.mark.parametrize('flags, part', [
    (['--resize', '-1'], '--resize -1'), (['--quality', '101'], '--quality 101'), (['--processes', '0'], '--processes 0'),
    (['--seed', '-1'], '--seed -1')])
def test_numbers_out_of_range(digits, flags, part, capsys):
    assert main(['prepare', 'folder', str(digits)] + flags) == 2
    assert part in capsys.readouterr().err


def test_an_out_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / 'file').write_text('in the way')
    assert main(['prepare', 'ade20k', '--zip', 'x.zip', '--out', str(tmp_path / 'file' / 'out')]) == 2
    assert 'cannot be made' in capsys.readouterr().err


def digest(folder):
    """{path: SHA-256} of a tree."""
    return {os.path.relpath(os.path.join(place, name), str(folder)):
            hashlib.sha256(open(os.path.join(place, name), 'rb').read()).hexdigest()
            for place, _, names in os.walk(str(folder)) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['imagenet', 'places365', 'voc', 'ade20k', 'folder'])
def test_killed_at_20_random_moments_it_ends_with_the_same_bytes(name, tmp_path):
    """SIGKILL to the command, three times a directory, then left alone; its workers end with it."""
    generator, archives = random.Random(0), tmp_path / 'archives'
    if name == 'imagenet':
        words = write_imagenet(archives, per_class=700, val=600) + ['--resize', '60']
    elif name == 'places365':
        words = write_places365(archives, per_class=700) + ['--resize', '60']
    elif name == 'voc':
        words = write_voc(archives, images=600)
    elif name == 'ade20k':
        words = write_ade20k(archives, train=400, val=100)
    else:
        for part, number in (('train', 1500), ('val', 300)):
            for each in range(number):
                place = archives / part / str(each % 3)
                place.mkdir(parents=True, exist_ok=True)
                from support.records import make_jpeg
                (place / (f'{each}.JPEG')).write_bytes(make_jpeg(each % 3, each))
        words = [str(archives), '--resize', '60']

    def start(out):
        return subprocess.Popen([sys.executable, '-m', 'gluon_tricks', 'prepare', name, '--out', str(tmp_path / out),
                                 '--processes', '2'] + words, cwd=str(ROOT), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    started = time.time()
    assert start('whole').wait() == 0
    lasts, kills, inside = time.time() - started, 0, 0
    expected = digest(tmp_path / 'whole')
    for attempt in range(60):
        out = f'killed{attempt}'
        for first in (True, False, False):
            started, process = time.time(), start(out)
            try:
                process.wait(generator.uniform(0.3 * lasts, lasts))
                lasts = min(lasts, time.time() - started) if first else lasts  # the machine is faster now
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                inside += (tmp_path / out).exists() and any('.parts' in each for each in os.listdir(str(tmp_path / out)))
        assert start(out).wait() == 0
        assert digest(tmp_path / out) == expected
        if kills >= 20:
            break
    print(f'{name}: {kills} kills, {inside} of them with work under way')
    assert kills >= 20 and inside >= 5
