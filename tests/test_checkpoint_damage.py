"""Checkpoints damaged by chance and by intent, and saves of which each step in turn fails."""
import builtins
import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess

import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint
from gluon_tricks.training.state import restore_arrays
from support.checkpoints import make_net, save, update

FILES = ('net.params', 'optimizer.params', 'devices.params', 'manifest.json')
DEVICES = (mx.cpu(0), mx.cpu(1))


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A directory with two checkpoints of a net on two devices; the first is the best."""
    folder = str(tmp_path_factory.mktemp('run'))
    net, trainer = make_net(DEVICES)
    for epoch in range(2):
        update(net, trainer, DEVICES, seed=epoch)
        save(folder, epoch, net, trainer, {'best': None, 'metrics': {}, 'config': {'model': 'x'}})
    checkpoint.point(folder, 'best', 'epoch-0000')
    return folder


@contextlib.contextmanager
def a_time_limit(seconds=10):
    """A pipe or an endless file must not hold a reader up."""
    def expired(*_):
        raise AssertionError('still reading after %d s' % seconds)
    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------------------------------------------------------------
# Damages. Each takes a random generator, the damaged checkpoint and the other one, and returns the names that the
# sentence may give; None where nothing may be noticed.

def damaged_bytes(rng, path, other):
    name = rng.choice(FILES)
    with open(os.path.join(path, name), 'rb') as stream:
        whole = stream.read()
    data, at, length = bytearray(whole), rng.randrange(len(whole)), rng.choice((1, 2, 8, 64, 512))
    kind = rng.randrange(6)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = bytes(rng.randrange(256) for _ in range(length))
    elif kind == 3:
        data[at:at + length] = bytes(len(data[at:at + length]))
    elif kind == 4:
        del data[at:at + length]
    else:
        data += bytes(length)
    with open(os.path.join(path, name), 'wb') as stream:
        stream.write(data)
    return None if data == whole or name == 'manifest.json' and _values(data) == _values(whole) else [name]


def _values(text):
    """A manifest's, which blanks do not change."""
    try:
        return json.loads(text.decode())
    except ValueError:
        return text


def swapped_files(rng, path, other):
    if rng.random() < 0.5:
        one, two = rng.sample(FILES, 2)
        os.rename(os.path.join(path, one), os.path.join(path, 'x'))
        os.rename(os.path.join(path, two), os.path.join(path, one))
        os.rename(os.path.join(path, 'x'), os.path.join(path, two))
        return [one, two]
    name = rng.choice(FILES)
    shutil.copyfile(os.path.join(other, name), os.path.join(path, name))
    return ['net.params', 'optimizer.params', 'devices.params'] if name == 'manifest.json' else [name]


def replaced_file(rng, path, other):
    name = rng.choice(FILES)
    target = os.path.join(path, name)
    kind = rng.randrange(6)
    os.rename(target, os.path.join(path, 'moved'))
    if kind == 0:
        os.mkdir(target)
    elif kind == 1:
        os.symlink('nowhere', target)
    elif kind == 2:
        os.symlink(name, target)  # a link to itself
    elif kind == 3:
        os.symlink('/etc/passwd', target)
    elif kind == 4:
        os.symlink('moved', target)
        return None
    return [name]


def replaced_directory(rng, path, other):
    kind = rng.randrange(4)
    os.rename(path, path + '-moved')
    if kind == 0:
        os.mkdir(path)
    elif kind == 1:
        os.symlink('/etc', path)
    elif kind == 2:
        os.symlink('nowhere', path)
    else:
        with open(path, 'w') as stream:
            stream.write('{}')
    return ['manifest.json']


def extra_file(rng, path, other):
    with open(os.path.join(path, rng.choice(('extra', '.hidden', 'net.params.partial'))), 'w') as stream:
        stream.write('x')


ODD = [None, True, -1, 0, 1e308, float('nan'), float('inf'), 10 ** 400, '', 'x' * 5000, '../x', [], {}, [[]] * 3]


