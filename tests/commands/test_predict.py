import json
import os
import re
import subprocess
import sys

import pytest

import train_imagenet
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import preprocess
from gluon_tricks.data.records.packing import pack
from gluon_tricks.tasks.classification.trained import class_names
from support import ROOT
from support.records import damaged_records, make_jpeg

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


@pytest.fixture(scope='module')
def run_dir(tiny_arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('predict') / 'run'
    assert train_imagenet.main(tiny_arguments + ['--save-dir', str(path), '--num-epochs', '1']) == 0
    return path


def test_the_likeliest_classes(run_dir, tmp_path, capsys):
    paths = []
    for label in range(2):
        paths.append(tmp_path / (f'{label:.0f}.jpg'))
        paths[-1].write_bytes(make_jpeg(label, 77))
    capsys.readouterr()
    assert main(['predict', '--params', str(run_dir), '--json'] + [str(path) for path in paths]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result['image'] for result in results] == [str(path) for path in paths]
    for result in results:
        probabilities = [item['probability'] for item in result['classes']]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)  # 4 classes, all of them shown
    assert main(['predict', '--params', str(run_dir), '--top', '2', str(paths[0])]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize('content', [None, b'', b'no image at all'])
def test_a_file_that_is_no_image(run_dir, tmp_path, content, capsys):
    path = tmp_path / 'bad.jpg'
    if content is not None:
        path.write_bytes(content)
    assert main(['predict', '--params', str(run_dir), str(path)]) == 2
    err = capsys.readouterr().err
    assert 'bad.jpg' in err and len(err.splitlines()) == 1


@pytest.mark.parametrize('names', [None, 'abcd', ['a'], {'a': 1}, 3])
def test_names_of_classes_that_are_none_are_numbers(names):
    assert class_names({'class_names': names, 'num_classes': 4}) == ['0', '1', '2', '3']


def test_the_submission_for_places365(tmp_path, tiny_data, tiny_arguments, capsys):
    """One line an image, in the order of the file, the five likeliest of the classes first."""
    import train_imagenet
    from gluon_tricks.tasks.classification.trained import facts_of, load_net
    run, out = tmp_path / 'run', tmp_path / 'answers.txt'
    arguments = list(tiny_arguments)
    arguments[arguments.index('--num-classes') + 1] = '6'
    assert train_imagenet.main(arguments + ['--num-epochs', '1', '--save-dir', str(run)]) == 0
    images = [make_jpeg(number % 4, number) for number in range(11)]
    pack([(image, 0, f'test/Places365_test_{number + 1:08d}.jpg') for number, image in enumerate(images)],
         str(tmp_path / 'test'), shuffle=False)
    assert main(['predict', '--params', str(run), '--places-submission', str(out), '--rec-test',
                 str(tmp_path / 'test.rec'), '--batch-size', '4']) == 0
    lines = [line.split() for line in out.read_text().splitlines()]
    assert [line[0] for line in lines] == [f'Places365_test_{number:08d}.jpg' for number in range(1, 12)]
    facts = facts_of(str(run))
    net, _ = load_net(facts, [mx.cpu()], hybridize=False)
    for line, image in zip(lines, images):
        (tmp_path / 'one.jpg').write_bytes(image)
        x = preprocess(str(tmp_path / 'one.jpg'), facts['input_size'], facts['crop_ratio'], facts['config'].rgb_mean,
                       facts['config'].rgb_std)
        scores = net(x).asnumpy()[0]
        assert abs(scores[int(line[1])] - scores.max()) < 0.05 and len(set(line[1:])) == 5


@pytest.mark.parametrize('words, part', [
    ([], 'give image files'), (['--places-submission', 'x'], '--rec-test'), (['--rec-test', 'x'], '--places-submission'),
    (['a.jpg', '--places-submission', 'x', '--rec-test', 'y'], 'give image files'), (['a.jpg', '--top', '0'], '--top 0')])
def test_what_is_predicted_must_be_clear(words, part, capsys):
    assert main(['predict', '--params', 'x', *words]) == 2
    assert part in capsys.readouterr().err


def six_classes(run_dir):
    """Flags that say of the run's network that it has classes enough for a submission, for what ends before."""
    return ['predict', '--params', str(run_dir), '--num-classes', '6']


def test_where_the_submission_cannot_be_written_is_told_first(run_dir, tmp_path, capsys):
    for path, part in ((tmp_path / 'none' / 'a.txt', 'No such file'), (tmp_path, 'Is a directory')):
        assert main(six_classes(run_dir) + ['--places-submission', str(path), '--rec-test', 'missing.rec']) == 2
        err = capsys.readouterr().err
        assert f'{path} cannot be written ({part}' in err and 'give --places-submission a file in' in err


def test_a_record_that_kills_the_submission_is_named(tmp_path, tiny_arguments):
    arguments = list(tiny_arguments)
    arguments[arguments.index('--num-classes') + 1] = '6'
    assert train_imagenet.main(arguments + ['--num-epochs', '1', '--save-dir', str(tmp_path / 'run')]) == 0
    rec = damaged_records(tmp_path)
    done = subprocess.run([sys.executable, '-m', 'gluon_tricks', 'predict', '--params', str(tmp_path / 'run'),
                           '--places-submission', str(tmp_path / 'a.txt'), '--rec-test', rec], cwd=str(ROOT),
                          capture_output=True, timeout=300)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith('error: ') and 'bad.rec: record 5 at offset' in last


@pytest.mark.parametrize('flag, value', [('--crop-ratio', '-1'), ('--crop-ratio', '1e-9'), ('--crop-ratio', 'nan'),
                                         ('--input-size', '-5'), ('--input-size', '100000'), ('--batch-size', '0'),
                                         ('--num-classes', '1000000000000')])
def test_a_value_outside_its_range_is_named(flag, value, capsys):
    assert main(['predict', '--params', 'x', 'a.jpg', flag, value]) == 2
    assert re.search(f'{flag} .* must be at least', capsys.readouterr().err)


def test_what_can_be_predicted_is_and_the_others_are_named(run_dir, tmp_path, capsys):
    for name, content in (('a.jpg', make_jpeg(0, 1)), ('half.jpg', make_jpeg(0, 2)[:-200]), ('b.jpg', make_jpeg(1, 3))):
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in ('a.jpg', 'half.jpg', 'none.jpg', 'b.jpg')]
    capsys.readouterr()
    assert main(['predict', '--params', str(run_dir), '--top', '1'] + paths) == 2
    captured = capsys.readouterr()
    assert [line for line in captured.out.splitlines() if not line.startswith(' ')] == ['a.jpg', 'b.jpg']
    assert ['half.jpg' in line or 'none.jpg' in line for line in captured.err.splitlines()] == [True, True]
    assert main(['predict', '--params', str(run_dir), '--json'] + paths) == 2
    assert [result['image'] for result in json.loads(capsys.readouterr().out)] == [paths[0], paths[3]]


