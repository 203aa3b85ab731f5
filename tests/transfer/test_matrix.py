import dataclasses
import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import pytest

from gluon_tricks.errors import UsageError
from gluon_tricks.files import LOCK, Lock
from support import ROOT
from transfer import matrix

# What the two programs do, as far as the matrix sees it. The weights' file says how the training goes.
PROGRAM = '''
import json, os, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder, detector = words['--save-dir'], '--network' in words
goes = open(words['--base-params']).read().split()[0]
os.makedirs(folder, exist_ok=True)
with open(folder + '/starts', 'a') as stream:
    stream.write(' '.join(sys.argv[1:]) + '\\n')
latest = folder + '/latest'
begun = os.path.exists(latest)
assert words['--resume'] == 'auto' and words.get('--network', words.get('--backbone')).startswith('resnet')
if begun and open(latest).read() != words.get('--lr', ''):
    sys.exit('error: --resume auto: lr is %s now and was another' % words.get('--lr'))

def record(status, **more):
    with open(folder + '/run.json', 'w') as stream:
        json.dump(dict(more, status=status), stream)
print('training with', goes, flush=True)
if goes == 'refuses':
    print('error: --data-dir has no images', file=sys.stderr)
    sys.exit(2)
record('running')
try:
    with open(latest, 'w') as stream:
        stream.write(words.get('--lr', ''))
    time.sleep(60 if goes == 'waits' and not begun else 0)
except KeyboardInterrupt:
    record('interrupted')
    print('child: interrupted', flush=True)
    sys.exit(130)
if goes == 'dies':
    os.kill(os.getpid(), 9)
if goes == 'diverges':
    record('diverged', reason='the loss is not finite at update 7')
    sys.exit(3)
def figures(add):
    return {'map_voc07': 70 + add} if detector else {'pix_acc': 0.7 + add / 100, 'miou': 0.3 + add / 100}
record('finished', result=dict(figures(0), epoch=1, num_images=8),
       best=dict(figures(1.25), epoch=0, num_images=8, checkpoint='epoch-0000'))
'''


@pytest.fixture
def program(tmp_path, monkeypatch):
    path = tmp_path / 'program.py'
    path.write_text(PROGRAM)
    for name, task in matrix.TASKS.items():
        monkeypatch.setitem(matrix.TASKS, name, dataclasses.replace(task, program=str(path)))
    return str(path)


def weights(folder, goes='well', name='0.7717-imagenet-resnet50_v1d-119-best.params'):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(goes + ' weights of ' + folder.name)
    return str(folder / name)


@pytest.fixture
def run(program, tmp_path):
    """run(words...) gives the exit code; the save dirs are below tmp_path/out."""
    return lambda *words: matrix.main(['--out', str(tmp_path / 'out'), '--backbones'] + list(words))


def starts(tmp_path, *cell):
    path = tmp_path.joinpath('out', *cell, 'starts')
    return path.read_text().splitlines() if path.exists() else []


def stored(tmp_path):
    return json.loads((tmp_path / 'out' / 'matrix.json').read_text())['rows']


# ---------------------------------------------------------------------------------------------------------------------
# The matrix

def test_one_matrix_at_a_time(run, tmp_path, capfd):
    a = weights(tmp_path / 'cosine')
    with Lock(str(tmp_path / 'out'), 'it', 'wait'):
        assert run(a) == 2
        assert f'--out {tmp_path / "out"} is being written by process {os.getpid()} on ' in capfd.readouterr().err
        assert os.listdir(str(tmp_path / 'out')) == [LOCK]
    with Lock(str(tmp_path / 'out' / 'resnet50_v1d-cosine' / 'voc'), 'it', 'wait'):  # what a killed matrix left running
        assert run(a) == 1
        assert f'voc is being written by process {os.getpid()} on ' in stored(tmp_path)[0]['tasks']['voc']['reason']
        assert stored(tmp_path)[0]['tasks']['ade20k']['status'] == 'finished'
        assert not (tmp_path / 'out' / 'resnet50_v1d-cosine' / 'voc' / 'cell.json').exists()
    assert run(a) == 0 and not (tmp_path / 'out' / LOCK).exists()


