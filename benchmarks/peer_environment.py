"""The environment that the peers run in: outside the repository, made once, with the torch that the project has."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from benchmarks.harness import run_command

PEERS_VARIABLE = "LIGHTLINE_BENCH_PEERS"  # a Python that has what requirements.txt names
_FOLDER = Path(__file__).parent / "peers"  # a script each, run by their Python
REQUIREMENTS = _FOLDER / "requirements.txt"
_INSTALLING = 1800  # seconds
# Nothing is told, nothing fetched.
_ENVIRONMENT = {
    "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1",
    "WANDB_MODE": "disabled", "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore",
}  # fmt: skip


class MissingPeersError(Exception):
    """The peers cannot be installed here."""


def run_peer(script: str, *arguments: object) -> dict[str, Any]:
    """Run `SCRIPT.py ARGUMENTS… ANSWER.json` of this folder; gives the answer, and `wall`, the whole process's seconds.

    Raises:
        MissingPeersError: there is no environment for it, and none can be made.
        RuntimeError: it failed; with what it printed.
    """
    python = peers_python()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        command = (str(python), str(_FOLDER / f"{script}.py"), *map(str, arguments), str(answer))
        variables = {**_ENVIRONMENT, "YOLO_CONFIG_DIR": folder, "FASTAI_HOME": folder, "PYTHONPATH": ""}
        wall = run_command(command, Path(folder), **variables).wall
        return json.loads(answer.read_text(encoding="utf-8")) | {"wall": wall}


@cache
def peers_python() -> Path:
    """Find the peers' Python, or make it in the user's cache folder.

    Raises:
        MissingPeersError: pip cannot install them, as where there is no network.
    """
    if named := os.environ.get(PEERS_VARIABLE):
        return Path(named)
    shared = sysconfig.get_path("purelib")
    content = "\n".join((REQUIREMENTS.read_text(encoding="utf-8"), sys.version, shared))
    folder = user_cache_path("lightline") / f"peers-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _install(folder, python, shared)
        except (subprocess.SubprocessError, OSError) as error:
            raise MissingPeersError(f"not there: {_reason(error)}; {PEERS_VARIABLE} may name a Python") from error
        ready.touch()
    return python


def _install(folder: Path, python: Path, shared: str) -> None:
    """Make an environment that sees this one's packages behind its own: both sides compute with one torch."""
    print(f"installing the peers into {folder}", flush=True)
    subprocess.run((sys.executable, "-m", "venv", folder), check=True, capture_output=True)
    asked = (str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    own = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    Path(own, "shared.pth").write_text(shared + "\n")
    command = (python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS)
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALLING)


def _reason(error: Exception) -> str:
    printed = getattr(error, "stderr", None) or str(error)
    lines = [line.strip() for line in str(printed).splitlines() if "error" in line.lower()]
    return (lines or [str(error)])[-1][:200]
