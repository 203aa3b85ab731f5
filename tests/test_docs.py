import dataclasses
import math
import os
import re
import subprocess
import sys

import pytest

from gluon_tricks.compat import mx
from gluon_tricks.config import classification as configuration
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.options import flags_of
from support import ROOT

TEXT = (ROOT / 'docs' / 'differences.md').read_text(encoding='utf-8')

# The defaults of GluonCV 0.10.5.post0's train_imagenet.py, by our option's name; None where there is none.
RECORDS = '~/.mxnet/datasets/imagenet/rec/'
GLUONCV = dict(
    data_backend='mxnet', data_dir='~/.mxnet/datasets/imagenet/', rec_train=RECORDS + 'train.rec',
    rec_train_idx=RECORDS + 'train.idx', rec_val=RECORDS + 'val.rec', rec_val_idx=RECORDS + 'val.idx', use_rec=False,
    batch_size=32, dtype='float32', num_gpus=0, decode_threads=4, num_epochs=3, lr=0.1, momentum=0.9, wd=0.0001,
    lr_mode='step', lr_decay=0.1, lr_decay_period=0, lr_decay_epoch='40,60', warmup_epochs=0, last_gamma=False,
    mode=None, model=None, input_size=224, crop_ratio=0.875, use_pretrained=False, use_se=False, mixup=False,
    mixup_alpha=0.2, mixup_off_epoch=0, label_smoothing=False, no_wd=False, teacher=None, temperature=20,
    hard_weight=0.5, save_frequency=10, save_dir='params', resume_epoch=0, resume_params='', log_interval=50,
    logging_file='train_imagenet.log', rgb_mean=(123.68, 116.779, 103.939), rgb_std=(58.393, 57.12, 57.375),
    num_training_samples=1281167)
# What its code fixes without a flag.
FIXED = dict(num_classes=1000, init='msra', nag='mxnet', schedule='gluoncv', smoothing='gluoncv',
             distill_loss='gluoncv', mixup_pairs='reverse', epsilon=0.1, loss_scale='1', kv_store='device', jitter=0.4,
             pca_noise=0.1, min_area=0.08, no_mirror=False)
# The same by another spelling: a slash at the end; no teacher.
SAME = {'data_dir', 'teacher'}


def section(title):
    match = re.search(f'^## {re.escape(title)}\\n(.*?)(?=^## |\\Z)', TEXT, re.M | re.S)
    assert match, title
    return match.group(1)


def rows(title):
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:]]


def test_every_option_says_where_it_is_from():
    origins = {origin: {field.name for field in TrainConfig.fields() if field.metadata['origin'] == origin}
               for origin in ('gluoncv', 'fixed', 'here')}
    assert (origins['gluoncv'], origins['fixed']) == (set(GLUONCV), set(FIXED))
    assert not set(GLUONCV) & set(FIXED) and sum(map(len, origins.values())) == len(TrainConfig.fields())


def test_the_defaults_that_differ_are_all_listed_and_no_others():
    theirs, ours = dict(GLUONCV, **FIXED), TrainConfig().to_dict()
    differ = {name for name, value in theirs.items()
              if ours[name] != (list(value) if isinstance(value, tuple) else value)} - SAME
    flags = {flag: field.name for field in dataclasses.fields(TrainConfig) for flag in flags_of(field)}
    listed = [flags[flag] for row in rows('Defaults that differ from GluonCV\'s')
              for flag in re.findall(r'`(--[\w-]+)`', row[0])]
    assert len(set(listed)) == len(listed)
    assert set(listed) == differ


