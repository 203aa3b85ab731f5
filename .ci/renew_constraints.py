"""Write .ci/constraints/pyXY.txt for the Python that runs this: the newest versions that setup.py permits today.

`make .venv` installs, and builds with, exactly these. `make constraints PYTHON=python3.8` calls this program; it
resolves without installing.
"""
import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = 'cpu,cu112,demo,interchange,lint,mlflow,notebook,onnx,report,tensorboard,test,trackio'
TOOLS = ['pip', 'setuptools', 'wheel']  # what installs and builds


def resolve(folder):
    """The versions by name, {'numpy': '1.26.4', ...}, that the newest pip chooses. Raises CalledProcessError."""
    venv.create(str(folder / 'venv'), with_pip=True)
    pip = [str(folder / 'venv' / 'bin' / 'python'), '-m', 'pip', 'install', '--quiet']
    subprocess.run(pip + ['--upgrade', 'pip'], check=True)
    report = folder / 'report.json'
    subprocess.run(pip + ['--dry-run', '--ignore-installed', '--report', str(report)] + TOOLS + [f'.[{EXTRAS}]'],
                   cwd=str(ROOT), check=True)
    chosen = [each['metadata'] for each in json.loads(report.read_text())['install']]
    return {re.sub('[-_.]+', '-', each['name']).lower(): each['version'] for each in chosen}


def main():
    """Write the file, and print its path."""
    with tempfile.TemporaryDirectory() as folder:
        versions = resolve(Path(folder))
    del versions['gluon-tricks']
    path = ROOT / '.ci' / 'constraints' / 'py{}{}.txt'.format(*sys.version_info[:2])
    lines = ['# What `make .venv` installs; written by `make constraints`.']
    lines += [f'{name}=={version}' for name, version in sorted(versions.items())]
    path.write_text('\n'.join(lines) + '\n')
    print(path.relative_to(ROOT))


if __name__ == '__main__':
    main()
