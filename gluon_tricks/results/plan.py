"""What a table would cost, and what it would show: its runs, GPU-hours, disk, and the steps that the seeds can see.

Two rows with n seeds each differ by a step d. The difference of their means has the deviation sigma sqrt(2 / n), where
sigma is that of one row between seeds; a two-sided test at 5 % sees the step with the power

    P = Phi(d / (sigma sqrt(2 / n)) - 1.96) + Phi(-d / (sigma sqrt(2 / n)) - 1.96)

and the seeds are enough where that is 80 % (`verdict.seeds_needed`).
"""
import dataclasses
import math
import statistics
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from gluon_tricks.config.recipes import Recipe, get
from gluon_tricks.config.scales import FULL, Scale, names_of_runs
from gluon_tricks.data.prepare import imagenet
from gluon_tricks.models.names import default_input_size
from gluon_tricks.results.ladder import Run, finished
from gluon_tricks.results.records import Record
from gluon_tricks.results.verdict import DEVIATION, LEVEL, seeds_needed
from gluon_tricks.training.retention import checkpoint_bytes, most_kept

_LADDERS = ('Table 4', 'Table 5', 'Table 6', 'Table 7')  # each row is read against the one above it
GPUS = 8  # the paper's


# ---------------------------------------------------------------------------------------------------------------------
# Steps

@dataclasses.dataclass(frozen=True)
class Step:
    """The paper's top-1 of a row less that of another, both by the names of their recipes, in points."""

    row: str
    than: str
    points: float


def steps_between(rows: Sequence[Recipe]) -> List[Step]:
    """The steps between the rows of one table: each against the row that is printed above it in its column, and against
    the row that it changes, where that is another of the table."""
    known, found = {row.name: row for row in rows}, []
    printed: Dict[str, str] = {}  # the row before, by column
    for row in rows:
        column = row.name.rpartition('/')[0] if row.table in _LADDERS else row.name
        for other in dict.fromkeys([printed.get(column), row.above]):
            if other in known and None not in (row.paper['top1'], known[other].paper['top1']):
                found.append(Step(row.name, other, round(row.paper['top1'] - known[other].paper['top1'], 2)))
        printed[column] = row.name
    return found


def power(points: float, seeds: int, sigma: float = DEVIATION) -> float:
    """The probability that so many seeds of each row see a step of so many points; sigma: of one row between seeds."""
    normal = statistics.NormalDist()
    limit, shift = normal.inv_cdf((1 + LEVEL) / 2), points / (sigma * math.sqrt(2 / seeds))
    return normal.cdf(shift - limit) + normal.cdf(-shift - limit)


# ---------------------------------------------------------------------------------------------------------------------
# Speed

@dataclasses.dataclass(frozen=True)
class Speed:
    """Images a second that one device trains: by (network, precision) where it is known. source: in words, for what
    it stands in place of."""

    known: Dict[Tuple[str, str], float]
    source: str

    def of(self, model: str, dtype: str, macs: Dict[str, int]) -> Tuple[float, bool]:
        """(images a second, whether it is known): else by multiply-adds from a network in the same precision, or, where
        there is none, in another."""
        if (model, dtype) in self.known:
            return self.known[model, dtype], True
        name, precision = next((key for key in self.known if key[1] == dtype), next(iter(self.known)))
        return self.known[name, precision] * macs[name] / macs[model], False


def paper_speed() -> Speed:
    """That of the paper's Table 3, of one of its 8 V100."""
    known = {}
    for row in (get(f'table3/{which}/{model}') for which in ('efficient', 'baseline')
                for model in ('resnet50_v1', 'inceptionv3', 'mobilenet1.0')):
        seconds = 60 * row.paper['minutes_per_epoch'] * row.config.num_gpus
        known[row.config.model, row.config.dtype] = imagenet.COUNTS['train'] / seconds
    return Speed(known, 'the paper\'s Table 3, on 8 V100')


def given_speed(images_per_second: float, gpus: int, row: Recipe) -> Speed:
    """One number for all: that of a row's network and precision on this many GPUs together."""
    return Speed({(row.config.model, row.config.dtype): images_per_second / gpus},
                 f'{images_per_second:g} images/s of {row.config.model} in {row.config.dtype} on {gpus} GPUs, as given')


