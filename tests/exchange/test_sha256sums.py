"""Damage in any file of an exported folder."""
import shutil

import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.exchange.sha256sums import check
from support.exported import TASKS


def files_of(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('task', TASKS)
def test_a_folder_damaged_in_any_file_is_refused(task, folders, tmp_path):
    """Each file in turn changed by a bit, cut short, emptied, removed; the sentence names it."""
    copy = tmp_path / 'copy'
    shutil.copytree(str(folders[task][1]), str(copy))
    for path in files_of(copy):
        content = path.read_bytes()
        places = {0, len(content) // 2, len(content) - 1}
        changed = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1:] for place in places]
        for damaged in changed + [content[:-1], content[:len(content) // 2], content + b'\n', b'', None]:
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            with pytest.raises(UsageError, match=None if path.name == 'SHA256SUMS' else path.name):
                check(str(copy))
        path.write_bytes(content)
    assert check(str(copy)) == len(files_of(copy)) - 1


@pytest.mark.parametrize('task', TASKS)
def test_a_folder_with_a_file_more_or_two_exchanged_is_refused(task, folders, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(str(folders[task][1]), str(copy))
    for name in ('more', '.more', '.eval_results/more', 'new/more', 'net.params~'):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b'')
        with pytest.raises(UsageError, match=f'{name} is not in SHA256SUMS'):
            check(str(copy))
        (copy / name).unlink()
    assert check(str(copy))
    first, second = copy / 'net.params', copy / 'model.onnx'
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(UsageError, match='model.onnx is damaged'):
        check(str(copy))
