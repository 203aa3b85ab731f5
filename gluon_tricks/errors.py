"""The one exception for what a user can put right, what a program makes of it, and the argument parser that raises
it."""
import argparse
import sys
from typing import Any, Callable


class UsageError(ValueError):
    """One sentence that gives the flag or file, its value, the rule and the remedy.

    Commands print it after ``error:`` and end with exit code 2; no traceback.

    >>> import gluon_tricks as gt
    >>> try:
    ...     gt.TrainConfig(lr=-1.0)
    ... except gt.UsageError as error:
    ...     print('must be above 0' in str(error))
    True
    """


def exit_code(program: Callable[..., Any], *arguments: Any) -> int:
    """The exit code that program(*arguments) returns, None for 0; 2 after a UsageError, told in its sentence, 130 after
    Ctrl-C, and that of an exception that has an `exit_code`, which was told already.

    A name that the terminal's encoding does not hold, such as a Latin-1 folder's, is printed with escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    try:
        return program(*arguments) or 0
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    except BaseException as error:
        if not hasattr(error, 'exit_code'):
            raise
        return error.exit_code


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are UsageErrors, so that every command reports them alike."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **dict(
            {'formatter_class': lambda prog: argparse.HelpFormatter(prog, max_help_position=30)}, **options))

    def format_help(self) -> str:
        """The help, which begins with one line of usage: what must be given, and [options] for the others."""
        if self.usage is None:
            optional = [action for action in self._actions if action.option_strings and not action.required]
            groups = [action for action in self._actions if action not in optional]
            self.usage = ' '.join(['%(prog)s'] + ['[options]'] * bool(optional) + [
                ' '.join(list(action.option_strings[-1:]) + [self._get_formatter()._format_args(
                    action, action.dest.upper() if action.option_strings else action.dest)]) for action in groups])
        return super().format_help()

    def error(self, message):
        raise UsageError(f'{message} (`{self.prog} --help` lists all flags)')
