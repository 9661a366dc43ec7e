"""What tags say of a commit: since when it is the champion, and what the comparisons with it found.

The tags are GTO's, `classifier#champion#3`, and those of `python -m lightline promote`, whose messages are verdicts.
"""

import json
import re
from contextlib import suppress
from typing import Any

from lightline.runtime.commits import git

_ASSIGNMENT = re.compile(r"(?P<artifact>.+)#(?P<stage>[a-z][a-z0-9-]*)(?P<end>!?)#(?P<number>\d+)")
_VERSION = re.compile(r"[^#@]+@v?\d[\w.+-]*")
_LEDGER = "promotion/"
_FORM = "--format=%(refname:lstrip=2)%00%(objectname)%00%(*objectname)%00%(creatordate:iso-strict)"


def stages_of(commits: set[str]) -> list[dict[str, Any]]:
    """Tell what stages (champion, …) the commits were given, latest first: tag, stage, since, until (None: still)."""
    turns: dict[tuple[str, str], list[tuple[int, str, str, str, bool]]] = {}
    for name, commit, when in _tags():
        if match := _ASSIGNMENT.fullmatch(name):
            key = (match["artifact"], match["stage"])
            turns.setdefault(key, []).append((int(match["number"]), name, commit, when, bool(match["end"])))
    found = []
    for (_, stage), listed in turns.items():
        listed.sort()
        for turn, (_, name, commit, when, is_end) in enumerate(listed):
            if commit not in commits or is_end:
                continue
            after = next((later[3] for later in listed[turn + 1 :] if later[2] != commit or later[4]), None)
            found.append({"tag": name, "stage": stage, "since": when, "until": after})
    return sorted(found, key=lambda one: one["since"], reverse=True)


def versions_of(commits: set[str]) -> list[str]:
    """List the versions that the commits were registered as."""
    return [name for name, commit, _ in _tags() if commit in commits and _VERSION.fullmatch(name)]


def verdicts_of(commits: set[str], fingerprint: str | None) -> list[dict[str, Any]]:
    """List the verdicts on the models of the commits, or of a fingerprint: tag, verdict, reasons, when."""
    found = []
    for name, _, when in _tags():
        if not name.startswith(_LEDGER):
            continue
        with suppress(ValueError, TypeError, AttributeError):
            said = json.loads((git("cat-file", "tag", f"refs/tags/{name}") or "").partition("\n\n")[2])
            challenger = said.get("challenger") or {}
            if challenger.get("commit") in commits or (fingerprint and challenger.get("fingerprint") == fingerprint):
                found.append(
                    {"tag": name, "verdict": said.get("verdict"), "reasons": said.get("reasons") or [], "when": when}
                )
    return found


def _tags() -> list[tuple[str, str, str]]:
    """List all tags: name, commit, time of its making."""
    listed = (git("for-each-ref", _FORM, "refs/tags") or "").splitlines()
    parts = [line.split("\0") for line in listed]
    return [(name, peeled or commit, when) for name, commit, peeled, when in parts]
