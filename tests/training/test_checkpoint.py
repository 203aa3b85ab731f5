import json
import os
import shutil

import numpy as np
import pytest

from gluon_tricks.compat import mx
from gluon_tricks.errors import UsageError
from gluon_tricks.training import checkpoint
from support.checkpoints import make_net, save, update


def values(net):
    return {name: [copy.asnumpy() for copy in param.list_data()]
            for name, param in net._collect_params_with_prefix().items()}


def test_the_links_follow_the_newest(tmp_path):
    net, trainer = make_net()
    update(net, trainer)
    for epoch in range(3):
        save(str(tmp_path), epoch, net, trainer, {'config': {}})
    assert checkpoint.target(str(tmp_path), 'latest') == 'epoch-0002'
    assert checkpoint.target(str(tmp_path), 'best') is None
    checkpoint.prune(str(tmp_path), {'epoch-0002'})
    assert checkpoint.names(str(tmp_path)) == ['epoch-0002']


def test_gluon_loads_the_parameters(tmp_path):
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    other, _ = make_net(seed=9)
    other.load_parameters(str(tmp_path / 'latest' / 'net.params'))
    for name, copies in values(other).items():
        np.testing.assert_array_equal(copies[0], values(net)[name][0])


@pytest.mark.parametrize('name', ['net.params', 'optimizer.params', 'manifest.json'])
@pytest.mark.parametrize('damage', ['flip', 'cut', 'remove'])
def test_damage_is_named_and_the_one_before_is_found(tmp_path, name, damage):
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    save(str(tmp_path), 1, net, trainer, {'config': {}})
    path = tmp_path / 'epoch-0001' / name
    content = bytearray(path.read_bytes())
    if damage == 'remove':
        path.unlink()
    else:
        middle = len(content) // 2
        content[middle] ^= 1
        path.write_bytes(bytes(content if damage == 'flip' else content[:middle]))
    with pytest.raises(UsageError) as error:
        checkpoint.read(str(tmp_path / 'epoch-0001'))
    assert name in str(error.value)
    found, manifest, notices = checkpoint.find(str(tmp_path))
    assert found.endswith('epoch-0000') and manifest['epoch'] == 0
    assert len(notices) == 1 and 'epoch-0001' in notices[0]


@pytest.mark.parametrize('file_number', [0, 1, 2])
def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch, file_number):
    """Each write in turn fails: no new directory, the old checkpoint whole, one sentence."""
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    calls, real = [], checkpoint.sync

    def failing(path):
        calls.append(path)
        if len(calls) == file_number + 1:
            raise OSError(28, 'No space left on device')
        real(path)

    monkeypatch.setattr(checkpoint, 'sync', failing)
    with pytest.raises(UsageError, match='No space left'):
        save(str(tmp_path), 1, net, trainer, {'config': {}})
    monkeypatch.undo()
    assert checkpoint.names(str(tmp_path)) == ['epoch-0000']
    assert [name for name in os.listdir(str(tmp_path)) if name.startswith('.partial')] == []
    assert checkpoint.target(str(tmp_path), 'latest') == 'epoch-0000'
    checkpoint.read(str(tmp_path / 'latest'))


def test_a_later_format_is_refused(tmp_path):
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    path = tmp_path / 'latest' / 'manifest.json'
    manifest = json.loads(path.read_text())
    manifest['format'] = 99
    manifest['digest'] = checkpoint._self_digest(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match='format 99'):
        checkpoint.read(str(tmp_path / 'latest'))


def test_an_export_outlives_its_checkpoint(tmp_path):
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    checkpoint.export(str(tmp_path / 'epoch-0000'), str(tmp_path / 'imagenet-net-0.params'))
    shutil.rmtree(str(tmp_path / 'epoch-0000'))
    assert len(mx.nd.load(str(tmp_path / 'imagenet-net-0.params'))) == 6


def test_nothing_is_pickled(tmp_path):
    """The files hold MXNet arrays and JSON; none starts or ends as a pickle does."""
    net, trainer = make_net()
    update(net, trainer)
    save(str(tmp_path), 0, net, trainer, {'config': {}})
    for name in os.listdir(str(tmp_path / 'epoch-0000')):
        content = (tmp_path / 'epoch-0000' / name).read_bytes()
        assert not content.startswith(b'\x80'), name


def test_a_latest_that_is_a_directory_is_named(tmp_path):
    (tmp_path / 'latest').mkdir()
    with pytest.raises(UsageError, match='latest is a directory, where a link to a checkpoint belongs'):
        checkpoint.point(str(tmp_path), 'latest', 'epoch-0001')
