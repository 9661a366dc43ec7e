"""Where a path of the parameters leads: into the copy of the repository that is worked in, or to what the user has."""

import os
from pathlib import Path

from lightline.errors import DataError
from lightline.runtime.origin import origin
from lightline.runtime.tracked import explain_absence, in_this_copy, tracked_around


def find_source(path: str, key: str = "data.path") -> Path:
    """Find what a path of the parameters, absolute or relative to the user's repository, stands for.

    key: of the parameter.

    In a copy of the repository it is the copy's own where the commit has it, in git or by a .dvc file: a run trains on
    what it records. What the commit does not have lies where the user put it.

    Raises:
        DataError: DVC tracks it, and has not brought it here.
    """
    given = Path(path).expanduser()
    here = in_this_copy(origin() / given)
    if here is None:
        return origin() / given
    tracked = tracked_around(here)
    for each in tracked:
        if not os.path.lexists(each.path):
            raise DataError(f"{key} = {path!r}: {explain_absence(each)}")
    if origin() == Path.cwd():
        return given
    return here if tracked or _holds_files(here) else origin() / given


def find_file(path: str, key: str) -> Path:
    """Find the file that a parameter stands for; key: of the parameter, as in model.weights.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    found = find_source(path, key)
    if not found.is_file() or not os.access(found, os.R_OK):
        there = found.absolute()
        raise DataError(f"{key} = {path!r} is no file that can be read; it would have to lie at {there}.")
    return found


def _holds_files(path: Path) -> bool:
    # Git may track no more of a folder than a .gitkeep.
    return path.is_file() or any(file.is_file() for file in path.rglob("[!.]*"))
