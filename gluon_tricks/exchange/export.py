"""A trained network as one folder that other frameworks open: written whole, checked against MXNet, with its sums.

| file | what |
|---|---|
| ``net.params``, ``net-symbol.json`` | weights as a checkpoint has them; the graph, whose variables have their names |
| ``model.onnx`` | normalised images to scores (`onnx_graph`) |
| ``model-from-image.onnx`` | a classifier's: a decoded image to probabilities (`onnx_image`) |
| ``config.json``, ``model.safetensors`` | of classifiers that timm has: what its ``local-dir:DIR`` opens |
| ``README.md``, ``.eval_results/`` | the model card (`model_card`) |
| ``export.json`` | what was compared, and the largest differences |
| ``SHA256SUMS`` | the digest of each of the others |
"""
import dataclasses
import json
import os
import shutil
from typing import Any, Callable, Dict, List, Optional, Tuple

from gluon_tricks import __version__
from gluon_tricks.compat import environment, mx
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import convert, model_card, onnx_agreement, onnx_graph, onnx_image
from gluon_tricks.files import file_digest, regular, remedy_for, sync, unwritable
from gluon_tricks.models import params_file
from gluon_tricks.models.weights import load_params, stored_params
from gluon_tricks.models.zoo import get_model
from gluon_tricks.tasks.eval_results import figures_of, protocol
from gluon_tricks.tasks.rows import rows_of
from gluon_tricks.tasks.segmentation.metrics import MEAN, STD
from gluon_tricks.tricks.low_precision import precision

SUMS = 'SHA256SUMS'


@dataclasses.dataclass
class Subject:
    """A network to export, on the CPU in float32, and what is known of it.

    mean, std: of the channels, in 0 to 255. run: an api.Run, None for a bare file. figures_by: how its figures were
    measured. size: (height, width) of a classifier's or detector's images.
    """

    task: str
    model: str
    net: Any
    classes: List[str]
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    config: Any
    run: Any = None
    size: Tuple[int, int] = (0, 0)
    crop_ratio: float = 0.875
    figures_by: str = ''
    input: str = ''


# ---------------------------------------------------------------------------------------------------------------------
# What is exported

def subject_of(path: str, model: Optional[str] = None, num_classes: Optional[int] = None,
               input_size: Optional[int] = None, crop_ratio: Optional[float] = None, use_se: bool = False,
               size: Optional[Tuple[int, int]] = None) -> Subject:
    """The Subject in a run's directory, or in a classifier's .params file, whose network is `model`.

    size: (height, width) of a detector's images. Raises UsageError as `api.open_run` and `classification.trained`.
    """
    if not os.path.isdir(path):
        return _classifier(path, None, model, num_classes, input_size, crop_ratio, use_se)
    from gluon_tricks import api
    run = api.open_run(path)
    given = {'--model': model, '--num-classes': num_classes, '--input-size': input_size, '--crop-ratio': crop_ratio,
             '--use-se': use_se}
    wrong = [flag for flag, value in given.items() if value and (run.task != 'classification' or flag == '--model')]
    if wrong:
        raise UsageError(f'{wrong[0]} is for a {"file" if wrong[0] == "--model" else "classifier"}, and {path} is a '
                         f'run of {run.task}: drop it')
    if size and run.task != 'detection':
        raise UsageError(f'--size is for a detector, and {path} is a run of {run.task}: drop it')
    if run.task == 'classification':
        return _classifier(path, run, None, num_classes, input_size, crop_ratio, use_se)
    return {'detection': _detector, 'segmentation': _segmenter}[run.task](run, size)


