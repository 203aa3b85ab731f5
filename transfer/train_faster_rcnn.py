"""Train Faster-RCNN on VOC over a classifier of ours (paper section 6.1, Table 8).

    python transfer/train_faster_rcnn.py --network resnet50_v1d --base-params SAVE_DIR/best/net.params
    python transfer/train_faster_rcnn.py --eval --params FILE
    python transfer/train_faster_rcnn.py --predict photo.jpg --params FILE --out pictures
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # the repository, installed or not

from gluon_tricks.commands.train_detection import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main())
