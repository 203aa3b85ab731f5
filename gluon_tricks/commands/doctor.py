"""``python -m gluon_tricks doctor``: What would go wrong, before it does: the environment, and a run's data, time and
memory."""
import argparse
import importlib
import json
from typing import Any, Dict, List, Optional, Sequence, Tuple

from gluon_tricks.config import classification, options, recipes, recipes_transfer
from gluon_tricks.doctor import machine
from gluon_tricks.doctor.examine import Answer, examine
from gluon_tricks.doctor.findings import FAILS, NOTE, Finding
from gluon_tricks.errors import Parser, UsageError
from gluon_tricks.noise import quiet

SECONDS = 20.0


def parser(config_class: type) -> Parser:
    """Of the doctor's own flags and those of a configuration."""
    result = Parser(prog='python -m gluon_tricks doctor', description=__doc__.split('``: ')[1],
                    usage='%(prog)s [RECIPE] [options] [flags of train_imagenet.py]')
    own = result.add_argument_group('the doctor')
    own.add_argument('--recipe', metavar='NAME', help='the same as RECIPE: a row of `python -m gluon_tricks recipes`')
    own.add_argument('--json', action='store_true', help='print findings and figures as JSON')
    own.add_argument('--seconds', type=float, default=SECONDS, metavar='X', help='of the trial that measures speed and '
                     f'memory, about (0: none; default: {SECONDS:g})')
    own.add_argument('--published', metavar='NAME', help='the known-answer test of a published network on the '
                     'validation records, a sample of 2000')
    own.add_argument('--gpu-selftest', metavar='OUT.json', help='instead: test what the GPUs compute, in some ten '
                     'minutes; one file to send back (docs/gpu.md); --devices alone goes with it')
    own.add_argument('--params', dest='published_params', metavar='FILE', help='its weights')
    if config_class is classification.TrainConfig:
        own.add_argument('--workers', type=int, metavar='N', help='how many workers train (default: as the launcher '
                         'says)')
        result.groups = options.add_arguments(result, config_class)
        classification.add_batch_norm(result)
    else:
        options.add_arguments(result, config_class)
        # --workers is of classification alone, the others are flags of train_fcn.py
        result.set_defaults(**dict.fromkeys(('workers', 'eval', 'predict', 'params', 'multi_scale', 'out')))
    return result


@quiet()
def main(argv: Sequence[str]) -> int:
    """Print the findings; returns 1 where the run would fail, else 0."""
    named, words = _recipe(list(argv))
    arguments, config = _read(words, named)
    if arguments.gpu_selftest is not None:
        return _selftest(arguments, named, config)
    answer = examine(machine.HERE, config, arguments.seconds, arguments.workers)
    found = list(answer.findings)
    known = _known_answer(arguments, answer) if arguments.published and not answer.fails else None
    if known:
        found.append(known[0])
    answer = answer._replace(findings=found)
    print(json.dumps(as_dict(answer, known and known[1]), indent=1) if arguments.json else text(answer))
    return 1 if answer.fails else 0


def _recipe(words: List[str]) -> Tuple[Optional[str], List[str]]:
    """(RECIPE, None without one; the other words): the first word that is neither a flag nor a flag's value."""
    kinds = (classification.TrainConfig, *{type(row.config) for row in recipes_transfer.RECIPES.values()})
    valued = {flag for kind in kinds for action in parser(kind)._actions if action.nargs is None
              for flag in action.option_strings}
    for place, word in enumerate(words):
        if not word.startswith('-') and (not place or words[place - 1] not in valued):
            return word, words[:place] + words[place + 1:]
    return None, words


def _selftest(arguments, named, config):
    """Run the self-test; returns its exit code. Raises UsageError for what does not go with it."""
    from gluon_tricks.doctor.selftest import selftest
    typed = set(options.typed_options(classification.TrainConfig, arguments)) - {'devices'}
    if named or typed or arguments.json or arguments.published or arguments.workers:
        raise UsageError('--gpu-selftest tests the machine, not a run: give it alone, or with --devices')
    if config is not None:
        from gluon_tricks.distributed.devices import find_devices
        find_devices(config.devices)
    return selftest(arguments.gpu_selftest, config.devices if config is not None else '')


