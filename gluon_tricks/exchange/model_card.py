"""The model card of an exported network: README.md with Hugging Face's front matter, and `.eval_results/`.

What it says comes from the run: recipe, row of the paper, figures with their protocol and number of images, digests of
the data. What is not known is left out or said to be not known. Values of the YAML are JSON, which YAML contains.
"""
import json

from gluon_tricks.tasks import eval_results as results
from gluon_tricks.tasks.eval_results import METRICS

_PIPELINE = {'classification': 'image-classification', 'detection': 'object-detection',
             'segmentation': 'image-segmentation'}


def readme(facts):
    """The text of README.md. facts: see `export.card_facts`."""
    return '\n'.join(['---'] + _front_matter(facts) + ['---', ''] + _body(facts)) + '\n'


def _json(value):
    return json.dumps(value, ensure_ascii=False)


def _front_matter(facts):
    lines = [f'license: {_json(facts["license"])}',
             f'library_name: {_json("timm" if facts["timm"] else "mxnet")}',
             f'pipeline_tag: {_json(_PIPELINE[facts["task"]])}',
             f'tags: {_json([_PIPELINE[facts["task"]], "mxnet", "gluon", "onnx"] + ["timm"] * bool(facts["timm"]))}']
    if not facts['figures']:
        return lines
    metrics = [{'type': METRICS[facts['task']][name][0], 'name': METRICS[facts['task']][name][1], 'value': value}
               for name, value in facts['figures'].items()]
    index = [{'name': facts['name'], 'results': [{
        'task': {'type': _PIPELINE[facts['task']]}, 'dataset': {'name': facts['dataset'], 'type': facts['dataset']},
        'metrics': metrics}]}]
    return lines + [f'metrics: {_json(sorted({each["type"] for each in metrics}))}', f'model-index: {_json(index)}']


def _body(facts):
    lines = [f'# {facts["name"]}', '', _sentence(facts), '', '## Figures', '']
    if facts['figures']:
        lines += ['| metric | value |', '|---|---|']
        lines += [f'| {METRICS[facts["task"]][name][1]} | {value:.6g} |' for name, value in facts['figures'].items()]
        lines += ['', f'Of {facts["num_images"]} images of {facts["dataset"]}, each counted once, after epoch '
                  f'{facts["epoch"]} (counted from 0). {facts["protocol"]}']
    else:
        lines += ['Not measured: the weights came as a file, without their run.']
    lines += ['', '## Training', ''] + _training(facts)
    lines += ['', '## Input', '', facts['input'], '', '## Use', ''] + _use(facts)
    lines += ['', '## Files', '', '| file | what | largest difference to MXNet |',
              '|---|---|---|']
    for name, artefact in facts['artefacts'].items():
        compared = f'{artefact["difference"]:.2g}: {artefact["what"]}' if 'difference' in artefact else '-'
        lines.append(f'| `{name}` | {artefact["about"]} | {compared} |')
    return lines + ['', '`sha256sum -c SHA256SUMS` and `python -m gluon_tricks export --check DIR` find damage.', '',
                    '## Licence', '', f'{facts["license"]}. The code that trained and wrote it is Apache-2.0.']


def _use(facts):
    lines = {'ONNX Runtime': "onnxruntime.InferenceSession('DIR/model.onnx').run(None, {'input': images})",
             'MXNet': "mxnet.gluon.SymbolBlock.imports('DIR/net-symbol.json', ['data'], 'DIR/net.params')"}
    if facts['timm']:
        lines['timm'] = "timm.create_model('local-dir:DIR', pretrained=True).eval()"
    return [f'* {name}, DIR being this folder: `{line}`' for name, line in lines.items()]


def _sentence(facts):
    what = {'classification': 'image classifier', 'detection': 'Faster-RCNN detector',
            'segmentation': 'FCN segmentation network'}[facts['task']]
    return (f'A {facts["model"]} {what} of {len(facts["classes"])} classes, written by gluon_tricks '
            f'{facts["version"]}: *Bag of Tricks for Image Classification with Convolutional Neural Networks* (He et '
            'al., 2018) on MXNet.')


def _training(facts):
    if not facts['command']:
        return ['Not known: the weights came as a file, without their run.']
    lines = []
    if facts['rows']:
        for row in facts['rows']:
            paper = ', '.join(f'{name} {value}' for name, value in row['paper'].items() if value is not None)
            lines.append(f'* Recipe `{row["name"]}`: {row["heading"]}. The paper\'s figures: {paper or "none"}.')
    else:
        lines.append('* Recipe: no row of the paper\'s tables.')
    lines.append(f'* Command: `{facts["command"]}`')
    if facts['base']:
        lines.append(f'* Start: the weights of a file, sha256 {facts["base"]}')
    for part, digests in facts['data'].items():
        lines.append(f'* Data, {part}: ' + ', '.join(f'{name} {value}' for name, value in digests.items()
                                                     if value is not None))
    return lines


def eval_results(facts):
    """{file name: text} of `.eval_results/`, one entry for each figure; {} without figures."""
    return results.yaml(facts['task'], facts['dataset'], facts['figures'], facts['date'],
                        f'of {facts["num_images"]} images. {facts["protocol"]}')
