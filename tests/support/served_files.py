"""Small images, folders and archives of them, in a repository of the test's own."""

import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.archives import compressed
from tests.support.serving import Server


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    """An empty folder that the test runs in, and that is the user's repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("LIGHTLINE_ORIGIN", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def png() -> Callable[[int], bytes]:
    """A 4×4 image, another for each number."""

    def make(number: int) -> bytes:
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def write(png) -> Callable[..., Path]:
    """Write files into a folder: names alone become images, a mapping gives contents."""

    def make(folder: Path, names) -> Path:
        contents = names if isinstance(names, Mapping) else {name: png(i) for i, name in enumerate(names)}
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return make


@pytest.fixture
def pack() -> Callable[[Path, Path, str], Path]:
    """Put the files below a folder into an archive of the kind zip, tar, tar.gz, tar.bz2, tar.xz or tar.zst."""

    def make(folder: Path, archive: Path, kind: str) -> Path:
        if kind == "zip":
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                for path in sorted(folder.rglob("*")):
                    file.write(path, path.relative_to(folder))
            return archive
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as file:
            file.add(folder, ".")
        archive.write_bytes(compressed(plain.getvalue(), kind))
        return archive

    return make


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