def edited_manifest(rng, path, other):
    """Values, keys and files of the manifest change, its digest does not."""
    manifest_path = os.path.join(path, 'manifest.json')
    with open(manifest_path) as stream:
        before = json.load(stream)
    manifest = json.loads(json.dumps(before))
    place = rng.choice([manifest, manifest['files'], manifest['files']['net.params']])
    kind = rng.randrange(3)
    key = rng.choice(sorted(place))
    if kind == 0:
        place[key] = rng.choice(ODD)
    elif kind == 1:
        del place[key]
    else:
        place[rng.choice(('extra', '../x', '', '\0', 'é'))] = rng.choice(ODD)
    with open(manifest_path, 'w') as stream:
        json.dump(manifest, stream, indent=rng.choice((None, 1)), sort_keys=rng.random() < 0.5)
    return None if repr(manifest) == repr(before) else ['manifest.json']


DAMAGES = (damaged_bytes, damaged_bytes, swapped_files, replaced_file, replaced_directory, extra_file, edited_manifest)


def check_damage(run, folder, seed):
    """Damage a copy of the run and look at what `read` and `find` make of it."""
    rng = random.Random(seed)
    damage = DAMAGES[seed % len(DAMAGES)]
    shutil.copytree(run, folder, symlinks=True)
    path, other = os.path.join(folder, 'epoch-0001'), os.path.join(folder, 'epoch-0000')
    names = damage(rng, path, other)
    if names is None:
        assert checkpoint.read(path) == checkpoint.read(os.path.join(run, 'epoch-0001')), damage
        found, _, notices = checkpoint.find(folder)
        assert found == path and not notices
        return
    with pytest.raises(UsageError) as caught:
        checkpoint.read(path)
    sentence = str(caught.value)
    assert path in sentence and any(name in sentence for name in names) and '\n' not in sentence, (damage, sentence)
    found, manifest, notices = checkpoint.find(folder)
    assert found == other and manifest['epoch'] == 0 and notices == [sentence]


def check_damages(run, tmp_path, seeds):
    for seed in seeds:
        with a_time_limit():
            check_damage(run, str(tmp_path / 'copy'), seed)
        shutil.rmtree(str(tmp_path / 'copy'))


def test_damages_by_chance_are_found(run, tmp_path):
    check_damages(run, tmp_path, range(700))


@pytest.mark.slow
def test_many_damages_by_chance_are_found(run, tmp_path):
    check_damages(run, tmp_path, range(1000, 15000))


@pytest.mark.parametrize('kind', ['nowhere', 'itself', 'elsewhere', 'file', 'removed'])
@pytest.mark.parametrize('link', ['latest', 'best'])
def test_a_wrong_link_is_named_and_mended_by_the_next_save(run, tmp_path, link, kind):
    folder = str(tmp_path / 'copy')
    shutil.copytree(run, folder, symlinks=True)
    path = os.path.join(folder, link)
    os.remove(path)
    if kind == 'file':
        with open(path, 'w') as stream:
            stream.write('epoch-0001')
    elif kind != 'removed':
        os.symlink({'nowhere': 'epoch-0099', 'itself': link, 'elsewhere': '/etc'}[kind], path)
    with pytest.raises(UsageError, match=path):
        checkpoint.read(path)
    checkpoint.target(folder, link)
    assert checkpoint.find(folder)[0].endswith('epoch-0001')
    checkpoint.point(folder, link, 'epoch-0001')
    assert checkpoint.target(folder, link) == 'epoch-0001' and checkpoint.read(path)['epoch'] == 1


# ---------------------------------------------------------------------------------------------------------------------
# A manifest made by hand, its digest right

def sealed(run, folder, change):
    """The path of a copy's newest checkpoint whose manifest has been changed, with a right digest."""
    shutil.copytree(run, folder, symlinks=True)
    path = os.path.join(folder, 'epoch-0001')
    with open(os.path.join(path, 'manifest.json')) as stream:
        manifest = json.load(stream)
    change(manifest)
    manifest['digest'] = checkpoint._self_digest(manifest)
    with open(os.path.join(path, 'manifest.json'), 'w') as stream:
        json.dump(manifest, stream)
    return path


