"""Parameters to measure with: conf/ composed with overrides, as `dvc exp run -S` does it."""

import tempfile
from pathlib import Path

from lightline.config.composition import composed_text
from lightline.config.load import load_params
from lightline.config.params import Params

ROOT = Path(__file__).resolve().parent.parent


def composed(*overrides: str) -> Params:
    """Compose parameters; nothing is tracked by W&B unless an override says so."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        write_composed(path, *overrides)
        return load_params(path)


def write_composed(path: Path, *overrides: str) -> None:
    """Write such a params.yaml."""
    path.write_text(composed_text(["tracking=disabled", *overrides], ROOT / "conf"), encoding="utf-8")
