"""A copy of the project's tree, the blocks of its pages, and the environment of a user who has nothing else."""
import os
import re
import shutil
import subprocess

from support import ROOT


def copy_tree(folder):
    """Copy what a fresh clone holds to a folder that is not there yet; returns it."""
    ignored = shutil.ignore_patterns('.git', '.venv', '.*_cache', 'runs', 'build', '__pycache__', '*.egg-info')
    return shutil.copytree(str(ROOT), str(folder), ignore=ignored)


def environment(*folders):
    """This process's variables with folders in front of PATH, less those that choose a Python or are of a make above."""
    of_others = ('PYTHON', 'VIRTUAL_ENV', 'MAKE', 'MFLAGS', 'ARGS', 'SEED', 'EXTRA')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(of_others)}
    return dict(kept, PATH=os.pathsep.join([*map(str, folders), kept['PATH']]))


def output(words, cwd, variables):
    """stdout and stderr of a command that must end with 0."""
    done = subprocess.run(words, cwd=str(cwd), env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    assert done.returncode == 0, f'{words}\n{done.stdout[-3000:]}'
    return done.stdout


def page_text(name):
    """The text of a page, such as 'README.md'."""
    return (ROOT / name).read_text(encoding='utf-8')


def fenced(text):
    """[(indentation, language, content)] of a page's blocks."""
    return re.findall(r'^( *)```(\w*)\n(.*?)^\1```$', text, re.M | re.S)


def python_blocks(text):
    """The contents of a page's Python blocks."""
    return [content for _, language, content in fenced(text) if language == 'python']
