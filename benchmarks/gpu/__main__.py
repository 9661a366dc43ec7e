"""Run the parts on a GPU and write their table into docs/benchmarks.md.

python -m benchmarks.gpu [--wheels FOLDER] [--cifar FILE] [--budget SECONDS] [--answer FILE] [PART …]
python -m benchmarks.gpu --keep FILE      the table of an answer that was found elsewhere

Nothing but the standard library is loaded before the wheels are there.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import benchmarks.gpu
from benchmarks.gpu.wheels import install, missing
from lightline.runtime.interruption import run_command

_ROOT = Path(__file__).parents[2]
# The most seconds of each part, of a budget of 480; the later ones have what is left.
_PARTS = {"prepare": 90, "speed": 130, "precision": 80, "resume": 60, "gate": 90, "processes": 120}
_BUDGET, _LAST = 480.0, 10.0  # seconds; the last to write the table in
_OF_ALL_IMAGES = ("speed", "precision")


def main() -> int:
    """Run each part in a process of its own with a limit, so that one that fails is a row."""
    options, started = _parser().parse_args(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is under way is ended, too
    if options.keep:
        return _keep(options.keep)
    if unknown := [name for name in options.part if name not in _PARTS]:
        sys.exit(f"error: there is no part {unknown[0]!r}; there are {', '.join(_PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.wheels:
            _use(options.wheels, work / "site")
        _check(options.device)
        answer: dict[str, Any] = {"name": "gpu", "question": (benchmarks.gpu.__doc__ or "").strip(), "rows": []}
        for name in ("prepare", *options.part):
            left = started + options.budget - _LAST - time.monotonic()
            print(f"== {name}, {max(0.0, left):.0f} s left", flush=True)
            variables = _images_of(name, options, work)
            answer["rows"] += _run(
                name, options.device, min(left, _PARTS[name] * options.budget / _BUDGET), work, variables
            )
    return _finish(answer, options, started)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="What can only a GPU show?")
    parser.add_argument(
        "part", nargs="*", default=list(_PARTS)[1:], help=f"of {', '.join(list(_PARTS)[1:])}; default: all"
    )
    parser.add_argument("--wheels", type=Path, help="a folder that `python -m benchmarks.gpu.wheels FOLDER` has filled")
    parser.add_argument(
        "--cifar", type=Path, help="CIFAR-10 as an archive of JPEG files in train/ and test/; else made up"
    )
    parser.add_argument("--budget", type=float, default=_BUDGET, help="seconds for all (480)")
    parser.add_argument("--answer", type=Path, help="a JSON file for the answer, to be kept elsewhere")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write such an answer into docs/benchmarks.md, and stop"
    )
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu",
                        help="cpu: try the script without a GPU, on few images; its figures mean nothing")  # fmt: skip
    return parser


def _use(wheels: Path, target: Path) -> None:
    try:
        install(wheels, target)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    sys.path.insert(0, str(target))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(target), os.environ.get("PYTHONPATH"))))


def _check(device: str) -> None:
    """Stop where there is nothing to run on, or something to run with is missing."""
    if find_spec("torch") is None or find_spec("torchvision") is None:
        sys.exit("error: this Python has no PyTorch with torchvision; name one that has.")
    if device == "gpu":
        import torch

        if not torch.cuda.is_available():
            sys.exit(f"error: PyTorch {torch.__version__} finds no GPU here, and these questions are asked of one. "
                     "`--device cpu` tries the script; its figures mean nothing.")  # fmt: skip
    if lacking := missing():
        sys.exit(f"error: not installed here: {', '.join(lacking)}. `python -m benchmarks.gpu.wheels FOLDER` gathers "
                 "them on a machine with a network, and `--wheels FOLDER` takes them.")  # fmt: skip


def _run(name: str, device: str, seconds: float, work: Path, variables: dict[str, str]) -> list[dict[str, Any]]:
    """Run a part; gives its rows, with one that says why there are not more."""
    if seconds < 5:
        return [_row(name, "not run: no time was left")]
    file, environment = work / f"{name}.json", os.environ | variables
    command = (sys.executable, "-m", "benchmarks.gpu.part", name, str(file), device, f"{seconds:.0f}")
    process = subprocess.Popen(command, cwd=_ROOT, env=environment, start_new_session=True)
    reason = ""
    try:
        if code := process.wait(seconds):
            reason = f"failed: exit status {code}"
    except subprocess.TimeoutExpired:
        reason = f"stopped after {seconds:.0f} s"
    finally:
        with suppress(ProcessLookupError):  # its stages, too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    rows = json.loads(file.read_text()) if file.exists() else []
    return rows + ([_row(name, reason)] if reason else [])


def _images_of(part: str, options: argparse.Namespace, work: Path) -> dict[str, str]:
    from benchmarks.sources import CIFAR_VARIABLE, WORK_VARIABLE, images_of

    if part != "prepare":
        return images_of("all" if part in _OF_ALL_IMAGES else "part", work)
    return {WORK_VARIABLE: str(work)} | ({CIFAR_VARIABLE: str(options.cifar.resolve())} if options.cifar else {})


def _row(what: str, told: str) -> dict[str, Any]:
    from benchmarks.harness import Row

    return Row(what, told, met=False).as_dict()


def _finish(answer: dict[str, Any], options: argparse.Namespace, started: float) -> int:
    from benchmarks.harness import Row
    from benchmarks.report import checked_out, found, keep, table

    answer |= {"seconds": time.monotonic() - started, **found(checked_out())}
    print(f"\n{table([Row(**row) for row in answer['rows']])}\n\n{answer['seconds']:.0f} s, on {answer['machine']}")
    if options.answer:
        options.answer.write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.device == "cpu":
        print("tried without a GPU: these figures mean nothing, and are kept nowhere")
    else:
        keep(answer, answer["commit"])
    return 1 if any(row["met"] is False for row in answer["rows"]) else 0


def _keep(file: Path) -> int:
    from benchmarks.report import checked_out, keep

    answer = json.loads(file.read_text(encoding="utf-8"))
    keep(answer | {"commit": answer["commit"] or checked_out()}, "")
    return 0


if __name__ == "__main__":
    run_command(main)
