"""The model of a repository's newest tag: real git, real DVC, a real remote."""

import asyncio
import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import onnx
import pytest

from lightline_predict import images
from lightline_predict.errors import ModelFileError
from lightline_predict.serve.champion import FileSource, GitSource
from lightline_predict.serve.reload import Current
from tests.support.model_files import write_model
from tests.support.prediction_server import metric, refused, serving, until
from tests.support.samples import random_pixels

ENCODED = images.encode(random_pixels(16, 16, 3))


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def commit_model(folder: Path, model_file: Path, fingerprint: str) -> None:
    model = onnx.load(model_file)
    next(entry for entry in model.metadata_props if entry.key == "fingerprint").value = fingerprint
    onnx.save(model, folder / "model.onnx")
    run(folder, "dvc", "add", "-q", "model.onnx")
    run(folder, "dvc", "push", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", fingerprint[:8])


@pytest.fixture
def repository(exported, tmp_path) -> Path:
    """A repository whose artifact is no champion yet."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"))
    (folder / "dvc.yaml").write_text("artifacts:\n  classifier:\n    path: model.onnx\n    type: model\n")
    commit_model(folder, exported("cnn", crop_pct=0.9)[1], "a" * 64)
    return folder


def test_the_champion_is_served_and_the_next_one_takes_over(repository, exported, tmp_path):
    said = refused("--from", repository)
    assert f"{repository} has no tag classifier#champion#N; `gto assign classifier --stage champion` makes one" in said
    run(repository, "gto", "register", "classifier", "HEAD")
    run(repository, "gto", "assign", "classifier", "HEAD", "--stage", "champion")
    with serving("--from", repository, "--every", 1000) as server, server.client() as client:
        assert client.post("/predict", content=ENCODED).json()["model"] == "a" * 64
        commit_model(repository, exported("cnn", crop_pct=0.9)[1], "b" * 64)
        run(repository, "gto", "register", "classifier", "HEAD")
        run(repository, "gto", "assign", "classifier", "HEAD", "--stage", "champion")
        server.process.send_signal(1)
        until(lambda: metric(server, 'lightline_model_swaps_total{outcome="taken"}') == 1)
        assert client.post("/predict", content=ENCODED).json()["model"] == "b" * 64
        assert "classifier#champion" in client.get("/metrics").text
        # DVC finds nothing behind the third one's tag: its model was never pushed.
        run(repository, "git", "commit", "-q", "--allow-empty", "-m", "none")
        (repository / "model.onnx.dvc").unlink()
        run(repository, "git", "commit", "-qam", "gone")
        run(repository, "git", "tag", "-a", "-m", "third", "classifier@v9.0.0")
        run(repository, "git", "tag", "-a", "-m", "third", "classifier#champion#3")
        server.process.send_signal(1)
        until(lambda: metric(server, 'lightline_model_swaps_total{outcome="kept"}') == 1)
        assert client.post("/predict", content=ENCODED).json()["model"] == "b" * 64
        assert any("no new model: `dvc artifacts get" in line for line in server.said)


def test_what_cannot_be_asked_is_said(tmp_path):
    assert "`git ls-remote" in (said := refused("--from", tmp_path / "nothing"))
    assert "failed: " in said
    assert "needs the program dvc" in refused("--from", tmp_path, PATH=os.defpath)
    for address in ("https://me:pass@example.org/a.git", "https://token@example.org/a.git"):
        assert "holds a user or a key" in refused("--from", address)


def test_what_a_network_kept_from_coming_is_asked_for_again(tmp_path):
    """A file that cannot answer is not: it has to change first."""

    class Flaky(FileSource):
        brought = 0

        def bring(self) -> tuple[Path, str]:
            self.brought += 1
            if self.brought in (2, 3):
                raise ModelFileError("`dvc artifacts get` failed: timeout")
            return super().bring()

    path = write_model(tmp_path / "model.onnx")
    current = Current(source := Flaky(path), 1, ())
    first = current.model
    path.touch()
    for _ in range(2):
        with pytest.raises(ModelFileError, match="timeout"):
            current._look()
    assert current._look() == "taken"
    assert current.model is not first
    path.write_bytes(b"none")
    with pytest.raises(ModelFileError):
        current._look()
    assert current._look() is None
    assert source.brought == 5


def test_what_cannot_be_brought_is_asked_for_less_and_less_often(tmp_path):
    class Gone(FileSource):
        tries = 0

        def bring(self) -> tuple[Path, str]:
            self.tries += 1
            if self.tries > 1:
                raise ModelFileError("`dvc artifacts get` failed: no such file")
            return super().bring()

    path, kept = write_model(tmp_path / "model.onnx"), []
    current = Current(source := Gone(path), 1, ())
    path.touch()

    async def watch() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await current.watch(0.01, kept.append)

    asyncio.run(watch())
    assert set(kept) == {"kept"}
    assert 2 < source.tries < 10  # after 0.01, 0.02, 0.04 … seconds


def test_git_and_dvc_end_when_the_server_ends(tmp_path, monkeypatch):
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 60 &\nwait\n")
    (tmp_path / "git").chmod(0o755)
    shutil.copy(tmp_path / "git", tmp_path / "dvc")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    source, failed = GitSource(str(tmp_path), "classifier", "champion"), []

    def ask() -> None:
        try:
            source.state()
        except ModelFileError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: source._process is not None)
    source.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert len(failed) == 1
    begun = time.monotonic()
    with pytest.raises(ModelFileError):
        source.bring()
    assert time.monotonic() - begun < 5
    source._folder.cleanup()