@pytest.mark.parametrize('config', [[1], 'model', {'model': 7}, {'model': '../x'}, {'model': None}, None])
def test_a_record_beside_the_weights_that_tells_no_network(config, tmp_path):
    path = weights(tmp_path / 'run', name='net.params')
    (tmp_path / 'run' / 'manifest.json').write_text(json.dumps({'config': config}))
    with pytest.raises(UsageError, match='NETWORK=FILE'):
        matrix.find_backbone(path)


def test_two_classifiers_two_tasks(run, tmp_path, capfd):
    a, b = weights(tmp_path / 'cosine'), weights(tmp_path / 'mixup')
    assert run(a, b, '--voc-args', '--lr 0.5', '--ade20k-args', '--aux') == 0
    out = capfd.readouterr().out
    text = (tmp_path / 'out' / 'matrix.txt').read_text()
    assert out.endswith(text) and out.count('training with well') == 4 and '3 of 4: resnet50_v1d-mixup, voc: ' in out
    assert text.splitlines() == [
        'classifier           VOC mAP        ADE pixAcc     ADE mIoU',
        '                     last / best    last / best    last / best',
        'resnet50_v1d-cosine  70.00 / 71.25  70.00 / 71.25  30.00 / 31.25',
        'resnet50_v1d-mixup   70.00 / 71.25  70.00 / 71.25  30.00 / 31.25',
        'Percent, after the last and the best epoch (by mAP, by mIoU) of each run.']
    row = stored(tmp_path)[1]
    assert row['params'] == b and row['network'] == 'resnet50_v1d' and row['name'] == 'resnet50_v1d-mixup'
    assert row['sha256'] == hashlib.sha256(b'well weights of mixup').hexdigest()
    save_dir = str(tmp_path / 'out' / 'resnet50_v1d-mixup' / 'voc')
    assert row['tasks']['voc'] == dict(
        status='finished', reason='', last=dict(map_voc07=70, epoch=1, num_images=8),
        best=dict(map_voc07=71.25, epoch=0, num_images=8), save_dir=save_dir,
        command=f'{sys.executable} {matrix.TASKS["voc"].program} --network resnet50_v1d --base-params {b} --save-dir '
                f'{save_dir} --resume auto --lr 0.5')
    assert row['tasks']['ade20k']['last'] == dict(pix_acc=0.7, miou=0.3, epoch=1, num_images=8)
    assert '--backbone resnet50_v1d ' in row['tasks']['ade20k']['command']


def test_what_is_finished_is_not_trained_again(run, tmp_path, capfd):
    a, b = weights(tmp_path / 'a'), weights(tmp_path / 'b')
    assert run(a, '--tasks', 'voc') == 0
    before = (tmp_path / 'out' / 'matrix.txt').read_text()
    assert run(a, '--tasks', 'voc') == 0 and len(starts(tmp_path, 'resnet50_v1d-a', 'voc')) == 1
    assert 'voc: finished before' in capfd.readouterr().out
    assert (tmp_path / 'out' / 'matrix.txt').read_text() == before
    assert run(a, b) == 0  # a row more does not move it
    assert len(starts(tmp_path, 'resnet50_v1d-a', 'voc')) == 1 and len(starts(tmp_path, 'resnet50_v1d-b', 'voc')) == 1


def test_other_options_are_refused_by_the_program_and_stay_refused(run, tmp_path, capfd):
    a = weights(tmp_path / 'a')
    assert run(a, '--tasks', 'voc') == 0
    for _ in range(2):
        assert run(a, '--tasks', 'voc', '--voc-args', '--lr 0.5') == 1
        cell = stored(tmp_path)[0]['tasks']['voc']
        assert cell['status'] == 'failed' and cell['reason'] == '--resume auto: lr is 0.5 now and was another'
        assert cell['last'] == {} and 'failed: resnet50_v1d-a, voc: --resume auto: lr' in capfd.readouterr().err
    assert run(a, '--tasks', 'voc') == 0 and len(starts(tmp_path, 'resnet50_v1d-a', 'voc')) == 3