def outside(name):
    """Have the manifest list a file outside, with its right digest."""
    def change(manifest):
        manifest['files'][name] = dict(manifest['files']['net.params'])
    return change


REFUSED = {
    'another digest': lambda manifest: manifest['files']['net.params'].update(sha256='0' * 64),
    'a digest of null': lambda manifest: manifest['files']['net.params'].update(sha256=None),
    'format null': lambda manifest: manifest.update(format=None),
    'format NaN': lambda manifest: manifest.update(format=float('nan')),
    'format a list': lambda manifest: manifest.update(format=[1]),
    'a file that is not there': outside('none'),
    'a name with a zero byte': outside('a\0b'),
    'the directory itself': outside('.'),
    'the empty name': outside(''),
    'no format': lambda manifest: manifest.pop('format'),
    'no files': lambda manifest: manifest.pop('files'),
    'files null': lambda manifest: manifest.update(files=None),
    'files a list': lambda manifest: manifest.update(files=['net.params']),
    'files empty': lambda manifest: manifest.update(files={}),
    'net.params not listed': lambda manifest: manifest['files'].pop('net.params'),
    'facts a number': lambda manifest: manifest['files'].update({'net.params': 1}),
    'no digest of a file': lambda manifest: manifest['files']['net.params'].pop('sha256'),
    'a file outside': outside('../epoch-0001/net.params'),
    'no epoch': lambda manifest: manifest.pop('epoch'),
    'epoch a word': lambda manifest: manifest.update(epoch='1'),
    'epoch NaN': lambda manifest: manifest.update(epoch=float('nan')),
}


@pytest.mark.parametrize('kind', sorted(REFUSED))
def test_a_sealed_manifest_that_does_not_fit_is_refused(run, tmp_path, kind):
    path = sealed(run, str(tmp_path / 'copy'), REFUSED[kind])
    with a_time_limit(), pytest.raises(UsageError) as caught:
        checkpoint.read(path)
    assert path in str(caught.value)
    assert checkpoint.find(str(tmp_path / 'copy'))[0].endswith('epoch-0000')


@pytest.mark.parametrize('kind', ['binary', 'many digits', 'list', 'null', 'empty', 'pipe', 'endless',
                                  'nested'])
def test_a_manifest_that_is_no_json_object(run, tmp_path, kind):
    folder = str(tmp_path / 'copy')
    shutil.copytree(run, folder, symlinks=True)
    path = os.path.join(folder, 'epoch-0001', 'manifest.json')
    os.remove(path)
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'endless':
        os.symlink('/dev/zero', path)
    else:
        with open(path, 'wb') as stream:
            stream.write({'nested': b'[' * 100000, 'binary': b'\xff\xfe\0', 'many digits': b'9' * 100000,
                          'list': b'[]', 'null': b'null', 'empty': b''}[kind])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/statm') as stream:
        room = int(stream.read().split()[0]) * resource.getpagesize() + (256 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, limits[1]))
    try:
        with a_time_limit(2), pytest.raises(UsageError, match='manifest.json'):
            checkpoint.read(os.path.dirname(path))
        assert checkpoint.find(folder)[0].endswith('epoch-0000')
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_a_file_that_the_manifest_does_not_list_is_not_loaded(tmp_path):
    net, trainer = make_net()
    update(net, trainer)
    path = save(str(tmp_path), 0, net, trainer, {'config': {}})
    running_mean = net[1].running_mean.data().asnumpy()
    mx.nd.save(os.path.join(path, 'devices.params'), {'0:1.running_mean': mx.nd.ones(4) * 99})
    checkpoint.read(path)
    restore_arrays(path, checkpoint.read(path), net, trainer)
    assert (net[1].running_mean.data().asnumpy() == running_mean).all()


# ---------------------------------------------------------------------------------------------------------------------
# Saves of which each step in turn fails

