"""What a finished run leaves, without the training: run.json, log.jsonl and the last checkpoint's manifest, of figures
that a test chooses."""
import json

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.config.recipes_transfer import RECIPES as TRANSFER
from gluon_tricks.data.prepare import ade20k, imagenet, voc
from gluon_tricks.models.zoo import default_input_size
from gluon_tricks.training import checkpoint
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr

DIGEST = 'ab' * 32


def counts(task):
    """(training images, validation images) of the paper's data."""
    if task == 'detection':
        return sum(number for name, number in voc.COUNTS.items() if 'trainval' in name), 4952
    if task == 'segmentation':
        return ade20k.COUNTS['training images'], ade20k.COUNTS['validation images']
    return imagenet.COUNTS['train'], imagenet.COUNTS['val']


def finished(folder, config, last, best=None, classes=None, images=None, data=DIGEST, seconds=60.0, status='finished'):
    """Write the SAVE_DIR of a run with this configuration and return its path, a text.

    config: a name of a recipe, or a configuration; last, best: the task's figures as it counts them. images: (training,
    validation), by default the paper's; data: digest of the validation data. Each epoch took so many seconds.
    """
    task, config, devices = _resolved(config)
    images, best = images or counts(task), dict(best or last, epoch=config.num_epochs // 2, checkpoint='epoch-0001')
    save_dir, epoch = str(folder), config.num_epochs - 1
    folder.mkdir(parents=True)
    last = dict(last, num_images=images[1])
    checkpoint.write(save_dir, checkpoint.name_of(epoch), {name: _empty for name in ('net.params', 'optimizer.params')}, {
        'task': task, 'config': config.to_dict(), 'classes': classes or ['a', 'b'], 'epoch': epoch, 'batch': None,
        'workers': 1, 'metrics': last, 'best': best,
        'data': {part: {'images': number, 'digest': data} for part, number in zip(('train', 'val'), images)}})
    (folder / 'run.json').write_text(json.dumps({
        'gluon_tricks': '0.1.0', 'command': config.command(), 'config': config.to_dict(), 'status': status,
        'started': f'2026-01-0{1 + config.seed % 9}T00:00:0{config.seed // 9}Z', 'ended': '2026-01-10T00:00:00Z', 'devices': devices, 'workers': 1,
        'environment': {'mxnet': '1.9.1', 'machine': 'x86_64', 'cores': 2},
        'data': {'train': images[0], 'val': images[1], 'certificates': {'train': DIGEST, 'val': DIGEST}},
        'result': dict(last, epoch=epoch), 'best': best}))
    with open(folder / 'log.jsonl', 'w') as stream:
        for number in range(config.num_epochs):
            share = (number + 1) / config.num_epochs
            figures = {name: value if number == epoch or name == 'num_images' else value * share
                       for name, value in last.items()}
            stream.write(json.dumps({
                'epoch': number, 'lr': 0.1 * (1 - share), 'speed': 100.0, 'time': seconds, 'wait': 0.01,
                'evaluation_time': 0.0, 'train': {'loss': 7 - 5 * share}, 'validation': figures, 'event': 'epoch',
                'time_stamp': float(number)}) + '\n')
    return save_dir


def _resolved(config):
    """(task, configuration without a None, names of its devices), for a recipe's name or a configuration."""
    if isinstance(config, str):
        row = RECIPES.get(config) or TRANSFER[config]
        config = row.config if config in TRANSFER else row.config.replace(lr=row.lr)
    number, changes = 1, {}
    if config.TASK == 'detection':
        number = len(config.gpus.split(','))
        changes['total_batch_size'] = config.total_batch_size or number
    else:
        number = config.num_gpus or 1
        changes['num_classes'] = config.num_classes or 150
    if config.TASK == 'classification':
        changes.update(input_size=config.input_size or default_input_size(config.model), num_gpus=config.num_gpus or 0,
                       lr=config.lr or linear_scaling_lr(config.batch_size * number))
    return config.TASK, config.replace(**changes), [f'gpu({place})' for place in range(number)]


def _empty(path):
    open(path, 'wb').close()
