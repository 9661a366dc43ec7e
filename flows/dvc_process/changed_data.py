"""What DVC tracks and a person has changed without committing it: git, which ignores it, does not tell."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

SITE_VARIABLE = "DVC_SITE_CACHE_DIR"


def changed_data(origin: Path, files: Iterable[str], site: str | None) -> list[str]:
    """List those of these .dvc files whose data lies changed in a user's repository, and is not added.

    As `dvc status` has it, which takes the digests of what nobody has touched from its database. Data that is not
    there at all is not changed: nobody has pulled it.

    site: the folder of that database, as the user's environment has it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with suppress(DvcException):  # a repository that DVC cannot read: it says so to who works there
        with _settings_of_the_user(site):
            repo: Any = Repo(str(origin))
        stages = {file: repo.stage.load_one(str(origin / file)) for file in files if (origin / file).exists()}
        return [file for file, stage in stages.items() if any(map(_is_changed, stage.outs))]
    return []


def _is_changed(output: Any) -> bool:
    return output.exists and bool(output.workspace_status())


@contextmanager
def _settings_of_the_user(site: str | None) -> Iterator[None]:
    """Let DVC open another database here than the clone's, and one that has to be safe on the disk."""
    settings = import_module("diskcache.core").DEFAULT_SETTINGS
    own, fast = os.environ.pop(SITE_VARIABLE), settings["sqlite_synchronous"]
    if site is not None:
        os.environ[SITE_VARIABLE] = site
    settings["sqlite_synchronous"] = 1
    try:
        yield
    finally:
        os.environ[SITE_VARIABLE], settings["sqlite_synchronous"] = own, fast
