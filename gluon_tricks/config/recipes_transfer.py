"""The rows of tables 8 and 9: a detector or segmenter whose base network is a row of the earlier tables (section 6).

    python -m gluon_tricks recipes
    python transfer/train_faster_rcnn.py --recipe table8/mixup --base-params SAVE_DIR/best/net.params

The backbone is the row's axis: everything else is the same in all rows of a table. The two demos are small enough for
two cores. Standard library only.
"""
import dataclasses
import difflib
from typing import Any, Dict

from gluon_tricks.config.detection import RCNNConfig
from gluon_tricks.config.options import Options
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One row. base: the recipe that trains its backbone; paper: the row's figures."""

    name: str
    heading: str
    base: str
    config: Options
    paper: dict

    def to_dict(self):
        """As JSON has it: the fields, with the configuration as a dict."""
        return dict(dataclasses.asdict(self), config=self.config.to_dict())


# The paper: "linear warmup and long training schedule" of Detectron, whose warmup is 500 updates from a third; its own
# length is not given. GluonCV's published run has none.
_DETECTION = RCNNConfig(gpus='0,1,2,3', lr_warmup=500)
# GluonCV's published command, but for the backbone; with its gradient, for which its rate of 0.01 was chosen.
_SEGMENTATION = FCNConfig(aux=True, syncbn=True, num_gpus=4, loss='gluoncv')

# heading, name, recipe of the backbone, network, top-1, mAP (Table 8), pixAcc and mIoU (Table 9)
_ROWS = [
    ('B-standard', 'b_standard', 'b_standard', 'resnet50_v1b', 76.14, 77.54, 78.08, 37.05),
    ('D-efficient', 'efficient', 'table6/resnet50_v1d/efficient', 'resnet50_v1d', 77.16, 78.30, 78.88, 38.88),
    ('+ cosine', 'cosine', 'table6/resnet50_v1d/cosine', 'resnet50_v1d', 77.91, 79.23, 79.25, 39.33),
    ('+ smooth', 'smooth', 'table6/resnet50_v1d/label_smoothing', 'resnet50_v1d', 78.34, 80.71, 78.64, 38.75),
    ('+ distill w/o mixup', 'distill', 'table6/resnet50_v1d/distill', 'resnet50_v1d', 78.67, 80.96, 78.97, 38.90),
    ('+ mixup w/o distill', 'mixup', 'table6/resnet50_v1d/mixup', 'resnet50_v1d', 79.16, 81.10, 78.47, 37.99),
    ('+ distill w/ mixup', 'distill_with_mixup', 'table6/resnet50_v1d/distill_mixup', 'resnet50_v1d', 79.29, 81.33,
     78.72, 38.40),
]
_TABLE_9S = {'+ distill w/ mixup': '+ mixup w/ distill'}  # the same network in Table 9's words


def _all():
    for heading, name, base, network, top1, mean_ap, _, _ in _ROWS:
        yield Recipe('table8/' + name, heading, base, _DETECTION.replace(
            network=network, save_dir='runs/table8/' + name), {'top1': top1, 'map_voc07': mean_ap})
    for heading, name, base, network, top1, _, accuracy, miou in _ROWS:
        yield Recipe('table9/' + name, _TABLE_9S.get(heading, heading), base, _SEGMENTATION.replace(
            backbone=network, save_dir='runs/table9/' + name), {'top1': top1, 'pix_acc': accuracy, 'miou': miou})


# Cards with digits: mirrored ones would be others, and there are no small ones. The drop is late, as is the demo's end.
_DEMO: Dict[str, Any] = dict(network='resnet10_v1d_demo', data_dir='runs/demo-scenes/voc', image_short=120,
                             image_max_size=160, no_mirror=True,
             clip_gradient=0.0, rpn_channel=64, anchor_scales=(2.0, 3.0, 4.0), rpn_train_pre_nms=600,
             rpn_train_post_nms=200, rpn_test_pre_nms=600, rpn_test_post_nms=100, rpn_min_size=8, num_sample=16,
             loader_processes=0, total_batch_size=4, num_epochs=6, lr=0.02, lr_decay_epoch='5', lr_warmup=100,
             log_interval=50)
_DEMOS = [
    Recipe('demo-detection', 'Demo', 'demo', RCNNConfig(save_dir='runs/demo-detection', **_DEMO), {}),
    Recipe('demo-segmentation', 'Demo', 'demo', FCNConfig(
        backbone='resnet10_v1d_demo', data_dir='runs/demo-scenes/ade', base_size=160, crop_size=112,
        scales=(0.8, 1.25), no_mirror=True, total_batch_size=8, test_batch_size=8, num_epochs=20, lr=0.02,
        log_interval=25, save_dir='runs/demo-segmentation'), {})]

RECIPES = {recipe.name: recipe for recipe in list(_all()) + _DEMOS}


def get(name, kind):
    """The configuration of a recipe of one kind, RCNNConfig or FCNConfig.

    Raises UsageError with the closest names for an unknown one, and for one of the other program.
    """
    if name not in RECIPES:
        close = [known for known in RECIPES if name in known][:4] or difflib.get_close_matches(name, RECIPES, 4, 0.5)
        raise UsageError('--recipe %s is unknown: %s`python -m gluon_tricks recipes` lists all'
                         % (name, f'did you mean {" or ".join(close)}? ' if close else ''))
    config = RECIPES[name].config
    if not isinstance(config, kind):
        raise UsageError(f'--recipe {name} is one of {config.PROGRAM}: use that program')
    return config
