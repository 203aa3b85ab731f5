"""A demo ladder that is killed at ten random moments: no finished run is repeated, and the figures are those of one that
was left alone."""
import dataclasses
import json
import os
import random
import subprocess
import sys
import time

import pytest

from gluon_tricks.config.recipes import get
from gluon_tricks.config.scales import DEMO
from gluon_tricks.results.ladder import runs_of
from gluon_tricks.results.plan import Plan
from support import ROOT, SLICE

pytest.importorskip('sklearn')
pytestmark = pytest.mark.slow

KILLS = 2 if SLICE else 10
SCALE = dataclasses.replace(DEMO, epochs=4)
ROWS = ['table6/resnet50_v1d/efficient', 'table6/resnet50_v1d/cosine', 'table6/resnet50_v1d/distill']


def ladder(out, seeds=2):
    words = [sys.executable, '-m', 'gluon_tricks', 'ladder', '6', '--scale', 'demo', '--epochs', str(SCALE.epochs), '--seeds', str(seeds),
             '--jobs', '2', '--out', str(out), '--rows'] + ROWS
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(ROOT),
                            universal_newlines=True)


def figures(out):
    """{run: (result, best)}"""
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob('*/run.json')}
    assert all(run['status'] == 'finished' for run in found.values())
    return {name: (run['result'], run['best']) for name, run in found.items()}


def started(out):
    """{run: when its record was begun} of those that are finished."""
    found = {}
    for path in out.glob('*/run.json'):
        run = json.loads(path.read_text())
        if run['status'] == 'finished':
            found[path.parent.name] = run['started'], path.stat().st_mtime_ns
    return found


def test_killed_at_random_moments(tmp_path, capsys):
    whole, out = tmp_path / 'whole' / 'ladder', tmp_path / 'killed' / 'ladder'
    began = time.time()
    assert ladder(whole).wait() == 0
    took, rng, finished, kills = time.time() - began, random.Random(0), {}, 0
    while kills < KILLS:
        process = ladder(out)
        time.sleep(rng.uniform(0.1, 0.6) * took)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
        now = started(out)
        assert all(now.get(name) == value for name, value in finished.items())  # none of them was written again
        finished = now
        if len(finished) == len(figures_of(whole)):  # and again from the start, in another directory
            assert figures(out) == figures(whole)
            out, finished = tmp_path / f'killed{kills}' / 'ladder', {}
    process = ladder(out)
    assert process.wait() == 0
    assert figures(out) == figures(whole)
    with capsys.disabled():
        print(f'\n{kills} kills, {len(figures(out))} runs: equal figures')


def figures_of(out):
    return sorted(path.parent.name for path in out.glob('*/run.json'))


def test_two_ladders_at_once_and_the_disk_that_the_plan_tells(tmp_path):
    out = tmp_path / 'ladder'
    both = [ladder(out, 1) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(line.startswith('[') and 'it was there' not in line for text in told for line in text.splitlines()) == 4
    assert told[0].split('\n\n')[1:] == told[1].split('\n\n')[1:]  # the same table
    for path in out.glob('*/train_imagenet.log'):
        assert path.read_text().count('Namespace(') == 1
    rows = [get(name) for name in ROWS]
    plan = Plan(rows, SCALE, 1, runs_of(rows, SCALE, 1, str(out)))
    assert len(plan.done) == len(plan.runs) == 4
    for run in plan.runs:
        sizes = [sum(entry.stat().st_size for entry in os.scandir(folder.path)) for folder in os.scandir(run.config.save_dir)
                 if folder.is_dir() and not folder.is_symlink()]
        cost = plan.cost(run)
        assert 2 <= len(sizes) <= 3 and max(sizes) * 3 == pytest.approx(cost.checkpoints, rel=0.03)
