import re
import shlex
import subprocess
import sys

import pytest

from gluon_tricks.config import classification as configuration
from gluon_tricks.config.recipes import RECIPES, get
from gluon_tricks.errors import UsageError
from support import ROOT

PAPER = ROOT.parent / 'shared' / 'paper.txt'
PUBLISHED = ROOT.parent / 'shared' / 'published'

# The paper's tables, typed from its text.
TABLE2 = {'resnet50_v1': (75.87, 92.70), 'inceptionv3': (77.32, 93.43), 'mobilenet1.0': (69.03, 88.71)}
TABLE3 = {'resnet50_v1': (4.4, 76.21, 92.97, 13.3, 75.87, 92.70),
          'inceptionv3': (8.0, 77.50, 93.60, 19.8, 77.32, 93.43),
          'mobilenet1.0': (3.7, 71.90, 90.47, 6.2, 69.03, 88.71)}
TABLE4 = {'linear_scaling': (75.87, 92.70, 75.17, 92.54), 'warmup': (76.03, 92.81, 75.93, 92.84),
          'zero_gamma': (76.19, 93.03, 76.37, 92.96), 'no_bias_decay': (76.16, 92.97, 76.03, 92.86),
          'fp16': (76.15, 93.09, 76.21, 92.97)}
TABLE5 = {'resnet50_v1': (3.8, 76.21, 92.97), 'resnet50_v1b': (4.1, 76.66, 93.28), 'resnet50_v1c': (4.3, 76.87, 93.48),
          'resnet50_v1d': (4.3, 77.16, 93.52)}
TABLE6 = {'efficient': (77.16, 93.52, 77.50, 93.60, 71.90, 90.53), 'cosine': (77.91, 93.81, 78.19, 94.06, 72.83, 91.00),
          'label_smoothing': (78.31, 94.09, 78.40, 94.13, 72.93, 91.14),
          'distill': (78.67, 94.36, 78.26, 94.01, 71.97, 90.89), 'mixup': (79.15, 94.58, 78.77, 94.39, 73.28, 91.30),
          'distill_mixup': (79.29, 94.63, 78.34, 94.16, 72.51, 91.02)}
TABLE7 = {'efficient': (56.34, 86.87, 57.18, 87.28), 'best': (56.70, 87.33, 57.63, 87.82)}
TABLE1 = {'resnet50_v1': (3.9, 75.3, 92.2), 'resnext50_32x4d': (4.2, 77.8, None), 'se_resnet50': (3.9, 76.71, 93.38),
          'se_resnext50_32x4d': (4.3, 78.90, 94.51), 'densenet201': (4.3, 77.42, 93.66)}
TABLE6_NETWORKS = ('resnet50_v1d', 'inceptionv3', 'mobilenet1.0')

# GluonCV's published networks: top-1 and top-5 of its model zoo and the hash of the .params.
GLUONCV = {
    'resnet50_v1': (77.36, 93.57, 'cc729d95'), 'resnet50_v1b': (77.67, 93.82, '0ecdba34'),
    'resnet50_v1c': (78.03, 94.09, '2a4e0708'), 'resnet50_v1d': (78.48, 94.20, '00319ddc'),
    'resnet50_v1d-mixup': (79.15, 94.58, '117a384e'), 'resnet101_v1d': (79.78, 94.80, '8659a9d6'),
    'resnet101_v1d-mixup': (80.51, 95.12, '1b2b825f'), 'resnet152_v1d': (80.26, 95.00, 'cfe0220d'),
    'resnet152_v1d-mixup': (80.61, 95.34, 'cddbc86f'), 'inceptionv3': (78.41, 94.13, 'e132adf2'),
    'inceptionv3-mixup': (78.77, 94.39, 'a5050dbc'), 'mobilenet1.0': (72.93, 91.14, 'cce75496'),
    'mobilenet1.0-mixup': (73.28, 91.30, 'efbb2ca3'), 'resnext50_32x4d': (79.32, 94.53, '4ecf62e2'),
    'se_resnext50_32x4d': (79.95, 94.93, '7906e0e1')}

