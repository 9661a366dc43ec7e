"""Errors told apart by what helps."""

import pytest

from flows.errors import Fault, RequestError, StageError, UnavailableError, describe, is_temporary, redacted
from lightline.errors import LightlineError, ParameterError


def _from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def _reproduction_error(stage: str) -> Exception:
    from dvc.exceptions import ReproductionError

    return ReproductionError(f"failed to reproduce '{stage}'")


def _stage_error(status: int) -> Exception:
    from dvc.stage.exceptions import StageCmdFailedError

    return _from(_reproduction_error("train"), StageCmdFailedError("python -m stages.train", status))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ParameterError("wrong"), "mistake"),
        (_stage_error(1), "stage"),
        (_stage_error(-9), "stage"),
        (_stage_error(75), "unavailable"),
        (_from(RuntimeError("fetch"), ConnectionResetError("reset")), "unavailable"),
        (_from(RuntimeError("fetch"), TimeoutError()), "unavailable"),
        (_from(_reproduction_error("split"), FileNotFoundError(2, "No such file or directory", "x")), "unavailable"),
        (_from(_reproduction_error("split"), ValueError("x")), "mistake"),
        (FileNotFoundError(2, "No such file or directory", "x"), "bug"),
        (KeyError("x"), "bug"),
    ],
)
def test_kinds(error, kind):
    assert describe(error).kind == kind


def test_a_lock_passes_by_itself():
    from dvc.lock import LockError

    assert describe(LockError("busy")).kind == "unavailable"


def test_kinds_become_errors_again():
    kinds = {"mistake": RequestError, "unavailable": UnavailableError, "stage": StageError, "bug": LightlineError}
    for kind, error in kinds.items():
        assert type(Fault(kind, "what happened").error()) is error


@pytest.mark.parametrize(
    ("message", "temporary"),
    [
        ("fatal: unable to access 'https://x/': Could not resolve host: x", True),
        ("fatal: unable to access 'https://x/': Failed to connect to x port 443", True),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 503", True),
        ("error: cannot lock ref 'refs/exps/1'", True),
        ("fatal: repository 'https://x/' not found", False),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 403", False),
    ],
)
def test_what_git_says(message, temporary):
    assert is_temporary(message) == temporary


def test_passwords_are_left_out():
    assert redacted("cannot reach https://me:secret@host/x.git") == "cannot reach https://host/x.git"
    assert "secret" not in describe(OSError("https://me:secret@host/x.git")).message
