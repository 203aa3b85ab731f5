import json
import subprocess
import sys

import pytest

from gluon_tricks.doctor import selftest
from gluon_tricks.errors import UsageError


def run(path, **options):
    """(exit code, the file, the lines that were said)."""
    lines = []
    code = selftest.selftest(str(path), say=lines.append, **options)
    return code, json.loads(path.read_text()), lines


def test_parts_that_fail_hang_or_die_are_written_down_and_the_rest_goes_on(tmp_path, monkeypatch):
    parts = tmp_path / 'parts.py'
    parts.write_text('''
import json, os, sys, time
name, given = sys.argv[-1], json.load(sys.stdin)
answer = {'checks': [{'what': 'sum', 'is': 2, 'must': 1, 'ok': False}], 'figures': {}, 'notes': ['fine']}
if name == 'machine':
    raise ValueError('no such thing')
if name == 'precision':
    print('begun', flush=True)
    if os.fork() == 0:
        time.sleep(3)
        open(given['folder'] + '/alive', 'w').close()
    time.sleep(60)
if name == 'overflow':
    os.abort()
answer['checks'][0]['ok'] = name != 'devices'
print('noise')
print(json.dumps(answer))
''')
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, 'Popen', lambda words, **options: popen([sys.executable, str(parts), words[-1]], **options))
    monkeypatch.setattr(selftest, 'PARTS', dict(selftest.PARTS, precision=1))
    code, report, lines = run(tmp_path / 'out.json', parts=['machine', 'precision', 'devices', 'overflow', 'speed'])
    found = {part['name']: part for part in report['parts']}
    assert code == 1 and report['whole'] and not report['ok']
    assert {name: part['ok'] for name, part in found.items()} == {
        'machine': False, 'precision': False, 'devices': False, 'overflow': False, 'speed': True}
    assert found['machine']['error'] == 'ended with code 1' and found['machine']['said'][-1] == 'ValueError: no such thing'
    assert found['precision']['error'] == 'not finished after 1 seconds' and found['precision']['said'] == ['begun']
    assert found['overflow']['error'] == 'ended with code -6'
    assert [line.split()[0] for line in lines[:-1]] == list(found) and 'sum is 2, must be 1' in lines[2]
    assert 'NOT OK' in lines[0] and 'fine' in lines[4] and 'machine, precision, devices, overflow' in lines[-1]


def test_the_file_is_there_after_each_part(tmp_path, monkeypatch):
    """So that a machine that goes down leaves what was found."""
    seen = []

    def say(line):
        seen.append(json.loads((tmp_path / 'out.json').read_text()))
    monkeypatch.setattr(selftest, '_run', lambda name, limit, given: {'name': name, 'ok': True, 'seconds': 0.0, 'checks': [], 'notes': []})
    assert selftest.selftest(str(tmp_path / 'out.json'), say=say) == 0
    assert [len(each['parts']) for each in seen[:-1]] == list(range(1, len(selftest.PARTS) + 1))
    assert [each['whole'] for each in seen[:-1]] == [False] * (len(selftest.PARTS) - 1) + [True]


def test_where_nothing_can_be_written_nothing_is_run(tmp_path):
    with pytest.raises(UsageError, match='give another OUT.json'):
        selftest.selftest(str(tmp_path / 'no' / 'out.json'))


@pytest.mark.slow
def test_all_of_it_on_the_cpu(tmp_path, capsys):
    code, report, lines = run(tmp_path / 'out.json')
    with capsys.disabled():
        print('\n' + '\n'.join(lines))
    assert code == 0 and report['whole'] and report['ok']
    assert [part['name'] for part in report['parts']] == list(selftest.PARTS)
    rates = next(part for part in report['parts'] if part['name'] == 'speed')['figures']
    assert set(rates) == {'float32, 1 cpu', 'float16, 1 cpu', 'float32, 2 cpu', 'float16, 2 cpu', 'float16, 2 cpu, records'}
