"""The trained networks of the paper and of GluonCV's model zoo: which row each is, its figures, where it lives.

GluonCV's files are called NAME-DIGEST.params, after the first 8 digits of their SHA-1; what they scored and which row
of a table they are, the recipes know by that digest. timm's copies are ``timm/NAME`` on the Hugging Face hub. Its
figures are of results-imagenet.csv of 2025-10-30: 224 pixels (299 of inception_v3), crop 0.875, Pillow's bicubic.
"""
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from gluon_tricks.config.recipes import RECIPES
from gluon_tricks.errors import UsageError

PROTOCOLS = ('opencv', 'timm', 'torchvision')  # how images are prepared; `exchange.protocols` has them
Pair = Tuple[Optional[float], Optional[float]]  # top-1 and top-5 in percent


class Published(NamedTuple):
    """A trained network: its name in timm, or GluonCV's file's where no copy lives; `model` is the network here.

    sha1: the first digits of GluonCV's file; zoo: its figures in GluonCV's model zoo; timm: those of timm's copy; hub:
    its hub id, '' where none lives. rows: the recipes whose run it is. note: what else must be known. taken: whether
    the living copy's safetensors are taken here. filter: of timm's resize.
    """

    name: str
    model: str
    sha1: str
    zoo: Pair
    hub: str = ''
    timm: Pair = (None, None)
    rows: Tuple[str, ...] = ()
    note: str = ''
    taken: bool = True
    filter: str = 'bicubic'

    def figures(self) -> Dict[str, Optional[float]]:
        """{protocol: its top-1, None where none was published}; torchvision's protocol is timm's with its filter."""
        return dict(zip(PROTOCOLS, (self.zoo[0], self.timm[0], self.timm[0] if self.filter == 'bilinear' else None)))

    def expected(self, protocol: str) -> float:
        """The top-1 of a protocol; where none was published, the nearest: the zoo's, else timm's."""
        figures = self.figures()
        return next(figure for figure in (figures[protocol], *figures.values()) if figure is not None)


_BETTER = 'trained with more tricks than Table 5\'s'
_RIVAL = 'the rival of Table 1, trained with the paper\'s tricks'
# timm's name: (ours, digest, the zoo's figures, timm's, note). The recipes have the zoo's where None stands.
_LIVING: Dict[str, Tuple[str, str, Optional[Pair], Pair, str]] = {
    'resnet50d': ('resnet50_v1d', '117a384e', None, (79.080, 94.458),
                  'without distillation; tables 8 and 9 start from it'),
    'inception_v3': ('inceptionv3', 'a5050dbc', None, (78.806, 94.372), 'without distillation'),
    'resnet152d': ('resnet152_v1d', 'cddbc86f', None, (80.476, 95.194), 'the teacher of the distillation rows'),
    'resnet101d': ('resnet101_v1d', '1b2b825f', None, (80.466, 95.034), ''),
    'resnet50c': ('resnet50_v1c', '2a4e0708', None, (78.016, None), _BETTER),
    'resnet101c': ('resnet101_v1c', '064858f2', (79.60, None), (79.542, None), ''),
    'resnet152c': ('resnet152_v1c', '75babab6', (80.01, None), (79.904, None), ''),
    'resnet18': ('resnet18_v1b', '2d9d980c', (70.94, None), (70.844, None), ''),
    'resnet34': ('resnet34_v1b', '8e16b848', (74.65, None), (74.574, None), ''),
    'resnet50': ('resnet50_v1b', '0ecdba34', None, (77.580, None), _BETTER),
    'resnet101': ('resnet101_v1b', 'a455932a', (79.20, None), (79.306, None), ''),
    'resnet152': ('resnet152_v1b', 'a5a61ee1', (79.69, None), (79.712, None), ''),
    'resnet50s': ('resnet50_v1s', '25a187fa', (None, None), (78.710, None), 'GluonCV\'s base for segmentation'),
    'resnet101s': ('resnet101_v1s', 'bd93a83c', (None, None), (80.278, None), 'GluonCV\'s base for segmentation'),
    'resnet152s': ('resnet152_v1s', 'cf74621d', (None, None), (81.048, None), 'GluonCV\'s base for segmentation'),
    'resnext50_32x4d': ('resnext50_32x4d', '4ecf62e2', None, (79.354, None), _RIVAL),
    'resnext101_32x4d': ('resnext101_32x4d', '8654ca5d', (80.37, None), (80.336, None), ''),
    'resnext101_64x4d': ('resnext101_64x4d', '2f0d1c9d', (80.69, None), (80.640, None), ''),
    'seresnext50_32x4d': ('se_resnext50_32x4d', '7906e0e1', None, (79.916, None), _RIVAL),
    'seresnext101_32x4d': ('se_resnext101_32x4d', '688e2389', (80.91, None), (80.886, None), ''),
    'seresnext101_64x4d': ('se_resnext101_64x4d', '11c50114', (81.01, None), (80.884, None), ''),
    'senet154': ('senet_154', 'b5538ef1', (81.26, None), (81.258, None), ''),
}
# Living copies that are not taken here, and why; the file of GluonCV would be.
_REFUSED = {'senet154': 'timm pads its first pooling and GluonCV does not, so timm\'s file is not taken here'}
# GluonCV's files that nobody keeps a copy of; who has one in ~/.mxnet/models may use it.
_GONE = (('resnet50_v1', 'cc729d95', 'trained with more tricks than tables 2 to 5\'s'),
         ('mobilenet1.0', 'efbb2ca3', ''), ('mobilenet1.0', 'cce75496', ''), ('resnet50_v1d', '00319ddc', ''),
         ('inceptionv3', 'e132adf2', ''))