def _read(words: List[str], named: Optional[str]) -> Tuple[argparse.Namespace, Any]:
    """(arguments, the configuration that they name, None without one). Raises UsageError."""
    for place, word in enumerate(words):
        if word == '--recipe' and place + 1 < len(words) or word.startswith('--recipe='):
            if named:
                raise UsageError(f'{named} and {word} both name a recipe: give one of them')
            named = word.partition('=')[2] or words[place + 1]
    kind: Any = classification.TrainConfig
    if named in recipes_transfer.RECIPES:
        kind = type(recipes_transfer.RECIPES[named].config)
    arguments = parser(kind).parse_args(words)
    base = None
    if named:
        base = recipes.get(named).config if kind is classification.TrainConfig else recipes_transfer.get(named, kind)
    if not 0 <= arguments.seconds <= 3600:
        raise UsageError(f'--seconds {arguments.seconds:g} must be 0 to 3600')
    if arguments.workers is not None and not 1 <= arguments.workers <= 1024:
        raise UsageError(f'--workers {arguments.workers} must be 1 to 1024')
    if bool(arguments.published) != bool(arguments.published_params):
        raise UsageError('--published NAME and --params FILE go together: give both')
    typed = set(options.typed_options(kind, arguments)) | (set(vars(arguments)) & {'batch_norm'})
    if not named and not typed and not arguments.workers:
        if arguments.published:
            raise UsageError('--published needs the validation records: give --rec-val FILE, or --data-dir DIR')
        return arguments, None
    module = importlib.import_module(f'gluon_tricks.config.{kind.TASK}')
    return arguments, module.from_namespace(arguments, base)


def _known_answer(arguments, answer):
    """(finding, result) of the known-answer test on the run's validation records."""
    from gluon_tricks.commands import evaluate, known_answer
    config = answer.config
    if config.TASK != 'classification':
        raise UsageError('--published is for a classification run: drop it')
    words = ['--published', arguments.published, '--params', arguments.published_params, '--rec-val', config.rec_val,
             '--rec-val-idx', config.rec_val_idx, '--quick', '2000', '-j', str(config.decode_threads)]
    words += ['--devices', config.devices] if config.devices else ['--num-gpus', str(config.num_gpus)]
    given = evaluate.parser().parse_args(words)
    given.params = given.params_flag
    try:
        result = known_answer.answer(given)
    except UsageError as error:
        return Finding(FAILS, 'known answer', str(error)), None
    said = '{published}: top-1 {top1:.2f} % of {num_images} images, {expected} % expected: {verdict}'.format(**result)
    if result['verdict'] == 'as expected':
        return Finding(NOTE, 'known answer', said), result
    why = f'; {result["cause"]}; {result["remedy"]}' if result['cause'] else \
        '; `python -m gluon_tricks evaluate --published` with the same files tells more'
    return Finding(FAILS, 'known answer', said + why), result


def as_dict(answer: Answer, known: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """As JSON has it."""
    return {'healthy': answer.healthy, 'fails': answer.fails, 'checks': list(answer.checks),
            'findings': [vars(finding) for finding in answer.findings], 'estimates': answer.figures,
            'known_answer': known}


def text(answer: Answer) -> str:
    """Findings, figures, and one line of the whole."""
    found = [finding.line() for finding in answer.findings]
    if answer.figures:
        from gluon_tricks.doctor import estimates
        found += estimates.lines(answer.figures, answer.config)
    if answer.fails:
        return '\n'.join(found + ['the run would fail' if answer.config is not None else 'a run would fail'])
    if answer.healthy:
        return '\n'.join(found + [f'healthy: nothing was found by {len(answer.checks)} checks: '
                                  f'{", ".join(answer.checks)}'])
    return '\n'.join(found + ['the run would work'])
