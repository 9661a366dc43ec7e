"""The distribution alone: its wheel, outside the clone, where there is what it declares and nothing else."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from lightline_predict import __version__
from tests.support import ROOT
from tests.support.model_files import CLASSES, write_model

_SOURCE = ROOT / "lightline_predict"
_PROJECT = tomllib.loads((_SOURCE / "pyproject.toml").read_text())
_USE = """
import importlib.util, json, sys
from lightline_predict import Answers, Classifier
answers = Classifier(sys.argv[1])([sys.argv[2], open(sys.argv[2], "rb").read()])
assert isinstance(answers, Answers)
others = ("lightline", "torch", "prefect", "dvc", "pyarrow", "onnx", "pydantic")
print(json.dumps([answers.classes, [name for name in others if importlib.util.find_spec(name)]]))
"""


def declared(*extras: str) -> list[str]:
    project = _PROJECT["project"]
    return project["dependencies"] + [one for name in extras for one in project["optional-dependencies"][name]]


def needed(requirements: list[str]) -> Iterator[str]:
    """The names of distributions that these need, and those need, as their own metadata say."""
    left, seen = [Requirement(text) for text in requirements], set[str]()
    while left:
        requirement = left.pop()
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        assert distribution(requirement.name).version in requirement.specifier
        yield requirement.name
        left += [Requirement(text) for text in distribution(requirement.name).requires or ()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # Of a copy: building leaves a folder beside the source.
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(_SOURCE, folder / "source", ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", folder]
    subprocess.run([*command, folder / "source"], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel: `environment("batch")` with what an extra declares, too."""

    def make(*extras: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = folder.glob("lib/*/site-packages")
        for name in needed(declared(*extras)):
            files = distribution(name).files or ()
            for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
                (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
        python = folder / "bin" / "python"
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
        subprocess.run(command, check=True, capture_output=True)
        return folder / "bin"

    return make


@pytest.fixture
def model_and_photo(own_folder) -> tuple[Path, Path]:
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save("photo.jpg")
    return write_model(own_folder / "model.onnx"), own_folder / "photo.jpg"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def test_the_wheel_has_every_module_and_its_types(wheel):
    listed = run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    for file in [*_SOURCE.rglob("*.py"), _SOURCE / "py.typed"]:
        if "build" not in file.parts:
            assert f"lightline_predict/{file.relative_to(_SOURCE)} " in listed
    assert f"lightline_predict-{__version__}-" in wheel.name


def test_it_answers_with_numpy_pillow_and_onnxruntime_alone(environment, model_and_photo):
    model, photo = model_and_photo
    place = environment()
    used = run(place / "python", "-c", _USE, model, photo)
    assert used.stderr == ""
    (first, second), others = json.loads(used.stdout)
    assert first == second
    assert first in CLASSES
    assert others == []
    said = run(place / "lightline-predict", "classify", model, photo)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"{photo}\t{first}\t0.")
    refused = run(place / "lightline-predict", "batch", model, photo.parent, "out.parquet")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == 'error: batch needs pyarrow: pip install "lightline-predict[batch]".\n'


def test_batch_needs_what_its_extra_declares_alone(environment, model_and_photo):
    model, _ = model_and_photo
    place = environment("batch")
    done = run(place / "lightline-predict", "batch", model, ".", "out.parquet")
    assert (done.returncode, done.stdout) == (1, "out.parquet: 2 images\n")  # the model file is no image
    assert done.stderr == "1 of 2 could not be read; `error` says why.\n"
    away = run(place / "lightline-predict", "batch", model, "s3://data/photos", "out.parquet")
    assert away.returncode == 1
    assert away.stderr == 'error: s3:// is read through s3fs: pip install "lightline-predict[batch,s3]".\n'


def test_it_declares_three_dependencies():
    assert {Requirement(text).name for text in declared()} == {"numpy", "pillow", "onnxruntime"}