class Failing:
    """The system calls of a save, counted; number `at` of those that concern `folder` fails with `code`."""

    CALLS = ('mkdir', 'open', 'fsync', 'rename', 'replace', 'symlink', 'link', 'remove', 'rmdir', 'unlink')

    def __init__(self, monkeypatch, at=None, code=errno.ENOSPC):
        self.at, self.code, self.seen, self.paused = at, code, [], False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._failing('os.' + name, getattr(os, name)))
        monkeypatch.setattr(builtins, 'open', self._opened(builtins.open))

    def step(self, name, detail):
        self.seen.append(f'{name} {detail}')
        if self.at is not None and len(self.seen) - 1 == self.at:
            raise OSError(self.code, os.strerror(self.code), str(detail))

    def _failing(self, name, real):
        def call(*arguments, **options):
            self.step(name, arguments[0])
            return real(*arguments, **options)
        return call

    def _opened(self, real):
        def call(path, mode='r', *arguments, **options):
            self.step('open ' + mode, path)
            stream = real(path, mode, *arguments, **options)
            if 'w' in mode:
                write = stream.write
                stream = _Written(stream, lambda text: (self.step('write', path), write(text))[1])
            return stream
        return call


class _Written:
    """A file whose ``write`` is another; it fails when it is closed as well."""

    def __init__(self, stream, write):
        self.stream, self.write = stream, write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def __getattr__(self, name):
        return getattr(self.stream, name)


def saved_run(folder, again=False):
    """(net, trainer) of a run with one checkpoint, the latest and the best; again: a second one is there already."""
    os.makedirs(folder)
    net, trainer = make_net()
    update(net, trainer)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, 'fsync', lambda handle: None)  # which takes most of the time
        save(folder, 0, net, trainer, {'config': {}})
        checkpoint.point(folder, 'best', 'epoch-0000')
        update(net, trainer, seed=2)
        if again:
            save(folder, 1, net, trainer, {'config': {}})
    return net, trainer


def failing_save(folder, net, trainer, at, code=errno.ENOSPC):
    """(steps of a save that were reached, its error or None); step `at` failed."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        steps = Failing(monkeypatch, at, code)
        try:
            save(folder, 1, net, trainer, {'config': {}})
        except (OSError, UsageError) as error:
            return steps.seen, error
    return steps.seen, None


def check_whole(folder, before):
    """Checkpoint and links of `before` are whole, nothing half-written has a final name, and the next save works."""
    assert checkpoint.read(os.path.join(folder, 'epoch-0000'))['epoch'] == 0
    found, _, notices = checkpoint.find(folder)
    assert not notices and checkpoint.position_of(os.path.basename(found))[0] >= before
    for link in ('latest', 'best'):
        checkpoint.read(os.path.join(folder, link))
    assert not [name for name in os.listdir(folder) if name[0] != '.' and name not in ('latest', 'best')
                and not name.startswith('epoch-')]
    net, trainer = make_net()
    update(net, trainer)
    save(folder, 1, net, trainer, {'config': {}})
    assert checkpoint.find(folder)[0].endswith('epoch-0001') and checkpoint.target(folder, 'latest') == 'epoch-0001'
    checkpoint.prune(folder, {'epoch-0000', 'epoch-0001'})
    assert sorted(os.listdir(folder)) == ['best', 'epoch-0000', 'epoch-0001', 'latest']


def number_of_steps(tmp_path, again):
    net, trainer = saved_run(str(tmp_path / 'count'), again)
    return failing_save(str(tmp_path / 'count'), net, trainer, None)[0]


CODES = [errno.ENOSPC, errno.EIO, errno.EACCES]


@pytest.mark.parametrize('codes', [CODES, *(pytest.param([code], marks=pytest.mark.slow) for code in CODES)])
def test_every_step_of_a_save_may_fail(tmp_path, codes):
    """Each step by one of the codes, in turn."""
    steps = number_of_steps(tmp_path, False)
    assert len(steps) > 15
    for at in range(len(steps)):
        folder, code = str(tmp_path / str(at)), codes[at % len(codes)]
        net, trainer = saved_run(folder)
        seen, error = failing_save(folder, net, trainer, at, code)
        assert error is not None or checkpoint.target(folder, 'latest') == 'epoch-0001', seen
        if error is not None:
            assert isinstance(error, UsageError), seen[at]
            assert os.strerror(code) in str(error) and '\n' not in str(error), seen[at]
        check_whole(folder, 0)


def test_an_epoch_that_is_saved_again_is_there_whatever_step_failed(tmp_path):
    for at in range(len(number_of_steps(tmp_path, True))):
        folder = str(tmp_path / str(at))
        seen, _ = failing_save(folder, *saved_run(folder, again=True), at)
        assert os.path.isdir(os.path.join(folder, 'epoch-0001')), seen[at]
        check_whole(folder, 1)


@contextlib.contextmanager
def largest_file(size):
    """Files of this process end at so many bytes; the write that goes on fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_may_end_at_any_byte(tmp_path):
    """As on a disk that fills up: MXNet's own writes fail, and Python's."""
    folder = str(tmp_path / 'run')
    net, trainer = saved_run(folder)
    limit = max(os.path.getsize(os.path.join(folder, 'epoch-0000', name)) for name in
                ('net.params', 'optimizer.params', 'manifest.json'))
    for size in range(0, limit + 1, 29):
        with largest_file(size):
            try:
                save(folder, 1, net, trainer, {'config': {}})
            except UsageError as error:
                assert '\n' not in str(error) and not os.path.isdir(os.path.join(folder, 'epoch-0001'))
        for name in checkpoint.names(folder):
            path = os.path.join(folder, name)
            restore_arrays(path, checkpoint.read(path), *make_net())
        checkpoint.point(folder, 'latest', 'epoch-0000')
        shutil.rmtree(os.path.join(folder, 'epoch-0001'), ignore_errors=True)
    check_whole(folder, 0)