@pytest.mark.slow
def test_a_class_of_a_latin_1_name_is_printed(tmp_path):
    """A folder's name that is not UTF-8, and one that the terminal cannot show."""
    for part in ('train', 'val'):
        for label, name in enumerate((b'caf\xe9', '\u6c34'.encode())):
            folder = os.path.join(os.fsencode(str(tmp_path)), part.encode(), name)
            os.makedirs(folder)
            for number in range(4):
                with open(os.path.join(folder, b'%d.jpg' % number), 'wb') as stream:
                    stream.write(make_jpeg(label, number))
    run = str(tmp_path / 'run')
    train = [str(ROOT / 'train_imagenet.py'), '--data-dir', str(tmp_path), '--model', 'resnet10_v1d_demo',
             '--num-classes', '2', '--input-size', '32', '--batch-size', '4', '--num-epochs', '1', '--num-gpus', '0',
             '--save-dir', run, '-j', '1']
    predict = ['-m', 'gluon_tricks', 'predict', '--params', run, os.path.join(
        os.fsencode(str(tmp_path)), b'train', b'caf\xe9', b'0.jpg')]
    training = start(train, 'ascii')
    errors = training.communicate()[1]
    assert training.returncode == 0, errors.decode()[-2000:]
    for process in [start(predict, encoding) for encoding in ('utf-8', 'ascii')]:
        output, errors = process.communicate()
        assert process.returncode == 0 and b'caf\\udce9' in output and b'Traceback' not in errors, errors.decode()[-2000:]


def start(words, encoding):
    return subprocess.Popen([sys.executable] + words, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=dict(os.environ, PYTHONIOENCODING=encoding))
