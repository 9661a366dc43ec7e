"""Bring the code among the deps of dvc.yaml up to date with what each stage imports."""

import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lightline.closure import import_closure  # noqa: E402


def main() -> None:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    file = ROOT / "dvc.yaml"
    pipeline = yaml.load(file)
    for name, entry in pipeline["stages"].items():
        stage = entry.get("do", entry)  # of one for each item of a list, what all of them have
        if not stage.get("always_changed"):
            code = [path.as_posix() for path in import_closure(f"stages.{name}", ROOT)]
            deps = stage["deps"]
            deps[:] = [path for path in deps if not path.endswith(".py")] + code
    yaml.dump(pipeline, file)


if __name__ == "__main__":
    main()
