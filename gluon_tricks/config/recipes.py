"""The rows of the paper's tables 1 to 7, each a configuration (paper sections 2 to 5).

A recipe is a row: the row above it with some options changed, the paper's figures, and GluonCV's figures where the run
was published; ``gluoncv/NAME`` is the run behind a published network. ``train_imagenet.py --recipe NAME`` runs it; the
plain command that `python -m gluon_tricks recipes NAME` prints makes the same configuration. Rows with equal
configurations are one run and share its SAVE_DIR. Standard library only.
"""
import collections
import dataclasses
import difflib

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.errors import UsageError
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One row of a table.

    ``heading`` and ``column`` are the table's words; ``above`` names the recipe that ``change`` starts from ('': none).
    ``paper`` and ``gluoncv`` hold figures: always ``top1`` and ``top5`` in percent, None where not published;
    ``minutes_per_epoch``, ``gmacs`` (the paper's FLOPs), ``params_millions``, ``test_top1`` and the like where the
    table has them; in ``gluoncv`` also ``hash`` (of the published .params), ``source``, and of the training log
    ``log_last_top1``, ``log_best_top1`` and so on: its last epoch, and the one of the best top-1.
    """

    name: str
    table: str
    heading: str
    column: str
    above: str
    change: str
    config: TrainConfig
    paper: dict
    gluoncv: dict
    note: str = ''

    @property
    def total_batch_size(self):
        """Images of one update; for a recipe that takes whatever devices there are: on one device."""
        return self.config.batch_size * max(1, self.config.num_gpus or 1)

    @property
    def lr(self):
        """The initial learning rate: linear scaling unless the row gives its own."""
        return linear_scaling_lr(self.total_batch_size) if self.config.lr is None else self.config.lr

    @property
    def command(self):
        return self.config.command()

    def to_dict(self):
        """As JSON has it: the fields, with the configuration as a dict, and the plain command."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dict(values, config=self.config.to_dict(), total_batch_size=self.total_batch_size, lr=self.lr,
                    command=self.command)


# ---------------------------------------------------------------------------------------------------------------------
# How a row is made

# Section 2.1: 8 GPUs, a total batch size of 256, NAG, 120 epochs, 0.1 divided by 10 at 30, 60 and 90, float32.
# Everything not named here is a default of TrainConfig.
_BASELINE = TrainConfig(num_gpus=8, batch_size=32, num_epochs=120, lr_mode='step', lr_decay_epoch='30,60,90')
_NETWORKS = collections.OrderedDict([
    ('resnet50_v1', dict(model='resnet50_v1')),
    ('inceptionv3', dict(model='inceptionv3', input_size=299)),
    ('mobilenet1.0', dict(model='mobilenet1.0')),
])
_NO_ZERO_GAMMA = 'Zero gamma is left out: the network has no residual blocks.'
_TITLES = {'resnet50_v1': 'ResNet-50', 'resnet50_v1d': 'ResNet-50-D', 'inceptionv3': 'Inception-V3',
           'mobilenet1.0': 'MobileNet'}


def _figures(top1=None, top5=None, **others):
    return dict(top1=top1, top5=top5, **others)


def _zoo(top1, top5, hash, **others):
    return _figures(top1, top5, hash=hash, source='model zoo', **others)


def _row(name, table, heading, above, change, paper, gluoncv=None, column='', note='', **options):
    """The row ``above`` (a Recipe, or None for the baseline's configuration) with ``options`` changed."""
    config = (above.config if above else _BASELINE).replace(**options)
    return Recipe(name, table, heading, column, above.name if above else '', change, config, paper,
                  gluoncv or _figures(), note)


def _efficient(zero_gamma=True):
    """Section 3: the options that turn the baseline into the efficient setting."""
    return dict(batch_size=128, dtype='float16', warmup_epochs=5, last_gamma=zero_gamma, no_wd=True)


def _distill(teacher):
    """Section 5.3: options of a distillation from the best weights of a teacher's recipe."""
    return dict(teacher='resnet152_v1d', teacher_params=f'runs/{teacher}/best/net.params')


# ---------------------------------------------------------------------------------------------------------------------
# The tables

