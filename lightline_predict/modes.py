"""What a path leads to, without an error where nobody may look: Path.is_dir raises in a folder that is closed."""

from pathlib import Path


def mode_of(path: Path) -> int:
    """Give a path's mode, for `stat.S_ISDIR` and its like; 0, which is none, where nothing is there or can be asked."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return 0