# What each recipe changes in the row above: option -> new value. SAVE_DIR is each run's own.
EFFICIENT = dict(batch_size=128, dtype='float16', warmup_epochs=5, last_gamma=True, no_wd=True)
PLAIN_EFFICIENT = dict(batch_size=128, dtype='float16', warmup_epochs=5, no_wd=True)
PLACES = dict(num_classes=365, num_training_samples=1803460, data_dir='~/.mxnet/datasets/places365')
TABLE4_CHANGES = {'warmup': dict(warmup_epochs=5), 'zero_gamma': dict(last_gamma=True),
                  'no_bias_decay': dict(no_wd=True),
                  'fp16': dict(dtype='float16')}
TABLE6_CHANGES = {
    'efficient': {}, 'cosine': dict(lr_mode='cosine'), 'label_smoothing': dict(label_smoothing=True),
    'distill': dict(teacher='resnet152_v1d', teacher_params='runs/teacher/resnet152_v1d/best/net.params'),
    'mixup': dict(mixup=True, num_epochs=200),
    'distill_mixup': dict(teacher='resnet152_v1d', teacher_params='runs/teacher/resnet152_v1d_mixup/best/net.params')}
CHANGES = {
    'table3/baseline/resnet50_v1': {}, 'table3/baseline/inceptionv3': {}, 'table3/baseline/mobilenet1.0': {},
    'table3/efficient/resnet50_v1': EFFICIENT, 'table3/efficient/inceptionv3': PLAIN_EFFICIENT,
    'table3/efficient/mobilenet1.0': PLAIN_EFFICIENT,
    'table4/bs256/linear_scaling': {}, 'table4/bs1024/linear_scaling': dict(batch_size=128),
    'table5/resnet50_v1': {}, 'table5/resnet50_v1b': dict(model='resnet50_v1b'),
    'table5/resnet50_v1c': dict(model='resnet50_v1c'), 'table5/resnet50_v1d': dict(model='resnet50_v1d'),
    'table7/efficient': PLACES, 'table7/best': PLACES,
    'teacher/resnet152_v1d': dict(model='resnet152_v1d', dtype='float32', batch_size=64),
    'teacher/resnet152_v1d_mixup': dict(model='resnet152_v1d', dtype='float32', batch_size=32),
    'b_standard': dict(model='resnet50_v1b'),
    'table1/resnet50_v1': {}, 'table1/resnet50_v1d': {}, 'table1/resnext50_32x4d': dict(model='resnext50_32x4d'),
    'table1/se_resnet50': dict(model='se_resnet50_v1'), 'table1/se_resnext50_32x4d': dict(model='se_resnext50_32x4d'),
    'table1/densenet201': dict(model='densenet201', last_gamma=False),
    'slides/baseline': dict(num_epochs=300, lr_decay_epoch='75,150,225'),
    'slides/mixup': dict(mixup=True, mixup_alpha=1.0), 'slides/cutout': dict(cutout=112),
    'slides/cutmix': dict(cutmix=True),
}
CHANGES.update({f'table4/{size}/{name}': change for size in ('bs256', 'bs1024')
                for name, change in TABLE4_CHANGES.items()})
CHANGES.update({f'table6/{network}/{name}': change for network in TABLE6_NETWORKS
                for name, change in TABLE6_CHANGES.items()})


FLOAT32 = dict(dtype='float32', loss_scale='dynamic')
CHANGES.update({
    'gluoncv/resnet50_v1d': dict(init='msra', smoothing='gluoncv', schedule='gluoncv-2018', loss_scale='1'),
    'gluoncv/resnet50_v1d-mixup': dict(mixup=True, mixup_pairs='reverse', num_epochs=200),
    'gluoncv/resnet152_v1d': dict(FLOAT32, model='resnet152_v1d', batch_size=64),
    'gluoncv/resnet152_v1d-mixup': dict(FLOAT32, model='resnet152_v1d', batch_size=32),
    'gluoncv/resnext50_32x4d': dict(model='resnext50_32x4d', last_gamma=False),
    'gluoncv/se_resnext50_32x4d': dict(FLOAT32, model='se_resnext50_32x4d', last_gamma=False)})
