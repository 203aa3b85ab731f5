"""The one exception for what a user can put right: a wrong flag, a missing file, a damaged record."""


class UsageError(ValueError):
    """One sentence that gives the flag or file, its value, the rule and the remedy.

    Commands print it after ``error:`` and end with exit code 2; no traceback.
    """
