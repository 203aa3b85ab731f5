"""The one exception for what a user can put right, and the argument parser that raises it."""
import argparse


class UsageError(ValueError):
    """One sentence that gives the flag or file, its value, the rule and the remedy.

    Commands print it after ``error:`` and end with exit code 2; no traceback.
    """


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are UsageErrors, so that every command reports them alike."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        raise UsageError('%s (`%s --help` lists all flags)' % (message, self.prog))
