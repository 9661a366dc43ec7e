"""Write what a container needs of requirements.lock: `python tools/image_packages.py cuda|cpu FOLDER`.

FOLDER/packages.txt is the lock without what only development needs. For `cpu` it lacks torch and torchvision, and what
torch wants on Linux alone, which is CUDA; FOLDER/torch.txt then has those two, from torch's own index, whose hashes the
lock does not have. Who wants what is read from the lock, where a package's lines end with `# via` and those that want
it. Needs Python and nothing else.
"""

import re
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_PROJECT = "lightline (pyproject.toml)"  # development's packages are wanted by "lightline (pyproject.toml:dev)"
_TORCH = {"torch", "torchvision"}
_LINUX_ALONE = "sys_platform == 'linux'"


def select(lock: str, torch: str) -> tuple[str, str]:
    """Select packages of a lock, torch being `cuda` or `cpu`; gives both files' content."""
    lines, wanted_by = {}, {}  # by name and version
    for part in re.split(r"(?m)^(?=[a-z0-9])", lock)[1:]:
        package = part.split()[0]
        lines[package] = part
        wanted_by[package] = {line.strip(" #") for line in part.partition("# via")[2].splitlines()}
        if torch == "cpu" and _LINUX_ALONE in part:
            wanted_by[package] -= _TORCH
    needed: set[str] = set()
    found = {_PROJECT}
    while found:
        needed |= found
        found = {_name(package) for package, wanted in wanted_by.items() if wanted & needed} - needed
    elsewhere = _TORCH if torch == "cpu" else set()
    return (
        "".join(lines[package] for package in lines if _name(package) in needed - elsewhere),
        "".join(f"{package}+cpu\n" for package in lines if _name(package) in elsewhere),
    )


def _name(package: str) -> str:
    return re.split(r"[=\[]", package, maxsplit=1)[0]


def main() -> None:
    """Write the files."""
    torch, folder = sys.argv[1], Path(sys.argv[2])
    if torch not in ("cpu", "cuda"):
        sys.exit(f"error: TORCH is cpu or cuda, not {torch}")
    packages, from_torch = select(LOCK.read_text(encoding="utf-8"), torch)
    folder.mkdir()
    (folder / "packages.txt").write_text(packages, encoding="utf-8")
    if from_torch:
        (folder / "torch.txt").write_text(f"--index-url {_CPU_INDEX}\n{from_torch}", encoding="utf-8")


if __name__ == "__main__":
    main()
