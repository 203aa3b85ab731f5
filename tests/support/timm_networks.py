"""Makes gluon_tricks/models/timm_networks.json.gz: python tests/support/timm_networks.py, where torch and timm are.

Of each network the arrays of timm's state_dict are laid beside those of ours, by the rule of the family, and every shape
is asserted. Nothing is downloaded: no weight is made.
"""
import collections
import gzip
import json
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {'gamma': 'weight', 'beta': 'bias'}

# timm's name: ours. Equal names:
EQUAL = {f'resnet{depth}{letter}': f'resnet{depth}_v1{letter or "b"}' for letter, depths in (
    ('', (18, 34, 50, 101, 152)), ('c', (50, 101, 152)), ('d', (18, 34, 50, 101, 152)), ('s', (50, 101, 152)))
    for depth in depths}
# Equal order. Two must be refused: mobilenetv1_100 has another activation, senet154 another pooling.
ORDER = dict({f'{se}resnext{size}': f'{se and "se_"}resnext{size}' for se in ('', 'se')
              for size in ('50_32x4d', '101_32x4d', '101_64x4d')},
             **{f'densenet{depth}': f'densenet{depth}' for depth in (121, 161, 169, 201)},
             senet154='senet_154', inception_v3='inceptionv3', mobilenetv1_100='mobilenet1.0')
# Equal names, of a network that timm builds with options and has no name for: (architecture, options, ours).
BUILT = {'resnet18d-demo': ('resnet18d', {'layers': [1, 1, 1, 1], 'stem_width': 8, 'channels': [16, 32, 64, 128]},
                            'resnet10_v1d_demo')}


def import_timm():
    """(torch, timm). Raises ImportError where they are not.

    torchvision, which timm imports, does not load beside a torch of another build: a module of its describes its
    operators of detection to torch, which lacks them. That module is left out; nothing here calls them.
    """
    import torch
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]
        sys.modules['torchvision._meta_registrations'] = types.ModuleType('torchvision._meta_registrations')
    import timm
    return torch, timm


def timms(timm, name):
    """timm's network of a name in the list, new."""
    architecture, options, _ = BUILT.get(name, (name, {}, None))
    return timm.create_model(architecture, **options)


def outlined(model, classes=1000):
    """(Gluon network, [(structural name, shape)]) without weights: MXNet infers the shapes from the graph."""
    from gluon_tricks.compat import mx
    from gluon_tricks.models.weights import stored_params
    from gluon_tricks.models.zoo import default_input_size, get_model
    net, side = get_model(model, classes=classes), default_input_size(model)
    graph = net(mx.sym.var('data'))
    shapes, _, states = graph.infer_shape(data=(1, 3, side, side))
    by_name = dict(zip(graph.list_arguments() + graph.list_auxiliary_states(), shapes + states))
    return net, [(name, by_name[param.name]) for name, param in stored_params(net).items()]


def paired(theirs, ours, equal):
    """[(timm's name, ours, shape)] of two lists of (name, shape), by equal names or by order; every shape asserted."""
    def plain(name):
        stem, _, kind = name.rpartition('.')
        return f'{stem}.{PLAIN.get(kind, kind)}'
    if equal:
        by_name = {plain(name): (name, shape) for name, shape in ours}
        assert len(by_name) == len(ours) and set(by_name) == {name for name, _ in theirs}
        ours = [by_name[name] for name, _ in theirs]
    assert len(theirs) == len(ours)
    for (their_name, their_shape), (our_name, our_shape) in zip(theirs, ours):
        assert their_shape == our_shape, (their_name, our_name)
        assert plain(their_name).rpartition('.')[2] == plain(our_name).rpartition('.')[2], (their_name, our_name)
    return [(their_name, our_name, list(shape)) for (their_name, shape), (our_name, _) in zip(theirs, ours)]


