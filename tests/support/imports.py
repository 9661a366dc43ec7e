"""What the modules of the project import of each other, read from their text."""

from pathlib import Path

import grimp

from tests.support import ROOT

IMPORTS = grimp.build_graph("lightline", "lightline_predict", "stages", "flows", "commands", cache_dir=None)


def closure_of(name: str) -> set[str]:
    """The modules that a stage imports, directly or not, inside functions too."""
    module = f"stages.{name}.__main__"
    return {module, *IMPORTS.find_upstream_modules(module)}


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def room_of(module: str) -> str:
    """The folder that a module lies in, of those in ROOMS, or the file that it is there."""
    path = file_of(module).relative_to(ROOT)
    return Path(*path.parts[:2]).as_posix()
