import subprocess

import pytest

from gluon_tricks.__main__ import main
from gluon_tricks.commands import launch
from gluon_tricks.config import recipes
from gluon_tricks.errors import UsageError

TRAIN = 'python train_imagenet.py'
LADDER = 'python -m gluon_tricks ladder 6'


@pytest.fixture
def write(tmp_path, monkeypatch, capsys):
    """Function that runs `launch --slurm` on a line of flags and of a command; returns (the file's lines, what was
    said)."""
    monkeypatch.chdir(tmp_path)

    def write(line):
        assert launch.main(['--slurm', *line.split()]) == 0
        said = capsys.readouterr().out
        text = (tmp_path / said.split(' is written')[0]).read_text()
        assert subprocess.run(['bash', '-n'], input=text, text=True).returncode == 0
        return text.splitlines(), said
    return write


def started(lines):
    """The line that starts the command."""
    return next(line for line in lines if line.endswith(' &'))


def test_a_training_resumes_and_has_the_gpus_of_its_recipe(write):
    lines, said = write(f'--time 12:00:00 --partition long --sbatch=--constraint=v100 --cpus 40 -- {TRAIN} --recipe '
                        'table6/resnet50_v1d/mixup')
    config = recipes.get('table6/resnet50_v1d/mixup').config
    assert f'#SBATCH --gpus-per-node={config.num_gpus}' in lines and '#SBATCH --job-name=mixup' in lines
    assert lines[lines.index('#SBATCH --requeue') + 1:][:2] == ['#SBATCH --partition=long', '#SBATCH --constraint=v100']
    assert started(lines) == f'{TRAIN} --recipe table6/resnet50_v1d/mixup --resume auto &'
    assert said == 'mixup.sbatch is written. Submit it:\n\n    sbatch mixup.sbatch\n\n'


def test_a_directory_s_name_that_sbatch_does_not_read_is_changed(write):
    command = [*TRAIN.split(), '--model', 'resnet18_v1b', '--save-dir', 'runs/a b#c']
    launch.main(['--slurm', '-o', 'x', '--', *command])
    text = open('x').read()
    assert '#SBATCH --job-name=a_b_c\n' in text and "--save-dir 'runs/a b#c' --resume auto &" in text


def test_resume_auto_stands_once_and_the_name_is_of_the_save_dir(write):
    lines, said = write(f'-- {TRAIN} --model resnet18_v1b --save-dir runs/mine/ --resume auto')
    assert started(lines).count('--resume') == 1 and '#SBATCH --job-name=mine' in lines
    assert not [line for line in lines if '--gpus' in line] and 'Without --cpus' in said


@pytest.mark.parametrize('command', ['python transfer/train_faster_rcnn.py --recipe table8/mixup --base-params x',
                                     'python transfer/train_fcn.py --recipe table9/efficient --base-params x',
                                     'gluon-tricks train-detection --base-params x',
                                     '.venv/bin/python -m gluon_tricks train-segmentation --base-params x'])
def test_the_other_programs(write, command):
    assert started(write(f'-o x.sbatch -- {command}')[0]) == f'{command} --resume auto &'


def test_several_nodes_by_the_store_that_the_command_names(write):
    lines, _ = write(f'--nodes 2 --lead 300 -- .venv/bin/{TRAIN} --model resnet18_v1b --kv-store dist_device_sync')
    assert '#SBATCH --nodes=2' in lines
    assert started(lines).startswith('.venv/bin/python -m gluon_tricks launch -n 2 -s 2 -H slurm --grace 280 -- .venv/')
    lines, _ = write(f'--nodes 3 -- .venv/bin/{TRAIN} --model resnet18_v1b --kv-store horovod')
    assert started(lines).startswith('.venv/bin/horovodrun --gloo -np 3 -H ')


