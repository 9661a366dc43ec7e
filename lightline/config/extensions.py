"""What extensions/ of the working directory registers, read from its text: to check a name runs nothing of it."""

import ast
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from lightline.config.fields import Name, Section
from lightline.errors import ParameterError

EXTENSIONS = "extensions"  # a folder for each kind: models, metrics, callbacks, sources, augmentations


def _plain(value: Any) -> Any:
    for one in value if isinstance(value, list) and len(value) <= 1_000 else [value]:
        is_number = isinstance(one, int | float) and abs(one) < 1e300  # which no NaN is
        if not (is_number or one is None or (isinstance(one, str) and len(one) <= 4_000)):
            raise PydanticCustomError("setting", "it must be a number, a text, true, false, null or a list of these")
    return value


_Key = Annotated[str, Field(pattern=r"^[A-Za-z]\w{0,63}$")]
# Keyword arguments of what is chosen. What is left out is as its own code has it.
Settings = Annotated[dict[_Key, Annotated[Any, AfterValidator(_plain)]], Field(max_length=100, default_factory=dict)]


class Chosen(Section):
    """An entry in a list of what is chosen; its name alone does where it needs no settings."""

    name: Name
    settings: Settings


def known(kind: str, key: str, built_in: Sequence[str] = ()) -> BeforeValidator:
    """Make the check that the name at this dotted key is registered; built_in: what else could stand there."""
    field = "source" if kind == "source" else "name"

    def check(section: Any) -> Any:
        section = {field: section} if isinstance(section, str) and not built_in else section
        name = section.get(field) if isinstance(section, dict) else None
        names = [*registered(kind, built_in), *built_in]
        if isinstance(name, str) and name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            told = ", ".join(names) or f"none, for {EXTENSIONS}/{kind}s/ registers none"
            raise ValueError(f"{key} = {name!r} is no known {kind}; {hint}allowed: {told}")
        return section

    return BeforeValidator(check)


def registered(kind: str, built_in: Sequence[str] = ()) -> dict[str, str]:
    """Find the names of a kind, each with its class and where that is, as in "MyNet of extensions/models/my_net.py:6".

    They stay the same for as long as the process lasts.

    Raises:
        ParameterError: a file is no Python, or registers a name that cannot be used.
    """
    return _find(Path.cwd(), kind, tuple(built_in))


@cache
def _find(root: Path, kind: str, built_in: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted((root / EXTENSIONS / f"{kind}s").rglob("*.py")):
        path = file.relative_to(root).as_posix()
        for name, place in () if "/." in path else _names(file.read_bytes(), path, kind):
            if name in found or name in built_in:
                there = found.get(name, "built in")
                raise ParameterError(f"{place}: there is a {kind} {name!r} already: {there}. Rename one.")
            found[name] = place
    return found


def _names(code: bytes, path: str, kind: str) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise ParameterError(f"{path}:{getattr(error, 'lineno', 1)}: this is no Python: {error}") from None
    for node in tree.body:
        for decorator in map(ast.unparse, getattr(node, "decorator_list", ())):
            if not re.match(rf"([\w.]+\.)?{kind}\b(?!\.)", decorator):
                continue
            assert isinstance(node, ast.ClassDef | ast.FunctionDef)
            place = f"{node.name} of {path}:{node.lineno}"
            if not (name := re.search(r"\('([A-Za-z]\w*)'\)$", decorator, re.ASCII)):
                raise ParameterError(f'{place}: the name must stand there as a plain word, as in @{kind}("my_{kind}").')
            yield name[1], place
