"""The project's own files that a module imports, directly or not: its import closure, found by reading alone.

`python -m lightline.closure stages.train` prints it as the deps of a stage in dvc.yaml.
"""

import ast
import sys
from functools import cache
from pathlib import Path

from lightline.files import file_digest

_PACKAGES = ("lightline", "stages", "flows")


@cache
def import_closure(module: str, root: Path = Path()) -> tuple[Path, ...]:
    """The files of `module` and of all the project's modules it imports, packages' `__init__.py` included, sorted.

    Imports inside functions count: what may run is part of what determines a result.
    """
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file(name, root)
        if file is None or file in found:
            continue
        found.add(file)
        waiting += _imported(file, file.relative_to(root).parts[:-1])
        waiting += [name.rpartition(".")[0]]
    return tuple(sorted(path.relative_to(root) for path in found))


def closure_digests(module: str, root: Path = Path()) -> dict[str, str]:
    """Each file of the import closure with the SHA-256 of its bytes."""
    return {path.as_posix(): file_digest(root / path) for path in import_closure(module, root)}


def _file(name: str, root: Path) -> Path | None:
    if name.split(".")[0] not in _PACKAGES:
        return None
    path = root.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _imported(file: Path, package: tuple[str, ...]) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import name`: name may be a module or something inside the package.
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return names


if __name__ == "__main__":
    for file in import_closure(sys.argv[1]):
        print(f"      - {file.as_posix()}")
