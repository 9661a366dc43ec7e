"""What the parts share: what they are told, the images, and folders in which stages run."""

import io
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fast_cifar import VAL
from benchmarks.harness import Row
from benchmarks.settings import write_composed
from benchmarks.sources import cifar_archive, cifar_project, stage_command, stage_environment, work_folder

_CLASSES = 10
# As little as runs every line of a part, where there is no GPU.
_TINY = ("model=airbench_narrow", "trainer.batch_size=50", "trainer.max_epochs=2", "export.latency=false")


@dataclass(frozen=True)
class Plan:
    """What a part is told.

    device: gpu, or cpu to try the script. seconds: that it may take.
    """

    device: str
    seconds: float

    @property
    def is_trial(self) -> bool:
        return self.device == "cpu"

    def overrides(self, *more: str) -> tuple[str, ...]:
        """Give what composes fast_cifar on this device, but for what is given."""
        own = ("recipe=fast_cifar", f"split.val={VAL}", f"hardware={self.device}", *(_TINY if self.is_trial else ()))
        given = {one.partition("=")[0] for one in more}
        return (*(one for one in own if one.partition("=")[0] not in given), *more)

    def folder(self, name: str, *overrides: str) -> Path:
        """Make a folder for a training on the shared images, with the parameters of fast_cifar and overrides."""
        folder = work_folder() / name
        folder.mkdir()
        (folder / "data").symlink_to(cifar_project(VAL) / "data")
        source = ("data=folder", f"data.path={cifar_archive()}")
        write_composed(folder / "params.yaml", *self.overrides(*source, *overrides))
        return folder


def run_stages(folder: Path, *stages: str, **variables: str) -> str:
    """Run stages one after the other; gives what they printed.

    Raises:
        RuntimeError: one failed; with the end of what it printed.
    """
    return "".join(finish(start_stage(folder, stage, **variables)) for stage in stages)


def start_stage(folder: Path, stage: str, **variables: str) -> subprocess.Popen[str]:
    environment = stage_environment() | variables
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(stage_command(stage), cwd=folder, env=environment, **pipes)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a stage; gives what it printed, and shows it.

    Raises:
        RuntimeError: it failed.
    """
    printed = process.communicate()[0]
    print(printed, end="", flush=True)
    if process.returncode:
        raise RuntimeError(f"{_words(process.args)} ended with {process.returncode}: {last_line(printed)}")
    return printed


def failed(what: str, error: BaseException) -> Row:
    """Make the row of what did not come through."""
    reason = " ".join(str(error).replace("|", "/").split()) or type(error).__name__
    if len(reason) > 400:
        reason = f"{reason[:150]} … {reason[-250:]}"
    return Row(what, f"failed: {reason}", met=False)


def _words(args: object) -> str:
    return " ".join(map(str, args[1:])) if isinstance(args, Sequence) else str(args)


def last_line(text: str) -> str:
    """Give the last line that says something: of a traceback, the error."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"


def make_up(archive: Path, num_images: int) -> None:
    """Write JPEG files that a network can learn to tell apart: a coarse pattern a class, under noise."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (_CLASSES, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    with tarfile.open(archive, "w:gz", compresslevel=1) as target:
        for number in range(num_images):
            split, label = "test" if number % 6 == 5 else "train", number // 6 % _CLASSES
            pixels = patterns[label] // 2 + random.integers(0, 128, (32, 32, 3))
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=90)
            member = tarfile.TarInfo(f"{split}/class-{label}/{number:06d}.jpg")
            member.size = len(file.getvalue())
            target.addfile(member, io.BytesIO(file.getvalue()))