CHANGES.update({'gluoncv/' + name: dict(model=name.split('-')[0]) for name in GLUONCV
                if name.startswith(('resnet50_v1', 'resnet101')) and not name.startswith('resnet50_v1d')})
for mixup in ('', '-mixup'):
    CHANGES['gluoncv/inceptionv3' + mixup] = dict(model='inceptionv3', input_size=299, last_gamma=False)
    CHANGES['gluoncv/mobilenet1.0' + mixup] = dict(model='mobilenet1.0', last_gamma=False)


def top(name):
    return get(name).paper['top1'], get(name).paper['top5']


# ---------------------------------------------------------------------------------------------------------------------
# The paper's figures

def test_figures_of_tables_2_and_3():
    for network, (top1, top5) in TABLE2.items():
        assert top('table2/' + network) == (top1, top5)
    for network, (minutes, top1, top5, base_minutes, base_top1, base_top5) in TABLE3.items():
        efficient, baseline = get('table3/efficient/' + network), get('table3/baseline/' + network)
        assert top(efficient.name) == (top1, top5) and efficient.paper['minutes_per_epoch'] == minutes
        assert top(baseline.name) == (base_top1, base_top5) and baseline.paper['minutes_per_epoch'] == base_minutes


def test_figures_of_tables_4_and_5():
    for name, figures in TABLE4.items():
        assert top('table4/bs256/' + name) + top('table4/bs1024/' + name) == figures
    for network, (gmacs, top1, top5) in TABLE5.items():
        assert top('table5/' + network) == (top1, top5)
        assert get('table5/' + network).paper['gmacs'] == gmacs
        assert get('table5/' + network).paper['params_millions'] == 25


def test_figures_of_tables_6_and_7():
    for name, figures in TABLE6.items():
        assert sum((top(f'table6/{network}/{name}') for network in TABLE6_NETWORKS), ()) == figures
    for name, figures in TABLE7.items():
        paper = get('table7/' + name).paper
        assert top('table7/' + name) + (paper['test_top1'], paper['test_top5']) == figures


def test_figures_of_table_1_the_base_network_and_the_slides():
    assert top('table1/resnet50_v1d') == (79.29, 94.63)
    for name, figures in TABLE1.items():
        paper = get('table1/' + name).paper
        # Table 1's figures are those of the standard procedure, not of this recipe
        assert top('table1/' + name) == (None, None)
        assert (paper['gmacs'], paper['standard_top1'], paper['standard_top5']) == figures
    assert top('b_standard') == (76.14, None)
    assert [top('slides/' + name)[0] for name in ('baseline', 'mixup', 'cutout', 'cutmix')] == [76.3, 77.4, 77.1, 78.6]
    assert all('Assumed' in get('slides/' + name).note for name in ('baseline', 'mixup', 'cutout', 'cutmix'))
    assert 'Assumed' in get('b_standard').note


def _rows_of_the_paper():
    if not PAPER.exists():
        pytest.skip(f'{PAPER} is not here')
    rows = []
    for line in PAPER.read_text().splitlines():
        heading, _, rest = line.partition('\t')
        figures = [float(word) for word in re.findall(r'(?<![\w.])\d+\.\d+(?![\w.])', rest)]
        rows.append((re.sub(r'\s*\[\d+\]', '', heading), figures))
    return rows


