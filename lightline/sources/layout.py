"""Class folders, with or without train/, val/ and test/ above them: what a path says about an image."""

from collections.abc import Iterable
from dataclasses import dataclass

from lightline.errors import DataError
from lightline.sources.base import EmptyClass
from lightline.sources.names import SPLIT_NAMES, class_named, unusable_name

_SHOWN = 5  # folders named in a message


@dataclass(frozen=True)
class Place:
    """What a path says. id: the path below the class folders' parent, the same for a folder and an archive of it."""

    id: str
    class_name: str
    split: str | None


@dataclass(frozen=True)
class Layout:
    """Where the class folders are. prefix: of all paths, dropped from ids; empty or ending in a slash."""

    prefix: str
    has_splits: bool

    def place(self, path: str) -> Place | None:
        """None where the path lies in no class folder."""
        path = path.removeprefix(self.prefix)
        parts = path.split("/", 2 if self.has_splits else 1)
        if self.has_splits:
            split = SPLIT_NAMES.get(parts[0].lower())
            return Place(path, class_named(parts[1]), split) if split and len(parts) == 3 else None
        return Place(path, class_named(parts[0]), None) if len(parts) == 2 else None

    def empty_classes(self, folders: Iterable[str], filled: Iterable[str]) -> list[EmptyClass]:
        """The classes that some of the folders stand for and none of those that hold files."""
        names = self._classes(folders) - self._classes(filled)
        return [EmptyClass(name) for name in sorted(names) if unusable_name(name) is None]

    def _classes(self, folders: Iterable[str]) -> set[str]:
        return {place.class_name for folder in folders if folder and (place := self.place(f"{folder}/"))}

    def outside(self) -> str:
        """The reason for a path that has no place."""
        return "lies in no class folder" + (" below train, val or test" if self.has_splits else "")


def find_layout(folders: Iterable[str], where: str, unwrap: bool) -> Layout:
    """The layout of the folders that hold files, given by their relative paths ("" for the top).

    where: names the source in messages.
    unwrap: whether a single folder around everything is dropped, as archives often have one.

    Raises:
        DataError: there are no class folders, only one class, or splits beside other folders.
    """
    paths = {folder for folder in folders if folder}
    if not paths:
        raise DataError(f"{where} has no class folders; it must hold a folder for each class, with its images inside.")
    prefix = ""
    tops = _tops(paths)
    while unwrap and len(tops) == 1 and not _are_splits(tops):
        inner = {path.partition("/")[2] for path in paths} - {""}
        if not inner:
            break
        prefix += f"{tops.pop()}/"
        paths, tops = inner, _tops(inner)
    has_splits = _are_splits(tops)
    classes = {path.split("/")[1] for path in paths if "/" in path} if has_splits else tops
    _check_classes(classes, tops, where)
    return Layout(prefix, has_splits)


def _tops(paths: set[str]) -> set[str]:
    return {path.partition("/")[0] for path in paths}


def _are_splits(tops: set[str]) -> bool:
    return all(top.lower() in SPLIT_NAMES for top in tops)


def _check_classes(classes: set[str], tops: set[str], where: str) -> None:
    splits = sorted(top for top in tops if top.lower() in SPLIT_NAMES)
    if 0 < len(splits) < len(tops):
        others = sorted(tops - set(splits))
        raise DataError(
            f"{where} holds {_listed(splits)} beside {_listed(others)}. Either every folder at the top is one of "
            "train, val and test, or each is a class."
        )
    if not classes:
        raise DataError(f"{where} has no class folders below {_listed(sorted(tops))}; images lie there directly.")
    if len(classes) == 1:
        raise DataError(
            f"{where} holds only one class, {_listed(sorted(classes))}; a classifier needs at least two. Where that "
            "folder holds the class folders, data.path should lead to it."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{name}/" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
