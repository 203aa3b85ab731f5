"""The self-test for a machine that nobody here has: what GPUs compute, set beside the CPU, in some ten minutes and one
JSON file to send back. On a machine without GPUs it runs whole on the CPU, where what is emulated stands for float16.

Each part (`selftest_parts.py`) is a process of its own with a time limit: one that fails, hangs or takes the process
with it is written down, and the rest goes on.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

import gluon_tricks
from gluon_tricks.files import check_writable, python_path, unwritable, write_whole

FORMAT = 1
# In the order in which they run, and the longest that each may take, in seconds.
PARTS = {'machine': 60, 'precision': 120, 'devices': 120, 'overflow': 90, 'records': 60, 'resume': 180, 'speed': 600}
_LINES = 30  # of what a part that failed wrote last


def selftest(path: str, devices: str = '', parts: Sequence[str] = (), quick: bool = False,
             say: Callable[[str], None] = print) -> int:
    """Run the parts and write the file, anew after each of them; returns 1 where one failed or found what must not be,
    else 0.

    path: of the JSON file; devices: as --devices has them, '' for all GPUs, or two CPU devices; parts: of `PARTS`, all
    by default; quick: fewer updates of smaller networks, for a test of this test; say: takes the line of a part.
    Raises UsageError where the file cannot be written.
    """
    check_writable(path, 'give another OUT.json')
    begin = time.time()
    report: Dict[str, Any] = {
        'what': 'gluon_tricks self-test', 'format': FORMAT, 'gluon_tricks': gluon_tricks.__version__, 'quick': quick,
        'began': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()), 'whole': False, 'parts': []}
    with tempfile.TemporaryDirectory(prefix='gluon_tricks-') as folder:
        for name in parts or PARTS:
            part = _run(name, PARTS[name], {'devices': devices, 'quick': quick, 'folder': folder})
            report['parts'].append(part)
            report.update(seconds=round(time.time() - begin, 1), ok=all(part['ok'] for part in report['parts']),
                          whole=len(report['parts']) == len(parts or PARTS))
            _write(path, report)
            say(_line(part))
    failed = [part['name'] for part in report['parts'] if not part['ok']]
    say(f'{path} is written, {report["seconds"]:.0f} s: '
        + (f'not as it must be: {", ".join(failed)}; send the file back' if failed else 'all parts as they must be'))
    return 1 if failed else 0


def _write(path, report):
    try:
        write_whole(path, (json.dumps(report, indent=1) + '\n').encode())
    except OSError as error:
        raise unwritable(path, error, 'give another OUT.json') from error


def _run(name, limit, given):
    """One part as JSON values: `ok`, `seconds`, and `checks`, `figures`, `notes` of it, or `error`."""
    began = time.time()
    process = subprocess.Popen(
        [sys.executable, '-m', 'gluon_tricks.doctor.selftest_parts', name], stdin=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, errors='replace',
        env=dict(os.environ, PYTHONPATH=python_path()))
    error: Optional[str] = None
    try:
        said, _ = process.communicate(json.dumps(given), timeout=limit)
    except BaseException as reason:
        os.killpg(process.pid, signal.SIGKILL)  # with what it started
        said, _ = process.communicate()
        if not isinstance(reason, subprocess.TimeoutExpired):
            raise
        error = f'not finished after {limit} seconds'
    lines = said.splitlines()
    found = _answer(lines)
    if found is None:
        found = {'error': error or f'ended with code {process.returncode}', 'said': lines[-_LINES:]}
    found['ok'] = 'error' not in found and all(check['ok'] for check in found['checks'])
    return dict(name=name, seconds=round(time.time() - began, 1), **found)


def _answer(lines: List[str]) -> Optional[Dict[str, Any]]:
    """What a part found: the JSON of its last line, None where that is none."""
    try:
        found = json.loads(lines[-1])
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, dict) and 'checks' in found else None


def _line(part):
    """A part in one line."""
    if 'error' in part:
        last = part['said'][-1][:160] if part['said'] else 'it said nothing'
        words = f'{part["error"]}: {last}'
    else:
        wrong = [f'{check["what"]} is {check["is"]}, must be {check["must"]}' for check in part['checks']
                 if not check['ok']]
        words = '; '.join(wrong or part['notes'])
    return f'{part["name"]:<10}{"ok" if part["ok"] else "NOT OK":<7}{part["seconds"]:5.0f} s  {words}'