def test_figures_agree_with_the_text_of_the_paper():
    rows = _rows_of_the_paper()

    def holds(heading, *figures):
        return any(heading == found and [f for f in figures if f is not None] == numbers for found, numbers in rows)

    assert not holds('ResNet-50', 75.87, 92.71, 75.3, 92.2)  # the comparison can fail
    titles = {'resnet50_v1': 'ResNet-50', 'inceptionv3': 'Inception-V3', 'mobilenet1.0': 'MobileNet'}
    for network, title in titles.items():
        paper = get('table2/' + network).paper
        assert holds(title, *top('table2/' + network) + (paper['reference_top1'], paper['reference_top5']))
        efficient, baseline = get('table3/efficient/' + network).paper, get('table3/baseline/' + network).paper
        times = [f for f in (efficient['minutes_per_epoch'], baseline['minutes_per_epoch']) if f != 8.0]  # "8 min"
        expected = sorted(times + [paper[key] for paper in (efficient, baseline) for key in ('top1', 'top5')])
        assert any(title == found and sorted(numbers) == expected for found, numbers in rows)
    for name in TABLE4:
        assert holds(get('table4/bs256/' + name).heading.replace('Zero gamma', 'Zero γ'),
                     *top('table4/bs256/' + name) + top('table4/bs1024/' + name))
    for network in TABLE5:
        assert holds(get('table5/' + network).heading, get('table5/' + network).paper['gmacs'],
                     *top('table5/' + network))
    for name in TABLE6:
        assert holds(get('table6/resnet50_v1d/' + name).heading,
                     *sum((top(f'table6/{network}/{name}') for network in TABLE6_NETWORKS), ()))
    for name in TABLE7:
        paper = get('table7/' + name).paper
        assert holds(get('table7/' + name).heading, *top('table7/' + name) + (paper['test_top1'], paper['test_top5']))
    for name in TABLE1:
        paper = get('table1/' + name).paper
        assert holds(get('table1/' + name).heading, paper['gmacs'], paper['standard_top1'], paper['standard_top5'])
    assert holds('B-standard', 76.14, 77.54)
    assert holds(get('table1/resnet50_v1d').heading, 4.3, *top('table1/resnet50_v1d'))


def test_published_runs_of_the_model_zoo():
    zoo = {'table6/resnet50_v1d/label_smoothing': ('00319ddc', 78.48, 94.20),
           'table6/resnet50_v1d/mixup': ('117a384e', 79.15, 94.58),
           'table6/inceptionv3/label_smoothing': ('e132adf2', 78.41, 94.13),
           'table6/inceptionv3/mixup': ('a5050dbc', 78.77, 94.39),
           'table6/mobilenet1.0/label_smoothing': ('cce75496', 72.93, 91.14),
           'table6/mobilenet1.0/mixup': ('efbb2ca3', 73.28, 91.30),
           'teacher/resnet152_v1d': ('cfe0220d', 80.26, 95.00),
           'teacher/resnet152_v1d_mixup': ('cddbc86f', 80.61, 95.34),
           'table1/resnext50_32x4d': ('4ecf62e2', 79.32, 94.53),
           'table1/se_resnext50_32x4d': ('7906e0e1', 79.95, 94.93)}
    zoo.update({'gluoncv/' + name: (digest, top1, top5) for name, (top1, top5, digest) in GLUONCV.items()})
    found = {recipe.name: (recipe.gluoncv['hash'], recipe.gluoncv['top1'], recipe.gluoncv['top5'])
             for recipe in RECIPES.values() if 'hash' in recipe.gluoncv}
    assert found == zoo


@pytest.mark.parametrize('name', [name for name in GLUONCV if name not in ('inceptionv3', 'resnet152_v1d')])
def test_figures_of_the_published_logs(name):
    found = get('gluoncv/' + name).gluoncv
    figures = [found[f'log_{which}_top{k}'] for which in ('last', 'best') for k in (1, 5)]
    assert abs(figures[2] - found['top1']) < (0.55 if name == 'inceptionv3-mixup' else 0.07)
    path = PUBLISHED / (name + '.log')
    if not path.exists():
        pytest.skip(f'the published log {path.name} is not here')
    text = path.read_text()
    errors = re.findall(r'validation: err-top1=([\d.]+) err-top5=([\d.]+)', text)
    rows = [tuple(100 - 100 * float(error) for error in row) for row in errors]
    config = get('gluoncv/' + name).config
    assert len(rows) == config.num_epochs and figures == pytest.approx(rows[-1] + max(rows), abs=0.00501)
    for option in ('model', 'batch_size', 'num_epochs', 'num_gpus', 'lr_mode', 'dtype', 'warmup_epochs', 'no_wd',
                   'label_smoothing', 'mixup', 'momentum', 'wd'):
        assert f'{option}={getattr(config, option)!r}' in text, option
    assert 'last_gamma=%r' % (config.last_gamma or 'resnext' in name) in text
    assert f'lr={get("gluoncv/" + name).lr!r},' in text


# ---------------------------------------------------------------------------------------------------------------------
# The configurations

