"""The images, decoded and split: all of them, and a part for what takes long with all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from benchmarks.fast_cifar import VAL
from benchmarks.gpu.work import Plan, make_up
from benchmarks.harness import Row
from benchmarks.images import fewer
from benchmarks.sources import CIFAR_VARIABLE, cifar_project, images_of, work_folder
from lightline.data.dataset import Dataset

_MADE_UP = 60_000  # images
_EVERY = {"all": 1, "part": 5}  # one image of so many
_TRIAL = 50  # the same, of all


def run(plan: Plan) -> Iterator[Row]:
    given, work = os.environ.get(CIFAR_VARIABLE), work_folder()
    for name, every in _EVERY.items():
        os.environ |= images_of(name, work)
        archive = Path(os.environ[CIFAR_VARIABLE])
        archive.parent.mkdir()
        _write(given, _TRIAL if plan.is_trial else every, archive)
        started = time.perf_counter()
        project = cifar_project(VAL)
        seconds = time.perf_counter() - started
        with chdir(project):
            what = "all" if name == "all" else "a part of the"
            kind = "CIFAR-10" if given else "made up"
            yield Row(f"{what} images ({kind}) downloaded, decoded and split", f"{len(Dataset()):,} in {seconds:.0f} s")


def _write(given: str | None, every: int, archive: Path) -> None:
    if given is None:
        make_up(archive, _MADE_UP // every)
    elif every == 1:
        shutil.copyfile(given, archive)
    else:
        fewer(Path(given), every, archive)
