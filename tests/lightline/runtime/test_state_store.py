"""States in a folder and in moto's S3 server: brought back elsewhere, damaged, without rights, without a server."""

import socket
from pathlib import Path

import pytest

from lightline.errors import ParameterError
from lightline.files import file_digest
from lightline.runtime.state_store import FINISHED, StateStore, state_store

_FINGERPRINT = "f" * 64


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    request.getfixturevalue("s3").create_bucket(Bucket="states")
    return "s3://states/some/where"


def _save(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    path.with_name(f"{name}.sha256").write_text(f"{file_digest(path)}  {name}\n")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _send(place: str, *paths: Path) -> None:
    for path in paths:  # one that waits is replaced by the next
        with state_store(place, _FINGERPRINT, {"seed": 1}) as store:
            assert store is not None
            store.send(path)


def test_a_state_comes_back_on_another_machine_and_the_last_two_stay(place, tmp_path: Path, capfd):
    here, there = _folder(tmp_path / "here"), _folder(tmp_path / "there")
    _send(place, *(_save(here, f"step-{step:09d}.ckpt", bytes([step]) * 100_000) for step in (3, 6, 9)))
    store = StateStore(place, _FINGERPRINT)
    assert sorted(store._names()) == ["step-000000006.ckpt", "step-000000009.ckpt"]
    store.fetch(there)
    assert (there / "step-000000009.ckpt").read_bytes() == bytes([9]) * 100_000
    assert "the state of this training comes from" in capfd.readouterr().out
    store.fetch(there)  # as new as the one here
    assert capfd.readouterr().out == ""

    _send(place, _save(here, FINISHED, b"the end"))
    store.fetch(there)
    assert (there / FINISHED).read_bytes() == b"the end"
    assert store._names() == [FINISHED]
    store.forget()
    assert store._names() == []


def test_a_damaged_state_is_left_out_with_a_warning(place, tmp_path: Path, capfd):
    here, there = _folder(tmp_path / "here"), _folder(tmp_path / "there")
    _send(place, _save(here, "step-000000003.ckpt", b"whole"), _save(here, "step-000000006.ckpt", b"damaged"))
    store = StateStore(place, _FINGERPRINT)
    store._system.pipe_file(f"{store._root}/step-000000006.ckpt", b"other")
    store.fetch(there)
    assert "is not what its digest says" in capfd.readouterr().err
    assert [path.name for path in there.glob("step-000000006*")] == []
    assert (there / "step-000000003.ckpt").read_bytes() == b"whole"


def test_a_place_without_rights_is_refused_before_any_work(tmp_path: Path, s3):
    with pytest.raises(ParameterError, match=r"'s3://nowhere-at-all/x' cannot be written"):
        StateStore("s3://nowhere-at-all/x", _FINGERPRINT).open({})
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="cannot be written"):
        StateStore(str(tmp_path / "file" / "x"), _FINGERPRINT).open({})


def test_a_check_leaves_nothing_behind(place):
    store = StateStore(place, "check")
    store.check()
    assert not store._system.exists(store._root)


def test_a_store_that_is_down_costs_a_warning(tmp_path: Path, s3, monkeypatch, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    here = _folder(tmp_path / "here")
    with state_store("s3://states/x", _FINGERPRINT, {}) as store:
        assert store is not None
        store.fetch(here)
        store.send(_save(here, "step-000000003.ckpt", b"state"))
    told = capfd.readouterr().err
    assert told.count("warning: checkpoint.store = 's3://states/x'") == 1, "once, not at every save"