def test_every_row_of_the_tables_is_there():
    expected = {'table2/' + n for n in TABLE2} | {'table5/' + n for n in TABLE5} | {'table7/' + n for n in TABLE7}
    expected |= {f'table3/{s}/{n}' for s in ('efficient', 'baseline') for n in TABLE3}
    expected |= {f'table4/{s}/{n}' for s in ('bs256', 'bs1024') for n in TABLE4}
    expected |= {f'table6/{n}/{s}' for n in TABLE6_NETWORKS for s in TABLE6}
    expected |= {'table1/' + n for n in TABLE1} | {'table1/resnet50_v1d', 'b_standard', 'demo'}
    expected |= {'teacher/resnet152_v1d', 'teacher/resnet152_v1d_mixup'}
    expected |= {'gluoncv/' + n for n in GLUONCV}
    expected |= {'slides/' + n for n in ('baseline', 'mixup', 'cutout', 'cutmix')}
    assert set(RECIPES) == expected
    assert all(name == recipe.name for name, recipe in RECIPES.items())


@pytest.mark.parametrize('name', list(RECIPES))
def test_the_plain_command_gives_the_recipes_configuration(name):
    recipe = get(name)
    words = shlex.split(recipe.command)
    assert words[:2] == ['python', 'train_imagenet.py']
    parsed = configuration.from_namespace(configuration.parser().parse_args(words[2:]))
    assert parsed == recipe.config


@pytest.mark.parametrize('name', [name for name in RECIPES if RECIPES[name].above])
def test_a_row_changes_exactly_what_it_names(name):
    recipe = get(name)
    above, own = get(recipe.above).config.to_dict(), recipe.config.to_dict()
    changed = {option: own[option] for option in own if own[option] != above[option] and option != 'save_dir'}
    assert changed == CHANGES[name]
    assert list(RECIPES).index(recipe.above) < list(RECIPES).index(name)
    assert bool(changed) != recipe.change.startswith('none')


def test_only_first_rows_stand_alone():
    assert [name for name in RECIPES if not RECIPES[name].above] == [
        'table2/resnet50_v1', 'table2/inceptionv3', 'table2/mobilenet1.0', 'demo']


def test_the_baseline_is_section_2s():
    config = get('table2/resnet50_v1').config
    assert (config.model, config.batch_size * config.num_gpus, config.num_epochs) == ('resnet50_v1', 256, 120)
    assert (config.lr_mode, config.decay_epochs, config.lr_decay) == ('step', (30, 60, 90), 0.1)
    assert config.dtype == 'float32'
    assert (config.momentum, config.wd, config.init, config.nag, config.schedule) == (
        0.9, 1e-4, 'xavier', 'paper', 'paper')
    assert not (config.warmup_epochs or config.last_gamma or config.no_wd or config.label_smoothing or config.mixup
                or config.teacher or config.cutmix or config.cutout)
    assert get('table2/inceptionv3').config.input_size == 299


def test_learning_rates_follow_linear_scaling():
    for recipe in RECIPES.values():
        assert recipe.config.lr is None
        assert recipe.lr == pytest.approx(0.1 * recipe.total_batch_size / 256, rel=1e-12)
    assert [get(name).lr for name in ('table2/resnet50_v1', 'table4/bs1024/warmup', 'teacher/resnet152_v1d',
                                      'teacher/resnet152_v1d_mixup')] == [0.1, 0.4, 0.2, 0.1]
    assert (get('demo').total_batch_size, get('demo').lr) == (32, 0.0125)


@pytest.mark.parametrize('name', list(GLUONCV))
def test_gluoncvs_networks_are_made_as_its_code_of_2018_made_them(name):
    config = get('gluoncv/' + name).config
    assert (config.init, config.smoothing, config.schedule, config.nag) == ('msra', 'gluoncv', 'gluoncv-2018', 'paper')
    assert config.mixup_pairs == ('reverse' if config.mixup else 'random')
    assert config.loss_scale == ('1' if config.dtype == 'float16' else 'dynamic')  # none in float32
    assert config.mixup == ('-mixup' in name or 'resnext' in name)
    assert config.num_epochs == (200 if config.mixup else 120)
    assert config.last_gamma == name.startswith('resnet') and not config.teacher
    assert config.lr_mode == 'cosine' and config.warmup_epochs == 5 and config.no_wd and config.label_smoothing


