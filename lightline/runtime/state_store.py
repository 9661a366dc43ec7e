"""States of unfinished training in a place that other machines reach too: a folder, or S3 (`checkpoint.store`).

A state lies there under the training's fingerprint, with its digest beside, written after it; one without its digest,
or with another, is none. What the place cannot do costs a warning, and never a training.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightline.errors import ParameterError
from lightline.files import file_digest, json_text, whole_file
from lightline.redaction import redacted
from lightline.runtime.origin import origin

FINISHED = "finished.ckpt"
KEPT = 2  # states of an unfinished training, here and there
_PATIENCE = 60.0  # seconds that the last state may take after training has ended
_SHORT_PATIENCE = 10.0  # the same, where training was interrupted
_TIMES = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}


class _DamagedError(Exception):
    """A state is not what its digest says."""


class StateStore:
    """The states of one training in the store.

    place: a path, relative ones to the user's repository, or s3://BUCKET/PREFIX.
    """

    def __init__(self, place: str, fingerprint: str):
        url = place if "://" in place else str(origin() / Path(place).expanduser())
        self._is_s3 = url.startswith("s3://")
        options = {"use_listings_cache": False, "config_kwargs": _TIMES} if self._is_s3 else {}
        self._place, self._warned = place, False
        import fsspec  # takes a fifth of a second to load, and botocore

        system, root = fsspec.core.url_to_fs(url, **options)
        self._system: Any = system
        self._system.retries = 2  # of s3fs, beside botocore's own
        self._root = f"{root.rstrip('/')}/{fingerprint}"
        self._due: Path | None = None
        self._changed, self._has_ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._send_all, daemon=True)

    def open(self, ingredients: dict[str, Any]) -> None:
        """Write down what the training is, and send what is saved from now on.

        Raises:
            ParameterError: one may not write there, or there is no such place.
        """
        self._write("ingredients.json", json_text(ingredients))
        self._thread.start()

    def check(self) -> None:
        """Write something, which shows whether one may, and take it away.

        Raises:
            ParameterError: one may not, or there is no such place.
        """
        self._write("checked", "")
        if not self._warned:
            self.forget()

    def _write(self, name: str, text: str) -> None:
        try:
            if not self._is_s3:  # where it would make a bucket, too
                self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(f"{self._root}/{name}", text.encode())
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            raise ParameterError(
                f"checkpoint.store = {redacted(self._place)!r} cannot be written: {redacted(str(error))}. Create it or "
                "have the right to write granted (in S3: PutObject, GetObject, DeleteObject and ListBucket), or set it "
                "to null."
            ) from error
        except _trouble() as error:
            self._warn("cannot be reached, and is not looked at", error)

    def fetch(self, folder: Path) -> None:
        """Bring the newest whole state here, where it is newer than those in the folder."""
        here = max((_rank(path.name) for path in folder.glob("*.ckpt")), default=-1)
        try:
            for name in sorted(self._names(), key=_rank, reverse=True):
                if _rank(name) <= here:
                    return
                try:
                    self._fetch_one(name, folder)
                    return
                except _DamagedError as error:
                    self._warn("has a state that is left out, and the one before it is used", error)
        except _trouble() as error:
            self._warn("cannot be read: training goes on from what is here", error)

    def send(self, path: Path) -> None:
        """Have a saved state sent in the background; one that is still waiting for its turn is left out."""
        with self._changed:
            self._due = path
            self._changed.notify()

    def close(self, patience: float) -> None:
        """Wait until the last one is sent; patience: seconds."""
        with self._changed:
            self._has_ended = True
            self._changed.notify()
        self._thread.join(patience)
        if self._thread.is_alive():
            self._warn("has not taken the last state in time", TimeoutError(f"{patience:g} s"))

    def forget(self) -> None:
        """Delete the states."""
        try:
            if self._system.exists(self._root):
                self._system.rm(self._root, recursive=True)
        except _trouble() as error:
            self._warn("cannot be cleared", error)

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._has_ended)
                path, self._due = self._due, None
            if path is None:
                return
            try:
                self._send_one(path)
            except FileNotFoundError:  # newer ones have replaced it here
                continue
            except _trouble() as error:
                self._warn("could not take a state: training goes on, with its state on this machine alone", error)

    def _send_one(self, path: Path) -> None:
        digest = digest_file(path).read_text(encoding="utf-8")
        self._system.put_file(str(path), f"{self._root}/{path.name}")
        self._system.pipe_file(f"{self._root}/{path.name}.sha256", digest.encode())
        self._warned = False
        names = sorted(self._names(), key=_rank, reverse=True)
        for old in names[1 if path.name == FINISHED else KEPT :]:
            for name in (f"{old}.sha256", old):
                self._system.rm_file(f"{self._root}/{name}")

    def _names(self) -> list[str]:
        """List the states that have a digest."""
        if not self._system.exists(self._root):
            return []
        names = {str(path).rpartition("/")[2] for path in self._system.ls(self._root, detail=False)}
        return [name for name in names if name.endswith(".ckpt") and f"{name}.sha256" in names]

    def _fetch_one(self, name: str, folder: Path) -> None:
        text = self._system.cat_file(f"{self._root}/{name}.sha256").decode()
        with whole_file(folder / name) as temporary:
            self._system.get_file(f"{self._root}/{name}", str(temporary))
            if file_digest(temporary) != text.split()[0]:
                raise _DamagedError(f"{name} is not what its digest says")
            with whole_file(digest_file(folder / name)) as digest:
                digest.write_text(text, encoding="utf-8")
        print(f"the state of this training comes from {redacted(self._place)}", flush=True)

    def _warn(self, what: str, error: Exception) -> None:
        """Say it once, until something works again."""
        if not self._warned:
            reason = redacted(str(error) or type(error).__name__).splitlines()[0]
            told = f"warning: checkpoint.store = {redacted(self._place)!r} {what} ({reason})"
            print(told, file=sys.stderr, flush=True)
        self._warned = True


@contextmanager
def state_store(place: str | None, fingerprint: str, ingredients: dict[str, Any]) -> Iterator[StateStore | None]:
    """Open the store while training runs; None where there is none.

    Raises:
        ParameterError: it cannot be written.
    """
    if place is None:
        yield None
        return
    store = StateStore(place, fingerprint)
    store.open(ingredients)
    try:
        yield store
    except BaseException:
        store.close(_SHORT_PATIENCE)
        raise
    store.close(_PATIENCE)


def digest_file(path: Path) -> Path:
    """Name the file beside a state that has its digest, as sha256sum writes it."""
    return path.with_name(f"{path.name}.sha256")


def _trouble() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return OSError, BotoCoreError, ClientError


def _rank(name: str) -> float:
    """Order states: by their steps, the finished one last."""
    digits = name.removesuffix(".ckpt").rpartition("-")[2]
    return float("inf") if name == FINISHED else int(digits) if digits.isdecimal() else -1
