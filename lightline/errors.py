"""Errors that a person can cause and mend; every other exception is a bug and keeps its traceback."""


class LightlineError(Exception):
    """What was wrong, where, what is allowed and what to do next, in sentences.

    The stage runner prints the message alone, without a traceback, and exits with status 1, or with 75 where what was
    wrong may pass by itself, so that the flow tries again.
    """

    may_pass = False


class ParameterError(LightlineError):
    """params.yaml holds a key, a type or a value that is not allowed."""


class DataError(LightlineError):
    """The source data cannot be used as they are."""
