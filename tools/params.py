"""Write params.yaml from conf/, as `dvc exp run` does; with --check, only compare."""

import os
import sys
import tempfile
from pathlib import Path

import yaml
from dvc.utils.hydra import compose_and_dump

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lightline.errors import LightlineError  # noqa: E402
from lightline.supervision import occupy_folder  # noqa: E402

PARAMS = ROOT / "params.yaml"


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        os.chdir(ROOT)
        try:
            occupy_folder()  # a run that goes on would record these values as its own
        except LightlineError as error:
            sys.exit(f"error: {error}")
        _compose(PARAMS)
        return
    with tempfile.TemporaryDirectory() as folder:
        composed = Path(folder, "params.yaml")
        _compose(composed)
        if yaml.safe_load(composed.read_bytes()) != yaml.safe_load(PARAMS.read_bytes()):
            sys.exit(
                "error: params.yaml is not what conf/ composes to. Values are edited in conf/; then `make params` "
                "writes params.yaml.\nFor one run, leave both alone: `dvc exp run -S KEY=VALUE`."
            )


def _compose(file: Path) -> None:
    compose_and_dump(file, str(ROOT / "conf"), None, "config", str(ROOT), [])


if __name__ == "__main__":
    main()
