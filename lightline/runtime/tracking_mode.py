"""Whether a run goes to W&B's server: by W&B's own switches first, then by the parameter. What is not understood keeps
it here.
"""

import netrc
import os
import sys
from configparser import ConfigParser
from configparser import Error as DamagedError
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lightline.config.params import Tracking
from lightline.redaction import redacted
from lightline.runtime.origin import origin

Mode = Literal["online", "offline", "disabled"]
_BY_PRIVACY: tuple[Mode, ...] = ("online", "offline", "disabled")
# Besides these three, W&B 0.31 knows their older names, and shared, in which several processes write one run.
_MODES: dict[str, Mode] = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "run": "online",
    "shared": "online",
    "dryrun": "offline",
}


def chosen_mode(settings: Tracking) -> Mode:
    """Choose online, offline or disabled.

    WANDB_MODE wins; without it, `wandb offline` and `wandb disabled` hold as the parameter does, whichever keeps more
    here. A mode that W&B does not know is warned of and means offline.
    """
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "on", "true", "yes"):  # as other libraries read it
        return "disabled"
    if asked := os.environ.get("WANDB_MODE"):
        mode = _understood(asked, "WANDB_MODE")
        if asked not in _MODES:
            os.environ["WANDB_MODE"] = mode  # with the other one, W&B would not start
        return mode
    modes: list[Mode] = [_of_parameter(settings)]
    for file in _settings_files():
        if asked := _mode_in(file):
            modes.append(_understood(asked, f"the mode in {file}"))
            break  # W&B takes the first one too
    return max(modes, key=lambda mode: _BY_PRIVACY.index(mode))


def _understood(asked: str, place: str) -> Mode:
    if asked not in _MODES:
        known = ", ".join(_MODES)
        message = f"{place} is {asked!r}, which W&B does not know; this run is kept offline. It knows {known}."
        print(f"warning: {redacted(message)}", file=sys.stderr, flush=True)
    return _MODES.get(asked, "offline")


def _of_parameter(settings: Tracking) -> Mode:
    if settings.mode == "auto":
        return "online" if _has_key() else "offline"
    return settings.mode


def _settings_files() -> list[Path]:
    """List W&B's settings files, where `wandb offline` leaves its word: of the user's repository, then of the user."""
    folders = [Path(folder).expanduser() for folder in (os.environ.get("WANDB_DIR"), origin()) if folder]
    own = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    return [folder / name / "settings" for folder in folders for name in ("wandb", ".wandb")] + [own / "settings"]


def _mode_in(file: Path) -> str | None:
    parser = ConfigParser()
    try:
        parser.read_string(file.read_text())
        return parser.get("default", "mode", fallback=None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, DamagedError, UnicodeDecodeError):
        return "unreadable"


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