def test_the_listed_defaults_are_the_real_ones():
    theirs, ours = dict(GLUONCV, **FIXED), TrainConfig()
    flags = {flag: field.name for field in dataclasses.fields(TrainConfig) for flag in flags_of(field)}
    words = {'mode': 'imperative', 'model': 'required', 'loss_scale': 'none (1)'}  # None: not hybrid; must be given
    for cells in rows('Defaults that differ from GluonCV\'s'):
        names = [flags[flag] for flag in re.findall(r'`(--[\w-]+)`', cells[0])]
        if len(names) == 1:
            assert cells[1] == words.get(names[0], str(theirs[names[0]])), names
            if getattr(ours, names[0]) is not None:
                assert cells[2].strip('`') == str(getattr(ours, names[0])), names
        else:
            assert all(theirs[name].startswith(cells[1].split('`')[1]) for name in names)
            assert not any(getattr(ours, name) for name in names)


def test_refused_flags_are_all_listed():
    listed = {row[0].strip('`') for row in rows('Refused flags')}
    assert listed == set(TrainConfig.REFUSED) | {' '.join(pair) for pair in TrainConfig.REFUSED_VALUES}


def test_every_choice_between_paper_and_gluoncv_stands_in_the_table():
    table = section('Pairs with a flag')
    for option, other in [('init', 'msra'), ('nag', 'mxnet'), ('schedule', 'gluoncv'), ('schedule', 'gluoncv-2018'),
                          ('smoothing', 'gluoncv'), ('distill_loss', 'gluoncv'), ('mixup_pairs', 'reverse')]:
        assert f'`--{option.replace("_", "-")} {other}`' in table
        assert getattr(TrainConfig(**{option: other}), option) == other
    chosen = {field.name for field in dataclasses.fields(TrainConfig)
              if field.default in ('paper', 'xavier', 'random')}
    assert chosen == {'init', 'nag', 'schedule', 'smoothing', 'distill_loss', 'mixup_pairs'}


def test_every_flag_of_the_page_exists():
    known = {flag for action in configuration.parser()._actions for flag in action.option_strings}
    known |= {'--gluoncv-padding'}
    assert set(re.findall(r'(?<![\w-])--[a-z][\w-]*', TEXT)) <= known


# ---------------------------------------------------------------------------------------------------------------------
# The measured figures

def holds(*figures):
    """Each figure stands on the page as a number of its own."""
    return all(re.search(f'(?<![\\d.]){re.escape(figure)}(?![\\d])', TEXT) for figure in figures)


def test_smoothing_gaps():
    assert holds(f'{math.log(999 * 0.9 / 0.1):.4f}', f'{math.log((0.9 + 0.1 / 1000) / (0.1 / 1000)):.4f}')
    assert not holds('9.1045')


def test_standard_deviations_of_the_initial_weights():
    def deviation(init):
        weight = mx.nd.zeros((64, 64, 3, 3))
        mx.random.seed(0)
        init(mx.init.InitDesc('conv_weight'), weight)
        return weight.asnumpy().std()

    paper, gluoncv = 2 / (9 * 64 * 2), 2 / (1 + 0.25 ** 2) / (9 * 64)  # variances
    assert holds(f'{math.sqrt(paper):.4f}', f'{math.sqrt(gluoncv):.4f}', f'{math.sqrt(gluoncv / paper):.3f}')
    assert deviation(mx.init.Xavier()) == pytest.approx(math.sqrt(paper), rel=0.01)
    assert deviation(mx.init.MSRAPrelu()) == pytest.approx(math.sqrt(gluoncv), rel=0.01)


