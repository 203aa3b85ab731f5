import pytest

from gluon_tricks.config import options
from gluon_tricks.config.detection import RCNNConfig, from_namespace
from gluon_tricks.errors import UsageError


def parse(words, base=None):
    return from_namespace(options.parser(RCNNConfig).parse_args(words.split()), base)


def test_the_published_command_means_what_its_log_says():
    config = parse('--gpus 0,1,2,3 --dataset voc --network resnet50_v1b')
    logged = dict(dataset='voc', num_epochs=20, gpus='0,1,2,3', log_interval=100, lr=0.001, lr_decay=0.1,
                  lr_decay_epoch='14,20', lr_warmup=-1, image_max_size=1000, momentum=0.9, network='resnet50_v1b',
                  loader_processes=4, save_frequency=1, seed=233, image_short=600, val_interval=1, wd=0.0005,
                  clip_gradient=5.0)  # the last is the script's of that time, which has no flag for it
    for name, value in logged.items():
        assert getattr(config, name) == value, name
    assert config.total_batch_size is None  # one image on each GPU, as the log's batch_size=4 says


def test_gluoncvs_other_flags():
    config = parse('--epochs 3 --lr 0.01 --lr-decay-epoch 1,2 --lr-warmup 100 --lr-warmup-factor 0.1 --wd 0 -j 2 '
                   '--batch-size 8 --save-interval 2 --amp --static-alloc --disable-hybridization --kv-store local')
    assert (config.num_epochs, config.decay_epochs, config.lr_warmup, config.loader_processes) == (3, (1, 2), 100, 2)
    assert config.dtype == 'float16' and not config.amp and config.save_frequency == 2
    assert parse(' '.join(config.arguments())) == config


@pytest.mark.parametrize('words, part', [
    ('--use-fpn', 'feature pyramids'), ('--norm-layer syncbn', 'frozen'), ('--mixup', 'not part of the paper'),
    ('--horovod', '--gpus'), ('--start-epoch 3', '--resume auto'), ('--dataset coco', 'one of: voc'),
    ('--resume x_0003.params', '--eval --params'), ('--dtype bfloat16', 'float32 or float16'),
    ('--amp --dtype float32', 'give one of them'), ('--lr 0', 'above 0'), ('--lr-decay-epoch 3,2', 'increasing'),
    ('--image-short 600 --image-max-size 500', 'at least --image-short 600'), ('--epochs 0', 'at least 1'),
    ('--image-max-size 100000', 'at most 4096'), ('-j 1000', 'at most 64'),
    ('--gpus 0 --devices cpu(0)', 'twice'), ('--save-prefix a/b', 'without a directory'),
    ('--anchor-scales 0,2', 'above 0'), ('--clip-gradient -1', '0 or more'), ('--kv-store nonsense', 'device, local')])
def test_what_has_no_meaning_is_refused(words, part):
    with pytest.raises(UsageError, match=part.replace('(', r'\(')):
        parse(words)


def test_devices_typed_over_a_recipe_replace_its_gpus():
    base = RCNNConfig(gpus='0,1,2,3')
    assert parse('--devices cpu(0)', base).gpus == '' and parse('--gpus 0', base).gpus == '0'
