"""DVC's cache and lock file, looked into before they are trusted: a kill or a full disk can leave both damaged."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lightline.redaction import redacted
from lightline.runtime.digests import Digests


class VerifiedCache:
    """From its making on, a DVC repository takes no object out of its cache that is not what its name says.

    A damaged one is removed, and fetched from the default remote where there is one; else DVC finds it missing. Left to
    itself, DVC looks only into objects that can be written to, which are not those that it has put there.

    repo: a `dvc.repo.Repo`.
    tell: gets the path of each damaged object, and how it went on.
    """

    def __init__(self, repo: Any, digests: Digests, tell: Callable[[str], None]):
        from dvc_objects.errors import ObjectFormatError

        self._format_error = ObjectFormatError
        self._repo, self._cache, self._digests, self._tell = repo, repo.cache.local, digests, tell
        self._trusting = self._cache.check
        self._cache.check = self._check

    def look_at(self, targets: list[str] | None = None) -> list[Any]:
        """Look into all objects of the outputs of stages, or of all stages: what DVC checks out it does not check.

        Returns the outputs of which the cache does not have everything, be it damaged or never there.
        """
        missing = [output for output in self._repo.index.targets_view(targets).outs if self._is_missing(output)]
        self._digests.save()
        return missing

    def _is_missing(self, output: Any) -> bool:
        if output.hash_info.isdir:
            # DVC cannot read a damaged list of a folder's files, and gives up before it asks for a check of it.
            with suppress(FileNotFoundError, self._format_error):
                self._check(output.hash_info.value)
        return output.changed_cache()

    def _check(self, oid: str, *arguments: Any, **options: Any) -> Any:
        found = self._trusting(oid, *arguments, **options)
        path = Path(self._cache.oid_to_path(oid))
        if self._is_whole(oid, path):
            return found
        path.unlink()
        reason = self._fetch(oid)
        if path.exists() and self._is_whole(oid, path):
            self._tell(f"{path} was damaged, and has been fetched again from the remote.")
            return self._trusting(oid)
        path.unlink(missing_ok=True)
        self._tell(f"{path} was damaged, and has been removed from the cache{reason}.")
        raise self._format_error(f"{path} is damaged")

    def _is_whole(self, oid: str, path: Path) -> bool:
        return self._digests.of_file(path) == oid.removesuffix(".dir")

    def _fetch(self, oid: str) -> str:
        """Get an object from the default remote; gives why it was not to be had, for the end of a sentence."""
        from dvc_data.hashfile.hash_info import HashInfo

        if "remote" not in self._repo.config["core"]:
            return ""
        try:
            self._repo.cloud.pull([HashInfo("md5", oid)])
        except Exception as error:  # a remote can fail in as many ways as there are kinds of them
            return f" (the remote cannot be used: {redacted(str(error))})"
        return " (the remote does not have it)"


def cache_folder() -> Path:
    """Ask DVC where its cache has objects by their MD5, a folder for each first two digits; takes half a second."""
    command = (sys.executable, "-m", "dvc", "cache", "dir")
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return Path(found, "files", "md5")


def is_lock(content: bytes) -> bool:
    """Tell whether DVC will read it."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(content))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def without(content: str, stage: str) -> str:
    """Take a stage and all that depends on it out of a dvc.lock: what it has of them is of an earlier run."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    lock = parse_yaml_for_update(content, "dvc.lock")  # as DVC does it: its numbers are not PyYAML's
    stages, waiting = lock["stages"], [stage]
    while waiting:
        entry = stages.pop(waiting.pop(), {})
        made = {out["path"] for out in entry.get("outs", ())}
        waiting += [name for name, other in stages.items() if made & {dep["path"] for dep in other.get("deps", ())}]
    return dumps_yaml(lock)
