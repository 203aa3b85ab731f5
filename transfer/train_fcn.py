"""Train an FCN on ADE20K from a classifier's weights, and measure or show what it does (paper section 6.2, Table 9).

    python transfer/train_fcn.py --backbone resnet50_v1d --base-params FILE --aux --epochs 120
    python transfer/train_fcn.py --eval --params SAVE_DIR --multi-scale
    python transfer/train_fcn.py --predict IMAGE... --params SAVE_DIR --out DIR
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # the repository, installed or not

from gluon_tricks.commands.train_segmentation import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main())