def test_warmup_rates_at_update_50():
    updates = 5 * (1281167 // 1024)
    assert updates == 6255
    assert holds(*[f'{rate:.6f}' for rate in (0.4 * 50 / updates, 0.4 * 49 / updates, 0.4 * 50 / (updates - 1))])
    assert 1281167 % 1024 == 1281167 % 256 == 143 and holds('143')


def test_the_two_cosines():
    from gluon_tricks.training.schedule import Schedule
    paper, last = (Schedule(0.4, 'cosine', 1251, 120, warmup_epochs=5, form=form) for form in ('paper', 'gluoncv'))
    most, update = max((abs(paper(update) - last(update)), update) for update in range(6256, 120 * 1251 + 1))
    one_update = 0.4 * math.pi / (2 * (115 * 1251 - 1))
    assert f'at most {most / one_update:.2f} · η · π / (2 (T - 1)): {most:.2e} at' in TEXT.replace('e-6', 'e-06')
    assert round(update / 1251) == 70 and 'near epoch 70' in TEXT


def _ways(rates, gradient=1.0, momentum=0.9, wd=0.0, start=0.0):
    """How far the paper's NAG and MXNet 1.9.1's go downhill at a constant gradient, after each update."""
    paper, mxnet, velocity, step = [start], [start], 0.0, 0.0
    for rate in rates:
        slope = gradient - wd * paper[-1]
        velocity = momentum * velocity + slope
        paper.append(paper[-1] + rate * (slope + momentum * velocity))
        ahead = momentum * step + rate * (gradient - wd * mxnet[-1])
        mxnet.append(mxnet[-1] - momentum * step + (momentum + 1) * ahead)
        step = momentum * step + rate * (gradient - wd * mxnet[-1])  # the weight that has just changed
    return paper[1:], mxnet[1:]


def test_the_formula_of_mxnets_nag():
    rates = [0.1] * 10 + [0.01] * 10
    for wd in (0.0, 0.1):
        weight, state, gradient = mx.nd.zeros((1,)), mx.nd.zeros((1,)), mx.nd.ones((1,))
        for rate, way in zip(rates, _ways(rates, wd=wd)[1]):
            mx.nd.nag_mom_update(weight, gradient, state, lr=rate, momentum=0.9, wd=wd, out=weight)
            assert -float(weight.asscalar()) == pytest.approx(way, rel=1e-5)


def test_weight_decay_of_the_two_nags():
    for start, gradient, words in ((1.0, 0.0, ', %.1e of the weight'), (0.0, 1.0, ' %.1e of the way that it goes')):
        paper, mxnet = _ways([0.1] * 100, gradient, wd=0.0001, start=start)
        part = abs(paper[-1] - mxnet[-1]) / (start or paper[-1])
        assert words % part in TEXT.replace('e-7', 'e-07').replace('e-5', 'e-05')


@pytest.mark.slow
def test_float16s_softmax():
    """MXNet reads the switch once, and this project switches it on: hence a process of its own."""
    code = (
        'import numpy as np\n'
        'from gluon_tricks.compat import mx\n'
        'sums = []\n'
        'for deviation in (1, 2, 4):\n'
        '    draws = [np.random.RandomState(seed).normal(scale=deviation, size=(128, 1000)) for seed in range(20)]\n'
        '    scores = np.concatenate(draws).astype("float16")\n'
        '    z = scores.astype("float64") - scores.max(axis=1).astype("float64")[:, None]\n'
        '    exact = z - np.log(np.exp(z).sum(axis=1))[:, None]\n'
        '    scores = mx.nd.array(scores, dtype="float16")\n'
        '    print(abs(mx.nd.log_softmax(scores).asnumpy() - exact).max())\n'
        '    sums.append(mx.nd.softmax(scores / 20).asnumpy().astype("float64").sum(axis=1))\n'
        'print(np.min(sums), np.max(sums))\n')
    running = {safe: subprocess.Popen([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.PIPE,
                                      env=dict(os.environ, MXNET_SAFE_ACCUMULATION=safe), universal_newlines=True)
               for safe in '01'}
    found = {safe: [float(word) for word in process.communicate()[0].split()] for safe, process in running.items()}
    assert ('%.3f, %.3f and %.3f, and the softmax at T = 20 sums to %.3f to %.3f' % tuple(found['0'])
            in ' '.join(TEXT.split()))
    assert found['1'][3:] == pytest.approx([1, 1], abs=5e-4)


def test_ways_of_the_two_nags():
    paper, mxnet = _ways([0.01] * 150 + [0.001] * 150)
    assert paper[149] == pytest.approx(mxnet[149], rel=1e-9)
    assert f'{(mxnet[-1] - paper[-1]) / (0.01 / (1 - 0.9)):.1f} more steps' in TEXT
    paper, mxnet = _ways([0.4 * update / 6255 for update in range(1, 6256)])
    assert f'{100 * (1 - mxnet[-1] / paper[-1]):.2f} % less way' in TEXT


def test_expected_size_of_the_padded_figure():
    deviation = math.sqrt(0.79 * 0.21)
    padded = 100 * 176 / 50176 * deviation / math.sqrt(176)
    skipped = 100 * deviation / math.sqrt(49152) * math.sqrt(848 / 50000)
    assert f'Expected size at 79 %: {padded:.2f} and {skipped:.2f} points' in TEXT


def test_the_readmes_picture_shows_the_figures_of_the_ladder():
    from scipy import stats
    alt, path = re.search(r'!\[(.+?)\]\((docs/pictures/.+?\.svg)\)', (ROOT / 'README.md').read_text(), re.S).groups()
    drawing = (ROOT / path).read_text(encoding='utf-8')
    ladder = (ROOT / 'docs' / 'ladders.md').read_text().split('| row of Table 6 |')[1].split('\n\n')[0]
    rows = re.findall(r'^\| (.+?) \| ([\d.]+) \(([\d.]+)\) \|', ladder, re.M)
    shown = re.findall(r'([^;<>]+): ([\d.]+) ± ([\d.]+), n = 5', re.search('<dc:description>(.+?)<', drawing).group(1))
    assert [(label.strip(), mean) for label, mean, _ in shown] == [(label, mean) for label, mean, _ in rows] and len(rows) == 6
    for (_, _, half), (label, _, deviation) in zip(shown, rows):
        assert float(half) == pytest.approx(stats.t.ppf(0.975, 4) * float(deviation) / math.sqrt(5), abs=0.012)
        assert f'<!-- {label} -->' in drawing
    assert f'from {rows[0][1]} to {rows[-1][1]} percent' in ' '.join(alt.split())


def test_the_ladders_steps_are_the_differences_of_their_means():
    tables = re.findall(r'^\| row of Table .+?\n\n', (ROOT / 'docs' / 'ladders.md').read_text(), re.M | re.S)
    assert len(tables) == 4
    for table in tables:
        rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()[2:] if line]
        means = [float(row[1].split()[0]) for row in rows if row[1]]
        above = list(zip(means[1:], means)) + [(means[-1], means[0])]
        assert len(above) == len(rows) - 1
        for (mean, other), (label, _, step, _, words) in zip(above, rows[1:]):
            step, half = (float(part) for part in step.split(' ± '))
            assert step == pytest.approx(mean - other, abs=0.0151), label
            assert words == ('inside' if abs(step) <= half else 'outside') + ' the noise', label


def _readme_rows():
    lines = (ROOT / 'README.md').read_text().split('## The paper in this code')[1].splitlines()
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|')][2:]


def test_the_readmes_table_names_files_flags_tests_and_recipes_that_exist():
    import dataclasses
    import fnmatch

    from gluon_tricks.config.classification import TrainConfig
    from gluon_tricks.config.recipes import RECIPES
    flags = {'--' + field.name.replace('_', '-') for field in dataclasses.fields(TrainConfig)}
    for section, trick, path, flag, test, rows in _readme_rows():
        assert (ROOT / path.strip('`')).is_file() and (ROOT / test.strip('`')).is_file(), trick
        assert flag.strip('`') in flags, flag
        for pattern in rows.replace('`', '').split(', '):
            assert (pattern == 'all' or fnmatch.filter(RECIPES, pattern)
                    or (section, pattern) == ('beyond', 'none')), pattern


def test_the_readmes_table_has_every_trick():
    files = [row[2].strip('`') for row in _readme_rows()]
    tricks = {'gluon_tricks/tricks/' + path.name for path in (ROOT / 'gluon_tricks' / 'tricks').glob('[a-z]*.py')}
    assert tricks <= set(files) and len(set(files)) == len(files)


# ---------------------------------------------------------------------------------------------------------------------
# docs/data.md

def test_the_data_page_gives_the_digests_and_counts_that_are_asserted():
    from gluon_tricks.data.prepare import ade20k as prepare_ade20k
    from gluon_tricks.data.prepare import imagenet as prepare_imagenet
    from gluon_tricks.data.prepare import places365 as prepare_places365
    from gluon_tricks.data.prepare import voc as prepare_voc
    text = (ROOT / 'docs' / 'data.md').read_text(encoding='utf-8')
    digests = list(prepare_imagenet.MD5.values()) + list(prepare_voc.MD5.values()) + [prepare_ade20k.SHA1]
    digests += [digest for each in prepare_places365.MD5.values() for digest in each]
    assert all(digest in text for digest in digests)
    assert len(digests) == len(re.findall(r'\b[0-9a-f]{32,40}\b', text))
    for module in (prepare_imagenet, prepare_places365, prepare_voc, prepare_ade20k):
        assert all(re.search(f'\\b{number}\\b', text) for number in module.COUNTS.values())


def test_the_data_page_names_commands_and_places_that_exist():
    import os

    from gluon_tricks.data.prepare import command as prepare
    text = (ROOT / 'docs' / 'data.md').read_text(encoding='utf-8')
    for name, module in prepare._SETS.items():
        assert f'| `prepare {name}` | `{module.DEFAULT_OUT}` |' in text
    commands = re.findall(r'^python -m gluon_tricks prepare (.+)$', text.replace('\\\n', ' '), re.M)
    assert len(commands) == 4
    for command in commands:
        prepare.parser().parse_args(command.split())  # raises for what is no flag
    defaults = TrainConfig()
    assert os.path.join(defaults.data_dir, 'rec') == prepare._SETS['imagenet'].DEFAULT_OUT
    from gluon_tricks.config import recipes
    assert os.path.join(recipes.get('table7/best').config.data_dir, 'rec') == prepare._SETS['places365'].DEFAULT_OUT


def test_each_promise_has_its_test():
    text = (ROOT / 'docs' / 'reliability.md').read_text(encoding='utf-8')
    named = re.findall(r'`(tests/[\w/]+\.py)::(\w+)`', text)
    assert len(named) > 15
    for path, name in named:
        assert f'def {name}(' in (ROOT / path).read_text(encoding='utf-8'), (path, name)


# ---------------------------------------------------------------------------------------------------------------------
# docs/gpu.md

def test_the_gpu_page_s_figures_of_others_are_theirs():
    """Hours by the images a second; the paper's by its Table 3; GluonCV's by its log, where that is here."""
    from gluon_tricks.config import recipes
    from gluon_tricks.data.prepare import imagenet
    text = (ROOT / 'docs' / 'gpu.md').read_text(encoding='utf-8')
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()
            if re.search(r'\| float(16|32) \|', line)]
    rates = [float(row[3].replace(',', '')) for row in rows]
    assert len(rows) == 8
    for row, rate in zip(rows, rates):
        assert row[4] == f'{imagenet.COUNTS["train"] * 120 / rate / 3600:.1f}', row
    paper = [recipes.get(f'table3/{which}/resnet50_v1').paper['minutes_per_epoch'] for which in ('efficient', 'baseline')]
    assert [round(imagenet.COUNTS['train'] / minutes / 60) for minutes in paper] == rates[1:3]
    assert all(f'{minutes:g} minutes an epoch' in text for minutes in paper)
    assert f'{recipes.get("table6/resnet50_v1d/mixup").paper["top1"]} % top-1 in the paper' in text
    log = ROOT.parent / 'shared' / 'published' / 'resnet50_v1d.log'
    if not log.exists():
        pytest.skip(f'{log} is not here')
    speeds = [float(speed) for speed in re.findall(r'^\[Epoch \d+\] speed: (\d+)', log.read_text(), re.M)]
    assert len(speeds) == 120 and round(sum(speeds) / 120) == rates[0]