def test_other_weights_under_the_same_name_are_refused(run, tmp_path):
    a = weights(tmp_path / 'a')
    assert run(a, '--tasks', 'voc') == 0
    weights(tmp_path / 'a', 'well, but other')
    assert run(a, '--tasks', 'voc') == 1 and len(starts(tmp_path, 'resnet50_v1d-a', 'voc')) == 1
    assert 'was begun with other weights than ' + a in stored(tmp_path)[0]['tasks']['voc']['reason']
    shutil.rmtree(str(tmp_path / 'out' / 'resnet50_v1d-a'))
    assert run(a, '--tasks', 'voc') == 0


@pytest.mark.parametrize('goes, reason', [
    ('refuses', '--data-dir has no images'), ('diverges', 'the loss is not finite at update 7'),
    ('dies', 'exit code -9 and no finished run in ')])
def test_after_a_failure_the_others_are_trained(goes, reason, run, tmp_path):
    assert run(weights(tmp_path / 'bad', goes), weights(tmp_path / 'good')) == 1
    bad, good = stored(tmp_path)
    assert [cell['status'] for cell in bad['tasks'].values()] == ['failed', 'failed']
    assert bad['tasks']['voc']['reason'].startswith(reason)
    assert [cell['status'] for cell in good['tasks'].values()] == ['finished', 'finished']
    lines = (tmp_path / 'out' / 'matrix.txt').read_text().splitlines()
    assert lines[2].split()[1:] == ['failed'] * 3 and lines[3].split()[1] == '70.00'


def test_a_cell_that_failed_before_its_first_checkpoint_is_begun_again_with_other_weights(run, tmp_path):
    a = weights(tmp_path / 'a', 'refuses')
    assert run(a, '--tasks', 'voc') == 1
    weights(tmp_path / 'a')
    assert run(a, '--tasks', 'voc') == 0


def test_figures_that_are_not_there():
    row = matrix.Row('resnet50_v1d-' + 'x' * 40, 'resnet50_v1d', 'x', '0')
    cells = [matrix.Cell(row, 'voc', 'x', [], 'finished', last=dict(map_voc07='nan')),
             matrix.Cell(row, 'ade20k', 'x', [])]
    lines = matrix.table(cells).splitlines()
    assert lines[2] == row.name and lines[3].split() == ['nan', '/', '-', 'not', 'run', 'not', 'run']
    assert max(map(len, lines)) <= 80


# ---------------------------------------------------------------------------------------------------------------------
# Interrupts

