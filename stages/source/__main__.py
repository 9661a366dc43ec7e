"""Look at the source of the images and write down what identifies its content.

Runs at every `dvc repro`, takes a fraction of a second, and makes `download` run again when the source has changed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from lightline.config.params import Params
from lightline.errors import DataError
from lightline.files import write_json
from lightline.redaction import redacted
from lightline.runtime.digests import RECORD, Digests
from lightline.runtime.left_behind import left_behind
from lightline.runtime.stage import run_stage
from lightline.sources import open_source
from lightline.sources.base import GoneError

SOURCE = Path("data/source.json")


def main(params: Params) -> None:
    # Here, because this stage is the first of every run.
    if left := left_behind():
        print(f"warning: {left}", file=sys.stderr, flush=True)
    try:
        identity = open_source(params.data).identity()
    except GoneError as gone:
        identity = _recorded(gone)
        print(f"warning: {gone.what} The dataset that dvc.lock has of it is taken, whatever has changed there since.")
    write_json(SOURCE, identity)


def _recorded(gone: GoneError) -> dict[str, Any]:
    """The identity that dvc.lock has, where DVC will go on with the dataset that was made of it: on another machine.

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
    (written,) = source.outs
    changed = {dep for dep in download.deps if dep.fs_path != written.fs_path and dep.workspace_status()}
    if not written.hash_info or any(map(_is_params, changed)) or not _is_read(written, download):
        raise gone
    if changed:
        raise DataError(
            f"{gone} dvc.lock has a dataset of it that was made by other code: run `dvc repro download` and `dvc push` "
            "where the images are, and take dvc.lock from there."
        )
    _fetch(repo, gone)
    identity = json.loads(Path(repo.cache.local.oid_to_path(written.hash_info.value)).read_bytes())
    if any(identity.get(key) != value for key, value in gone.known.items()):
        raise DataError(f"{gone} What dvc.lock has of it is of another state of it.")
    return identity


def _is_params(dep: Any) -> bool:
    return hasattr(dep, "params")


def _is_read(written: Any, download: Any) -> bool:
    return any(dep.fs_path == written.fs_path and dep.hash_info == written.hash_info for dep in download.deps)


def _fetch(repo: Any, gone: GoneError) -> None:
    """Have what the two stages wrote in the cache."""
    from lightline.runtime.dvc_cache import LookingInto

    cache = LookingInto(repo, Digests(RECORD), print)
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


if __name__ == "__main__":
    run_stage(main)
