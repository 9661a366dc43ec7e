"""What all tests run in, and the projects that they share."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.support.project import ENVIRONMENT, Project, copy_project
from tests.support.workspace import Workspace

# Read when torch loads, which is before any fixture runs: threads that wait for each other collapse on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"
_LONG = 900  # seconds that a test may take
# A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with those that take minutes: none is left to one worker at the end, while others have nothing to do."""

    def is_short(item: pytest.Item) -> bool:
        limit = item.get_closest_marker("timeout")
        return limit is None or limit.args[0] < _LONG

    items.sort(key=is_short)


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's reaches a test, and nothing of a test reaches the user."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("DVC_", "LIGHTLINE_", "PREFECT_", "GIT_"))]:
            patch.delenv(name)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        yield


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project to change, with nothing in its cache."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A repository with small stages; whatever a test starts in it is killed at its end."""
    workspace = Workspace.make(tmp_path / "workspace")
    yield workspace
    workspace.end()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """moto's S3 server on 127.0.0.1; gives its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 without buckets, which the environment leads every client to; gives boto3's client."""
    import boto3
    import s3fs

    for name, value in {
        "ENDPOINT_URL": s3_server,
        "ACCESS_KEY_ID": "testing",
        "SECRET_ACCESS_KEY": "s3cret",
        "DEFAULT_REGION": "us-east-1",
        "CONFIG_FILE": str(tmp_path / "none"),
        "SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    yield client
    for bucket in client.list_buckets()["Buckets"]:
        for item in client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
            client.delete_object(Bucket=bucket["Name"], Key=item["Key"])
        client.delete_bucket(Bucket=bucket["Name"])
    client.close()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[Path], None]], Path]:
    """Have a folder made for all of pytest-xdist's workers: `once(name, make)`, where `make(folder)` takes long."""
    basetemp = tmp_path_factory.getbasetemp()
    shared = basetemp if worker_id == "master" else basetemp.parent

    def give(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / "once" / name
        folder.parent.mkdir(exist_ok=True)
        made = folder.with_name(f"{name}.made")
        with FileLock(folder.with_name(f"{name}.lock")):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what one that failed has left
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return give


@pytest.fixture(scope="session")
def finished_project(once) -> Project:
    """A project in which all stages ran on the digits, for two epochs, committed. Tests only read it."""

    def make(folder: Path) -> None:
        project = copy_project(folder)
        project.set_conf("trainer/default", max_epochs=2)
        project.run("dvc", "repro")
        project.commit("two epochs")

    return Project(once("finished_project", make))


@pytest.fixture(scope="session")
def prefect_database(once) -> Path:
    """The empty database of a Prefect server, to be copied."""

    def make(folder: Path) -> None:
        command = ("prefect", "server", "database", "upgrade", "-y")
        subprocess.run(command, env=os.environ | {"PREFECT_HOME": str(folder)}, check=True, capture_output=True)

    return once("prefect", make) / "prefect.db"


@pytest.fixture(scope="session")
def exported(once) -> Callable[..., tuple[Any, Path]]:
    """The checkpoint and the ONNX file of a small network: `exported("resnet18", input_size=32)`. Tests only read."""
    from lightline.models.checkpoint import load_checkpoint, save_checkpoint
    from stages.export.exporter import export_onnx
    from tests.support.samples import make_checkpoint, model_settings

    def give(name: str, **changes: Any) -> tuple[Any, Path]:
        settings = model_settings(name, **changes)

        def make(folder: Path) -> None:
            save_checkpoint(make_checkpoint(settings), folder / "best.ckpt")
            export_onnx(load_checkpoint(folder / "best.ckpt"), {"accuracy": 0.75}, 20, folder / "model.onnx")

        key = "-".join(str(value) for value in settings.model_dump().values()).replace("/", "-")
        place = once(f"exported-{key}", make)
        return load_checkpoint(place / "best.ckpt"), place / "model.onnx"

    return give


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