def _hears_ctrl_c():
    """As a program in a terminal's foreground does, whatever started the tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('stop', [lambda process: os.killpg(process.pid, signal.SIGINT),  # Ctrl-C
                                  lambda process: process.send_signal(signal.SIGINT)], ids=['both', 'matrix alone'])
def test_an_interrupt_ends_both_and_the_same_command_goes_on(stop, program, tmp_path):
    script = tmp_path / 'run_matrix.py'
    script.write_text(f'import sys; sys.path.insert(0, {str(ROOT)!r})\nimport dataclasses\nfrom transfer import '
                      'matrix\nmatrix.TASKS["voc"] = dataclasses.replace(matrix.TASKS["voc"], '
                      f'program={program!r})\nmatrix._PATIENCE = (1, 10)\nsys.exit(matrix.main())\n')
    words = ['--backbones', weights(tmp_path / 'a', 'waits'), weights(tmp_path / 'b'), '--tasks', 'voc', '--out', 'out']
    pipes = dict(cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    process = subprocess.Popen([sys.executable, str(script)] + words, start_new_session=True,
                               preexec_fn=_hears_ctrl_c, **pipes)
    for _ in range(200):
        if (tmp_path / 'out' / 'resnet50_v1d-a' / 'voc' / 'latest').exists():
            break
        time.sleep(0.05)
    stop(process)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err == '' and 'child: interrupted\n' in out
    assert out.splitlines()[-1] == 'interrupted: resume with python transfer/matrix.py ' + ' '.join(words)
    lines = (tmp_path / 'out' / 'matrix.txt').read_text().splitlines()
    assert lines[2].split()[1:] == ['interrupted'] and lines[3].split()[1:] == ['not', 'run']
    done = subprocess.run([sys.executable, str(script)] + words, **pipes)
    assert done.returncode == 0 and len(starts(tmp_path, 'resnet50_v1d-a', 'voc')) == 2
    assert [row['tasks']['voc']['status'] for row in stored(tmp_path)] == ['finished', 'finished']


def test_a_terminal_is_the_programs(monkeypatch, capfd):
    class Terminal:
        isatty = staticmethod(lambda: True)
    ours, theirs = pty.openpty()
    kept = os.dup(2)
    os.dup2(theirs, 2)
    monkeypatch.setattr(sys, 'stderr', Terminal)
    try:
        found = matrix.watch([sys.executable, '-c', 'import sys; sys.exit("error: %s" % sys.stderr.isatty())'])
    finally:
        monkeypatch.undo()
        os.dup2(kept, 2)
    assert found == (1, '') and os.read(ours, 100).strip() == b'error: True'
    for handle in (ours, theirs, kept):
        os.close(handle)


# ---------------------------------------------------------------------------------------------------------------------
# Rows

def save_dir_of(path, network='ResNet50_v1c'):
    """What a training leaves, but for the arrays."""
    weights(path / 'epoch-0001', name='net.params')
    (path / 'best').symlink_to('epoch-0001')
    (path / 'epoch-0001' / 'manifest.json').write_text(json.dumps({'config': {'model': network}}))
    (path / 'run.json').write_text(json.dumps({'config': {'model': network}}))
    return path


def test_a_run_is_known_by_its_directory_and_by_every_file_in_it(tmp_path):
    path = save_dir_of(tmp_path / 'mixup')
    exported = weights(path, name='last.params')
    for text in (path, path / 'best', path / 'best' / 'net.params', path / 'epoch-0001', exported):
        row = matrix.find_backbone(str(text))
        assert (row.name, row.network) == ('resnet50_v1c-mixup', 'resnet50_v1c'), text
    assert matrix.find_backbone(str(path)).params == str(path / 'best' / 'net.params')
    (path / 'run.json').unlink()
    (path / 'epoch-0001' / 'manifest.json').write_text('no JSON')
    with pytest.raises(UsageError, match='write NETWORK=FILE'):
        matrix.find_backbone(str(path))
    assert matrix.find_backbone(f'resnet50_v1b={path}').network == 'resnet50_v1b'


def test_a_folder_of_timms(tmp_path):
    path = weights(tmp_path / 'resnet50d', name='model.safetensors')
    for text in (path, tmp_path / 'resnet50d'):
        row = matrix.find_backbone(f'resnet50_v1d={text}')
        assert (row.name, row.params) == ('resnet50_v1d-resnet50d', str(path))


@pytest.mark.parametrize('file, network', [
    ('0.7717-imagenet-resnet50_v1d-119-best.params', 'resnet50_v1d'),
    ('resnet101_v1b-a455932a.params', 'resnet101_v1b'), ('imagenet-resnet50_v1d-9.params', 'resnet50_v1d'),
    ('resnet10_v1d_demo.params', 'resnet10_v1d_demo'), ('resnet50_v1d.safetensors', 'resnet50_v1d'),
    ('faster_rcnn_resnet50_v1b_voc_best.params', None), ('0.7-imagenet-mobilenet1.0-9.params', None)])
def test_the_network_in_a_files_name(file, network, tmp_path):
    path = weights(tmp_path / 'folder', name=file)
    if network:
        assert matrix.find_backbone(path).name == network + '-folder'
    else:
        with pytest.raises(UsageError, match='neither its name nor'):
            matrix.find_backbone(path)


def test_a_directory_that_is_called_after_the_network_names_the_row(tmp_path):
    assert matrix.find_backbone(weights(tmp_path / 'resnet50_v1d_mixup')).name == 'resnet50_v1d_mixup'


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes

@pytest.mark.parametrize('words, part', [
    (['/no.params'], '--backbones /no.params: /no.params cannot be read (No such file'),
    (['FILE', 'FILE'], 'are both called resnet50_v1d-a'), (['FILE', '--tasks', 'voc,coco'], "'coco' is not a task"),
    (['FILE', '--voc-args', '--lr -1'], '--voc-args "--lr -1": '),
    (['FILE', '--voc-args', '--lr=-1'], '--lr -1.0 must be above 0'),
    (['FILE', '--voc-args', '--speed 3'], 'unrecognized arguments: --speed 3'),
    (['FILE', '--voc-args', '--recipe table8/mix'], 'did you mean table8/mixup'),
    (['FILE', '--voc-args', '--recipe table9/mixup'], 'use that program'),
    (['FILE', '--voc-args', '--network x'], "--network is the matrix's to give: drop it"),
    (['FILE', '--ade20k-args', '--eval'], '--eval does not train: drop it'),
    (['FILE', '--ade20k-args', '--checkname x'], '--checkname does nothing beside --save-dir'),
    (['FILE', '--ade20k-args', '--backbone "x'], 'close every quote'),
    (['FILE', '--tasks', 'voc', '--ade20k-args', '--aux'], '--ade20k-args does nothing without ade20k')])
def test_a_mistake_is_one_sentence_and_nothing_is_trained(words, part, run, tmp_path, capfd):
    path = weights(tmp_path / 'a')
    assert run(*[path if word == 'FILE' else word for word in words]) == 2
    captured = capfd.readouterr()
    assert part in captured.err and captured.err.count('\n') == 1 and captured.out == ''
    assert not (tmp_path / 'out').exists()


def test_a_place_that_cannot_be_written(program, tmp_path, capfd):
    path = weights(tmp_path / 'a')
    assert matrix.main(['--backbones', path, '--out', path]) == 2
    assert 'choose another place with --out' in capfd.readouterr().err


def test_the_recipes_of_both_tables_are_taken(run, tmp_path):
    assert run(weights(tmp_path / 'a'), '--voc-args', '--recipe table8/mixup', '--ade20k-args',
               '--recipe table9/mixup') == 0


def test_no_mxnet_is_imported():
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import transfer.matrix; sys.exit("mxnet" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


# ---------------------------------------------------------------------------------------------------------------------
# The true programs

@pytest.mark.slow
def test_the_true_programs(tmp_path, capfd):
    import numpy as np

    from gluon_tricks.compat import mx
    from gluon_tricks.data.prepare import command as prepare
    from gluon_tricks.models.zoo import get_model
    from support.archives import png, write_ade20k
    from support.detection import SMALL_FLAGS, write_tree
    masks = {f'annotations/{part}/ADE_{short}_{each:08d}.png': png(np.full((40, 40 + 5 * each % 5), each % 4 + 1,
                                                                                  'uint8'))
             for part, short in (('training', 'train'), ('validation', 'val')) for each in (1, 2, 3, 4)}
    prepare.main(['ade20k', '--out', str(tmp_path / 'ade')] + write_ade20k(tmp_path / 'zip', masks, 4, 4))
    write_tree(tmp_path / 'voc', images=4)
    (tmp_path / 'demo').mkdir()
    mx.random.seed(5)
    net, params = get_model('resnet10_v1d_demo', classes=4), str(tmp_path / 'demo' / 'resnet10_v1d_demo.params')
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 64, 64))).wait_to_read()
    net.save_parameters(params)
    words = ['--backbones', params, '--out', str(tmp_path / 'out'),
             '--voc-args', ' '.join(SMALL_FLAGS[2:] + ['--epochs', '1', '--data-dir', str(tmp_path / 'voc')]),
             '--ade20k-args', '--base-size 40 --crop-size 32 --batch-size 2 --test-batch-size 4 --epochs 1 --ngpus 0 '
                              f'--data-dir {tmp_path / "ade"}']
    assert matrix.main(words) == 0
    (row,) = stored(tmp_path)
    detection, segmentation = row['tasks']['voc'], row['tasks']['ade20k']
    assert set(detection['best']) == {'map_voc07', 'epoch', 'num_images'} and detection['last']['num_images'] == 4
    assert set(segmentation['best']) == {'pix_acc', 'miou', 'epoch', 'num_images'}
    assert segmentation['last'] == segmentation['best'] and 0 < segmentation['last']['pix_acc'] <= 1
    assert capfd.readouterr().out.count('Result: ') == 2
    assert matrix.main(words) == 0 and 'finished before' in capfd.readouterr().out

    # the programs' own answer to other options
    words[words.index('--voc-args') + 1] += ' --lr 0.02'
    assert matrix.main(words) == 1
    assert 'lr is 0.02 now and was 0.01' in stored(tmp_path)[0]['tasks']['voc']['reason']
    assert stored(tmp_path)[0]['tasks']['ade20k']['status'] == 'finished'
