"""The forms of a network in an exported folder: each is written, read again and run beside MXNet."""
import json
import os
from typing import Any, Callable, Dict

import numpy as np

from gluon_tricks.compat import mx
from gluon_tricks.data.image_file import prepare, short_side
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import convert, onnx_agreement, onnx_graph, onnx_image
from gluon_tricks.exchange.subject import Subject
from gluon_tricks.models import params_file
from gluon_tricks.models.weights import load_params, stored_params
from gluon_tricks.models.zoo import get_model


def write_artefacts(subject: Subject, folder: str) -> Dict[str, Dict[str, Any]]:
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
    def probabilities(picture):
        x = prepare(mx.nd.array(picture, dtype='uint8'), subject.size[0], subject.crop_ratio, subject.mean,
                    subject.std)
        return mx.nd.softmax(subject.net(x)).asnumpy()[0]
    return probabilities


def timm_files(subject: Subject, weights: str, config: str) -> Dict[str, Dict[str, Any]]:
    """Write ``model.safetensors`` and ``config.json`` of a network that timm has; {file: facts}, {} for another.

    The names of timm's arrays, and its network for ours, are `exchange.convert`'s. The file is loaded again, and run.
    """
    try:
        network, arrays = convert.timm_arrays(subject.net, subject.model)
    except UsageError:
        return {}
    convert.save_timm(weights, arrays)
    side = subject.size[0]
    facts = {'architecture': network.architecture, 'num_classes': len(subject.classes), 'model_args': network.options,
             'label_names': subject.classes,
             'pretrained_cfg': {
                 'input_size': [3, side, side], 'fixed_input_size': False, 'num_classes': len(subject.classes),
                 'crop_pct': crop_pct(side, subject.crop_ratio), 'crop_mode': 'center', 'interpolation': 'bilinear',
                 'mean': [value / 255 for value in subject.mean], 'std': [value / 255 for value in subject.std]}}
    with open(config, 'w') as stream:
        stream.write(json.dumps(facts, indent=1) + '\n')
    again = get_model(subject.model, classes=len(subject.classes))
    again.initialize()
    load_params(again, weights)
    compared = _compared(subject, lambda x: onnx_agreement.outputs(again, x)[0])
    return {'model.safetensors': dict(compared, about=f'weights with the names of timm\'s {network.architecture}'),
            'config.json': {'about': 'configuration for timm'}}


def crop_pct(side: int, ratio: float) -> float:
    """The crop_pct by which timm resizes the short side to what `short_side` gives, in floats too.

    timm takes the integer part of side / crop_pct, and here side / ratio is rounded up: 36 and 37 for 32 / 0.875.
    """
    resize = short_side(side, ratio)
    found = side / resize
    return found if int(side / found) == resize else float(np.nextafter(found, 0))
