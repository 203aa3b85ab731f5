import dataclasses
import json
import math
import shlex
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from gluon_tricks.config.classification import TrainConfig, from_namespace, parser
from gluon_tricks.config.options import flags_of
from gluon_tricks.errors import UsageError
from support import ROOT


def parse(text):
    """The configuration of a command line, given as one string or a list."""
    words = shlex.split(text.replace('\\\n', ' ')) if isinstance(text, str) else list(text)
    return from_namespace(parser().parse_args(words))


def refusal(text):
    """The sentence with which a command line is refused."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    message = str(caught.value)
    assert message and '\n' not in message
    return message


# ---------------------------------------------------------------------------------------------------------------------
# GluonCV's published commands (its web-data repository, logs/classification/imagenet)

RECORDS = """--rec-train /media/ramdisk/rec/train.rec --rec-train-idx /media/ramdisk/rec/train.idx \
--rec-val /media/ramdisk/rec/val.rec --rec-val-idx /media/ramdisk/rec/val.idx """
SHARED = dict(rec_train='/media/ramdisk/rec/train.rec', rec_train_idx='/media/ramdisk/rec/train.idx',
              rec_val='/media/ramdisk/rec/val.rec', rec_val_idx='/media/ramdisk/rec/val.idx', use_rec=True,
              mode='hybrid',
              num_gpus=8, decode_threads=60, lr_mode='cosine', warmup_epochs=5, no_wd=True, label_smoothing=True,
              momentum=0.9, wd=0.0001)
EFFICIENT = dict(SHARED, lr=0.4, batch_size=128, dtype='float16')
PUBLISHED = {
    'resnet50_v1d-mixup': (RECORDS + """--model resnet50_v1d --mode hybrid \
        --lr 0.4 --lr-mode cosine --num-epochs 200 --batch-size 128 --num-gpus 8 -j 60 \
        --use-rec --dtype float16 --warmup-epochs 5 --last-gamma --no-wd --label-smoothing --mixup \
        --save-dir params_resnet50_v1d_mixup \
        --logging-file resnet50_v1d_mixup.log""",
                           dict(EFFICIENT, model='resnet50_v1d', num_epochs=200, last_gamma=True, mixup=True,
                                save_dir='params_resnet50_v1d_mixup', logging_file='resnet50_v1d_mixup.log')),
    'resnet101_v1d-mixup': (RECORDS + """--model resnet101_v1d --mode hybrid \
        --lr 0.4 --lr-mode cosine --num-epochs 200 --batch-size 128 --num-gpus 8 -j 60 \
        --use-rec --warmup-epochs 5 --dtype float16 \
        --last-gamma --no-wd --label-smoothing --mixup \
        --save-dir params_resnet101_v1d_mixup \
        --logging-file resnet101_v1d_mixup.log""",
                            dict(EFFICIENT, model='resnet101_v1d', num_epochs=200, last_gamma=True, mixup=True,
                                 save_dir='params_resnet101_v1d_mixup', logging_file='resnet101_v1d_mixup.log')),
    'resnet152_v1d': (RECORDS + """--model resnet152_v1d --mode hybrid \
        --lr 0.2 --lr-mode cosine --num-epochs 120 --batch-size 64 --num-gpus 8 -j 60 \
        --warmup-epochs 5 \
        --use-rec --last-gamma --no-wd --label-smoothing \
        --save-dir params_resnet152_v1d_best \
        --logging-file resnet152_v1d_best.log""",
                      dict(SHARED, model='resnet152_v1d', lr=0.2, num_epochs=120, batch_size=64, dtype='float32',
                           last_gamma=True, save_dir='params_resnet152_v1d_best',
                           logging_file='resnet152_v1d_best.log')),
    'resnet152_v1d-mixup': (RECORDS + """--model resnet152_v1d --mode hybrid \
        --lr 0.1 --lr-mode cosine --num-epochs 200 --batch-size 32 --num-gpus 8 -j 60 \
        --use-rec --warmup-epochs 5 --last-gamma --no-wd --label-smoothing --mixup \
        --save-dir params_resnet152_v1d_mixup \
        --logging-file resnet152_v1d_mixup.log""",
                            dict(SHARED, model='resnet152_v1d', lr=0.1, num_epochs=200, batch_size=32, dtype='float32',
                                 last_gamma=True, mixup=True, save_dir='params_resnet152_v1d_mixup',
                                 logging_file='resnet152_v1d_mixup.log')),
    'inceptionv3-mixup': (RECORDS + """--model inceptionv3 --mode hybrid --input-size 299 \
        --lr 0.4 --lr-mode cosine --num-epochs 200 --batch-size 128 --num-gpus 8 -j 60 \
        --use-rec --dtype float16 --warmup-epochs 5 --no-wd --label-smoothing --mixup \
        --save-dir params_inceptionv3_mixup \
        --logging-file inceptionv3_mixup.log""",
                          dict(EFFICIENT, model='inceptionv3', input_size=299, num_epochs=200, mixup=True,
                               save_dir='params_inceptionv3_mixup', logging_file='inceptionv3_mixup.log')),
    'mobilenet1.0': (RECORDS + """--model mobilenet1.0 --mode hybrid \
        --lr 0.4 --lr-mode cosine --num-epochs 120 --batch-size 128 --num-gpus 8 -j 60 \
        --use-rec --dtype float16 --warmup-epochs 5 --no-wd --label-smoothing \
        --save-dir params_mobilenet1.0 \
        --logging-file mobilenet1.0.log""",
                     dict(EFFICIENT, model='mobilenet1.0', num_epochs=120, save_dir='params_mobilenet1.0',
                          logging_file='mobilenet1.0.log')),
    'mobilenet1.0-mixup': (RECORDS + """--mode hybrid --num-gpus 8 -j 60 --use-rec --model mobilenet1.0 \
        --lr 0.4 --lr-mode cosine --num-epochs 200 --batch-size 128 --dtype float16 --warmup-epochs 5 --no-wd \
        --label-smoothing --mixup""", dict(EFFICIENT, model='mobilenet1.0', num_epochs=200, mixup=True)),
    'resnet50_v1 of April 2018': (
        '--batch-size 64 --num-gpus 4 -j 32 --mode hybrid --num-epochs 150 --lr 0.1 --momentum 0.9 --wd 0.0001 '
        '--lr-decay 0.1 --lr-decay-epoch 30,60,90 --model resnet50_v1',
        dict(model='resnet50_v1', batch_size=64, num_gpus=4, decode_threads=32, mode='hybrid', num_epochs=150, lr=0.1,
             momentum=0.9, wd=0.0001, lr_decay=0.1, lr_decay_epoch='30,60,90', lr_mode='step')),
}
for variant in ('v1', 'v1b', 'v1c', 'v1d'):
    PUBLISHED['resnet50_' + variant] = (
        RECORDS + f'--mode hybrid --num-gpus 8 -j 60 --use-rec --model resnet50_{variant} --lr 0.4 --lr-mode '
                  'cosine         --num-epochs 120 --batch-size 128 --warmup-epochs 5 --dtype float16 --last-gamma '
                  f'--no-wd --label-smoothing         --save-dir params_resnet50_{variant}_best --logging-file '
                  f'resnet50_{variant}_best.log',
        dict(EFFICIENT, model='resnet50_' + variant, num_epochs=120, last_gamma=True,
             save_dir=f'params_resnet50_{variant}_best', logging_file=f'resnet50_{variant}_best.log'))


@pytest.mark.parametrize('name', sorted(PUBLISHED))
def test_a_published_command_gives_its_configuration_field_by_field(name):
    command, given_options = PUBLISHED[name]
    config = parse(command).to_dict()
    defaults = TrainConfig().to_dict()
    for option in defaults:
        assert config[option] == given_options.get(option, defaults[option]), option


@pytest.mark.parametrize('name', sorted(PUBLISHED))
def test_linear_scaling_would_give_the_published_learning_rate(name):
    config = parse(PUBLISHED[name][0])
    assert config.lr == pytest.approx(0.1 * config.batch_size * config.num_gpus / 256)


@pytest.mark.parametrize('model', ['vgg16_bn', 'vgg19_bn', 'vgg16', 'VGG19'])
def test_the_published_commands_of_vgg_with_batch_normalisation(model):
    """vgg16_bn.sh and vgg19_bn.sh say it twice; without the flag a name stays what it is."""
    command = RECORDS + """--model %s --mode hybrid --batch-norm --batch-size 32 --num-gpus 8 -j 64 \
        --num-epochs 100 --lr 0.01 --lr-decay 0.1 --lr-decay-epoch 50,80 --use-rec --save-dir params_vgg""" % model
    config = parse(command)
    assert config == parse(command.replace(' --batch-norm', '')).replace(model=model.replace('_bn', '') + '_bn')
    assert (config.lr, config.decay_epochs, config.batch_size, config.decode_threads) == (0.01, (50, 80), 32, 64)


# ---------------------------------------------------------------------------------------------------------------------
# Flags

def test_the_bare_command():
    config = parse('--mode hybrid --dtype float16')
    assert config == TrainConfig(dtype='float16')
    assert (config.model, config.mode, config.num_epochs, config.lr_mode, config.decay_epochs) == (
        'resnet50_v1d', 'hybrid', 120, 'step', (30, 60, 90))
    assert config.lr is None and config.num_gpus is None and config.decode_threads is None and config.input_size is None


def test_both_spellings():
    assert parse('--use_se').use_se and parse('--use-se').use_se
    assert parse('-j 3').decode_threads == parse('--num-data-workers 3').decode_threads == 3
    assert parse('--rgb-mean 1,2,3.5').rgb_mean == (1.0, 2.0, 3.5)
    assert parse('--rgb-mean=-1,2,3').rgb_mean == (-1.0, 2.0, 3.0)


def test_every_option_has_a_flag_and_help():
    text = parser().format_help()
    words = text.split()
    for field in dataclasses.fields(TrainConfig):
        flag = flags_of(field)[-1]
        assert any(word.strip('[],') == flag for word in words), flag
    assert not any(flag in words for flag in TrainConfig.REFUSED)


def test_absent_flags_leave_the_recipe_as_it_is():
    base = TrainConfig(mixup=True, num_epochs=200, lr_mode='cosine', devices='cpu(0)')
    assert from_namespace(parser().parse_args([]), base) == base
    assert from_namespace(parser().parse_args(['--num-epochs', '3']), base) == base.replace(num_epochs=3)
    assert from_namespace(parser().parse_args(['--mixup-alpha', '0.4']), base) == base.replace(mixup_alpha=0.4)


def test_devices_typed_over_a_recipe_replace_its_devices():
    base = TrainConfig(num_gpus=8)
    config = from_namespace(parser().parse_args(['--devices', 'cpu(0),cpu(1)']), base)
    assert (config.devices, config.num_gpus) == ('cpu(0),cpu(1)', None)
    config = from_namespace(parser().parse_args(['--num-gpus', '0']), TrainConfig(devices='cpu(0)'))
    assert (config.devices, config.num_gpus) == ('', 0)


@pytest.mark.parametrize('words, parts', [
    ('--use-gn', ['group normalisation', '--use-gn']),
    ('--batch-norm', ['--batch-norm', 'VGG', '--model is resnet50_v1: drop']),
    ('--warmup-lr 0.01', ['--warmup-lr', 'drop it']), ('--warmup-lr=0', ['--warmup-lr']),
    ('--resume-states x.states', ['pickle', '--resume auto']),
    ('--mode symbolic', ['--mode symbolic', '--mode hybrid']), ('--data-backend dali-gpu', ['dali-gpu', 'mxnet']),
    ('--data-backend dali-cpu', ['dali-cpu', 'mxnet']),
])
def test_flags_without_a_meaning_are_refused_with_a_remedy(words, parts):
    message = refusal('--model resnet50_v1 ' + words + ' --lr 0.1')
    assert all(part in message for part in parts)


@pytest.mark.parametrize('words, part', [
    ('--modle x', '--modle'), ('--num-epoch 3', '--num-epoch'), ('--batch-size 3.5', '--batch-size'),
    ('--batch-size', '--batch-size'), ('--rgb-mean 1,x,3', 'numbers separated by commas'),
    ('resnet50_v1', 'resnet50_v1'),
    ('--recipe', '--recipe')])
def test_a_wrong_command_line_is_a_usage_error(words, part):
    assert part in refusal(words)


@pytest.mark.parametrize('words, needed', [
    ('--mixup-alpha 0.2', '--mixup'), ('--mixup-off-epoch 3', '--mixup or --cutmix'),
    ('--mixup-pairs reverse', '--mixup or --cutmix'), ('--cutmix-alpha 1', '--cutmix'),
    ('--epsilon 0.1', '--label-smoothing'),
    ('--smoothing paper', '--label-smoothing'), ('--temperature 20', '--teacher'),
    ('--distill-loss gluoncv', '--teacher'),
    ('--hard-weight 0.5', '--distill-loss gluoncv'), ('--loss-scale 128', '--dtype float16'),
    ('--cutmix --mixup-alpha 0.2', '--mixup'),
    ('--teacher x --teacher-params y --hard-weight 0.5', '--distill-loss gluoncv')])
def test_a_typed_option_that_does_nothing_is_refused(words, needed):
    message = refusal(words)
    assert f'does nothing without {needed}: ' in message


@pytest.mark.parametrize('words', [
    '--mixup --mixup-alpha 0.2', '--mixup --mixup-off-epoch 3', '--cutmix --mixup-pairs reverse',
    '--cutmix --cutmix-alpha 1', '--label-smoothing --epsilon 0.2', '--label-smoothing --smoothing gluoncv',
    '--teacher x --teacher-params y --temperature 4', '--dtype float16 --loss-scale 128',
    '--teacher x --teacher-params y --distill-loss gluoncv --hard-weight 0.5'])
def test_and_taken_where_it_does_something(words):
    assert parse(words)


# ---------------------------------------------------------------------------------------------------------------------
# Rules

@pytest.mark.parametrize('name, bad, good', [
    ('num_classes', 0, 1), ('batch_size', 0, 1), ('num_epochs', 0, 1), ('input_size', 1, 8), ('decode_threads', 0, 1),
    ('input_size', 100000, 2048), ('batch_size', 65537, 65536), ('num_classes', 10 ** 12, 10 ** 6),
    ('decode_threads', 10 ** 9, 1024), ('num_epochs', 10 ** 12, 10 ** 6), ('crop_ratio', 1e-9, 0.25),
    ('loss_scale', '1e39', '16777216'), ('loss_scale', '1e-50', '1'), ('num_gpus', 1000, 8),
    ('num_training_samples', 0, 1), ('warmup_epochs', -1, 0), ('warmup_epochs', 120, 119), ('wd', -1e-9, 0.0),
    ('lr_decay_period', -1, 0), ('mixup_off_epoch', -1, 0), ('mixup_off_epoch', 120, 119), ('cutout', -1, 0),
    ('seed', -1, 0), ('seed', 2 ** 31, 2 ** 31 - 1), ('save_frequency', -1, 0), ('jitter', -0.1, 0.0),
    ('jitter', 1.1, 1.0),
    ('pca_noise', -0.1, 0.0), ('log_interval', -1, 0), ('mixup_alpha', 0.0, 1e-9), ('cutmix_alpha', 0.0, 1e-9),
    ('temperature', 0.0, 1e-3), ('lr_decay', 0.0, 1e-3), ('crop_ratio', 0.0, 0.5), ('crop_ratio', 1.01, 1.0),
    ('min_area', 0.0, 1e-3), ('min_area', 1.01, 1.0), ('lr', 0.0, 1e-9), ('momentum', 1.0, 0.999),
    ('momentum', -0.1, 0.0),
    ('epsilon', 1.0, 0.99), ('epsilon', -0.1, 0.0), ('hard_weight', 1.1, 1.0), ('hard_weight', -0.1, 0.0),
    ('num_gpus', -1, 0), ('rgb_mean', (1.0, 2.0), (1.0, 2.0, 3.0)), ('rgb_std', (1.0, 0.0, 1.0), (1.0, 1.0, 1.0)),
    ('rgb_mean', (math.nan, 1.0, 1.0), (-1.0, 1.0, 1.0)), ('loss_scale', '0', '1'), ('loss_scale', 'big', 'dynamic'),
    ('loss_scale', 'inf', '128.0'), ('lr_decay_epoch', '60,30', '30,60'), ('lr_decay_epoch', '0,30', '1,30'),
    ('lr_decay_epoch', '30,x', '30'), ('lr_decay_epoch', '30,30', ''), ('logging_file', 'a/b.log', 'b.log'),
    ('logging_file', '', 'x'), ('save_dir', '', 'x'), ('lr', math.nan, 0.1), ('lr', math.inf, 0.1),
    ('wd', math.inf, 0.1),
    ('lr_mode', 'cos', 'cosine'), ('dtype', 'float64', 'bfloat16'), ('kv_store', 'dist_async', 'dist_sync'),
    ('init', 'normal', 'msra'), ('smoothing', 'uniform', 'gluoncv'), ('distill_loss', 'kl', 'gluoncv'),
    ('mixup_pairs', 'gluoncv', 'reverse'), ('nag', 'pytorch', 'mxnet'), ('schedule', '2018', 'gluoncv-2018'),
    ('mode', 'static', 'imperative'), ('data_backend', 'dali', 'synthetic'), ('save_dtype', 'bfloat16', 'float16')])
def test_ranges(name, bad, good):
    with pytest.raises(UsageError) as caught:
        TrainConfig(**{name: bad})
    message = str(caught.value)
    assert message.startswith('--') and 'must be' in message and '\n' not in message
    assert getattr(TrainConfig(**{name: good}), name) == good


@pytest.mark.parametrize('options, parts', [
    (dict(devices='cpu(0)', num_gpus=1), ['--devices cpu(0)', '--num-gpus 1']),
    (dict(resume='DIR', resume_params='x'), ['--resume', '--resume-params']),
    (dict(resume_epoch=3), ['--resume-epoch 3', '--resume-params', '--resume auto']),
    (dict(resume_epoch=120, resume_params='x'), ['--resume-epoch 120', '--num-epochs 120']),
    (dict(resume_params='x', use_pretrained=True), ['--resume-params', '--use-pretrained']),
    (dict(base_params='x', use_pretrained=True), ['--base-params', '--use-pretrained']),
    (dict(base_params='x', resume_params='y'), ['--base-params', '--resume-params']),
    (dict(train_layers='head'), ['--train-layers head', '--base-params FILE']),
    (dict(train_layers='head', resume_params='x'), ['--train-layers head', '--base-params FILE']),
    (dict(teacher_params='x.params'), ['--teacher-params x.params', '--teacher NAME']),
    (dict(teacher='resnet152_v1d'), ['--teacher resnet152_v1d', '--teacher-params FILE']),
    (dict(label_smoothing=True, num_classes=1), ['--label-smoothing', '--num-classes']),
    (dict(warmup_epochs=5, num_epochs=5), ['--warmup-epochs 5', '--num-epochs 5'])])
def test_contradictions(options, parts):
    with pytest.raises(UsageError) as caught:
        TrainConfig(**options)
    assert all(part in str(caught.value) for part in parts)


def test_a_typo_in_code_is_an_error():
    with pytest.raises(TypeError):
        TrainConfig(modle='resnet50_v1')
    with pytest.raises(TypeError):
        TrainConfig().replace(modle='resnet50_v1')
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().model = 'resnet50_v1'


def test_epochs_of_the_step_decay():
    assert TrainConfig().decay_epochs == (30, 60, 90)
    assert TrainConfig(lr_decay_epoch='5, 10').decay_epochs == (5, 10)
    assert TrainConfig(lr_decay_epoch='').decay_epochs == ()
    assert TrainConfig(lr_decay_period=30).decay_epochs == (30, 60, 90)
    assert TrainConfig(lr_decay_period=200).decay_epochs == ()


# ---------------------------------------------------------------------------------------------------------------------
# Views of a configuration

def test_only_what_differs_is_printed():
    assert TrainConfig().arguments() == []
    assert TrainConfig().command() == 'python train_imagenet.py'
    assert TrainConfig(mixup=True, lr=0.4, rgb_mean=(1.0, 2.0, 3.0)).arguments() == [
        '--rgb-mean', '1.0,2.0,3.0', '--lr', '0.4', '--mixup']
    assert TrainConfig(save_dir='-a b').arguments() == ['--save-dir=-a b']
    assert TrainConfig(save_dir='-a b').command() == "python train_imagenet.py '--save-dir=-a b'"


def test_an_unknown_stored_option_is_refused():
    with pytest.raises(UsageError, match="'warp'"):
        TrainConfig.from_dict(dict(TrainConfig().to_dict(), warp=9))


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
NAME = TEXT.filter(bool)

# Options whose type and range do not tell all their values.
OF_ITS_OWN = dict(
    model=NAME, save_dir=NAME, logging_file=NAME.filter(lambda name: '/' not in name),
    loss_scale=st.sampled_from(('dynamic', '128', '1e3')), divergence_factor=st.sampled_from((0.0, 1.5, 4.0)),
    lr_decay_epoch=st.lists(st.integers(1, 300), unique=True, max_size=4).map(
        lambda epochs: ','.join(map(str, sorted(epochs)))))
# Options that bound or exclude each other, drawn together.
TOGETHER = [
    st.just({}) | st.fixed_dictionaries(dict(num_epochs=st.integers(101, 300), warmup_epochs=st.integers(0, 100),
                                             mixup_off_epoch=st.integers(0, 100))),
    st.sampled_from(({}, dict(num_gpus=2), dict(num_gpus=0), dict(devices='cpu(0),cpu(1)'))),
    st.sampled_from(({}, dict(resume='auto'), dict(use_pretrained=True), dict(last_gamma=True),
                     dict(resume_params='a b.params', resume_epoch=7), dict(base_params='a b.params', last_gamma=True),
                     dict(base_params='a b.params', train_layers='head', resume='auto'))),
    st.sampled_from(({}, dict(num_classes=1), dict(num_classes=2, label_smoothing=True))),
    st.just({}) | st.fixed_dictionaries(dict(teacher=NAME, teacher_params=NAME))]
DRAWN_TOGETHER = {'num_epochs', 'warmup_epochs', 'mixup_off_epoch', 'num_gpus', 'devices', 'resume', 'use_pretrained',
                  'last_gamma', 'resume_params', 'resume_epoch', 'base_params', 'train_layers', 'num_classes',
                  'label_smoothing', 'teacher', 'teacher_params'}
# What else is set where an option needs one of these.
WITH = dict(teacher=dict(teacher='a', teacher_params='a b.params'), label_smoothing=dict(label_smoothing=True, num_classes=2))


def values(field):
    """A strategy of the values that an option may have, by its type, its choices and its range."""
    kind, bounds = field.metadata['type'] or field.type, field.metadata['bounds']
    if field.name in OF_ITS_OWN:
        return OF_ITS_OWN[field.name]
    if field.metadata['choices']:
        return st.sampled_from(field.metadata['choices'])
    if kind in (bool, str):
        return st.booleans() if kind is bool else TEXT
    if kind is int:
        low = bounds['at_least'] if bounds['above'] is None else bounds['above'] + 1
        high = bounds['at_most'] if bounds['below'] is None else bounds['below'] - 1
        found = st.integers(low, 10 ** 6 if high is None else high)
    else:
        ends = [bounds['at_least'], bounds['above'], bounds['at_most'], bounds['below']]
        low, high = next((end for end in ends[:2] if end is not None), -1e6), next(
            (end for end in ends[2:] if end is not None), 1e6)
        found = st.floats(low, high, exclude_min=bounds['above'] is not None, exclude_max=bounds['below'] is not None)
    if field.type is tuple:
        return st.tuples(*[found] * len(field.default))
    return st.none() | found if field.default is None else found


ALONE = {field.name: field for field in TrainConfig.fields() if field.name not in DRAWN_TOGETHER}


@st.composite
def configurations(draw, off_default=()):
    """Any of the options, these off their default, and what they need to do something."""
    options = {name: draw(values(ALONE[name])) for name in draw(st.sets(st.sampled_from(sorted(ALONE))))}
    for name in off_default:
        options[name] = draw(values(ALONE[name]).filter(lambda value: value != ALONE[name].default))
    for group in TOGETHER:
        options.update(draw(group))
    while True:
        config = TrainConfig(**options)
        needs = {name: TrainConfig.field(name).metadata['needs'] for name in options}
        missing = [needs[name][0] for name in options if needs[name] and not any(map(config.has, needs[name]))]
        if not missing:
            return config
        for need in missing:
            name, _, value = need.partition('=')
            options.update(WITH.get(name, {name: value or True}))


def check_views(config):
    assert from_namespace(parser().parse_args(config.arguments())) == config
    assert from_namespace(parser().parse_args(shlex.split(config.command())[2:])) == config
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert TrainConfig.from_dict(json.loads(config.to_json())) == config
    assert hash(config) == hash(config.replace())


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(config=configurations())
def test_a_configuration_survives_its_views(config):
    check_views(config)


@pytest.mark.parametrize('name', sorted(ALONE))
def test_each_option_survives_the_views(name):
    """Off its default, as else nothing of it would be printed."""
    @settings(max_examples=2, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(config=configurations(off_default=[name]))
    def check(config):
        assert getattr(config, name) != ALONE[name].default
        check_views(config)
    check()


@pytest.mark.parametrize('name', sorted(DRAWN_TOGETHER))
def test_the_options_that_are_drawn_together_are_drawn(name):
    assert find(st.tuples(*TOGETHER), lambda groups: any(name in group for group in groups),
                settings=settings(derandomize=True, database=None, phases=[Phase.generate]))


def test_the_module_loads_without_mxnet_and_numpy():
    code = 'import sys; import gluon_tricks.config.classification; assert not {"mxnet", "numpy"} & set(sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT)).returncode == 0
