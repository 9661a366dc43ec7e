"""The dataset that dvc.lock has, where the source of the images is not on this machine."""

import json
from pathlib import Path
from typing import Any

from lightline.config.composition import Change, differences
from lightline.errors import DataError, some
from lightline.redaction import redacted
from lightline.runtime.digests import RECORD, Digests
from lightline.sources.base import GoneError

_WHICH = ("data.source", "data.path")  # keys that say which source it is
_SHOWN = 4  # of each kind in a message
SOURCE = Path("data/source.json")


def recorded(gone: GoneError) -> dict[str, Any]:
    """Read the identity in dvc.lock, where DVC will go on with the dataset that was made of it: on another machine.

    Raises:
        DataError: that was made with other parameters or by other code, or is not to be had.
    """
    from dvc.exceptions import DvcException  # here, since it takes half a second
    from dvc.repo import Repo

    try:
        repo: Any = Repo()
        source, download = (repo.stage.load_one(name=name) for name in ("source", "download"))
    except DvcException:  # a stage that is run by hand, without DVC
        raise gone from None
    written = next(out for out in source.outs if Path(str(out)) == SOURCE)
    changed = [dep for dep in download.deps if dep.fs_path != written.fs_path and dep.workspace_status()]
    if not written.hash_info or not _is_read(written, download):
        raise gone
    if changed:
        raise _other(gone, changed)
    _fetch(repo, gone)
    identity = json.loads(Path(repo.cache.local.oid_to_path(written.hash_info.value)).read_bytes())
    if any(identity.get(key) != value for key, value in gone.known.items()):
        raise DataError(f"{gone} What dvc.lock has of it is of another state of it.")
    return identity


def _other(gone: GoneError, changed: list[Any]) -> DataError:
    """Make the error for a dvc.lock whose dataset is not the one that would be made now."""
    keys = [change for dep in changed if hasattr(dep, "params") for change in _changed_keys(dep)]
    if any(key in _WHICH for key, *_ in keys):
        return gone  # dvc.lock has one of another source
    code = [str(dep) for dep in changed if not hasattr(dep, "params")]
    values = [f"{key} = {redacted(repr(before))} (now {redacted(repr(now))})" for key, before, now in keys]
    why = " and ".join(
        [f"with {some(values, _SHOWN)}"] * bool(values) + [f"by other code ({some(code, _SHOWN)})"] * bool(code)
    )
    return DataError(
        f"{gone} dvc.lock has a dataset of it that would be taken, but was made {why}. Go back to that, or run "
        "`dvc repro download` and `dvc push` where the images are, and take dvc.lock from there."
    )


def _changed_keys(dep: Any) -> list[Change]:
    recorded_values: Any = dep.hash_info.value if dep.hash_info else None
    return differences(recorded_values or {}, dep.read_params())


def _is_read(written: Any, download: Any) -> bool:
    return any(dep.fs_path == written.fs_path and dep.hash_info == written.hash_info for dep in download.deps)


def _fetch(repo: Any, gone: GoneError) -> None:
    """Have what the two stages wrote in the cache."""
    from lightline.runtime.dvc_cache import VerifiedCache

    cache = VerifiedCache(repo, Digests(RECORD), print)
    targets = ["source", "download"]
    reason = "there is no default remote (`dvc remote add --default …`)"
    if cache.look_at(targets) and "remote" in repo.config["core"]:
        reason = "the default remote does not have it (`dvc push` where it was made)"
        try:
            repo.fetch(targets)
        except Exception as error:  # a remote can fail in as many ways as there are kinds of them
            reason += f": {redacted(str(error))}"
    if cache.look_at(targets):
        raise DataError(f"{gone} The dataset that dvc.lock has of it is not in DVC's cache, and {reason}.")
