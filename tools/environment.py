"""Make .venv from requirements.lock, by the hashes in it. Needs Python 3.11 to 3.13 and nothing else."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = ENVIRONMENT / "installed"  # a copy of the lock that was installed; make compares its age
OLDEST, NEWEST = (3, 11), (3, 13)


def main() -> None:
    """Install once, however many makes ask for it at the same time."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"error: Lightline needs Python 3.11, 3.12 or 3.13, and {sys.executable} is {found}.\n"
                 "Name another one, as in `make run PYTHON=python3.11`.")  # fmt: skip
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current():
            _install()
        STAMP.touch()


def _is_current() -> bool:
    if not STAMP.exists() or STAMP.read_bytes() != LOCK.read_bytes():
        return False
    # A moved checkout or a replaced Python leaves an environment that starts nothing.
    started = subprocess.run([ENVIRONMENT / "bin" / "python", "-c", "import dvc"], check=False, capture_output=True)
    return started.returncode == 0


def _install() -> None:
    print(f"Installing {LOCK.name} into {ENVIRONMENT.name}/: several GB, once, a few minutes …", flush=True)
    STAMP.unlink(missing_ok=True)
    python = ENVIRONMENT / "bin" / "python"
    if subprocess.run([python, "-c", "pass"], check=False, capture_output=True).returncode if python.exists() else True:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        _run([sys.executable, "-m", "venv", ENVIRONMENT])
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", LOCK])
    shutil.copyfile(LOCK, STAMP)


def _run(command: list[str | Path]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    code = subprocess.run(command, check=False, env=clean, cwd=ROOT).returncode
    if code:
        text = " ".join(map(str, command))
        sys.exit(f"error: `{text}` failed, see above. Once that is mended, the same make goes on.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same make goes on", file=sys.stderr)
        sys.exit(130)
