"""Flags of `evaluate`, `predict` and `export` that tell of a classifier; a run of another task refuses them."""
import argparse
import os
from typing import Any, Dict

from gluon_tricks.errors import UsageError

RANGED = ('num_classes', 'input_size', 'crop_ratio')  # options of TrainConfig too, for `options.check_ranges`


def add_classifier_flags(parser: argparse.ArgumentParser) -> None:
    """Add --model, --num-classes, --use-se, --input-size and --crop-ratio."""
    parser.add_argument('--model', help='network of a file of weights')
    parser.add_argument('--num-classes', type=int, help='classes (default: the run\'s, else 1000)')
    parser.add_argument('--use-se', action='store_true', help='the network is a resnext with squeeze-and-excitation')
    parser.add_argument('--input-size', type=int, help='side of the images (default: the run\'s, else the network\'s)')
    parser.add_argument('--crop-ratio', type=float, help='crop over resized short side (default: the run\'s, else '
                        '0.875)')


def classifier_values(arguments: argparse.Namespace) -> Dict[str, Any]:
    """The values of these flags, by the names of `trained.facts_of` and `subject.subject_of`."""
    return {name: getattr(arguments, name) for name in ('model', 'use_se') + RANGED}


def other_task(arguments: argparse.Namespace, *taken: str) -> str:
    """The task of the run's directory ``arguments.params``; '' for a classifier's run and for a file.

    taken: names of the arguments that every task takes. Raises UsageError where the task is another and one of the
    other arguments is given.
    """
    from gluon_tricks.training import checkpoint
    path = os.path.expanduser(arguments.params)
    task = checkpoint.task_of(checkpoint.read_manifest(checkpoint.best_of(path))) if os.path.isdir(path) else ''
    if task in ('', 'classification'):
        return ''
    wrong = [name for name, value in vars(arguments).items() if value and name not in taken + ('params',)]
    if wrong:
        raise UsageError(f'--{wrong[0].replace("_", "-")} is for a classifier, and {arguments.params} is a run of '
                         f'{task}: drop it')
    return task