def _table2():
    figures = {
        'resnet50_v1': _figures(75.87, 92.70, reference_top1=75.3, reference_top5=92.2),
        'inceptionv3': _figures(77.32, 93.43, reference_top1=78.8, reference_top5=94.4),
        'mobilenet1.0': _figures(69.03, 88.71, reference_top1=70.6, reference_top5=None),
    }
    published = {'resnet50_v1': _figures(75.61, None, source='training log of April 2018: 4 GPUs, 150 epochs')}
    return [_row('table2/' + network, 'Table 2', _TITLES[network], None, 'the baseline procedure of section 2.1',
                 figures[network], published.get(network), column='Baseline', **options)
            for network, options in _NETWORKS.items()]


def _table3(table2):
    efficient = {'resnet50_v1': _figures(76.21, 92.97, minutes_per_epoch=4.4),
                 'inceptionv3': _figures(77.50, 93.60, minutes_per_epoch=8.0),
                 'mobilenet1.0': _figures(71.90, 90.47, minutes_per_epoch=3.7)}
    minutes = {'resnet50_v1': 13.3, 'inceptionv3': 19.8, 'mobilenet1.0': 6.2}
    logged = {'resnet50_v1': 4.61, 'inceptionv3': 8.05, 'mobilenet1.0': 3.94}
    rows = []
    for base in table2:
        network = base.config.model
        top1, top5 = base.paper['top1'], base.paper['top5']
        baseline = _row('table3/baseline/' + network, 'Table 3', _TITLES[network], base, 'none: the same run',
                        _figures(top1, top5, minutes_per_epoch=minutes[network]), base.gluoncv, column='Baseline')
        residual = network.startswith('resnet')
        rows += [baseline, _row(
            'table3/efficient/' + network, 'Table 3', _TITLES[network], baseline,
            'total batch size 1024, float16, warmup, %sno bias decay' % ('zero gamma, ' if residual else ''),
            efficient[network],
            _figures(minutes_per_epoch=logged[network], source='median over the epochs of the published logs of the '
                     'refined runs; it holds the validation too'),
            column='Efficient', note='' if residual else _NO_ZERO_GAMMA, **_efficient(zero_gamma=residual))]
    return rows


