"""Make an experiment's parameters a recipe in conf/, as `make keep` does."""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightline.config.composition import (
    CONF,
    CONFIG,
    RECIPE,
    RECIPE_LINE,
    WITHOUT_RECIPE,
    compose,
    composed_text,
    differences,
    explain,
    nearest_recipe,
)
from lightline.config.load import PARAMS_FILE, check_params
from lightline.errors import LightlineError, some
from lightline.files import whole_file
from lightline.runtime.commits import applied_experiment, committed, experiment_of, find_commit, git
from lightline.runtime.supervision import occupy_folder

_SHOWN = 8  # differences in a message


class KeepError(LightlineError):
    """Parameters cannot become a recipe."""


@dataclass(frozen=True)
class Kept:
    """Parameters to keep.

    Attributes:
        origin: where they are from, in words.
        name: of an experiment; None where they are from elsewhere.
        text: of params.yaml.
    """

    origin: str
    name: str | None
    text: str

    @property
    def values(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)


def find(experiment: str | None) -> Kept:
    """Read the parameters of an experiment or any other commit; None: of the workspace.

    Raises:
        KeepError: there is no such commit, or several, or it has no params.yaml.
        ParameterError: this version of the code cannot use them.
    """
    kept = _of_commit(experiment) if experiment else _of_workspace()
    check_params(yaml.safe_load(kept.text), f"{PARAMS_FILE} of {kept.origin}")
    return kept


def _of_workspace() -> Kept:
    text = PARAMS_FILE.read_text(encoding="utf-8")
    applied = applied_experiment()
    if applied and committed(applied, PARAMS_FILE.name) == text.rstrip("\n"):
        return _of_commit(experiment_of(applied) or applied)
    return Kept(f"the workspace on commit {(git('rev-parse', 'HEAD') or 'none')[:12]}", None, text)


def _of_commit(name: str) -> Kept:
    commit = find_commit(name)
    text = committed(commit, PARAMS_FILE.name)
    if text is None:
        raise KeepError(f"Commit {commit[:12]} ({name}) has no {PARAMS_FILE}.")
    experiment = experiment_of(commit)
    if experiment:
        return Kept(f"experiment {experiment} (commit {commit[:12]})", experiment, f"{text}\n")
    return Kept(f"commit {commit[:12]}", None, f"{text}\n")


def keep(kept: Kept, wanted: str | None, choose: bool) -> str:
    """Write a recipe from which conf/ composes to the parameters, choose it in conf/config.yaml, write params.yaml.

    Returns what was done, as a sentence.
    wanted: the recipe's name; None: the experiment's, or that of a recipe which composes to them already.
    choose: False writes the recipe alone.

    Raises:
        KeepError, CompositionError: conf/ cannot compose to them; nothing is changed.
    """
    if not (wanted or differences(compose(), kept.values)):
        _write({PARAMS_FILE: composed_text()} if choose else {})
        return f"conf/ composes to the parameters of {kept.origin} already: there is nothing to keep."
    known = None if wanted else _recipe_with(kept.values)
    name = known or wanted or kept.name or "kept"
    file = CONF / RECIPE / f"{name}.yaml"
    text = file.read_text(encoding="utf-8") if known else _recipe(kept, name)
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise KeepError(f"There is a recipe {file} already, with other content. Choose another name: AS=NAME.")
    config = _choosing(name)
    params = _verified(kept, {file: text, CONF / CONFIG: config})
    _write({file: text} | ({CONF / CONFIG: config, PARAMS_FILE: params} if choose else {}))
    told = f"{file} {'has' if known else 'now has'} the parameters of {kept.origin}"
    if not choose:
        return f"{told}: `dvc exp run -S recipe={name}` takes them."
    told = f"{told}, and {CONF / CONFIG} chooses it: every run starts from them. Commit conf/ and {PARAMS_FILE}."
    for key in ("data.path", "model.weights"):
        section, _, name = key.partition(".")
        path = str(kept.values[section].get(name) or "")
        told += f" {key} = {path!r} is of this machine alone." if Path(path).expanduser().is_absolute() else ""
    return told


def _recipe_with(values: dict[str, Any]) -> str | None:
    """Find the recipe from which conf/ composes to these values by itself; None where there is none."""
    name = nearest_recipe(values)
    return None if differences(compose([f"{RECIPE}={name}"]), values) else name


def _recipe(kept: Kept, name: str) -> str:
    from omegaconf import OmegaConf

    if not re.fullmatch(r"\w[\w.-]*", name) or not isinstance(yaml.safe_load(name), str):
        raise KeepError(f"{name!r} cannot name a recipe: letters, digits, - and _ can. Choose another name: AS=NAME.")
    explained = explain(kept.values, [WITHOUT_RECIPE])
    defaults = [{f"override /{group}": choice} for group, choice in explained.choices.items()]
    parts = [{"defaults": defaults}] if defaults else []
    parts += [explained.values] if explained.values else []
    head = (
        "# @package _global_\n"
        f"# The parameters of {kept.origin}, where conf/ without a recipe has others.\n"
        f"#\n#   dvc exp run -S {RECIPE}={name}\n"
    )
    return head + "\n".join(_block(OmegaConf.to_yaml(OmegaConf.create(_literal(part)))) for part in parts)


def _literal(value: Any) -> Any:
    """Return the same value, with `${` as a text and no reference."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value


def _block(text: str) -> str:
    """Indent the lists, as everywhere in conf/."""
    return text.replace("defaults:\n- ", "defaults:\n  - ").replace("\n- override", "\n  - override")


def _choosing(name: str) -> str:
    config = CONF / CONFIG
    text, replaced = RECIPE_LINE.subn(rf"\g<1>{name}", config.read_text(encoding="utf-8"))
    if replaced != 1:
        raise KeepError(f"{config} has no line `- {RECIPE}: none` among its defaults, last of all; add it.")
    return text


def _verified(kept: Kept, files: dict[Path, str]) -> str:
    """Compose params.yaml as it will be once these files are there, and check that it has the parameters."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CONF, Path(folder, CONF))
        for file, text in files.items():
            Path(folder, file).write_text(text, encoding="utf-8")
        params = composed_text(conf=Path(folder, CONF))
    wrong = differences(kept.values, yaml.safe_load(params))
    if wrong:
        shown = some([f"{key} = {now!r} instead of {before!r}" for key, before, now in wrong], _SHOWN)
        raise KeepError(
            f"No recipe here can give the parameters of {kept.origin}: another version of conf/ composed them. Nothing "
            f"is written. The run would have {shown}. Keep it on the commit it was made on."
        )
    return params


def _write(files: dict[Path, str]) -> None:
    """Write all of the files, or none."""
    with ExitStack() as stack:
        for file, text in files.items():
            stack.enter_context(whole_file(file)).write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightline keep",
        description="Write an experiment's parameters into conf/ as a recipe, and choose it in conf/config.yaml.",
    )
    parser.add_argument("experiment", nargs="?", help="its name, or a commit; default: params.yaml as it stands")
    parser.add_argument("--as", dest="name", metavar="RECIPE", help="the recipe's name; default: the experiment's")
    parser.add_argument("--no-choose", action="store_true", help="write the recipe alone")
    return parser


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    try:
        occupy_folder()  # a run that goes on would record these values as its own
        print(keep(find(options.experiment), options.name, choose=not options.no_choose))
    except LightlineError as error:
        sys.exit(f"error: {error}")
