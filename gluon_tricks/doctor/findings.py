"""A finding: one line with a fact, the rule that it is held against, and the remedy. Standard library only."""
import dataclasses
from typing import Any, Callable, List

from gluon_tricks.errors import UsageError

FAILS, WARNING, NOTE = 'fails', 'warning', 'note'


@dataclasses.dataclass(frozen=True)
class Finding:
    """level: 'fails' (the run would), 'warning' (it would run, but not well, or not as meant), 'note' (it is taken care
    of). check: which one found it, such as 'gpus'. text: fact, rule and remedy, one line."""

    level: str
    check: str
    text: str

    def line(self) -> str:
        """As it is printed."""
        return f'{self.level}: {self.text}'


def told(check: str, function: Callable[..., Any], *arguments: Any) -> List[Finding]:
    """The UsageError that a call ends with, as a finding of the level 'fails'; [] where it returns."""
    try:
        function(*arguments)
    except UsageError as error:
        return [Finding(FAILS, check, str(error))]
    return []
