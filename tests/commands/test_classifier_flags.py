"""What a classifier's weights need, and the runs of other tasks that refuse it."""
import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands import evaluate, export, predict
from gluon_tricks.commands.classifier_flags import classifier_values, other_task
from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.training import checkpoint


def run_of(folder, task):
    """SAVE_DIR of a checkpoint that says that it is of a task; its weights are of no network."""
    arrays = {'weight': mx.nd.zeros(1)}
    checkpoint.save(str(folder), 'epoch-0000', {'net.params': arrays, 'optimizer.params': arrays}, {
        'task': task, 'config': TrainConfig().to_dict(), 'epoch': 0, 'batch': None, 'metrics': {}, 'best': None})
    checkpoint.point(str(folder), 'best', 'epoch-0000')
    return str(folder)


@pytest.mark.parametrize('command, before', [(evaluate, ['x']), (predict, ['x']), (export, ['x', 'y'])])
def test_the_commands_take_the_same_flags(command, before):
    words = ['--model', 'resnet50_v1d', '--num-classes', '7', '--use-se', '--input-size', '96', '--crop-ratio', '0.5']
    values = {'model': 'resnet50_v1d', 'num_classes': 7, 'use_se': True, 'input_size': 96, 'crop_ratio': 0.5}
    assert classifier_values(command.parser().parse_args(before + words)) == values
    assert not any(classifier_values(command.parser().parse_args(before)).values())


def test_a_file_and_a_classifiers_run_are_of_no_other_task(tmp_path):
    for path in (run_of(tmp_path, 'classification'), str(tmp_path / 'net.params')):
        assert other_task(evaluate.parser().parse_args([path, '--input-size', '96'])) == ''


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
@pytest.mark.parametrize('words', [['--model', 'resnet50_v1d'], ['--num-classes', '7'], ['--use-se'], ['--input-size', '96'],
                                   ['--crop-ratio', '0.5'], ['--batch-size', '8']])
def test_a_run_of_another_task_refuses_them(words, task, tmp_path, capsys):
    run = run_of(tmp_path, task)
    assert other_task(evaluate.parser().parse_args([run, '--json']), 'json') == task
    assert main(['evaluate', run, *words]) == 2
    assert capsys.readouterr().err == f'error: {words[0]} is for a classifier, and {run} is a run of {task}: drop it\n'


@pytest.mark.parametrize('words', [['evaluate', 'RUN'], ['predict', '--params', 'RUN', 'a.jpg']])
def test_a_run_of_an_unknown_task_is_named(words, tmp_path, capsys):
    run = run_of(tmp_path, 'diffusion')
    assert main([word.replace('RUN', run) for word in words]) == 2
    assert capsys.readouterr().err == (f"error: {run} is a run of the task 'diffusion', which this version does not "
                                       'know\n')
