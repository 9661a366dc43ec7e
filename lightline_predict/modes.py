"""What a path leads to, without an error where nobody may look: Path.is_dir raises in a folder that is closed."""

import stat
from pathlib import Path


def why_not(path: Path) -> str:
    """Say why a path is not what it should be: "does not exist", "is a folder", "cannot be read: …"."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "is a folder" if stat.S_ISDIR(mode) else "is a file" if stat.S_ISREG(mode) else "is no regular file"


def mode_of(path: Path) -> int:
    """Give a path's mode, for `stat.S_ISDIR` and its like; 0, which is none, where nothing is there or can be asked."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return 0