def facts_of(torch, timm, name):
    """(what it computes with, as `models.timm.computing` has it, [(name, shape)]) of a network of timm's."""
    from gluon_tricks.models.timm import pooling
    with torch.device('meta'):
        theirs = timms(timm, name)
    arrays = [(each, tuple(value.shape)) for each, value in theirs.state_dict().items()
              if not each.endswith('.num_batches_tracked')]
    activations, epsilons, poolings = collections.Counter(), collections.Counter(), {}
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            epsilons[f'{module.eps:g}'] += 1
        elif isinstance(module, torch.nn.MaxPool2d):
            facts = (module.kernel_size, module.stride, module.padding)
            poolings[pooling(*(each[0] if isinstance(each, tuple) else each for each in facts), module.ceil_mode)] = 1
        elif type(module).__module__.endswith('.activation') or type(module).__name__ in ('Sigmoid', 'ReLU', 'ReLU6'):
            activations[type(module).__name__.lower()] += 1
    return {'activations': dict(activations), 'BatchNorm epsilons': dict(epsilons), 'max poolings': poolings}, arrays


def described(torch, timm, name, model):
    """The facts of a network of timm's, as the file has them."""
    computes, arrays = facts_of(torch, timm, name)
    built = dict(zip(('architecture', 'options'), BUILT.get(name, ())))
    return dict(built, model=model, computes=computes,
                arrays=paired(arrays, outlined(model)[1], name not in ORDER))


Parity = collections.namedtuple('Parity', 'difference activation back_equal')


def randomised(torch, timm, name):
    """A network of timm's in inference, with random weights and statistics that are not those of a new one."""
    torch.manual_seed(0)
    net = timms(timm, name).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


def parity(torch, timm, name, folder):
    """Parity of a network of timm's with ours, which takes its safetensors: largest difference of the logits, over the
    largest logit; the largest activation; whether our file with timm's names has the same bits."""
    import numpy as np
    import safetensors.torch

    from gluon_tricks.compat import mx
    from gluon_tricks.exchange.convert import write_timm
    from gluon_tricks.models import timm as listed
    from gluon_tricks.models import zoo
    from gluon_tricks.models.weights import load_params
    model, largest = listed.networks()[name].model, []
    theirs, ours = randomised(torch, timm, name), zoo.get_model(model)
    path, back = str(folder / 'theirs.safetensors'), str(folder / 'back.safetensors')
    safetensors.torch.save_file(theirs.state_dict(), path)
    load_params(ours, path)
    for module in theirs.modules():
        if type(module).__name__ == 'ReLU':
            module.register_forward_hook(lambda module, given, out: largest.append(float(out.max())))
    side = zoo.default_input_size(model)
    x = np.random.RandomState(0).normal(0, 20, (2, 3, side, side)).astype('float32')
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x)).numpy()
    found = ours(mx.nd.array(x)).asnumpy()
    write_timm(ours, model, back)
    saved = {each: value for each, value in safetensors.torch.load_file(path).items()
             if not each.endswith('.num_batches_tracked')}
    again = safetensors.torch.load_file(back)
    equal = saved.keys() == again.keys() and all(torch.equal(saved[each], again[each]) for each in saved)
    return Parity(abs(found - wanted).max() / abs(wanted).max(), max(largest), equal)


def main():
    torch, timm = import_timm()
    sys.path.insert(0, str(ROOT))
    models = dict(EQUAL, **ORDER, **{name: model for name, (_, _, model) in BUILT.items()})
    facts = {name: described(torch, timm, name, model) for name, model in models.items()}
    from gluon_tricks.models import timm as listed
    text = ',\n'.join(f'{json.dumps(name)}: {json.dumps(each, separators=(",", ":"))}' for name, each in facts.items())
    with open(listed._LIST, 'wb') as stream:
        stream.write(gzip.compress(f'{{\n{text}\n}}\n'.encode(), mtime=0))
    print(f'timm {timm.__version__}: {len(facts)} networks, {sum(len(each["arrays"]) for each in facts.values())} arrays')


if __name__ == '__main__':
    main()
