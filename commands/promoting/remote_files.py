"""The files of a promoted commit in DVC's remote, where others fetch them from."""

import re

import yaml

from commands.promoting.tags import PromotionError
from lightline.redaction import redacted
from lightline.runtime.commits import committed


def push_files(commit: str) -> str:
    """Send the files of a commit that lie here to DVC's default remote, so that whoever has the tag can have them.

    Returns what is to be said of it.

    Raises:
        PromotionError: they cannot be sent.
    """
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    stages = yaml.safe_load(committed(commit, "dvc.lock") or "stages: {}")["stages"].values()
    digests = {out["md5"] for stage in stages for out in stage.get("outs", ()) if "md5" in out}
    with Repo() as repo:
        if "remote" not in repo.config["core"]:
            return (
                "note: DVC has no default remote, and so others get the tag but not the file; "
                "`dvc remote add --default NAME PATH` and `dvc push --all-tags` send it.\n"
            )
        files = [HashInfo("md5", digest) for digest in sorted(digests) if repo.cache.local.exists(digest)]
        try:
            failed = repo.cloud.push(files).failed  # `dvc push` would go by the remote that the commit names
        except Exception as error:  # a remote can fail in as many ways as there are kinds of them
            failed = redacted(str(error))
    if failed:
        raise PromotionError(
            f"DVC's remote does not take the files of {commit[:12]}, and so nothing was written: {failed}\n"
            "--no-push leaves it out."
        )
    if re.search(r"^\s*remote\s*=", committed(commit, ".dvc/config") or "", re.MULTILINE):
        return ""
    return (
        f"note: the .dvc/config of {commit[:12]} names no remote; `dvc artifacts get --stage champion` needs "
        "`--config .dvc/config` with one that does.\n"
    )
