"""A trained classifier: what its file or its run tells, and what it gives for records and for images."""
import os

from gluon_tricks.compat import mx
from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.cores import available_cores
from gluon_tricks.data.image_file import preprocess
from gluon_tricks.data.pipeline import EvalStream, Normalise
from gluon_tricks.data.records import certificate
from gluon_tricks.data.records.crash import watch
from gluon_tricks.data.records.record_file import check_records
from gluon_tricks.errors import UsageError
from gluon_tricks.models.fused import for_inference
from gluon_tricks.models.threads import use_threads
from gluon_tricks.models.zoo import default_input_size, trained_net
from gluon_tricks.tasks.classification import evaluation
from gluon_tricks.training import checkpoint
from gluon_tricks.tricks.low_precision import enable_bfloat16, precision

_AT_ONCE = 16  # image files in a batch


def facts_of(path, model=None, num_classes=None, input_size=None, crop_ratio=None, use_se=False, manifest=None):
    """The facts of a file of weights or a run's directory: a dict with params, model, classes, sizes, mean and std.

    A run's own configuration stands behind what is not given. manifest: the run's, where `checkpoint.read` has given it
    already. Raises UsageError.
    """
    facts, config, manifest = {'params': path}, TrainConfig(), manifest or {}
    if os.path.isdir(path):
        path = checkpoint.best_of(path)
        manifest = manifest or checkpoint.read(path)
        config = TrainConfig.from_dict(manifest.get('config'))
        facts['params'], model = os.path.join(path, 'net.params'), model or config.model
    elif not os.path.isfile(path):
        raise UsageError(f'{path} is not there: give a .params or .safetensors file, or the SAVE_DIR of a run')
    if not model:
        raise UsageError(f'{path} does not say its network: give --model NAME')
    return dict(facts, model=model, num_classes=num_classes or config.num_classes, config=config,
                input_size=input_size or config.input_size or default_input_size(model),
                crop_ratio=crop_ratio or config.crop_ratio, use_se=use_se or config.use_se,
                class_names=manifest.get('classes'))


def load_net(facts, devices, dtype='float32', hybridize=True):
    """(network, precision) of `facts_of`'s facts, for inference on the devices."""
    low_precision = precision(dtype, devices)
    net = trained_net(facts['model'], facts['params'], facts['num_classes'], facts['input_size'], devices,
                      low_precision, hybridize, facts['use_se'])
    use_threads([net], facts['input_size'], devices)
    return net, low_precision


def class_names(facts):
    """Names of the classes: the run's own, ImageNet's words for its WordNet ids or 1000 classes, else numbers."""
    names = facts['class_names']
    if not isinstance(names, list) or len(names) != facts['num_classes']:
        names = None
    if facts['num_classes'] == 1000:
        from gluoncv.data import ImageNet1kAttr  # it takes all of GluonCV's data sets with it
        imagenet = ImageNet1kAttr()
        if not names or list(names) == list(imagenet.synset):
            return imagenet.classes
    return names or [str(number) for number in range(facts['num_classes'])]


def records_of(facts, rec=None, idx=None):
    """(records, index) of the validation images: as given, else the run's. Raises UsageError where nothing tells."""
    config = facts['config']
    records = os.path.expanduser(rec or config.rec_val)
    if not records:
        raise UsageError(f'{facts["params"]} does not say its validation images: give --rec-val FILE')
    return records, os.path.expanduser(idx or not rec and config.rec_val_idx or os.path.splitext(records)[0] + '.idx')


def score(facts, records, index, devices, dtype=None, batch_size=None, threads=None, gluoncv_padding=False):
    """([metrics of the images, each counted once, with gluoncv_padding also as GluonCV counts], precision).

    dtype, batch_size (of a device): the run's where they are not given. Raises UsageError.
    """
    net, low_precision = checked_net(facts, records, index, devices, dtype or facts['config'].dtype)
    found = []
    for padding in (False, True)[:1 + gluoncv_padding]:
        stream = _stream(facts, records, index, devices, batch_size, threads, padding)
        found.append(evaluation.evaluate(net, stream, devices, low_precision))
    return found, low_precision