_STAND_IN = Published('resnet50.tv_in1k', 'resnet50_v1b', '', (None, None), 'timm/resnet50.tv_in1k', (76.156, 92.866),
                      ('b_standard',), 'torchvision\'s, a stand-in: 76.14 in the paper, another training; BSD licence',
                      filter='bilinear')


def table() -> List[Published]:
    """All of them: those that live, the stand-in for B-standard, and those of which no copy is known."""
    living = [Published(f'{name}.gluon_in1k', model, sha1, zoo or _zoo(sha1), f'timm/{name}.gluon_in1k', timm,
                        rows_of(sha1), _REFUSED.get(name, note), name not in _REFUSED)
              for name, (model, sha1, zoo, timm, note) in _LIVING.items()]
    return living + [_STAND_IN] + [Published(f'{model}-{sha1}', model, sha1, _zoo(sha1), rows=rows_of(sha1), note=note)
                                   for model, sha1, note in _GONE]


def get(name: str) -> Published:
    """The one called so: timm's name, with or without ``.gluon_in1k``, or a network's here of which only one was
    published. Raises UsageError for another name."""
    found = {each.name: each for each in table()}
    if name in found or f'{name}.gluon_in1k' in found:
        return found.get(name) or found[f'{name}.gluon_in1k']
    of_model = [each for each in found.values() if each.model == name.lower()]
    if len(of_model) == 1:
        return of_model[0]
    if of_model:
        raise UsageError(f'{name} was published {len(of_model)} times: give one of '
                         f'{", ".join(each.name for each in of_model)}')
    raise UsageError(f'{name!r:.80} is not a published network; `python -m gluon_tricks published` lists them: '
                     f'{", ".join(found)}')


def rows_of(sha1: str) -> Tuple[str, ...]:
    """Names of the recipes whose run gave GluonCV's file of this digest, the paper's first."""
    return tuple(sorted((name for name, recipe in RECIPES.items() if recipe.gluoncv.get('hash') == sha1),
                        key=lambda name: name.startswith('gluoncv/')))


def _zoo(sha1: str) -> Any:
    figures = RECIPES[rows_of(sha1)[0]].gluoncv
    return figures['top1'], figures['top5']
