"""Errors that a person can cause and mend."""


class LightlineError(Exception):
    """What was wrong, where, what is allowed and what to do next, in sentences.

    The stage runner prints the message alone, without a traceback, and exits with status 1, or with 75 where what was
    wrong may pass by itself, so that the flow tries again.
    """

    may_pass = False


class ModelFileError(LightlineError):
    """A model file is missing, damaged, or not of Lightline's contract."""
