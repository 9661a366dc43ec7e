"""Run the questions and write docs/benchmarks.md.

python -m benchmarks [--quick] [--cifar FILE] [--photos FILE] [--weights FILE] [QUESTION …]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.images import fewer
from benchmarks.report import checked_out, keep
from benchmarks.sources import CIFAR_VARIABLE, PHOTOS_VARIABLE, WEIGHTS_VARIABLE, WORK_VARIABLE
from lightline.runtime.interruption import run_command

FOLDER = Path(__file__).parent
_QUICK_PART = 8  # --quick takes every eighth image of CIFAR-10


def main() -> int:
    """Ask each question in a process of its own, so that none pays for another's imports, threads or memory."""
    options = _parser().parse_args()
    names = options.question or questions()
    if unknown := [name for name in names if name not in questions()]:
        sys.exit(f"error: there is no question {unknown[0]!r}; there are {', '.join(questions())}")
    answers, started, commit = [], time.monotonic(), checked_out()
    with tempfile.TemporaryDirectory() as work:
        os.environ[WORK_VARIABLE] = work
        if options.cifar is not None:
            os.environ[CIFAR_VARIABLE] = str(_cifar(options.cifar, options.quick, Path(work)))
        for variable, file in ((PHOTOS_VARIABLE, options.photos), (WEIGHTS_VARIABLE, options.weights)):
            if file is not None:
                os.environ[variable] = str(file.resolve())
        for name in names:
            print(f"== {name}", flush=True)
            answers.append(_ask(name, options.quick))
            print(f"   {answers[-1]['seconds']:.0f} s", flush=True)
            if not options.quick:
                keep(answers[-1], commit)
    minutes = (time.monotonic() - started) / 60
    print(f"{minutes:.1f} minutes in all")
    return 1 if any("error" in answer for answer in answers) else 0


def questions() -> list[str]:
    """Return the names of the questions: of the modules that have a `run`."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if "\ndef run(" in file.read_text(encoding="utf-8"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Run the questions and write docs/benchmarks.md."
    )
    parser.add_argument("question", nargs="*", help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer pairs and less data; writes no report")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 as an archive of JPEG files in train/ and test/")
    parser.add_argument("--photos", type=Path, help="an archive of photos in train/ and val/: ants-bees")
    parser.add_argument("--weights", type=Path, help="a safetensors file of timm's tf_efficientnet_lite0")
    return parser


def _cifar(archive: Path, quick: bool, work: Path) -> Path:
    """Find the archive that the questions are asked about; for --quick, write one of a part of its files to `work`."""
    if not quick or not archive.is_file():
        return archive.resolve()
    part = work / "part.tar.gz"
    fewer(archive, _QUICK_PART, part)
    return part


def _ask(name: str, quick: bool) -> dict[str, Any]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "benchmarks.question", name, str(answer), *(["--quick"] if quick else [])]
        code = subprocess.run(command, check=False).returncode
        content = json.loads(answer.read_text()) if answer.exists() else {"error": f"exit status {code}"}
    return {"name": name, "seconds": time.monotonic() - started, **content}


if __name__ == "__main__":
    run_command(main)
