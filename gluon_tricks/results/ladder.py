"""The runs that a table needs: a row and a seed each, shared by the rows that are the same training."""
import dataclasses
import os
import sys
from typing import List, Optional, Sequence, Tuple

from gluon_tricks.config.classification import TrainConfig
from gluon_tricks.config.recipes import Recipe, get
from gluon_tricks.config.scales import Scale, names_of_runs, teacher_of
from gluon_tricks.errors import UsageError
from gluon_tricks.results.jobs import Job
from gluon_tricks.results.records import Record, records
from gluon_tricks.tasks.rows import rows_of


@dataclasses.dataclass(frozen=True)
class Run:
    """A training. name: of the recipe that gives its SAVE_DIR the name; rows: those of the table that it is, () for a
    teacher; config: with its seed and SAVE_DIR; scale: of the row; teacher: SAVE_DIR of the run whose weights it takes,
    '' without."""

    name: str
    rows: Tuple[str, ...]
    config: TrainConfig
    scale: Scale
    teacher: str = ''

    @property
    def label(self) -> str:
        return f'{self.name}, seed {self.config.seed}'

    def job(self, threads: int) -> Job:
        """The run as a process of this many threads, that resumes where one before it was killed."""
        config = self.config.replace(resume='auto', decode_threads=threads)
        return Job(self.label, config.save_dir, (sys.executable, '-m', 'gluon_tricks', 'train', *config.arguments()),
                   config.num_epochs, self.teacher)


def runs_of(rows: Sequence[Recipe], scale: Scale, seeds: int, out: str, gpus: int = 0) -> List[Run]:
    """The runs of rows at a scale with the seeds 0 to seeds - 1, each once: teachers first, then seed by seed.

    out: the directory that holds their SAVE_DIRs; gpus: that share the total batch size, 0 for the CPU. A teacher is
    one network for all seeds of its students, as in the paper: that of seed 0. Raises UsageError for a batch size that
    the GPUs cannot share.
    """
    names, found = names_of_runs(scale), {}
    ours = [row for row in rows if row.name in names]
    for row in ours:
        teacher = teacher_of(row.config)
        if teacher:
            found.setdefault((names[teacher], 0), (get(teacher), []))
    for seed in range(seeds):
        for row in ours:
            found.setdefault((names[row.name], seed), (row, []))[1].append(row.name)
    return [_run(name, row, tuple(same), scale, seed, out, gpus, names)
            for (name, seed), (row, same) in found.items()]


def _run(name, row, rows, scale, seed, out, gpus, names):
    config = _shared(scale.config(row), gpus) if scale.config(row).num_gpus is None else scale.config(row)
    teacher = _folder(out, names[teacher_of(row.config)], 0) if config.teacher else ''
    changes = dict(seed=seed, save_dir=_folder(out, name, seed))
    if teacher:  # from wherever the ladder is typed: a resumed run may not change it
        changes['teacher_params'] = os.path.abspath(os.path.join(teacher, 'best', 'net.params'))
    return Run(name, rows, config.replace(**changes), scale, teacher)


def _folder(out, name, seed):
    return os.path.join(out, f'{name.replace("/", "-")}-seed{seed}')


def _shared(config, gpus):
    """The configuration of one device on this many GPUs."""
    if config.batch_size % max(1, gpus):
        raise UsageError(f'{config.batch_size} images of an update cannot be shared by {gpus} GPUs: choose them by '
                         'CUDA_VISIBLE_DEVICES, or give another --batch-size')
    return config.replace(num_gpus=gpus, batch_size=config.batch_size // max(1, gpus))


def finished(run: Run) -> Optional[Record]:
    """The Record of a run that is finished, None before that.

    Raises UsageError where its SAVE_DIR holds a finished run that is not this one.
    """
    found, _ = records([run.config.save_dir])
    if not found:
        return None
    record, row = found[0], get(run.name)
    rows = rows_of(record.config, len(record.devices) * record.workers, run.scale)
    if row not in rows or record.config.seed != run.config.seed:
        raise UsageError(f'{run.config.save_dir} holds another run than {run.label} at this scale: give another --out')
    return record
