"""The card's sentences and its YAML."""
import json

import pytest
import yaml

from gluon_tricks.exchange import model_card
from gluon_tricks.tasks.eval_results import figures_of

FACTS = {
    'name': 'mine', 'task': 'classification', 'model': 'resnet50_v1d', 'classes': ['a', 'b: "c"', 'é'], 'version': '1',
    'license': 'apache-2.0', 'artefacts': {'model.onnx': {'about': 'ONNX', 'what': 'of logits', 'difference': 4.2e-7}},
    'input': 'Images.', 'timm': False, 'dataset': 'set: "x"', 'figures': {'top1': 79.15, 'top5': 94.58}, 'num_images': 50000,
    'epoch': 199, 'protocol': 'Short side to 256.', 'command': 'python train_imagenet.py', 'date': '2026-01-02',
    'rows': [{'name': 'table6/x', 'heading': '+ mixup', 'paper': {'top1': 79.15, 'top5': None}}],
    'data': {'val': {'images': 50000, 'sha256': None, 'certificate': 'ab' * 32}}, 'base': 'cd' * 32}


def front_matter(text):
    assert text.startswith('---\n')
    return yaml.safe_load(text.split('---\n')[1])


def test_the_front_matter_is_hugging_face_s():
    facts = front_matter(model_card.readme(FACTS))
    assert (facts['license'], facts['library_name'], facts['pipeline_tag']) == ('apache-2.0', 'mxnet', 'image-classification')
    result = facts['model-index'][0]['results'][0]
    assert result['dataset']['name'] == 'set: "x"' and result['task']['type'] == 'image-classification'
    assert [(each['type'], each['value']) for each in result['metrics']] == [('accuracy', 79.15), ('accuracy', 94.58)]
    assert front_matter(model_card.readme(dict(FACTS, timm=True)))['library_name'] == 'timm'


def test_the_text_has_the_figures_their_protocol_and_the_run():
    text = model_card.readme(FACTS)
    for part in ('79.15', '50000 images', 'Short side to 256.', 'table6/x', 'ab' * 32, 'cd' * 32, '4.2e-07', 'apache-2.0', 'SHA256SUMS'):
        assert part in text
    assert 'sha256 None' not in text


def test_a_bare_file_has_no_figures_and_says_so():
    facts = dict(FACTS, figures={}, command='', rows=[], data={})
    text = model_card.readme(facts)
    assert 'Not measured' in text and 'Not known' in text and 'model-index' not in front_matter(text)
    assert model_card.eval_results(facts) == {}


def test_eval_results_are_entries_of_yaml():
    (name, text), = model_card.eval_results(FACTS).items()
    entries = yaml.safe_load(text)
    assert name == 'classification.yaml' and [each['value'] for each in entries] == [79.15, 94.58]
    assert entries[0]['dataset'] == {'id': 'set: "x"', 'task_id': 'top1'} and entries[0]['date'] == '2026-01-02'
    assert '50000 images' in entries[0]['notes']


@pytest.mark.parametrize('task, metrics', [('classification', {'top1': 1.0, 'top5': 2.0, 'gap_histogram': [1]}),
                                           ('detection', {'map_voc07': 3.0, 'ap': {}}),
                                           ('segmentation', {'pix_acc': 0.5, 'miou': 0.25, 'class_iou': []})])
def test_figures_of_every_task_can_be_written(task, metrics):
    figures = figures_of(task, metrics)
    assert figures == {name: value for name, value in metrics.items() if isinstance(value, float)}
    facts = front_matter(model_card.readme(dict(FACTS, task=task, figures=figures)))
    assert [each['value'] for each in facts['model-index'][0]['results'][0]['metrics']] == list(figures.values())
    assert json.dumps(yaml.safe_load(model_card.eval_results(dict(FACTS, task=task, figures=figures))[f'{task}.yaml']))
