"""Files of an experiment, without applying it: from git, and from DVC's cache or remote."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightline.errors import DataError, LightlineError
from lightline.redaction import redacted

WORKSPACE = "workspace"


@contextmanager
def reading(experiment: str) -> Iterator[None]:
    """Have whatever goes wrong in reading what an experiment has told as one error.

    Raises:
        DataError: there is no such experiment, or what it has does not lie here or cannot be read.
    """
    try:
        yield
    except LightlineError:
        raise
    except Exception as error:  # DVC, git and remotes fail in as many ways as they are
        reason = redacted(str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{experiment!r} has no results that can be read here ({reason}); `dvc exp show` lists experiments, and "
            "`dvc exp pull` brings what lies on a remote."
        ) from error


def read_file(experiment: str, path: str, repo: Path | None = None) -> bytes:
    """Read a file as an experiment or a commit has it; `workspace`: as it lies here.

    repo: where DVC's project is; None: here.

    Raises:
        DataError: see `reading`.
    """
    with reading(experiment):
        if experiment == WORKSPACE:
            return Path(path).read_bytes()
        import dvc.api

        with dvc.api.open(path, repo=str(repo) if repo else None, rev=experiment, mode="rb") as file:
            return file.read()
