"""`python -m lightline COMMAND`: what people type beside the doors, a file each in commands/."""

import ast
import importlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from lightline.runtime.interruption import run_command

_FOLDER = Path(__file__).parents[1] / "commands"


def main(arguments: Sequence[str]) -> NoReturn:
    """Run a command, whose name comes first, and exit with its status."""
    files = {file.stem: file for file in sorted(_FOLDER.glob("[a-z]*.py"))}
    name, *others = arguments or ["--help"]
    if name in ("-h", "--help"):
        run_command(partial(_list, files))
    if name not in files:
        sys.exit(f"error: {name!r} is no command; there are {', '.join(files)}.")
    run_command(partial(importlib.import_module(f"commands.{name}").main, others))


def former_name(name: str) -> NoReturn:
    """Run a command that was given by the name it had before version 0.2."""
    print(f"note: this command is `python -m lightline {name}` now", file=sys.stderr)
    main([name, *sys.argv[1:]])


def _list(files: dict[str, Path]) -> None:
    print("usage: python -m lightline COMMAND …   (COMMAND --help says more)")
    print(*(f"  {name:<9}{_purpose(file)}" for name, file in files.items()), sep="\n")


def _purpose(file: Path) -> str:
    """Read the first line of a command's docstring; nothing is imported for it."""
    return (ast.get_docstring(ast.parse(file.read_bytes())) or "").split("\n")[0]


if __name__ == "__main__":
    main(sys.argv[1:])