def checked_net(facts, records, index, devices, dtype, any_label=False):
    """`load_net`, once the records are known to be sound; any_label: their labels need not be its classes. Raises
    UsageError."""
    num_classes = None if any_label else facts['num_classes']
    watch([(records, index)])
    certificate.check(records, num_classes)
    check_records(records, index, num_classes)
    precision(dtype, devices)  # what cannot run here is told before MXNet is switched to it, for good
    if dtype == 'bfloat16':
        enable_bfloat16()
    return load_net(facts, devices, dtype)


def _stream(facts, records, index, devices, batch_size=None, threads=None, gluoncv_padding=False):
    config = facts['config']
    return EvalStream(records, index, worker_batch_size=(batch_size or config.batch_size) * len(devices),
                      input_size=facts['input_size'], crop_ratio=facts['crop_ratio'],
                      normalise=Normalise(config.rgb_mean, config.rgb_std), threads=threads or available_cores(),
                      num_classes=facts['num_classes'], gluoncv_padding=gluoncv_padding,
                      devices=None if batch_size else len(devices))


def classify(facts, paths, device, top=5):
    """Generator over image files: {'image', 'classes': [{'name', 'index', 'probability'}]}, the likeliest first.

    It gives, and does not raise, the UsageError of a file that is no image.
    """
    names = class_names(facts)
    net = for_inference(*load_net(facts, [device], hybridize=False), [device], len(paths), facts['input_size'])
    for first in range(0, len(paths), _AT_ONCE):
        some = paths[first:first + _AT_ONCE]
        inputs = [_input(facts, path) for path in some]
        images = [each for each in inputs if not isinstance(each, UsageError)]
        rows = iter(_probabilities(net, images, device) if images else ())
        for path, each in zip(some, inputs):
            yield each if isinstance(each, UsageError) else _likeliest(path, next(rows), names, top)


def _input(facts, path):
    """(1, 3, S, S) of an image file, or the UsageError that says why it is none."""
    config = facts['config']
    try:
        return preprocess(path, facts['input_size'], facts['crop_ratio'], config.rgb_mean, config.rgb_std)
    except UsageError as error:
        return error


def _probabilities(net, images, device):
    """(N, K) of (1, 3, S, S) arrays."""
    x = mx.nd.concat(*images, dim=0).as_in_context(device)
    return mx.nd.softmax(net(x).astype('float32')).asnumpy()


def _likeliest(path, probability, names, top):
    order = probability.argsort(kind='stable')[::-1][:top]
    return {'image': path, 'classes': [
        {'name': names[k], 'index': int(k), 'probability': float(probability[k])} for k in order]}


# ---------------------------------------------------------------------------------------------------------------------
# Of a checkpoint's directory, whose files `api.Run` has checked

def evaluate(folder, config, devices):
    """Exact metrics of a checkpoint over its run's validation images: top1, top5 (percent), num_images, loss."""
    facts = _facts(folder)
    (metrics,), _ = score(facts, *records_of(facts), devices)
    return {name: metrics[name] for name in ('top1', 'top5', 'num_images', 'loss')}


def validation(folder, devices):
    """What the network of a checkpoint says of each of its run's validation images: `evaluation.predict`'s arrays, and
    'classes', their names. Raises UsageError."""
    facts = facts_of(folder)
    records, index = records_of(facts)
    net, low_precision = checked_net(facts, records, index, devices, facts['config'].dtype)
    found = evaluation.predict(net, _stream(facts, records, index, devices), devices, low_precision)
    return dict(found, classes=class_names(facts))


def predict(folder, config, images, devices, top=5):
    """[`classify` of each image file]."""
    found = []
    for each in classify(_facts(folder), images, devices[0], top):
        if isinstance(each, UsageError):
            raise each
        found.append(each)
    return found


def network(folder, config, devices):
    """The network of a checkpoint, for inference, in float32."""
    return load_net(_facts(folder), devices)[0]


def _facts(folder):
    return facts_of(folder, manifest=checkpoint.read_manifest(folder))
