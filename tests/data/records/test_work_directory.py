import os

import pytest

from gluon_tricks.data.records.work_directory import parts
from gluon_tricks.errors import UsageError


def test_it_is_kept_for_the_same_plan_only(tmp_path):
    folder = str(tmp_path / 'x.parts')
    for plan, kept in (('one', False), ('one', True), ('two', False)):
        with pytest.raises(RuntimeError):
            with parts(folder, plan, 'x'):
                assert os.path.exists(folder + '/made') == kept
                assert not os.path.exists(folder + '/tree/file') or kept
                assert not os.path.exists(folder + '/half.partial')
                os.makedirs(folder + '/tree', exist_ok=True)
                for name in ('made', 'tree/file', 'half.partial'):
                    open(os.path.join(folder, name), 'w').close()
                raise RuntimeError
    with parts(folder, 'two', 'x'):
        assert os.path.exists(folder + '/made')
    assert not os.path.exists(folder)


def test_nothing_made_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        with parts(str(tmp_path / 'x.parts'), 'plan', 'x'):
            raise RuntimeError
    assert os.listdir(str(tmp_path)) == []


def test_one_process_at_a_time(tmp_path):
    with parts(str(tmp_path / 'x.parts'), 'plan', 'x'):
        with pytest.raises(UsageError, match=f'x is being written by process {os.getpid()} on '):
            with parts(str(tmp_path / 'x.parts'), 'plan', 'x'):
                pass