def test_equal_rows_are_one_run():
    for first, second in [('table2/resnet50_v1', 'table3/baseline/resnet50_v1'),
                          ('table2/resnet50_v1', 'table4/bs256/linear_scaling'),
                          ('table3/efficient/resnet50_v1', 'table4/bs1024/fp16'),
                          ('table3/efficient/resnet50_v1', 'table5/resnet50_v1'),
                          ('table5/resnet50_v1d', 'table6/resnet50_v1d/efficient'),
                          ('table3/efficient/inceptionv3', 'table6/inceptionv3/efficient'),
                          ('table2/resnet50_v1', 'table1/resnet50_v1'),
                          ('table6/resnet50_v1d/distill_mixup', 'table1/resnet50_v1d')]:
        assert get(first).config == get(second).config
        assert get(first).config.save_dir == 'runs/' + first
    runs = {}
    for recipe in RECIPES.values():
        runs.setdefault(recipe.config.replace(save_dir='x'), set()).add(recipe.config.save_dir)
    assert all(len(folders) == 1 for folders in runs.values())
    assert len(set.union(*runs.values())) == len(runs)


def test_students_read_the_weights_their_teachers_recipe_leaves():
    for network in TABLE6_NETWORKS:
        for row, teacher in (('distill', 'teacher/resnet152_v1d'), ('distill_mixup', 'teacher/resnet152_v1d_mixup')):
            recipe = get(f'table6/{network}/{row}')
            assert recipe.config.teacher_params == get(teacher).config.save_dir + '/best/net.params'
            assert recipe.config.teacher == get(teacher).config.model
            assert teacher in recipe.note
            assert recipe.config.mixup == get(teacher).config.mixup


def test_zero_gamma_only_where_there_are_residual_blocks():
    for recipe in RECIPES.values():
        if recipe.config.last_gamma:
            assert re.search('resne', recipe.config.model)
    assert get('table1/se_resnet50').config.last_gamma and get('teacher/resnet152_v1d').config.last_gamma


def test_the_demo():
    config = get('demo').config
    assert (config.model, config.num_classes, config.input_size) == ('resnet10_v1d_demo', 10, 32)
    assert config.dtype == 'float16' and config.lr_mode == 'cosine' and config.warmup_epochs > 0
    assert config.last_gamma and config.no_wd and config.label_smoothing and config.mixup
    assert (config.data_dir, config.save_dir) == ('runs/demo-data', 'runs/demo')


# ---------------------------------------------------------------------------------------------------------------------
# The command

def test_an_unknown_name_brings_the_closest():
    with pytest.raises(UsageError) as caught:
        get('table6/resnet50_v1d/mixupp')
    assert 'table6/resnet50_v1d/mixup' in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(UsageError, match='teacher/resnet152_v1d or teacher/resnet152_v1d_mixup'):
        get('teacher')
    with pytest.raises(UsageError, match="^recipe 'zzz' is unknown: `python -m gluon_tricks recipes` lists all$"):
        get('zzz')


def test_flags_over_a_recipe_override_it():
    arguments = configuration.parser().parse_args(['--recipe', 'table2/resnet50_v1', '--num-gpus', '4'])
    config = configuration.from_namespace(arguments, get(arguments.recipe).config)
    assert config == get('table2/resnet50_v1').config.replace(num_gpus=4)
    arguments = configuration.parser().parse_args(['--recipe', 'table2/resnet50_v1', '--devices', 'cpu(0),cpu(1)'])
    config = configuration.from_namespace(arguments, get(arguments.recipe).config)
    assert config == get('table2/resnet50_v1').config.replace(num_gpus=None, devices='cpu(0),cpu(1)')


def test_recipes_load_without_mxnet_and_numpy():
    code = ('import sys; import gluon_tricks.config.recipes; '
            'assert not {"mxnet", "numpy", "gluoncv"} & set(sys.modules), "imported"')
    assert subprocess.run([sys.executable, '-c', code], cwd=str(ROOT)).returncode == 0