def _classifier(path, run, model, num_classes, input_size, crop_ratio, use_se):
    from gluon_tricks.tasks.classification import trained
    facts = trained.facts_of(path, model, num_classes, input_size, crop_ratio, use_se)
    config, side, ratio = facts['config'], facts['input_size'], facts['crop_ratio']
    net, _ = trained.load_net(facts, [mx.cpu()], hybridize=False)
    resize = -int(-side // ratio)
    return Subject(
        'classification', ('se_' if facts['use_se'] and facts['model'].startswith('resnext') else '') + facts['model'],
        net, list(trained.class_names(facts)), config.rgb_mean, config.rgb_std, config, run, (side, side), ratio,
        protocol(config.replace(input_size=side, crop_ratio=ratio)),
        f'`model.onnx` takes RGB images, (batch, 3, {side}, {side}) float32: short side to {resize}, bilinear, centre '
        f'crop {side}, values 0 to 255 less {list(config.rgb_mean)}, over {list(config.rgb_std)}; it gives logits. '
        '`model-from-image.onnx` takes an upright RGB image of any size, (height, width, 3) uint8, does all of this, '
        'and gives probabilities; the names of the classes are in its metadata.')


def _detector(run, size):
    from gluon_tricks.tasks.detection.pictures import stored_classes
    from gluon_tricks.tasks.detection.trained import trained_net
    config, devices = run.config, [mx.cpu()]
    classes = stored_classes(run.params)
    net = trained_net(config, run.params, classes, devices, precision('float32', devices))
    height, width = size or (config.image_short, config.image_max_size)
    if min(height, width) < config.image_short or max(height, width) > config.image_max_size:
        raise UsageError(f'--size {height} {width} must lie within {config.image_short} and {config.image_max_size}, '
                         'the short and the long side that the detector was trained with')
    return Subject(  # GluonCV's detectors have the mean and deviation of its segmentation networks
        'detection', config.network, net, list(classes), _times_255(MEAN), _times_255(STD), config, run,
        (height, width),
        figures_by=protocol(config),
        input=f'`model.onnx` takes one RGB image of one size, (1, 3, {height}, {width}) float32: values 0 to 1 less '
              f'{list(MEAN)}, over {list(STD)}, a smaller image in the upper left corner with zeros '
              'beside it; batch and size are fixed, for the number of anchors is part of the graph. It gives ids (-1: '
              'none), scores, and boxes in pixels, which may reach beyond the image.')


def _segmenter(run, size):
    from gluon_tricks.tasks.segmentation.network import load_fcn
    from gluon_tricks.tasks.segmentation.pictures import names_of
    net, number = load_fcn(run.params, run.config.backbone)
    names = run.manifest.get('classes')
    names = names if isinstance(names, list) and len(names) == number else list(names_of(number))
    return Subject(
        'segmentation', run.config.backbone, net, names, _times_255(MEAN), _times_255(STD), run.config, run,
        figures_by=protocol(run.config),
        input='`model.onnx` takes RGB images of any batch, height and width, (batch, 3, height, width) float32: values '
              f'0 to 1 less {list(MEAN)}, over {list(STD)}; it gives the logits of each pixel.')


def _times_255(values):
    return tuple(255 * value for value in values)


# ---------------------------------------------------------------------------------------------------------------------
# The folder

def export(subject: Subject, out: str, license: str = 'apache-2.0', dataset: Optional[str] = None) -> Dict[str, Any]:
    """Write the folder OUT of a Subject, whole or not at all; returns what export.json holds.

    license: of the weights, as Hugging Face names it; dataset: the name of the images that the figures are of. Every
    artefact is run beside MXNet. Raises UsageError without the extra ``onnx``, for a folder that is there, one that
    cannot be written, and a network that an artefact does not give again.
    """
    onnx_graph.require('onnx', 'onnxruntime')
    out = os.path.normpath(os.path.expanduser(out))
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise UsageError(f'{out} is there already: give a folder that is new or empty')
    parent, name = os.path.split(os.path.abspath(out))
    partial = os.path.join(parent, f'.partial-{name}-{os.getpid()}')
    try:
        os.mkdir(partial)
        artefacts = _artefacts(subject, partial)
        facts = card_facts(subject, name, artefacts, license, dataset)
        stored = {'gluon_tricks': __version__, 'task': subject.task, 'model': subject.model,
                  'classes': subject.classes, 'environment': environment(), 'artefacts': artefacts}
        texts = {'README.md': model_card.readme(facts), 'export.json': json.dumps(stored, indent=1) + '\n'}
        texts.update({f'.eval_results/{file}': text for file, text in model_card.eval_results(facts).items()})
        for file, text in texts.items():
            _write(os.path.join(partial, file), text)
        _write(os.path.join(partial, SUMS), sums(partial))
        for file in _files(partial):
            sync(os.path.join(partial, file))
        sync(partial)
        os.rename(partial, out)
        sync(parent)
    except OSError as error:
        raise unwritable(out, error, remedy_for(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return stored


def _write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8', errors='surrogateescape', newline='\n') as stream:
        stream.write(text)


def _artefacts(subject, folder):
    """Write the network in each form and run it; {file: what it is, and how it compares}."""
    def at(name):
        return os.path.join(folder, name)

    artefacts = {'net.params': {'about': 'weights, for `load_params` and GluonCV'},
                 'net-symbol.json': dict(_graph(subject, at('net.params'), at('net-symbol.json')),
                                         about='MXNet graph, with `net.params`')}
    model = _onnx(subject)
    _save(model, at('model.onnx'))
    artefacts['model.onnx'] = dict(_compared(subject, onnx_graph.session(at('model.onnx'))),
                                   about=f'ONNX, opset {onnx_graph.OPSET}, IR {onnx_graph.IR}')
    if subject.task == 'classification':
        _save(onnx_image.from_image(model, subject.size[0], subject.crop_ratio, subject.mean, subject.std,
                                    subject.classes), at('model-from-image.onnx'))
        artefacts['model-from-image.onnx'] = dict(
            onnx_agreement.from_image(onnx_graph.session(at('model-from-image.onnx')), _probabilities(subject)),
            about='ONNX, a decoded image of any size to probabilities')
        artefacts.update(timm_files(subject, at('model.safetensors'), at('config.json')))
    return artefacts


def _onnx(subject):
    if subject.task == 'classification':
        return onnx_graph.classifier(subject.net, subject.size[0])
    if subject.task == 'detection':
        return onnx_graph.detector(subject.net, *subject.size)
    return onnx_graph.segmenter(subject.net, len(subject.classes))


def _save(model, path):
    with open(path, 'wb') as stream:
        stream.write(model.SerializeToString())


def _compared(subject, run):
    """How `run`, which takes normalised images, agrees with MXNet."""
    mean, std = subject.mean, subject.std
    if subject.task == 'classification':
        return onnx_agreement.classifier(run, subject.net, subject.size[0], mean, std)
    if subject.task == 'detection':
        return onnx_agreement.detector(run, subject.net, *subject.size, mean, std)
    return onnx_agreement.segmenter(run, subject.net, mean, std)


def _graph(subject, params, symbol_file):
    """Write weights and graph for MXNet alone, and run them as its SymbolBlock does."""
    stored = stored_params(subject.net)
    params_file.save(params, {name: param.data(param.list_ctx()[0]).as_in_context(mx.cpu()).astype('float32')
                              for name, param in stored.items()})
    symbol = subject.net(mx.sym.Variable('data'))
    symbol = mx.sym.Group(list(symbol)) if isinstance(symbol, (list, tuple)) else symbol
    graph, names = json.loads(symbol.tojson()), {param.name: name for name, param in stored.items()}
    for node in graph['nodes']:
        if node['op'] == 'null':
            node['name'] = names.get(node['name'], node['name'])
    with open(symbol_file, 'w') as stream:
        json.dump(graph, stream, indent=1)
    with open(symbol_file) as stream:
        block = mx.gluon.SymbolBlock(mx.sym.load_json(stream.read()), [mx.sym.var('data', dtype='float32')])
    arrays = params_file.load(params)
    for name, param in block.collect_params().items():
        param._load_init(arrays[name], mx.cpu(), cast_dtype=True, dtype_source='saved')

    def run(x):
        found = onnx_agreement.outputs(block, x)
        return found if subject.task == 'detection' else found[0]
    return _compared(subject, run)


def _probabilities(subject) -> Callable[[Any], Any]:
    """The function of an image (H, W, 3), uint8, that gives MXNet's probabilities after validation's preprocessing."""
    from gluon_tricks.data.image_file import prepare

    def probabilities(picture):
        x = prepare(mx.nd.array(picture, dtype='uint8'), subject.size[0], subject.crop_ratio, subject.mean,
                    subject.std)
        return mx.nd.softmax(subject.net(x)).asnumpy()[0]
    return probabilities


def timm_files(subject: Subject, weights: str, config: str) -> Dict[str, Dict[str, Any]]:
    """Write ``model.safetensors`` and ``config.json`` of a network that timm has; {file: facts}, {} for another.

    The names of timm's arrays, and its network for ours, are `exchange.convert`'s. The file is loaded again, and run.
    Raises UsageError where the package safetensors is missing.
    """
    try:
        network, arrays = convert.timm_arrays(subject.net, subject.model)
    except UsageError:
        return {}
    convert.save_timm(weights, arrays)
    side = subject.size[0]
    facts = {'architecture': network.name, 'num_classes': len(subject.classes), 'label_names': subject.classes,
             'pretrained_cfg': {
                 'input_size': [3, side, side], 'fixed_input_size': False, 'num_classes': len(subject.classes),
                 'crop_pct': subject.crop_ratio, 'crop_mode': 'center', 'interpolation': 'bilinear',
                 'mean': [value / 255 for value in subject.mean], 'std': [value / 255 for value in subject.std]}}
    _write(config, json.dumps(facts, indent=1) + '\n')
    again = get_model(subject.model, classes=len(subject.classes))
    again.initialize()
    load_params(again, weights)
    compared = _compared(subject, lambda x: onnx_agreement.outputs(again, x)[0])
    return {'model.safetensors': dict(compared, about=f'weights with the names of timm\'s {network.name}'),
            'config.json': {'about': 'configuration for timm'}}


def card_facts(subject: Subject, name: str, artefacts: Dict[str, Any], license: str,
               dataset: Optional[str]) -> Dict[str, Any]:
    """The facts of the model card, from the subject and its run."""
    run, config = subject.run, subject.config
    facts = {'name': name, 'task': subject.task, 'model': subject.model, 'classes': subject.classes,
             'version': __version__, 'license': license, 'artefacts': artefacts, 'input': subject.input,
             'timm': 'model.safetensors' in artefacts, 'dataset': dataset or '', 'figures': {}, 'num_images': 0,
             'epoch': None, 'protocol': subject.figures_by, 'command': '', 'rows': [], 'data': {}, 'date': ''}
    if run is None:
        return facts
    record, metrics = run.record, _table(run.manifest.get('metrics'))
    workers = run.manifest.get('workers')
    devices = len(record.get('devices') or [1]) * (workers if isinstance(workers, int) else 1)
    certificates = _table(_table(record.get('data')).get('certificates'))
    data = {part: dict(digests, certificate=certificates.get(part))
            for part, digests in _table(run.manifest.get('data')).items() if _table(digests)}
    return dict(facts, dataset=dataset or os.path.basename(os.path.normpath(config.data_dir)),
                figures=figures_of(subject.task, metrics), num_images=metrics.get('num_images', 0),
                epoch=run.manifest['epoch'], command=config.command(), data=data,
                date=str(record.get('started', ''))[:10],
                rows=[row.to_dict() for row in rows_of(config, devices)])


def _table(value):
    """A dict that a manifest or run.json should hold, {} for anything else."""
    return value if isinstance(value, dict) else {}


# ---------------------------------------------------------------------------------------------------------------------
# Its sums

def _files(folder):
    """Paths of the files below a folder, relative to it, sorted."""
    found = []
    for place, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names]
    return sorted(found)


def sums(folder: str) -> str:
    """The content of SHA256SUMS for a folder as it is: a digest and a name a line, as sha256sum writes them."""
    for name in _files(folder):
        regular(os.path.join(folder, name))
    return ''.join(f'{file_digest(os.path.join(folder, name))}  {name}\n' for name in _files(folder) if name != SUMS)


def check(folder: str) -> int:
    """The number of files of an exported folder, all of them whole; UsageError that names the first that is damaged,
    missing, or not of the folder."""
    folder, path = os.path.expanduser(folder), os.path.join(os.path.expanduser(folder), SUMS)
    remedy = 'copy the folder again'
    try:
        regular(path)
        with open(path, 'rb') as stream:
            told = stream.read().decode('utf-8', 'surrogateescape')
        found = sums(folder)
    except OSError as error:
        raise UsageError(f'{error.filename or path} cannot be read ({error.strerror}): give the folder that `export` '
                         'wrote') from error
    if told == found:
        return found.count('\n')
    entries, wanted = ({line[66:]: line[:64] for line in text.splitlines()} for text in (found, told))
    for name in sorted(set(entries) | set(wanted)):
        if name not in entries:
            raise UsageError(f'{folder}: {name!r} of {SUMS} is missing: {remedy}')
        if name not in wanted:
            raise UsageError(f'{folder}: {name} is not in {SUMS}, which is cut short or of another folder: {remedy}')
        if entries[name] != wanted[name]:
            raise UsageError(f'{folder}: {name} is damaged, its digest is not that of {SUMS}: {remedy}')
    raise UsageError(f'{folder}: {SUMS} is damaged: {remedy}')
