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
import json
import os
import shutil
from typing import Any, Dict, Optional

from gluon_tricks import __version__
from gluon_tricks.compat import environment
from gluon_tricks.errors import UsageError
from gluon_tricks.exchange import model_card, onnx_graph
from gluon_tricks.exchange.artefacts import write_artefacts
from gluon_tricks.exchange.sha256sums import SUMS, files_of, sums
from gluon_tricks.exchange.subject import Subject
from gluon_tricks.files import remedy_for, sync, unwritable
from gluon_tricks.models import safetensors_file, timm
from gluon_tricks.tasks.eval_results import figures_of
from gluon_tricks.tasks.rows import rows_of


def export(subject: Subject, out: str, license: str = 'apache-2.0', dataset: Optional[str] = None) -> Dict[str, Any]:
    """Write the folder OUT of a Subject, whole or not at all; returns what export.json holds.

    license: of the weights, as Hugging Face names it; dataset: the name of the images that the figures are of. Every
    artefact is run beside MXNet. Raises UsageError without the extra ``onnx`` (of a network that timm has,
    ``interchange`` too), for a folder that is there, one that cannot be written, and a network that an artefact does
    not give again.
    """
    out = os.path.normpath(os.path.expanduser(out))
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise UsageError(f'{out} is there already: give a folder that is new or empty')
    onnx_graph.require('onnx', 'onnxruntime')
    if subject.task == 'classification' and subject.model in {each.model for each in timm.networks().values()}:
        safetensors_file.package(os.path.join(out, 'model.safetensors'))
    parent, name = os.path.split(os.path.abspath(out))
    partial = os.path.join(parent, f'.partial-{name}-{os.getpid()}')
    try:
        os.mkdir(partial)
        artefacts = write_artefacts(subject, partial)
        facts = card_facts(subject, name, artefacts, license, dataset)
        stored = {'gluon_tricks': __version__, 'task': subject.task, 'model': subject.model,
                  'classes': subject.classes, 'environment': environment(), 'artefacts': artefacts}
        texts = {'README.md': model_card.readme(facts), 'export.json': json.dumps(stored, indent=1) + '\n'}
        texts.update({f'.eval_results/{file}': text for file, text in model_card.eval_results(facts).items()})
        for file, text in texts.items():
            _write(os.path.join(partial, file), text)
        _write(os.path.join(partial, SUMS), sums(partial))
        for file in files_of(partial):
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


def card_facts(subject: Subject, name: str, artefacts: Dict[str, Any], license: str,
               dataset: Optional[str]) -> Dict[str, Any]:
    """The facts of the model card, from the subject and its run."""
    run, config = subject.run, subject.config
    facts = {'name': name, 'task': subject.task, 'model': subject.model, 'classes': subject.classes,
             'version': __version__, 'license': license, 'artefacts': artefacts, 'input': subject.input,
             'timm': 'model.safetensors' in artefacts, 'dataset': dataset or '', 'figures': {}, 'num_images': 0,
             'epoch': None, 'protocol': subject.figures_by, 'command': '', 'rows': [], 'data': {}, 'base': '',
             'date': ''}
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
                base=_table(run.manifest.get('base')).get('sha256', ''),
                date=str(record.get('started', ''))[:10],
                rows=[row.to_dict() for row in rows_of(config, devices)])


def _table(value):
    """A dict that a manifest or run.json should hold, {} for anything else."""
    return value if isinstance(value, dict) else {}