def _table4(baseline):
    steps = [('warmup', '+ LR warmup', '+ linear warmup over 5 epochs', dict(warmup_epochs=5)),
             ('zero_gamma', '+ Zero gamma', '+ zero gamma', dict(last_gamma=True)),
             ('no_bias_decay', '+ No bias decay', '+ no bias decay', dict(no_wd=True)),
             ('fp16', '+ FP16', '+ float16', dict(dtype='float16'))]
    figures = {256: [(75.87, 92.70), (76.03, 92.81), (76.19, 93.03), (76.16, 92.97), (76.15, 93.09)],
               1024: [(75.17, 92.54), (75.93, 92.84), (76.37, 92.96), (76.03, 92.86), (76.21, 92.97)]}
    rows = []
    for total, change in ((256, 'none: the same run'), (1024, 'total batch size 1024, learning rate 0.4')):
        prefix, column = f'table4/bs{total}/', f'BS={total}'
        row = _row(prefix + 'linear_scaling', 'Table 4', 'Linear scaling', baseline, change,
                   _figures(*figures[total][0]), column=column, batch_size=total // 8)
        rows.append(row)
        for (name, heading, change, options), figure in zip(steps, figures[total][1:]):
            row = _row(prefix + name, 'Table 4', heading, row, change, _figures(*figure), column=column, **options)
            rows.append(row)
    return rows


def _table5(efficient):
    steps = [('resnet50_v1', 'ResNet-50', 'none: the same run', (76.21, 92.97), 3.8),
             ('resnet50_v1b', 'ResNet-50-B', 'the stride moves to the 3x3 convolution of path A', (76.66, 93.28), 4.1),
             ('resnet50_v1c', 'ResNet-50-C', 'the 7x7 convolution becomes three 3x3', (76.87, 93.48), 4.3),
             ('resnet50_v1d', 'ResNet-50-D', 'average pooling takes the stride of path B', (77.16, 93.52), 4.3)]
    rows = []
    for model, heading, change, figure, gmacs in steps:
        rows.append(_row('table5/' + model, 'Table 5', heading, rows[-1] if rows else efficient, change,
                         _figures(*figure, params_millions=25, gmacs=gmacs), model=model))
    return rows


def _table6(efficient_rows):
    figures = {
        'resnet50_v1d': [(77.16, 93.52), (77.91, 93.81), (78.31, 94.09), (78.67, 94.36), (79.15, 94.58),
                         (79.29, 94.63)],
        'inceptionv3': [(77.50, 93.60), (78.19, 94.06), (78.40, 94.13), (78.26, 94.01), (78.77, 94.39),
                        (78.34, 94.16)],
        'mobilenet1.0': [(71.90, 90.53), (72.83, 91.00), (72.93, 91.14), (71.97, 90.89), (73.28, 91.30),
                         (72.51, 91.02)],
    }
    smoothed = {'resnet50_v1d': _zoo(78.48, 94.20, '00319ddc'), 'inceptionv3': _zoo(78.41, 94.13, 'e132adf2'),
                'mobilenet1.0': _zoo(72.93, 91.14, 'cce75496')}
    mixed = {'resnet50_v1d': _zoo(79.15, 94.58, '117a384e'), 'inceptionv3': _zoo(78.77, 94.39, 'a5050dbc'),
             'mobilenet1.0': _zoo(73.28, 91.30, 'efbb2ca3')}
    hard = ('GluonCV published no such run. The paper does not say whether the true labels stay smoothed beside the '
            'teacher; here they do, as the rows are stacked. Train %s first.')
    rows = []
    for base in efficient_rows:
        model = base.config.model
        column, numbers = _TITLES[model], iter(_figures(*pair) for pair in figures[model])

        def add(name, heading, above, change, gluoncv=None, note='', **options):
            rows.append(_row(f'table6/{model}/{name}', 'Table 6', heading, above, change, next(numbers),
                             gluoncv, column, note, **options))
            return rows[-1]

        efficient = add('efficient', 'Efficient', base, 'none: the same run', note=base.note)
        cosine = add('cosine', '+ cosine decay', efficient, 'cosine decay for step decay', lr_mode='cosine')
        smoothing = add('label_smoothing', '+ label smoothing', cosine, '+ label smoothing, epsilon 0.1',
                        smoothed[model], label_smoothing=True,
                        note='Not the run of the paper, which has 78.31.' if model == 'resnet50_v1d' else '')
        add('distill', '+ distill w/o mixup', smoothing, '+ distillation from teacher/resnet152_v1d, T = 20',
            note=hard % 'teacher/resnet152_v1d', **_distill('teacher/resnet152_v1d'))
        mixup = add('mixup', '+ mixup w/o distill', smoothing,
                    '+ mixup, alpha 0.2, and 200 epochs for 120; no distillation', mixed[model],
                    mixup=True, mixup_alpha=0.2, num_epochs=200)
        add('distill_mixup', '+ distill w/ mixup', mixup,
            '+ distillation from teacher/resnet152_v1d_mixup, T = 20',
            note=hard % 'teacher/resnet152_v1d_mixup', **_distill('teacher/resnet152_v1d_mixup'))
    return rows


def _table7(efficient, best):
    places = dict(num_classes=365, num_training_samples=1803460, data_dir='~/.mxnet/datasets/places365')
    note = 'The paper gives no epochs or learning rate for Places365: assumed to be those of the ImageNet row.'
    return [_row('table7/efficient', 'Table 7', 'ResNet-50-D Efficient', efficient, 'Places365 for ImageNet',
                 _figures(56.34, 86.87, test_top1=57.18, test_top5=87.28), note=note, **places),
            _row('table7/best', 'Table 7', 'ResNet-50-D Best', best, 'Places365 for ImageNet',
                 _figures(56.70, 87.33, test_top1=57.63, test_top5=87.82), note=note, **places)]


def _teachers(smoothing, mixup):
    """Section 5.5's teachers, as GluonCV published them: float32, at smaller batches than the students."""
    paper = 'The paper gives no figure for its teachers; the command is GluonCV\'s, published with the network.'
    return [_row('teacher/resnet152_v1d', 'Section 5.5', 'ResNet-152-D teacher', smoothing,
                 'ResNet-152-D, float32, total batch size 512', _figures(), _zoo(80.26, 95.00, 'cfe0220d'),
                 note=paper, model='resnet152_v1d', dtype='float32', batch_size=64),
            _row('teacher/resnet152_v1d_mixup', 'Section 5.5', 'ResNet-152-D teacher with mixup', mixup,
                 'ResNet-152-D, float32, total batch size 256', _figures(), _zoo(80.61, 95.34, 'cddbc86f'),
                 note=paper, model='resnet152_v1d', dtype='float32', batch_size=32)]


def _b_standard(baseline):
    return _row('b_standard', 'Tables 8, 9', 'B-standard', baseline, 'ResNet-50-B for ResNet-50', _figures(76.14),
                note='The paper names this base network only in Tables 8 and 9 and gives no procedure. Assumed from '
                     'the name: ResNet-50-B, trained by the baseline procedure of section 2.1.', model='resnet50_v1b')


# Of the published training logs: top-1 and top-5 in percent after the last epoch, and after that of the best top-1.
# They count rows that fill the last batch, or skip images (docs/differences.md), and so are not to the digit the zoo's.
_LOGS = {
    'resnet50_v1': (77.33, 93.62, 77.34, 93.58), 'resnet50_v1b': (77.66, 93.78, 77.71, 93.82),
    'resnet50_v1c': (78.00, 94.05, 78.04, 94.06), 'resnet50_v1d': (78.47, 94.26, 78.52, 94.24),
    'resnet50_v1d-mixup': (79.08, 94.55, 79.09, 94.60), 'resnet101_v1d': (79.79, 94.77, 79.80, 94.81),
    'resnet101_v1d-mixup': (80.36, 95.06, 80.50, 95.09), 'resnet152_v1d-mixup': (80.56, 95.27, 80.62, 95.29),
    'inceptionv3-mixup': (78.02, 93.97, 78.25, 94.04), 'mobilenet1.0': (72.96, 91.13, 72.96, 91.13),
    'mobilenet1.0-mixup': (73.08, 91.17, 73.27, 91.32), 'resnext50_32x4d': (79.35, 94.53, 79.35, 94.53),
    'se_resnext50_32x4d': (79.92, 94.88, 79.97, 94.88),
}


def _gluoncv(smoothing):
    """The configurations of GluonCV's published commands, with what its code of that time did in the paper's place."""
    rows = []

    def add(name, heading, above, change, figures, note='', **options):
        log = zip(('log_last_top1', 'log_last_top5', 'log_best_top1', 'log_best_top5'), _LOGS.get(name, ()))
        rows.append(_row('gluoncv/' + name, 'GluonCV\'s model zoo', heading, above, change, _figures(),
                         _zoo(*figures, **dict(log)), note=note, **options))
        return rows[-1]

    float32 = dict(dtype='float32', loss_scale='dynamic')
    plain = add('resnet50_v1d', 'ResNet-50-D', smoothing, 'GluonCV\'s code for the paper\'s equations: MSRAPrelu, '
                'epsilon / K, the schedule of 2018, no loss scale', (78.48, 94.20, '00319ddc'), init='msra',
                smoothing='gluoncv', schedule='gluoncv-2018', loss_scale='1')
    mixup = add('resnet50_v1d-mixup', 'ResNet-50-D with mixup', plain, '+ mixup, alpha 0.2, with the batch reversed, '
                'and 200 epochs for 120', (79.15, 94.58, '117a384e'), 'The network of table6/resnet50_v1d/mixup.',
                mixup=True, num_epochs=200, mixup_pairs='reverse')
    for model, title, figures in (
            ('resnet50_v1', 'ResNet-50', (77.36, 93.57, 'cc729d95')),
            ('resnet50_v1b', 'ResNet-50-B', (77.67, 93.82, '0ecdba34')),
            ('resnet50_v1c', 'ResNet-50-C', (78.03, 94.09, '2a4e0708')),
            ('resnet101_v1d', 'ResNet-101-D', (79.78, 94.80, '8659a9d6'))):
        add(model, title, plain, f'{title} for ResNet-50-D', figures, model=model)
    add('resnet101_v1d-mixup', 'ResNet-101-D with mixup', mixup, 'ResNet-101-D for ResNet-50-D',
        (80.51, 95.12, '1b2b825f'), model='resnet101_v1d')
    add('resnet152_v1d', 'ResNet-152-D', plain, 'ResNet-152-D, float32, total batch size 512',
        (80.26, 95.00, 'cfe0220d'), 'The network of teacher/resnet152_v1d. Its log\'s figures are of other '
        'images: top-1 and top-5 are both 99.17.', model='resnet152_v1d', batch_size=64, **float32)
    add('resnet152_v1d-mixup', 'ResNet-152-D with mixup', mixup, 'ResNet-152-D, float32, total batch size 256',
        (80.61, 95.34, 'cddbc86f'), 'The network of teacher/resnet152_v1d_mixup.', model='resnet152_v1d', batch_size=32,
        **float32)
    for model, without, with_mixup, notes in (
            ('inceptionv3', (78.41, 94.13, 'e132adf2'), (78.77, 94.39, 'a5050dbc'),
             ('Under this name too GluonCV published the command and log of the run with mixup. Assumed: that command '
              'without mixup, at the 120 epochs of all its others without. ',
              'The log resizes the validation images to 256; the zoo\'s figure is at 342, as here. ')),
            ('mobilenet1.0', (72.93, 91.14, 'cce75496'), (73.28, 91.30, 'efbb2ca3'), ('', ''))):
        change = f'{_TITLES[model]} for ResNet-50-D, without zero gamma'
        options = dict(_NETWORKS[model], last_gamma=False)
        add(model, _TITLES[model], plain, change, without,
            f'{notes[0]}The network of table6/{model}/label_smoothing.', **options)
        add(model + '-mixup', _TITLES[model] + ' with mixup', mixup, change, with_mixup,
            f'{notes[1]}The network of table6/{model}/mixup.', **options)
    gamma = ('Its command has --last-gamma; but GluonCV\'s ResNeXt has read it the wrong way round since August 2018, '
             'and so trained without zero gamma.')
    add('resnext50_32x4d', 'ResNeXt-50 with mixup', mixup, 'ResNeXt-50 for ResNet-50-D, without zero gamma',
        (79.32, 94.53, '4ecf62e2'), gamma, model='resnext50_32x4d', last_gamma=False)
    add('se_resnext50_32x4d', 'SE-ResNeXt-50 with mixup', mixup, 'SE-ResNeXt-50 for ResNet-50-D, float32, without zero '
        'gamma', (79.95, 94.93, '7906e0e1'), gamma, model='se_resnext50_32x4d', last_gamma=False, **float32)
    return rows


def _table1(baseline, best, mixup):
    rivals = [
        ('resnext50_32x4d', 'ResNeXt-50', 'resnext50_32x4d', (77.8, None, 4.2),
         _zoo(79.32, 94.53, '4ecf62e2'),
         'GluonCV published this row\'s command; but its ResNeXt reads --last-gamma the wrong way round: '
         'gluoncv/resnext50_32x4d is what it ran.', {}),
        ('se_resnet50', 'SE-ResNet-50', 'se_resnet50_v1', (76.71, 93.38, 3.9), None, '', {}),
        ('se_resnext50_32x4d', 'SE-ResNeXt-50', 'se_resnext50_32x4d', (78.90, 94.51, 4.3),
         _zoo(79.95, 94.93, '7906e0e1'),
         'GluonCV\'s command is this row\'s in float32, read as that of its ResNeXt-50: '
         'gluoncv/se_resnext50_32x4d is what it ran.', {}),
        ('densenet201', 'DenseNet-201', 'densenet201', (77.42, 93.66, 4.3), None, _NO_ZERO_GAMMA,
         dict(last_gamma=False)),
    ]
    rows = [_row('table1/resnet50_v1', 'Table 1', 'ResNet-50', baseline, 'none: the same run',
                 _figures(gmacs=3.9, standard_top1=75.3, standard_top5=92.2), baseline.gluoncv,
                 note='The paper\'s Table 1 quotes the figure of He et al. (2016); its own run of the standard '
                      'procedure reached 75.87 and 92.70 (Table 2).'),
            _row('table1/resnet50_v1d', 'Table 1', 'ResNet-50 + tricks (ours)', best, 'none: the same run',
                 _figures(79.29, 94.63, gmacs=4.3))]
    for name, heading, model, (top1, top5, gmacs), gluoncv, note, options in rivals:
        rows.append(_row(
            'table1/' + name, 'Table 1', heading, mixup, f'{heading} for ResNet-50-D',
            _figures(gmacs=gmacs, standard_top1=top1, standard_top5=top5), gluoncv,
            note=('The paper\'s Table 1 quotes the figure of the standard procedure; here the network gets our tricks. '
                  'No distillation, as a teacher of another family does harm (Table 6). ' + note).rstrip(),
            model=model, **options))
    return rows


def _slides(b_standard):
    """The slides' comparison; they give the accuracies and no settings."""
    note = ('The slide gives the accuracy only. Assumed: ResNet-50-B, 300 epochs, total batch size 256, learning rate '
            '0.1 divided by 10 every 75 epochs, as in the public CutMix code (Yun et al. 2019)%s.')
    paper = [('mixup', 'Mixup', '+ mixup, alpha 1', 77.4, '; mixup alpha 1', dict(mixup=True, mixup_alpha=1.0)),
             ('cutout', 'Cutout', '+ Cutout of 112 x 112 pixels', 77.1, '; a square of half the image\'s side',
              dict(cutout=112)),
             ('cutmix', 'CutMix', '+ CutMix, alpha 1', 78.6, '; CutMix alpha 1, in every batch',
              dict(cutmix=True, cutmix_alpha=1.0))]
    baseline = _row('slides/baseline', 'Slides', 'ResNet-50', b_standard,
                    '300 epochs for 120, steps at 75, 150 and 225', _figures(76.3), note=note % '',
                    num_epochs=300, lr_decay_epoch='75,150,225')
    return [baseline] + [_row('slides/' + name, 'Slides', heading, baseline, change, _figures(top1),
                              note=note % assumed, **options)
                         for name, heading, change, top1, assumed, options in paper]


def _demo():
    # A mirrored digit is not a digit, and a twelfth of one does not show it: hence no flips, and larger crops.
    config = TrainConfig(model='resnet10_v1d_demo', num_classes=10, data_dir='runs/demo-data', input_size=32,
                         batch_size=32, num_epochs=20, warmup_epochs=1, lr_mode='cosine', dtype='float16',
                         last_gamma=True, no_wd=True, label_smoothing=True, mixup=True, no_mirror=True, min_area=0.35,
                         log_interval=20)
    return Recipe('demo', 'Demo', 'handwritten digits', '', '', 'a small ResNet-D and all tricks but distillation',
                  config, _figures(), _figures(),
                  'Not of the paper: minutes on two cores, from real images (`make demo`).')


def _all_rows():
    table2 = _table2()
    table3 = _table3(table2)
    by_name = {row.name: row for row in table2 + table3}
    table4 = _table4(by_name['table2/resnet50_v1'])
    table5 = _table5(by_name['table3/efficient/resnet50_v1'])
    table6 = _table6([table5[-1], by_name['table3/efficient/inceptionv3'], by_name['table3/efficient/mobilenet1.0']])
    by_name.update({row.name: row for row in table5 + table6})
    mixup, best = by_name['table6/resnet50_v1d/mixup'], by_name['table6/resnet50_v1d/distill_mixup']
    b_standard = _b_standard(by_name['table2/resnet50_v1'])
    return (table2 + table3 + table4 + table5 + table6 + _table7(by_name['table5/resnet50_v1d'], mixup)
            + _teachers(by_name['table6/resnet50_v1d/label_smoothing'], mixup) + [b_standard]
            + _table1(by_name['table2/resnet50_v1'], best, mixup) + _slides(b_standard)
            + _gluoncv(by_name['table6/resnet50_v1d/label_smoothing']) + [_demo()])


def _with_directories(rows):
    """Each row's SAVE_DIR is runs/ and the name of the first row with the same configuration."""
    first = {}
    for row in rows:
        name = first.setdefault(row.config, row.name)
        yield dataclasses.replace(row, config=row.config.replace(save_dir='runs/' + name))


RECIPES = collections.OrderedDict((row.name, row) for row in _with_directories(_all_rows()))


def get(name):
    """The recipe of a name; raises UsageError with the closest names for an unknown one."""
    if name not in RECIPES:
        close = [known for known in RECIPES if name in known][:4] or difflib.get_close_matches(name, RECIPES, 4, 0.5)
        raise UsageError('recipe %r is unknown: %s`python -m gluon_tricks recipes` lists all'
                         % (name, f'did you mean {" or ".join(close)}? ' if close else ''))
    return RECIPES[name]
