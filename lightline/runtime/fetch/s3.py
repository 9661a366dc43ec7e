"""One object of S3, going on where an earlier attempt broke off."""

import os
import shutil
from io import BufferedRandom
from pathlib import Path
from typing import Any

import botocore.session
import fsspec

from lightline.config.data import Fetch
from lightline.errors import check_room
from lightline.runtime.fetch.errors import too_large, without_secrets

_PART = 2**24  # bytes asked for at once


def download(url: str, file: BufferedRandom, rules: Fetch) -> None:
    """Append to `file` what it lacks of the object.

    Raises:
        FetchError: the object is too large.
        NoRoomError: the disk has no room for it.
        BotoCoreError, OSError: the network, the server or the disk failed.
    """
    # A file system of its own: shared ones keep connections that are of no use after this file.
    system: Any = fsspec.filesystem("s3", skip_instance_cache=True, **_options())
    with system.open(url, cache_type="none") as remote:
        if remote.size > rules.max_bytes:
            raise too_large(without_secrets(url), rules.max_bytes)
        present = file.seek(0, os.SEEK_END)
        if present > remote.size:  # of another object
            file.truncate(0)
            present = 0
        check_room(Path(file.name), remote.size - present)
        remote.seek(present)
        shutil.copyfileobj(remote, file, _PART)


def _options() -> dict[str, Any]:
    # Public buckets need no credentials, and refuse wrong ones.
    return {"anon": botocore.session.Session().get_credentials() is None}
