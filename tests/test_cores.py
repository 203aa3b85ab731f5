import os

import pytest

from gluon_tricks import cores


def test_the_affinity_is_the_limit():
    assert 1 <= cores.available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize('files, expected', [
    ({'cpu.max': '150000 100000\n'}, 1.5), ({'cpu.max': 'max 100000\n'}, None), ({}, None),
    ({'cpu/cpu.cfs_quota_us': '400000\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 4.0),
    ({'cpu/cpu.cfs_quota_us': '-1\n', 'cpu/cpu.cfs_period_us': '100000\n'}, None), ({'cpu.max': 'nonsense'}, None)])
def test_a_containers_share_is_read(files, expected, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores._quota(str(tmp_path)) == expected


def test_a_share_is_rounded_up(monkeypatch):
    monkeypatch.setattr(cores, '_quota', lambda: 0.5)
    assert cores.available_cores() == 1
