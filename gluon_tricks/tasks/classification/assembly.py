"""A classification run from its configuration, told in the paper's order: data, network, schedule, optimizer,
tricks."""
import os

from gluon_tricks.compat import mx
from gluon_tricks.cores import available_cores
from gluon_tricks.data.open import open_data
from gluon_tricks.data.prepare.folder import find_records
from gluon_tricks.data.records import identity
from gluon_tricks.distributed.workers import connect, number_of_workers
from gluon_tricks.models.fine_tuning import freeze_base, load_base, output_layer
from gluon_tricks.models.threads import use_threads
from gluon_tricks.models.weights import classes_in, load_params, read_weights
from gluon_tricks.models.zoo import default_input_size, get_model, know_shapes, place, trained_net
from gluon_tricks.tasks.classification.task import Classification
from gluon_tricks.training.optimizer import create_optimizer
from gluon_tricks.training.run import Setup
from gluon_tricks.training.schedule import Schedule
from gluon_tricks.tricks.linear_scaling import linear_scaling_lr
from gluon_tricks.tricks.low_precision import enable_bfloat16, precision, refuse_bfloat16
from gluon_tricks.tricks.no_bias_decay import no_bias_decay
from gluon_tricks.tricks.zero_gamma import one_gamma, zero_gamma


def resolve(config, workers=None):
    """(the configuration with what depends on the network, the devices and the machine, notices); it holds no None.

    Linear scaling (section 3.1) sets the learning rate from the total batch size. workers: how many train (None: as
    the launcher says). Raises UsageError.
    """
    changes = {}
    if config.devices:
        number = len(config.devices.split(','))
    else:
        changes['num_gpus'] = mx.context.num_gpus() if config.num_gpus is None else config.num_gpus
        number = max(1, changes['num_gpus'])
    if config.lr is None:
        changes['lr'] = linear_scaling_lr(number * config.batch_size * (
            workers or number_of_workers(config.kv_store)))
    if config.input_size is None:
        changes['input_size'] = default_input_size(config.model)
    if config.decode_threads is None:
        changes['decode_threads'] = available_cores()
    if config.data_backend == 'synthetic' and config.num_training_samples is None:
        changes['num_training_samples'] = 1281167
    for part, (records, index) in find_records(config).items():
        changes.update({'rec_' + part: records, f'rec_{part}_idx': index})
    return config.replace(**changes), []


def assemble(config, devices, workers, notices=(), resumed=False):
    """The Setup of a resolved configuration, in the paper's order.

    resumed: the weights will be a checkpoint's, so that --base-params is not read. Raises UsageError.
    """
    worker_batch_size = config.batch_size * len(devices)
    total_batch_size = worker_batch_size * workers.number

    # Section 2.1: the data
    train_stream, eval_stream, data = open_data(config, worker_batch_size, workers)
    kept = {'classes': data.get('classes'),
            'data': {part: identity.of_records(*files) for part, files in data.get('files', {}).items()}}

    # Sections 2.1, 3.1 (zero gamma, no bias decay), 3.2 (low precision) and 4: the network
    low_precision = precision(config.dtype, devices)
    if config.dtype == 'bfloat16':
        enable_bfloat16()
    mx.random.seed(config.seed)
    net, frozen, started = build_net(config, devices, low_precision, resumed)
    teacher = build_teacher(config, devices, low_precision)
    use_threads([net] + [teacher] * bool(teacher), config.input_size, devices)

    # Section 3.1: linear scaling and warmup; section 5.1: cosine decay
    notices = [line for line in [*notices, low_precision.description, *data['notices'], *started] if line]
    linear = linear_scaling_lr(total_batch_size)
    if abs(config.lr - linear) > 1e-9:
        notices.append(f'--lr {config.lr:g} is used; linear scaling gives {linear:g} for a total batch size of '
                       f'{total_batch_size}')
    schedule = Schedule(lr=config.lr, mode=config.lr_mode, updates_per_epoch=train_stream.updates_per_epoch,
                        epochs=config.num_epochs, warmup_epochs=config.warmup_epochs,
                        decay_epochs=config.decay_epochs, decay_factor=config.lr_decay, form=config.schedule)

    # Section 2.1: Nesterov's accelerated gradient; the optimizer never runs on the key-value store
    trained = output_layer(net) if frozen else net
    trainer = mx.gluon.Trainer(
        trained.collect_params(), create_optimizer(config.nag, config.momentum, config.wd, config.dtype == 'float16'),
        kvstore=workers.store, update_on_kvstore=False)
    connect(trainer)

    # Sections 5.2 to 5.4: label smoothing, distillation, mixup
    task = Classification(net, config, devices, train_stream, eval_stream, low_precision, teacher, workers)

    return Setup(task, trainer, schedule, train_stream.updates_per_epoch, total_batch_size, tuple(notices),
                 config.resume_epoch, kept, dict(data=data, precision=low_precision.description), frozen)


def build_net(config, devices, low_precision, resumed=False):
    """The initialised network (sections 2.1, 3.1, 4), in the precision of the run; what of it is not trained, as
    `TrainState.frozen`; lines for the log."""
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
    notices = [] if resumed or not config.base_params else _start_from_base(net, config)
    frozen = freeze_base(net) if config.train_layers == 'head' else {}
    if config.no_wd:
        no_bias_decay(net)
    place(net, devices, low_precision, config.mode == 'hybrid')
    return net, frozen, notices


def _start_from_base(net, config):
    """Fine-tuning: load all but the output layer, which stays new; returns lines for the log."""
    weights = read_weights(os.path.expanduser(config.base_params))
    load_base(net, weights)
    trained = 'it alone is trained' if config.train_layers == 'head' else 'all layers are trained'
    lines = [f'fine-tuning: from {config.base_params}, {classes_in(net, weights)} classes; the output layer is new, '
             f'{config.num_classes} classes, and {trained}']
    if config.last_gamma:
        lines.append('--last-gamma: no gamma starts at zero, they are those of --base-params')
    return lines


def build_teacher(config, devices, low_precision):
    """The teacher of section 5.3 with its weights, or None."""
    if not config.teacher:
        return None
    return trained_net(config.teacher, config.teacher_params, config.num_classes, config.input_size, devices,
                       low_precision, config.mode == 'hybrid')
