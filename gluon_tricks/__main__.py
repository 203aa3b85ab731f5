"""``python -m gluon_tricks COMMAND``: a dispatcher; each module owns its own flags."""
import importlib
import sys

from gluon_tricks.errors import UsageError, exit_code

COMMANDS = {
    'train': ('gluon_tricks.commands.train', 'train a classifier (train_imagenet.py)'),
    'train-detection': ('gluon_tricks.commands.train_detection', 'train Faster-RCNN (transfer/train_faster_rcnn.py)'),
    'train-segmentation': ('gluon_tricks.commands.train_segmentation', 'train an FCN (transfer/train_fcn.py)'),
    'recipes': ('gluon_tricks.commands.recipes', 'the rows of the paper\'s tables: figures and commands'),
    'table': ('gluon_tricks.commands.table', 'a table: the paper, GluonCV, timm, your runs, a verdict'),
    'complexity': ('gluon_tricks.models.complexity', 'parameters and multiply-adds of a network'),
    'prepare': ('gluon_tricks.data.prepare.command', 'data sets: from official archives to what training reads'),
    'verify': ('gluon_tricks.data.records.verify', 'decode every image of a record file, write a certificate'),
    'evaluate': ('gluon_tricks.commands.evaluate', 'exact validation metrics of a run or a .params file'),
    'predict': ('gluon_tricks.commands.predict', 'classes, boxes or segments of images, by a run'),
    'export': ('gluon_tricks.commands.export', 'one folder of a network: ONNX, MXNet, model card'),
    'published': ('gluon_tricks.commands.published', 'trained networks that can be had: figures, digests, hub ids'),
    'import-weights': ('gluon_tricks.commands.import_weights', 'weights of timm, GluonCV or MXNet to a .params file'),
    'figure': ('gluon_tricks.commands.figure', 'the paper\'s Figures 3 and 4; curves and confusions of runs'),
    'compare': ('gluon_tricks.commands.compare', 'runs and published logs beside each other, epoch by epoch'),
    'export-log': ('gluon_tricks.commands.export_log', 'a run\'s log for TensorBoard, as CSV, for MLflow or Trackio'),
    'report': ('gluon_tricks.commands.report', 'one page: tables, runs, curves, confusions; works offline'),
    'inspect': ('gluon_tricks.commands.inspect', 'check the checkpoints of a run; compare two runs'),
    'plan': ('gluon_tricks.commands.plan', 'what a table costs, and the steps that its seeds can see'),
    'ladder': ('gluon_tricks.commands.ladder', 'run what a table needs: each row, each seed, each run once'),
    'doctor': ('gluon_tricks.commands.doctor', 'before a run: what would go wrong, and what it takes'),
    'launch': ('gluon_tricks.commands.launch', 'several workers of one training; --slurm: a file for sbatch'),
}


def usage():
    lines = ['usage: python -m gluon_tricks COMMAND ...; COMMAND --help lists its options']
    lines += [f'  {name:<18} {text}' for name, (_, text) in COMMANDS.items()]
    return '\n'.join(lines + ['training: python train_imagenet.py --help'])


def main(argv=None):
    """Run one command; returns its exit code, 2 after one sentence for wrong usage."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words or words[0] in ('-h', '--help'):
        print(usage())
        return 0 if words else 2
    name, rest = words[0], words[1:]
    try:
        return exit_code(_command, name, rest)
    except BrokenPipeError:  # `... | head`
        return 1


def _command(name, rest):
    if name not in COMMANDS:
        raise UsageError(f'{name!r} is not a command; the commands are: {", ".join(COMMANDS)}')
    return importlib.import_module(COMMANDS[name][0]).main(rest)


if __name__ == '__main__':
    sys.exit(main())
