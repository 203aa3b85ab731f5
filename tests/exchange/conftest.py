"""Runs of the three tasks, and what is exported of them."""
from pathlib import Path

import pytest

from support.exported import TASKS, write_run


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
    """{task: SAVE_DIR}."""
    root = tmp_path_factory.mktemp('runs')
    return {task: write_run(root / task, task) for task in TASKS}


@pytest.fixture(scope='session')
def folders(runs, tmp_path_factory):
    """{task: (SAVE_DIR, the exported folder)}."""
    for package in ('onnx', 'onnxruntime', 'safetensors'):
        pytest.importorskip(package, reason="pip install '.[onnx,interchange]'")
    from gluon_tricks.exchange.export import export
    from gluon_tricks.exchange.subject import subject_of
    root = tmp_path_factory.mktemp('exports')
    for task, run in runs.items():
        export(subject_of(run), str(root / task))
    return {task: (Path(run), root / task) for task, run in runs.items()}
