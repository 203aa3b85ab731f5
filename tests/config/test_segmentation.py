import dataclasses
import re
import shlex

import pytest

from gluon_tricks.config import segmentation as fcn_config
from gluon_tricks.config.segmentation import FCNConfig
from gluon_tricks.errors import UsageError

GLUONCV = ('--model --model-zoo --pretrained --backbone --dataset --workers --base-size --crop-size --train-split '
           '--aux --aux-weight --epochs --start_epoch --batch-size --test-batch-size --optimizer --lr --warmup-epochs '
           '--momentum --weight-decay --no-wd --mode --no-cuda --ngpus --kvstore --dtype --resume --checkname '
           '--save-dir --log-interval --logging-file --eval --no-val --syncbn').split()
PUBLISHED = '--dataset ade20k --model fcn --aux --lr 0.01 --syncbn --ngpus 4 --checkname res50 --epochs 120'


SMALL = FCNConfig(backbone='resnet10_v1d_demo', num_gpus=0, crop_size=144)


def parse(text, base=None):
    return fcn_config.from_namespace(fcn_config.parser().parse_args(shlex.split(text)), base)


def test_every_flag_of_gluoncv_is_known():
    flags = set(re.findall(r'--[\w-]+', fcn_config.parser().format_help())) | set(FCNConfig.REFUSED)
    assert set(GLUONCV) <= flags


def test_the_published_command_means_what_it_says():
    config = parse(PUBLISHED)
    assert config == FCNConfig(aux=True, lr=0.01, syncbn=True, num_gpus=4, checkname='res50', num_epochs=120)
    assert (config.base_size, config.crop_size, config.total_batch_size, config.aux_weight, config.momentum,
            config.wd) == (520, 480, 16, 0.5, 0.9, 1e-4)
    assert fcn_config.save_dir_of(config) == 'runs/ade20k/fcn/res50'
    assert fcn_config.backbone_of(config) == 'resnet50_v1b'


@pytest.mark.parametrize('config', [FCNConfig(), SMALL, parse(PUBLISHED)])
def test_command_and_json_make_the_same_configuration(config):
    assert parse(' '.join(config.command().split()[2:])) == config
    assert FCNConfig.from_dict(config.to_dict()) == config
    assert config.command().startswith('python transfer/train_fcn.py')


@pytest.mark.parametrize('backbone, full', [('resnet101', 'resnet101_v1b'), ('resnet50_v1d', 'resnet50_v1d')])
def test_names_of_backbone_and_directory(backbone, full):
    config = FCNConfig(backbone=backbone)
    assert fcn_config.backbone_of(config) == full
    assert fcn_config.save_dir_of(config) == 'runs/ade20k/fcn/' + full
    assert fcn_config.save_dir_of(config.replace(save_dir='here')) == 'here'


@pytest.mark.parametrize('text, message', [
    ('--aux-weight 0.2', '--aux-weight does nothing without --aux'),
    ('--aux --aux-weight 0.2 --loss gluoncv', '--aux-weight does nothing with --loss gluoncv'),
    ('--multi-scale', '--multi-scale does nothing without --eval'),
    ('--params a.params', '--params does nothing without --eval or --predict'),
    ('--out a', '--out does nothing without --predict'),
    ('--predict a.jpg', '--predict needs the weights'),
    ('--predict a.jpg --eval --params a', 'two programs'),
    ('--predict a.jpg --params a --data-dir b', '--data-dir does nothing with --predict'),
    ('--loss-scale 8', 'without --dtype float16'),
    ('--checkname a --save-dir b', '--checkname does nothing beside --save-dir b'),
    ('--no-val --test-batch-size 4', '--test-batch-size does nothing with --no-val'),
    ('--eval --params a --lr 1', '--lr does nothing with --eval'),
    ('--eval --params a --resume auto', '--resume does nothing with --eval'),
    ('--eval --params a --crop-size 64', '--crop-size does nothing with --eval'),
    ('--eval', '--eval needs the weights'),
    ('--pretrained', 'give the classifier\'s with --base-params'),
    ('--model-zoo fcn_resnet50_ade', 'wider stem'),
    ('--start_epoch 3', '--resume auto finds the epoch'),
    ('--no-cuda', '--ngpus 0'),
    ('--dtype bfloat16', 'bfloat16'),
    ('--model psp', '--model psp must be one of: fcn'),
    ('--dataset pascal', '--dataset pascal must be one of: ade20k'),
    ('--train-split trainval', 'must be one of: train'),
    ('--optimizer adam', 'must be one of: sgd'),
    ('--kvstore bogus', '--kvstore bogus must be one of'),
    ('--mode symbolic', 'must be one of'),
    ('--batch-size 0', '--batch-size 0 must be at least 1'),
    ('--num-classes 256', 'at most 255'),
    ('--crop-size 7', '--crop-size 7 must be at least 8'),
    ('--aux --aux-weight=-1', '--aux-weight -1.0 must be 0 or more'),
    ('--lr 0', '--lr 0.0 must be above 0'),
    ('--crop-size 100000', '--crop-size 100000 must be at least 8 and at most 4096'),
    ('-j 1000000000', 'at least 1 and at most 1024'), ('--scales 1,1000', 'no image is scaled beyond'),
    ('--lr nan', '--lr nan must be finite'),
    ('--momentum 1', '--momentum 1.0 must be'),
    ('--epochs 3 --warmup-epochs 3', 'warmup would never end'),
    ('--ngpus=-1', '--ngpus -1 must be at least 0'),
    ('--ngpus 2 --devices "cpu(0)"', 'name the devices twice'),
    ('--checkname a/b', 'a name without /'),
    ('--scales 2,0.5', '--scales (2.0, 0.5) must be two positive numbers'),
    ('--bogus', 'unrecognized arguments: --bogus'),
])
def test_what_has_no_meaning_is_refused(text, message):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_multi_scale_takes_sizes():
    config = parse('--eval --params a --multi-scale --crop-size 64 --base-size 80')
    assert (config.crop_size, config.base_size) == (64, 80)
    assert parse('--predict a.jpg b.jpg --params a --backbone resnet50_v1d').backbone == 'resnet50_v1d'


def test_devices_typed_over_a_recipe_replace_its_own():
    assert parse('--devices "cpu(0),cpu(1)"', SMALL).num_gpus is None
    assert parse('--ngpus 2', SMALL.replace(num_gpus=None, devices='cpu(0)')).devices == ''


def test_the_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FCNConfig().lr = 1
