"""The console of a program: what the library logs is printed."""
import contextlib
import logging
import sys
from typing import Iterator

from tqdm import tqdm


class _Console(logging.Handler):
    """Prints each message as it is, above a progress bar. A console that is gone is told to who logs, as OSError."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if sys.stdout is not None and sys.stderr is not None and sys.stderr.isatty():
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()
        else:
            print(text, flush=True)


@contextlib.contextmanager
def console() -> Iterator[None]:
    """While it is entered, the messages of the logger ``gluon_tricks`` are printed to stdout, and go nowhere else."""
    logger, handler = logging.getLogger('gluon_tricks'), _Console()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a library that sets up the root logger would have each line printed twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
