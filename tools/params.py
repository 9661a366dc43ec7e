"""Write params.yaml from conf/, as `dvc exp run` does; with --check, only compare what would be committed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lightline.errors import LightlineError  # noqa: E402
from lightline.runtime.interruption import run_command  # noqa: E402
from lightline.runtime.supervision import occupy_folder  # noqa: E402

PARAMS = Path("params.yaml")
_WRONG = (
    "error: {} is not what conf/ composes to. Values are edited in conf/; then `make params` writes params.yaml, or "
    "`make keep` makes those of an experiment a recipe in conf/.\nFor one run, leave both alone: "
    "`dvc exp run -S KEY=VALUE`."
)


def main() -> None:
    os.chdir(ROOT)
    if sys.argv[1:] == ["--check"]:
        sys.exit(_check())
    try:
        occupy_folder()  # a run that goes on would record these values as its own
    except LightlineError as error:
        sys.exit(f"error: {error}")
    _compose(Path("conf"), PARAMS)


def _check() -> str | None:
    """Tell what is wrong with what would be committed; print a note where params.yaml alone differs from it.

    `dvc exp run` writes its experiment's values into params.yaml, and those belong into no commit.
    """
    with tempfile.TemporaryDirectory() as folder:
        staged = _check_out_staged(Path(folder, "staged"))
        if staged is None:
            return None if _fits(Path()) else _WRONG.format("params.yaml")
        if not _fits(staged):
            return _WRONG.format("params.yaml, as it is committed or staged,")
        if _fits(Path()):
            return None
        if _same_conf(staged):
            print("params.yaml has values that conf/ does not have: of a run, or edited by hand. They are not staged.")
            print("`make params` takes them back, `make keep AS=NAME` makes them a recipe in conf/.")
            return None
        return _WRONG.format("conf/ has been edited: params.yaml")


def _check_out_staged(folder: Path) -> Path | None:
    """Put params.yaml and conf/ as git would commit them into a folder; gives where there, None where git has none."""
    listed = subprocess.run(("git", "ls-files", "-z", "conf", PARAMS.name), capture_output=True, check=False)
    if listed.returncode != 0 or f"{PARAMS.name}\0".encode() not in listed.stdout:
        return None
    command = ("git", "checkout-index", "-z", "--stdin", f"--prefix={folder}/")
    subprocess.run(command, input=listed.stdout, check=True)
    prefix = subprocess.run(("git", "rev-parse", "--show-prefix"), capture_output=True, check=True).stdout
    return folder / os.fsdecode(prefix).strip("\n")  # the project may be a folder of a larger repository


def _fits(folder: Path) -> bool:
    composed = folder / ".composed.yaml"
    try:
        _compose(folder / "conf", composed)
        return yaml.safe_load(composed.read_bytes()) == yaml.safe_load((folder / PARAMS).read_bytes())
    finally:
        composed.unlink(missing_ok=True)


def _same_conf(staged: Path) -> bool:
    def contents(folder: Path) -> dict[Path, bytes]:
        return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.yaml")}

    return contents(Path("conf")) == contents(staged / "conf")


def _compose(conf: Path, file: Path) -> None:
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(file, str(conf.resolve()), None, "config", str(ROOT), [])


if __name__ == "__main__":
    run_command(main)
