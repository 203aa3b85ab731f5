"""Train an image classifier with the paper's bag of tricks: one run, told in the paper's order.

    python train_imagenet.py --mode hybrid --dtype float16
    python train_imagenet.py --recipe table6/resnet50_v1d/mixup
"""
import os
import sys

from gluon_tricks.config import classification as configuration
from gluon_tricks.config import recipes
from gluon_tricks.errors import UsageError, exit_code
from gluon_tricks.noise import quiet


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for wrong usage, or as `run.Run.train`."""
    return exit_code(run, argv)


def run(argv):
    """The same, with a UsageError for wrong usage."""
    arguments = configuration.parser(description=__doc__.splitlines()[0]).parse_args(argv)
    base = recipes.get(arguments.recipe).config if arguments.recipe else None
    config = resolve(configuration.from_namespace(arguments, base))
    if arguments.print_config:
        print(config.to_json())
        return 0
    with quiet():
        return train(config)


def resolve(config):
    """Fill in what depends on the network, the devices and the machine; the result holds no None.

    Linear scaling (section 3.1) sets the learning rate from the total batch size. Raises UsageError.
    """
    from gluon_tricks.compat import mx
    from gluon_tricks.cores import available_cores
    from gluon_tricks.data.prepare.folder import find_records
    from gluon_tricks.distributed.workers import number_of_workers
    from gluon_tricks.models.zoo import default_input_size
    from gluon_tricks.tricks.linear_scaling import linear_scaling_lr

    changes = {}
    if config.devices:
        number = len(config.devices.split(','))
    else:
        changes['num_gpus'] = mx.context.num_gpus() if config.num_gpus is None else config.num_gpus
        number = max(1, changes['num_gpus'])
    if config.lr is None:
        changes['lr'] = linear_scaling_lr(number * config.batch_size * number_of_workers(config.kv_store))
    if config.input_size is None:
        changes['input_size'] = default_input_size(config.model)
    if config.decode_threads is None:
        changes['decode_threads'] = available_cores()
    if config.data_backend == 'synthetic' and config.num_training_samples is None:
        changes['num_training_samples'] = 1281167
    for part, (records, index) in find_records(config).items():
        changes.update({'rec_' + part: records, 'rec_%s_idx' % part: index})
    return config.replace(**changes)


def train(config):
    """Carry out the run of a resolved configuration; returns the exit code. Raises UsageError."""
    from gluon_tricks.distributed.devices import find_devices
    from gluon_tricks.distributed.workers import Workers
    from gluon_tricks.training.run import Run

    devices, workers = find_devices(config.devices, config.num_gpus), Workers(config.kv_store)
    with Run(config, workers) as run:
        return carry_out(config, devices, workers, run)


def carry_out(config, devices, workers, run):
    """The paper's training of a resolved configuration, on these devices; returns the exit code. Raises UsageError."""
    from gluon_tricks.compat import mx
    from gluon_tricks.data.records import identity
    from gluon_tricks.distributed.workers import connect
    from gluon_tricks.tasks.classification.task import Classification
    from gluon_tricks.training.optimizer import create_optimizer
    from gluon_tricks.training.schedule import Schedule
    from gluon_tricks.tricks.linear_scaling import linear_scaling_lr
    from gluon_tricks.tricks.low_precision import enable_bfloat16, precision

    batch_size = config.batch_size * len(devices)
    total_batch_size = batch_size * workers.number

    # Section 2.1: the data
    train_stream, eval_stream, data = open_data(config, batch_size, workers)
    kept = {'classes': data.get('classes'),
            'data': {part: identity.of_records(*files) for part, files in data.get('files', {}).items()}}

    # Sections 2.1, 3.1 (zero gamma, no bias decay), 3.2 (low precision) and 4: the network
    low_precision = precision(config.dtype, devices)
    if config.dtype == 'bfloat16':
        enable_bfloat16()
    mx.random.seed(config.seed)
    net = build_net(config, devices, low_precision)
    teacher = build_teacher(config, devices, low_precision)

    # Section 3.1: linear scaling and warmup; section 5.1: cosine decay
    notices = [line for line in [low_precision.description] + list(data['notices']) if line]
    linear = linear_scaling_lr(total_batch_size)
    if abs(config.lr - linear) > 1e-9:
        notices.append('--lr %g is used; linear scaling gives %g for a total batch size of %d'
                       % (config.lr, linear, total_batch_size))
    schedule = Schedule(lr=config.lr, mode=config.lr_mode, updates_per_epoch=train_stream.updates_per_epoch,
                        epochs=config.num_epochs, warmup_epochs=config.warmup_epochs,
                        decay_epochs=config.decay_epochs, decay_factor=config.lr_decay, form=config.schedule)

    # Section 2.1: Nesterov's accelerated gradient; the optimizer never runs on the key-value store
    trainer = mx.gluon.Trainer(
        net.collect_params(), create_optimizer(config.nag, config.momentum, config.wd, config.dtype == 'float16'),
        kvstore=workers.store, update_on_kvstore=False)
    connect(trainer)

    # Sections 5.2 to 5.4: label smoothing, distillation, mixup
    task = Classification(net, config, devices, train_stream, eval_stream, low_precision, teacher, workers)

    # Algorithm 1
    return run.train(task, net, trainer, devices, schedule, config.num_epochs, train_stream.updates_per_epoch,
                     total_batch_size, notices, config.resume_epoch, kept, data=data,
                     precision=low_precision.description)