def test_the_rows_of_a_ladder_are_tasks_and_those_that_share_a_run_are_one(write):
    lines, said = write(f'--gpus 8 --time 1-0 --at-once 4 -- {LADDER} --seeds 3')
    tasks = [line.strip().strip("'").split()[1:] for line in lines if line.strip().startswith("'--rows")]
    assert f'#SBATCH --array=0-{len(tasks) - 1}%4' in lines and f'an array of {len(tasks)} tasks' in said
    rows = [name for name in recipes.RECIPES if name.startswith('table6/')]
    assert sorted(sum(tasks, [])) == sorted(rows) and len(tasks) < len(rows)
    assert [f'table6/{model}/distill' for model in ('resnet50_v1d', 'inceptionv3', 'mobilenet1.0')] in tasks
    assert started(lines) == f'{LADDER} --seeds 3 "${{task[@]}}" &'


def test_the_rows_that_were_asked_for_alone(write):
    lines, _ = write(f'-- {LADDER} --scale demo --rows */cosine table6/resnet50_v1d/efficient --out runs/x')
    assert started(lines) == f'{LADDER} --scale demo --out runs/x "${{task[@]}}" &'
    assert '#SBATCH --array=0-1' in lines


@pytest.mark.parametrize('line, match', [
    ('', 'no COMMAND'), ('-- bash run.sh', 'is no COMMAND that resumes'), ('-- python -m gluon_tricks table 6', 'no COMMAND'),
    (f'-- {TRAIN} --no-such', '--no-such'), (f'-- {TRAIN} --model resnet50_v1d --lr -1', '--lr'),
    (f'-- {TRAIN} --model x --resume params/epoch-0001', '--resume params/epoch-0001 would go back'),
    (f'--gpus 4 -- {TRAIN} --recipe table6/resnet50_v1d/mixup', '--gpus 4: COMMAND trains on 8 GPUs'),
    (f'--gpus 2 -- {TRAIN} --model resnet50_v1d --devices gpu(0),gpu(2)', 'trains on 3 GPUs'),
    (f'--nodes 2 -- {TRAIN} --model resnet50_v1d', 'add --kv-store dist_sync'),
    (f'-- {TRAIN} --model resnet50_v1d --kv-store dist_sync', 'give --nodes'),
    ('--nodes 2 -- python transfer/train_fcn.py --base-params x', 'train on one node'),
    ('-- python transfer/train_fcn.py --eval --params x', 'trains nothing'),
    (f'--nodes 2 -- {LADDER} --scale demo', 'drop --nodes'), (f'-- {LADDER}', 'give --gpus G'),
    (f'-- {LADDER} --scale demo --rows x', '--rows x is no row'), (f'--at-once 2 -- {TRAIN} --model resnet50_v1d', 'for a ladder'),
    (f'--time 1h -- {TRAIN} --model resnet50_v1d', '--time 1h is not a time'),
    (f'--time 2 -- {TRAIN} --model resnet50_v1d', '--time 2 must be longer than --lead'),
    (f'--nodes 0 -- {TRAIN}', '--nodes 0 must be 1'), (f'--job-name= -- {TRAIN} --model resnet50_v1d', 'cannot stand'),
    (f'--sbatch=-C -- {TRAIN} --model resnet50_v1d', "'-C' cannot stand"),
    (f'-o no/such/x -- {TRAIN} --model resnet50_v1d', 'no/such/x cannot be written'),
    (f'-n 2 -- {TRAIN}', 'unrecognized arguments: -n 2')])
def test_what_would_fail_in_the_queue_is_told_before(line, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        launch.main(['--slurm', *line.split()])
    assert match in str(caught.value) and not list(tmp_path.iterdir())


def test_without_slurm_it_is_the_launcher(capsys):
    assert main(['launch', '-n', '0', '--', 'true']) == 2
    assert '-n 0 must be at least 1' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        launch.main(['--slurm', '--help'])
    assert 'sbatch' in capsys.readouterr().out
