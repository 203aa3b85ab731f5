import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest

import train_imagenet
from conftest import ROOT, damaged_records, make_jpeg
from gluon_tricks.__main__ import main
from gluon_tricks.compat import mx
from gluon_tricks.data.pipeline import EvalStream
from gluon_tricks.data.packing import pack
from gluon_tricks.errors import UsageError
from gluon_tricks.predict import class_names, preprocess, read_image

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


@pytest.fixture(scope='module')
def run_dir(tiny_arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp('predict') / 'run'
    assert train_imagenet.main(tiny_arguments + ['--save-dir', str(path), '--num-epochs', '1']) == 0
    return path


def test_images_are_seen_as_in_validation(tmp_path):
    """The same pixels as the record pipeline's, but for the rounding of its resize."""
    path = tmp_path / 'a.jpg'
    path.write_bytes(make_jpeg(1, 3, size=60))
    pack([(path.read_bytes(), 1, 'a')], str(tmp_path / 'one'))
    stream = EvalStream(str(tmp_path / 'one.rec'), str(tmp_path / 'one.idx'), total_batch_size=1, input_size=32,
                        crop_ratio=0.875, mean=MEAN, std=STD, parts=1)
    (batch, valid), = list(stream.batches())
    ours = preprocess(str(path), 32, 0.875, MEAN, STD).asnumpy()
    theirs = batch.shards([mx.cpu()])[0][0].asnumpy()
    assert valid == 1 and ours.shape == theirs.shape == (1, 3, 32, 32)
    assert np.abs(ours - theirs).mean() < 0.02


def test_the_likeliest_classes(run_dir, tmp_path, capsys):
    paths = []
    for label in range(2):
        paths.append(tmp_path / ('%d.jpg' % label))
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


def test_an_image_cut_anywhere_is_read_or_named(tmp_path):
    """Where the header is whole MXNet complains only when the pixels are asked for."""
    for length in range(150, 180):
        (tmp_path / 'cut.jpg').write_bytes(make_jpeg(0, 0, 60)[:length])
        with contextlib.suppress(UsageError):
            preprocess(str(tmp_path / 'cut.jpg'), 32, 0.875, MEAN, STD).wait_to_read()


def test_an_image_whose_header_asks_for_gigabytes(tmp_path):
    content = bytearray(make_jpeg(0, 0, 60))
    place = content.index(b'\xff\xc0') + 5
    content[place:place + 4] = b'\x75\x30' * 2  # 30000 x 30000
    (tmp_path / 'bomb.jpg').write_bytes(content)
    with pytest.raises(UsageError, match='is not an image'):
        read_image(str(tmp_path / 'bomb.jpg'))


@pytest.mark.parametrize('names', [None, 'abcd', ['a'], {'a': 1}, 3])
def test_names_of_classes_that_are_none_are_numbers(names):
    assert class_names({'class_names': names, 'num_classes': 4}) == ['0', '1', '2', '3']


def test_the_submission_for_places365(tmp_path, tiny_data, tiny_arguments, capsys):
    """One line an image, in the order of the file, the five likeliest of the classes first."""
    import train_imagenet
    from gluon_tricks.compat import mx
    from gluon_tricks.evaluate import load_net, open_run
    run, out = tmp_path / 'run', tmp_path / 'answers.txt'
    arguments = list(tiny_arguments)
    arguments[arguments.index('--num-classes') + 1] = '6'
    assert train_imagenet.main(arguments + ['--num-epochs', '1', '--save-dir', str(run)]) == 0
    images = [make_jpeg(number % 4, number) for number in range(11)]
    pack([(image, 0, 'test/Places365_test_%08d.jpg' % (number + 1)) for number, image in enumerate(images)],
         str(tmp_path / 'test'), shuffle=False)
    assert main(['predict', '--params', str(run), '--places-submission', str(out), '--rec-test',
                 str(tmp_path / 'test.rec'), '--batch-size', '4']) == 0
    lines = [line.split() for line in out.read_text().splitlines()]
    assert [line[0] for line in lines] == ['Places365_test_%08d.jpg' % number for number in range(1, 12)]
    facts = open_run(str(run))
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
        assert '%s cannot be written (%s' % (path, part) in err and 'give --places-submission a file in' in err


def test_a_record_that_kills_the_submission_is_named(tmp_path, tiny_arguments):
    arguments = list(tiny_arguments)
    arguments[arguments.index('--num-classes') + 1] = '6'
    assert train_imagenet.main(arguments + ['--num-epochs', '1', '--save-dir', str(tmp_path / 'run')]) == 0
    rec = damaged_records(tmp_path)
    done = subprocess.run([sys.executable, '-m', 'gluon_tricks', 'predict', '--params', str(tmp_path / 'run'),
                           '--places-submission', str(tmp_path / 'a.txt'), '--rec-test', rec], cwd=str(ROOT),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode in (1, 2) and last.startswith('error: ') and 'bad.rec: record 5 at offset' in last