@pytest.fixture
def small_disk(tmp_path):
    """(folder, function(room in bytes) that leaves only so much on its disk)."""
    folder = str(tmp_path / 'disk')
    os.mkdir(folder)
    if subprocess.call(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder], stderr=subprocess.DEVNULL):
        pytest.skip('a disk can be mounted by root only')

    def leave(room):
        facts = os.statvfs(folder)
        used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        subprocess.check_call(['mount', '-o', f'remount,size={used + room}', folder])
    yield folder, leave
    subprocess.check_call(['umount', folder])


def test_a_disk_that_is_full(small_disk):
    folder, leave = small_disk
    folder = os.path.join(folder, 'run')
    net, trainer = saved_run(folder)
    failed = 0
    for room in range(1, 30000, 4096):
        leave(room)
        try:
            save(folder, 1, net, trainer, {'config': {}})
        except (UsageError, OSError) as error:
            failed += 1
            assert '\n' not in str(error)
        leave(1 << 20)
        assert checkpoint.read(os.path.join(folder, 'epoch-0000'))['epoch'] == 0
        for name in checkpoint.names(folder):
            path = os.path.join(folder, name)
            restore_arrays(path, checkpoint.read(path), *make_net())
        checkpoint.point(folder, 'latest', 'epoch-0000')
        shutil.rmtree(os.path.join(folder, 'epoch-0001'), ignore_errors=True)
    assert 0 < failed < 7
    check_whole(folder, 0)


def _no_links(*_):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize('kind', ['no room', 'a directory there'])
def test_an_export_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, kind):
    saved_run(str(tmp_path / 'run'))
    target = tmp_path / 'run' / 'net-0000.params'
    if kind == 'a directory there':
        target.mkdir()
    monkeypatch.setattr(os, 'link', _no_links)
    with largest_file(100 if kind == 'no room' else -1), pytest.raises(UsageError, match='net-0000.params'):
        checkpoint.export(str(tmp_path / 'run' / 'epoch-0000'), str(target))
    assert not os.path.isfile(str(target)) and not os.path.lexists(str(target) + '.partial')
