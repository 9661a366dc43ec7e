"""Images to measure with."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.settings import ROOT, write_composed

CIFAR_VARIABLE = "LIGHTLINE_BENCH_CIFAR"
PHOTOS_VARIABLE = "LIGHTLINE_BENCH_PHOTOS"
WEIGHTS_VARIABLE = "LIGHTLINE_BENCH_WEIGHTS"
WORK_VARIABLE = "LIGHTLINE_BENCH_WORK"  # a folder that the questions of one run share


class MissingDataError(Exception):
    """The question needs images that are not at hand."""


def cifar_archive() -> Path:
    """Find CIFAR-10 as JPEG files, train/CLASS/*.jpg and test/CLASS/*.jpg, in a tar.gz.

    Raises:
        MissingDataError: `make bench CIFAR=FILE` did not say where it is.
    """
    return _file(CIFAR_VARIABLE, "CIFAR-10 as an archive of JPEG files: `make bench CIFAR=FILE`")


def photos_archive() -> Path:
    """Find photos, train/CLASS/* and val/CLASS/*, in an archive: those of PyTorch's transfer-learning tutorial.

    Raises:
        MissingDataError: `make bench PHOTOS=FILE` did not say where it is.
    """
    return _file(PHOTOS_VARIABLE, "an archive of photos in train/ and val/: `make bench PHOTOS=FILE WEIGHTS=FILE`")


def weights_file() -> Path:
    """Find ImageNet's weights of timm's tf_efficientnet_lite0, a safetensors file.

    Raises:
        MissingDataError: `make bench WEIGHTS=FILE` did not say where it is.
    """
    return _file(WEIGHTS_VARIABLE, "tf_efficientnet_lite0's weights: `make bench PHOTOS=FILE WEIGHTS=FILE`")


def _file(variable: str, what: str) -> Path:
    path = os.environ.get(variable)
    if not path or not Path(path).is_file():
        raise MissingDataError(f"needs {what}")
    return Path(path)


def cifar_folder() -> Path:
    """Unpack the archive's files, once, and return the folder that holds train/."""
    folder = work_folder() / "cifar"
    if not folder.exists():
        with tarfile.open(cifar_archive()) as archive:
            archive.extractall(folder, filter="data")
    return next(path.parent for path in folder.rglob("train"))


def cifar_project(val: float = 0.1) -> Path:
    """Return a folder in which download and split have run on CIFAR-10, with the authors' test set.

    val: the part of the training images that is set aside.
    """
    project = work_folder() / f"project-{val}"
    if not (project / "data" / "splits.parquet").exists():
        project.mkdir(parents=True, exist_ok=True)
        choices = ("data=folder", f"data.path={cifar_archive()}", "split=predefined", f"split.val={val}")
        write_composed(project / "params.yaml", *choices)
        for stage in ("source", "download", "split"):
            subprocess.run(stage_command(stage), cwd=project, env=stage_environment(), check=True)
    return project


def stage_command(stage: str) -> tuple[str, ...]:
    """Give the command that runs a stage by hand."""
    return (sys.executable, "-m", f"stages.{stage}")


def stage_environment() -> dict[str, str]:
    """Give the environment in which a folder with nothing but params.yaml and data will do for a stage."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


def images_of(name: str, work: Path) -> dict[str, str]:
    """Give the variables by which the questions are about one of several sets of images, a folder each in `work`."""
    return {CIFAR_VARIABLE: str(work / name / "images.tar.gz"), WORK_VARIABLE: str(work / name)}


def work_folder() -> Path:
    """Find the folder that the questions of one run share."""
    folder = os.environ.get(WORK_VARIABLE)
    if folder is None:
        raise MissingDataError("is asked by `python -m benchmarks`, which prepares a folder for it")
    return Path(folder)
