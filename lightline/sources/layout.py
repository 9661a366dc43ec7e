"""Class folders, with or without train/, val/ and test/ above them: what a path says about an image."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lightline.errors import DataError, some, some_lines
from lightline.sources.base import EmptyClass, Refused, Remark
from lightline.sources.names import class_named, printable, splits_named, unusable_name

SplitFolders = Literal["auto", "none"]  # data.split_folders

_SHOWN = 5  # folders, or files that cannot be used, named in a message


@dataclass(frozen=True)
class Place:
    """What a path says. id: the path below the class folders' parent, the same for a folder and an archive of it.

    inside: the folders between the class and the image, empty or ending in a slash.
    """

    id: str
    class_name: str
    split: str | None
    inside: str = ""


@dataclass(frozen=True)
class Layout:
    """Where the class folders are.

    prefix: of all paths, dropped from ids; empty or ending in a slash.
    splits: the split that each folder at the top stands for; empty where they are the classes.
    level: how many folders are above the classes, the prefix aside.
    """

    prefix: str
    splits: Mapping[str, str]
    level: int

    def place(self, path: str) -> Place | None:
        """Tell the place of a path; None where it lies in no class folder."""
        path = path.removeprefix(self.prefix)
        parts = path.split("/")
        split = self.splits.get(parts[0])
        if len(parts) < self.level + 2 or (self.splits and split is None):
            return None
        inside = "".join(f"{part}/" for part in parts[self.level + 1 : -1])
        return Place(path, class_named(parts[self.level]), split, inside)

    def empty_classes(self, folders: Iterable[str], filled: Iterable[str]) -> list[EmptyClass]:
        """List the classes that some of the folders stand for and none of those that hold files."""
        names = set(self._inside(folders)) - set(self._inside(filled))
        return [EmptyClass(name) for name in sorted(names) if unusable_name(name) is None]

    def merged(self, filled: Iterable[str]) -> list[Remark]:
        """Remark on classes that several of the folders that hold files make up, if there are any."""
        several = {name: inside for name, inside in self._inside(filled).items() if len(inside) > 1}
        if not several:
            return []
        found = [f"{name}/ ({_listed(sorted(inside - {''}))})" for name, inside in sorted(several.items())]
        return [
            Remark(
                f"Folders inside of a class folder count as that class: {_listed(found)}. Where they are the classes, "
                "move them to where data.path leads, beside one another."
            )
        ]

    def _inside(self, folders: Iterable[str]) -> dict[str, set[str]]:
        """Map each class to the folders in it, "" for itself."""
        found = defaultdict(set)
        for folder in folders:
            if folder and (place := self.place(f"{folder}/")):
                found[place.class_name].add(place.inside)
        return found

    def outside(self) -> str:
        """Give the reason for refusing a path that has no place."""
        return "lies in no class folder" + (" below train, val or test" if self.splits else "")


def find_layout(
    folders: Iterable[str],
    where: str,
    unwrap: bool,
    split_folders: SplitFolders,
    refused: Sequence[Refused] = (),
) -> Layout:
    """Find the layout of the folders that hold files, given by their relative paths ("" for the top).

    where: names the source in messages.
    unwrap: whether a single folder around everything is dropped, as archives often have one.
    split_folders: whether folders at the top that are called like splits are some.
    refused: what else was there, for the message.

    Raises:
        DataError: there are no class folders, only one class, or splits beside other folders.
    """
    try:
        return _find(folders, where, unwrap, split_folders)
    except DataError as error:
        raise DataError(f"{error}{not_used(refused)}") from None


def not_used(refused: Sequence[Refused]) -> str:
    """Write the end of a message where too little is left: what was there and could not be used, if anything."""
    if not refused:
        return ""
    return f" Not used were:{some_lines([f'{one.id}: {one.reason}' for one in refused], _SHOWN)}"


def _find(folders: Iterable[str], where: str, unwrap: bool, split_folders: SplitFolders) -> Layout:
    paths = {folder for folder in folders if folder}
    if not paths:
        raise DataError(f"{where} has no class folders; it must hold a folder for each class, with its images inside.")
    prefix = ""
    tops, splits = _tops(paths, split_folders)
    while unwrap and len(tops) == 1 and not splits:
        inner = {path.partition("/")[2] for path in paths} - {""}
        if not inner:
            break
        prefix += f"{tops.pop()}/"
        paths, (tops, splits) = inner, _tops(inner, split_folders)
    _check_splits(tops, splits, where)
    level = 1 + _are_wrapped(paths) if splits else 0
    names = {parts[level] for path in paths if len(parts := path.split("/")) > level}
    _check_classes(names, tops, where)
    return Layout(prefix, splits, level)


def _tops(paths: set[str], split_folders: SplitFolders) -> tuple[set[str], dict[str, str]]:
    """Find the folders at the top, and what those of them mean that stand for splits."""
    tops = {path.partition("/")[0] for path in paths}
    return tops, splits_named(tops) if split_folders == "auto" else {}


def _are_wrapped(paths: set[str]) -> bool:
    """Tell whether each split has but one folder with others inside, as in training_set/training_set/cats."""
    seconds = defaultdict(set)
    for first, *rest in (path.split("/", 2) for path in paths):
        seconds[first].update(rest[:1])
    return all(len(names) == 1 for names in seconds.values()) and any(path.count("/") > 1 for path in paths)


def _check_splits(tops: set[str], splits: Mapping[str, str], where: str) -> None:
    if 0 < len(splits) < len(tops):
        others = sorted(tops - set(splits))
        raise DataError(
            f"{where} holds {_listed([f'{name}/' for name in sorted(splits)])} beside "
            f"{_listed([f'{name}/' for name in others])}. Either every folder at the top is one of train, val and "
            "test, or each is a class: then set data.split_folders=none."
        )


def _check_classes(classes: set[str], tops: set[str], where: str) -> None:
    if not classes:
        raise DataError(
            f"{where} has no class folders below {_listed([f'{name}/' for name in sorted(tops)])}; images lie there "
            "directly. Where these are the classes, set data.split_folders=none."
        )
    if len(classes) == 1:
        raise DataError(
            f"{where} holds only one class, {classes.pop()}/; a classifier needs at least two. Where that "
            "folder holds the class folders, data.path should lead to it."
        )


def _listed(names: Sequence[str]) -> str:
    return printable(some(names, _SHOWN))
