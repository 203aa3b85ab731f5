"""Train an image classifier with the paper's bag of tricks.

    python train_imagenet.py --mode hybrid --dtype float16
    python train_imagenet.py --recipe table6/resnet50_v1d/mixup

The run, in the paper's order, is gluon_tricks/tasks/classification/assembly.py; Algorithm 1 is
gluon_tricks/training/loop.py.
"""
import sys

from gluon_tricks.commands.train import main

if __name__ == '__main__':
    sys.exit(main())