# ---------------------------------------------------------------------------------------------------------------------
# The parts

def open_data(config, batch_size, workers):
    """(training stream, evaluation stream or None, facts about the data) of a configuration (section 2.1).

    batch_size: images of this worker's devices; it reads its share of the training images, and all for validation.
    Records are taken where they are; else a folder of images is packed once. Raises UsageError.
    """
    from gluon_tricks.data.pipeline import EvalStream, SyntheticStream, TrainStream
    from gluon_tricks.data.prepare.folder import pack_folder, packed_files
    from gluon_tricks.data.records import certificate
    from gluon_tricks.data.records.crash import watch
    from gluon_tricks.data.records.record_file import check_records

    if config.data_backend == 'synthetic':
        stream = SyntheticStream(batch_size, config.input_size, config.num_classes,
                                 config.num_training_samples // workers.number, seed=config.seed + workers.rank)
        return stream, None, {'train': config.num_training_samples, 'notices': ['synthetic data: nothing is learned, '
                                                                                'and there is no validation']}
    files = {part: (os.path.expanduser(getattr(config, 'rec_' + part)),
                    os.path.expanduser(getattr(config, 'rec_%s_idx' % part))) for part in ('train', 'val')}
    folder, classes, notices = os.path.expanduser(config.data_dir), None, []
    if workers.rank:
        workers.gather([0])  # until the first has packed what there is to pack
    if files == packed_files(folder) and not config.use_rec and os.path.isdir(os.path.join(folder, 'train')):
        pack_folder(folder, processes=config.decode_threads)
    missing = [path for pair in files.values() for path in pair if not os.path.isfile(path)]
    if missing:
        raise UsageError('%s is missing: prepare ImageNet with `python -m gluon_tricks prepare imagenet` (docs/data.md '
                         'tells how), give other records with --rec-train and --rec-val, or a folder of images with '
                         '--data-dir DIR (DIR/train/CLASS/*.JPEG and DIR/val/CLASS/*.JPEG, packed once); to try the '
                         'program without ImageNet, type `make demo`' % missing[0])
    if not workers.rank:
        workers.gather([0])
    watch([files['train'], files['val']], config.going_on())
    for part in ('train', 'val'):
        facts = certificate.check(files[part][0], config.num_classes)
        check_records(*files[part], num_classes=config.num_classes)
        known = facts and facts['classes'] or classes
        if classes and known != classes:
            raise UsageError('%s has other classes than %s: prepare both from the same set'
                             % (files['val'][0], files['train'][0]))
        classes = known
        notices.append('data: ' + certificate.summary(files[part][0]))
    train_stream = TrainStream(*files['train'], total_batch_size=batch_size, input_size=config.input_size,
                               seed=config.seed, threads=config.decode_threads, mean=config.rgb_mean, std=config.rgb_std,
                               jitter=config.jitter, pca_noise=config.pca_noise, min_area=config.min_area,
                               mirror=not config.no_mirror, worker=workers.rank, num_workers=workers.number,
                               num_classes=config.num_classes)
    eval_stream = EvalStream(*files['val'], total_batch_size=batch_size, input_size=config.input_size,
                             crop_ratio=config.crop_ratio, mean=config.rgb_mean, std=config.rgb_std,
                             threads=config.decode_threads, num_classes=config.num_classes)
    images = len(train_stream.reader)
    workers.check_same([images, eval_stream.num_images], 'other records', 'give all of them the same files')
    if config.num_training_samples not in (None, images):
        raise UsageError('--num-training-samples %d: %s holds %d images; prepare the whole set, or give its number'
                         % (config.num_training_samples, files['train'][0], images))
    return train_stream, eval_stream, {'train': images, 'val': eval_stream.num_images,
                                       'files': files, 'classes': classes, 'notices': notices,
                                       'certificates': {part: certificate.digest(files[part][0]) for part in files}}


def build_net(config, devices, low_precision):
    """The initialised network (sections 2.1, 3.1, 4), in the precision of the run."""
    from gluon_tricks.compat import mx
    from gluon_tricks.models.weights import load_params
    from gluon_tricks.models.zoo import get_model, know_shapes, place
    from gluon_tricks.tricks.low_precision import refuse_bfloat16
    from gluon_tricks.tricks.no_bias_decay import no_bias_decay
    from gluon_tricks.tricks.zero_gamma import one_gamma, zero_gamma

    options = {'use_se': True} if config.use_se else {}
    net = get_model(config.model, classes=config.num_classes, pretrained=config.use_pretrained, **options)
    if config.dtype == 'bfloat16':
        refuse_bfloat16(net, config.model)
    if not config.use_pretrained:
        one_gamma(net)
        if config.last_gamma:
            zero_gamma(net)
        net.initialize(mx.init.Xavier() if config.init == 'xavier' else mx.init.MSRAPrelu())
    know_shapes(net, config.input_size, config.model)
    if config.resume_params:
        load_params(net, config.resume_params)
    if config.no_wd:
        no_bias_decay(net)
    place(net, devices, low_precision, config.mode == 'hybrid')
    return net


def build_teacher(config, devices, low_precision):
    """The teacher of section 5.3 with its weights, or None."""
    from gluon_tricks.models.zoo import trained_net
    if not config.teacher:
        return None
    return trained_net(config.teacher, config.teacher_params, config.num_classes, config.input_size, devices,
                       low_precision, config.mode == 'hybrid')


if __name__ == '__main__':
    sys.exit(main())