def measured_speed(records: Iterable[Record]) -> Optional[Speed]:
    """The medians over the epochs of finished classification runs on GPUs; None without one."""
    rates: Dict[Tuple[str, str], List[float]] = {}
    for record in records:
        devices = len(record.devices) * record.workers
        speeds = [event['speed'] for event in record.epochs if isinstance(event.get('speed'), (int, float))]
        if record.task == 'classification' and speeds and record.devices[0].startswith('gpu'):
            rates.setdefault((record.config.model, record.config.dtype), []).append(
                statistics.median(speeds) / devices)
    known = {key: statistics.median(values) for key, values in rates.items()}
    return Speed(known, 'measured, the median over the epochs of the runs given') if known else None


# ---------------------------------------------------------------------------------------------------------------------
# The plan

@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one training: epochs, GPU-hours (None: not known) and whether they come from a known speed alone or were
    reckoned by multiply-adds, bytes of its checkpoints, bytes of each file of weights beside them."""

    epochs: int
    gpu_hours: Optional[float]
    known: bool
    checkpoints: int
    weights: int


class Plan:
    """The runs of a table's rows at a scale.

    rows: of the table; runs: of `ladder.runs_of`; speed: of a GPU, None where hours are not asked for; sigma: of top-1
    between seeds, in points. left_out: rows without a place at this scale; done: {SAVE_DIR: Record} of the runs that
    are finished; seconds: of an epoch of those, None without any.
    """

    def __init__(self, rows: Sequence[Recipe], scale: Scale, seeds: int, runs: Sequence[Run],
                 speed: Optional[Speed] = None, sigma: float = DEVIATION):
        self.rows, self.scale, self.seeds, self.runs = rows, scale, seeds, runs
        self.speed, self.sigma = speed, sigma
        self.names = names_of_runs(scale)
        self.left_out = [row.name for row in rows if row.name not in self.names]
        found = {run.config.save_dir: finished(run) for run in runs}
        self.done = {path: record for path, record in found.items() if record}
        times = [record.seconds / len(record.epochs) for record in self.done.values() if record.epochs]
        self.seconds = statistics.mean(times) if times else None
        self._sizes: Dict[str, Tuple[int, int]] = {}

    def shared(self, run: Run) -> List[str]:
        """The rows of all tables that a run is."""
        return [name for name, first in self.names.items() if first == run.name]

    def cost(self, run: Run) -> Cost:
        """The Cost of one run."""
        config = run.config
        params, _ = self._size(config.model)
        hours, known = None, True
        if self.speed:
            macs = {name: self._size(name)[1] for name in [config.model] + [name for name, _ in self.speed.known]}
            rate, known = self.speed.of(config.model, config.dtype, macs)
            images = config.num_training_samples or imagenet.COUNTS['train']
            hours = images * config.num_epochs / rate / 3600
            if config.teacher:  # its forward pass; backward costs two of them
                hours, known = hours * (1 + self._size(config.teacher)[1] / macs[config.model] / 3), False
        return Cost(config.num_epochs, hours, known, most_kept(config) * checkpoint_bytes(params, config.dtype),
                    4 * params)

    def _size(self, model):
        """(parameters, multiply-adds) of a network at the scale's size of images."""
        from gluon_tricks.models.complexity import complexity
        from gluon_tricks.models.zoo import get_model
        if model not in self._sizes:
            size = dict(self.scale.options).get('input_size') or default_input_size(model)
            self._sizes[model] = complexity(get_model(model, classes=self.scale.classes or 1000), size)
        return self._sizes[model]

    def steps(self) -> List[Dict[str, Any]]:
        """The steps of the paper between the rows: the seeds that each needs, and whether these see it; [] where the
        paper's steps are not those of the data."""
        if self.scale != FULL:
            return []
        found = []
        for step in steps_between(self.rows):
            needed = seeds_needed(step.points, math.sqrt(2) * self.sigma, exact=False)
            found.append(dict(dataclasses.asdict(step), seeds=needed, power=power(step.points, self.seeds, self.sigma),
                              seen=needed is not None and needed <= self.seeds))
        return found
