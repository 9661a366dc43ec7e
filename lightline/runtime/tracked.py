"""Source data that DVC tracks: what the .dvc files of a repository say, read without DVC, which is slow to load."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightline.runtime.commits import git
from lightline.runtime.origin import origin


class Tracked(NamedTuple):
    """A file or folder that DVC tracks, and the .dvc file that says so; both absolute."""

    path: Path
    by: Path


def in_this_copy(path: Path) -> Path | None:
    """Find a path of the user's repository in the copy that is worked in, absolute; None for one outside of it."""
    root = _repository()
    for meant in (Path(os.path.normpath(path)), path.parent.resolve() / path.name):  # as it is written, or behind links
        here = Path(os.path.normpath(Path.cwd() / os.path.relpath(meant, origin())))
        if here.is_relative_to(root):
            return here
    return None


def tracked_data(source: Mapping[str, Any]) -> dict[str, list[Tracked]]:
    """Find what DVC tracks of the source that a section `data` of params.yaml describes.

    Returns by .dvc file, relative to the working directory, what the source cannot do without.
    """
    path = str(source.get("path") or "")
    here = in_this_copy(origin() / Path(path).expanduser()) if path and "://" not in path else None
    if here is None:
        return {}
    needed = tracked_around(here)
    # A table may name images of any folder.
    found = tracked_around(Path.cwd()) if source.get("source") == "table" else needed
    files = dict.fromkeys(each.by for each in found if each.by.is_relative_to(Path.cwd()))
    return {os.path.relpath(file): [each for each in needed if each.by == file] for file in files}


def tracked_around(place: Path) -> list[Tracked]:
    """Find what DVC tracks of an absolute path: itself, a folder that it lies in, or what lies below it.

    The .dvc files are those that git knows, since others are no part of a commit.
    """
    root = _repository()
    listed = (git("ls-files", "-z", "--full-name", "--", ":(top)*.dvc") or "").split("\0")
    found = (each for name in listed if name for each in _outs(root / name))
    return [each for each in found if place.is_relative_to(each.path) or each.path.is_relative_to(place)]


def explain_absence(each: Tracked) -> str:
    """Say that something is not here which DVC tracks, and how to get it."""
    path, by = (os.path.relpath(one) for one in each)
    return (
        f"{path} is tracked by DVC ({by}), and what this commit has of it is not here. `dvc pull {by}` brings it, "
        "after `dvc push` where it was added; `dvc exp run --temp` and `--queue` bring it where they name no stage."
    )


def _repository() -> Path:
    """Find the root of the git repository around the working directory, absolute; without one, that directory."""
    return Path(git("rev-parse", "--show-toplevel") or Path.cwd())


def _outs(file: Path) -> list[Tracked]:
    try:
        content = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
        folder = file.parent / content.get("wdir", ".")
        return [Tracked(Path(os.path.normpath(folder / out["path"])), file) for out in content["outs"]]
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return []  # DVC itself says what is wrong with it
