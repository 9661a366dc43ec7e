"""What names in a source mean: those of splits, classes and hidden files, and those that cannot be used."""

import re
import unicodedata
from collections.abc import Iterable

# How sources spell the splits, in lower case and without what stands between words.
_TRAIN = frozenset({"train", "training", "trn"})
_VAL = frozenset({"val", "valid", "validate", "validation", "dev", "development"})
_TEST = frozenset({"test", "testing", "tst", "holdout"})
_EVALUATION = frozenset({"eval", "evaluation"})  # test, or val where something else is called test
_WHAT_IT_IS_OF = re.compile(r"(?:data)?(?:set|data|images?|imgs?|photos?|pictures?|samples?|split|folder)$")

# What systems and tools leave among images, in lower case; names that begin with a dot are hidden anyway.
_SYSTEM_FILES = frozenset(
    {
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb"),  # network storage
        *("lost+found", "picasa.ini", "zbthumbnail.info", "photothumb.db", "__pycache__"),
    }
)
# Windows' notes of where a file came from, as other systems see them; DVC's of what lies beside them.
_SYSTEM_ENDINGS = (":zone.identifier", ":encryptable", ".dvc")


def is_hidden(name: str) -> bool:
    """Tell whether one part of a path belongs to the system or to a tool, not to the data."""
    if name.startswith("."):
        return name not in (".", "..")
    lower = name.lower()
    return lower in _SYSTEM_FILES or lower.endswith(_SYSTEM_ENDINGS)


def splits_named(names: Iterable[str]) -> dict[str, str]:
    """Find train, val or test for those of the names that are spelled like one: Training, test_set, VALID.

    Words that all of the names share, and numbers, say nothing: seg_train and seg_test are two splits, as are train and
    test1. steam_train and steam_engine are none, nor are test1 and test2, so a name with more in it counts only where
    another split stands beside it.
    """
    words = {name: [word for word in re.split(r"[\W_]+", name.casefold()) if word] for name in names}
    own = {name: [re.sub(r"\d", "", word) for word in found] for name, found in _without_shared(words).items()}
    kinds = {name: _WHAT_IT_IS_OF.sub("", "".join(found)) or "".join(found) for name, found in own.items()}
    of_evaluation = "val" if any(kind in _TEST for kind in kinds.values()) else "test"
    meanings = dict.fromkeys(_TRAIN, "train") | dict.fromkeys(_VAL, "val") | dict.fromkeys(_TEST, "test")
    meanings |= dict.fromkeys(_EVALUATION, of_evaluation)
    found = {name: meanings[kind] for name, kind in kinds.items() if kind in meanings}
    return found if own == words or len(set(found.values())) > 1 else {}


def _without_shared(words: dict[str, list[str]]) -> dict[str, list[str]]:
    """Drop from the words of each name those at its beginning and end that are the same in all."""
    for place in (0, -1):
        while len(words) > 1 and all(len(name) > 1 for name in words.values()):
            if len({name[place] for name in words.values()}) > 1:
                break
            words = {name: found[1:] if place == 0 else found[:-1] for name, found in words.items()}
    return words


def without_dot(name: str) -> str:
    """Take the ./ off a path that tar writes before all."""
    return name.removeprefix("./")


def printable(name: str) -> str:
    """Write a name as valid UTF-8, whatever bytes it holds."""
    return name.encode("utf-8", "backslashreplace").decode()


def class_named(name: str) -> str:
    """Return the class that a folder or label names: é typed as one character or as two is the same."""
    return unicodedata.normalize("NFC", name)


def unusable_name(name: str) -> str | None:
    """Give the reason why a relative path cannot be an image's id, or None."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8; rename it"
    return None
