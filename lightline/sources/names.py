"""What names in a source mean: those of splits, classes and hidden files, and those that cannot be used."""

import unicodedata

# How sources spell the splits, in lower case.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SYSTEM_FILES = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


def is_hidden(name: str) -> bool:
    """Whether one part of a path belongs to the system or to a tool, not to the data."""
    return (name.startswith(".") and name not in (".", "..")) or name in _SYSTEM_FILES


def printable(name: str) -> str:
    """A name as valid UTF-8, whatever bytes it holds."""
    return name.encode("utf-8", "backslashreplace").decode()


def class_named(name: str) -> str:
    """The class that a folder or label names: é typed as one character or as two is the same."""
    return unicodedata.normalize("NFC", name)


def unusable_name(name: str) -> str | None:
    """The reason why a relative path cannot be an image's id, or None."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8; rename it"
    return None
