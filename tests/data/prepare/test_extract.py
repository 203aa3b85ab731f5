import errno
import json
import os

import pytest

from gluon_tricks.data.prepare import extract as extracting
from gluon_tricks.errors import UsageError

MEMBERS = {f'top/a/{number}.txt': b'%d' % number for number in range(200)}
MEMBERS['other/b.txt'] = b''


def tree(folder):
    return {os.path.relpath(os.path.join(place, name), str(folder)): open(os.path.join(place, name), 'rb').read()
            for place, _, names in os.walk(str(folder)) for name in names}


def extract(out, members=MEMBERS, check=lambda folder, processes: {'checked': True}, describe=None, **options):
    return extracting.extract(members, str(out), 'set', check, describe or words, {'x.tar': None}, **options)


def words(facts):
    return [f'{facts["checked"]}']


class Stop(BaseException):
    """Stands for a kill: nothing may catch it."""


def test_the_tree_and_its_certificate(tmp_path):
    facts = extract(tmp_path / 'one')
    assert facts['checked'] and facts['source'] == {'x.tar': None}
    found = tree(tmp_path / 'one')
    assert json.loads(found.pop('set.certificate.json').decode()) == facts and found == MEMBERS
    extract(tmp_path / 'two', processes=2)
    assert tree(tmp_path / 'two') == tree(tmp_path / 'one')
    assert extract(tmp_path / 'one', check=None) == facts  # kept


@pytest.mark.parametrize('forged', [{}, {'checked': None}, {'checked': {'a': float('nan')}},
                                    {'checked': {'a': float('inf')}}, [], 'x'])
def test_a_certificate_of_other_facts_is_not_taken(tmp_path, forged):
    facts = extract(tmp_path, check=lambda folder, processes: {'checked': {'a': 1}}, describe=counts)
    if isinstance(forged, dict):
        forged = dict({name: facts[name] for name in ('plan', 'source')}, **forged)
    (tmp_path / 'set.certificate.json').write_text(json.dumps(forged))
    with pytest.raises(UsageError, match='is there already, and not from these archives'):
        extract(tmp_path, describe=counts)


def counts(facts):
    return ['%s: %d' % pair for pair in facts['checked'].items()]


@pytest.mark.parametrize('error', [Stop, OSError(errno.ENOSPC, 'No space left on device')], ids=['kill', 'full disk'])
@pytest.mark.parametrize('function', ['replace', 'rename'])
def test_stopped_anywhere_it_goes_on(tmp_path, monkeypatch, error, function):
    expected = None
    for point in list(range(0, 205, 17)) + [201, 202, 203]:
        out, calls, real = tmp_path / str(point), [], getattr(os, function)

        def stop(*arguments):
            calls.append(arguments)
            if len(calls) == point + 1:
                raise error
            real(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(os, function, stop)
            try:
                extract(out)
            except Stop:
                assert not (out / 'set.certificate.json').exists()
            except UsageError as problem:
                assert 'No space left' in str(problem)
        extract(out)
        expected = expected or tree(out)
        assert tree(out) == expected


def test_a_tree_that_is_wrong_does_not_appear(tmp_path):
    def wrong(folder, processes):
        raise UsageError('a mask is missing')
    with pytest.raises(UsageError, match='a mask is missing'):
        extract(tmp_path, check=wrong)
    assert os.listdir(str(tmp_path)) == []  # nothing of it is taken for good the next time
    assert extract(tmp_path)['checked']


def test_a_tree_that_was_removed_is_made_again(tmp_path):
    import shutil
    facts = extract(tmp_path)
    shutil.rmtree(str(tmp_path / 'top'))
    shutil.rmtree(str(tmp_path / 'other'))
    assert extract(tmp_path) == facts and (tmp_path / 'top' / 'a' / '7.txt').exists()


def test_an_archive_of_ones_own_that_changed_is_another_one(tmp_path):
    """Its files may have the sizes that they had."""
    from gluon_tricks.data.prepare import archives
    from support.archives import tar_bytes
    path = tmp_path / 'x.tar'

    def make(content, time):
        path.write_bytes(tar_bytes({'top/a': content}))
        os.utime(str(path), (time, time))
        return {'top/a': archives.tar_members(str(path))[0][1]}
    extract(tmp_path / 'out', make(b'one', 1))
    with pytest.raises(UsageError, match='not from these archives'):
        extract(tmp_path / 'out', make(b'two', 2))


def test_a_file_that_is_a_folder_as_well(tmp_path):
    with pytest.raises(UsageError, match='top/a as a file and as a folder'):
        extract(tmp_path, dict(MEMBERS, **{'top/a': b'x'}))


def test_what_is_there_already_is_not_touched(tmp_path):
    (tmp_path / 'top').mkdir()
    (tmp_path / 'top' / 'mine.txt').write_text('mine')
    with pytest.raises(UsageError, match='top is there already'):
        extract(tmp_path)
    assert (tmp_path / 'top' / 'mine.txt').read_text() == 'mine'
