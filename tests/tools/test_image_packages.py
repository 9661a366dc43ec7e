"""What an image gets of the lock, held to what the installed packages themselves say they require."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT


@pytest.fixture(params=["cuda", "cpu"])
def folder(request, tmp_path: Path) -> Path:
    """What the command writes, in a folder of that name."""
    folder = tmp_path / request.param
    subprocess.run((sys.executable, ROOT / "tools/image_packages.py", folder.name, folder), check=True)
    return folder


def test_it_is_what_the_project_requires_by_hash_and_nothing_of_development(folder: Path):
    packages = re.findall(r"(?ms)^([a-z0-9-]+)==(.*?)(?=^[a-z0-9]|\Z)", (folder / "packages.txt").read_text())
    names = {name for name, _ in packages}
    assert all("--hash=sha256:" in lines for _, lines in packages)
    assert not names & {"pytest", "openvino", "moto", "pyright", "ruff", "pandas"}
    left_out = {name for name in _required() - names if not name.startswith(("nvidia-", "cuda-"))}
    assert left_out == ({"torch", "torchvision", "triton"} if folder.name == "cpu" else set())
    assert any(name.startswith("nvidia-") for name in names) == (folder.name == "cuda")


def test_on_the_cpu_torch_has_the_locks_version(folder: Path):
    lock = (ROOT / "requirements.lock").read_text()
    pinned = [f"{package}+cpu" for package in re.findall(r"(?m)^torch(?:vision)?==\S+", lock)]
    file = folder / "torch.txt"
    assert (file.read_text().splitlines()[1:] if file.exists() else []) == (pinned if folder.name == "cpu" else [])


def _required() -> set[str]:
    """Names of what the project needs here, by its metadata and that of what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[tuple[str, str], None] = {}
    left = [*map(Requirement, project["dependencies"]), *map(Requirement, project["optional-dependencies"]["timm"])]
    while left:
        requirement = left.pop()
        for extra in ("", *requirement.extras):
            if (key := (canonicalize_name(requirement.name), extra)) in found:
                continue
            found[key] = None
            requires = map(Requirement, distribution(requirement.name).requires or [])
            left += [one for one in requires if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}
