"""params.yaml of a run: conf/ composed with the overrides as `dvc exp run` does it, and checked."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from flows.errors import RequestError
from lightline.config.composition import compose as composed
from lightline.config.composition import flat
from lightline.redaction import redacted
from lightline.runtime.origin import ORIGIN_VARIABLE

Change = tuple[str, Any, Any]  # dotted key, value before, value now


def compose(overrides: list[str]) -> tuple[list[Change], list[Change]]:
    """Write params.yaml in the working directory.

    Returns what changed, and of that what no override asked for: values that stood in params.yaml and not in conf/.

    Raises:
        RequestError: an override cannot be parsed, names a choice that is not there or asks for several values.
        ParameterError: a key, type or value is not allowed.
    """
    from lightline.config.load import PARAMS_FILE

    before = flat(yaml.safe_load(PARAMS_FILE.read_bytes())) if PARAMS_FILE.exists() else {}
    _write(overrides, PARAMS_FILE)
    _check(overrides)
    now = flat(yaml.safe_load(PARAMS_FILE.read_bytes()))
    changed = [(key, before.get(key), now.get(key)) for key in {**before, **now} if before.get(key) != now.get(key)]
    return changed, _not_asked_for(changed, overrides)


def _check(overrides: list[str]) -> None:
    from lightline.config.load import is_conf_right, load_params
    from lightline.errors import ParameterError

    try:
        load_params()
    except ParameterError as error:
        told = str(error)
        wrong = [line for line in told.splitlines() if line.startswith("  ")]
        if not wrong or not is_conf_right():
            raise
        head = f"{_named(told, overrides)} cannot be used; conf/ is as it should be:"
        raise ParameterError("\n".join([head, *wrong])) from None


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _named(message: str, overrides: list[str]) -> str:
    """Quote the overrides that a message speaks of by their keys; all, where it speaks of none."""
    named = [override for override in overrides if re.search(rf"\b{re.escape(_key(override))}\b", message)]
    return ", ".join(redacted(repr(override)) for override in named or overrides)


def _not_asked_for(changed: list[Change], overrides: list[str]) -> list[Change]:
    asked = [_key(override) for override in overrides]
    rest = [change for change in changed if not any(f"{change[0]}.".startswith(f"{key}.") for key in asked)]
    if not (rest and overrides):
        return rest
    # A recipe sets values of all groups.
    values = flat(composed())
    return [(key, before, now) for key, before, now in rest if values.get(key) == now]


def _write(overrides: list[str], file: Path) -> None:
    from dvc.config import Config
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

    hydra = Config.from_cwd()["hydra"]
    folder = Path(hydra.get("config_dir", "conf")).resolve()
    arguments = (file, str(folder), None, hydra.get("config_name", "config"), str(Path.cwd()))
    try:
        try:
            compose_and_dump(*arguments, overrides)
        except HydraException as error:
            if not isinstance(error.__cause__, ConfigKeyError | AttributeError):
                raise
            # A key that is not there. Hydra would have it added; our own check names those that may have been meant.
            compose_and_dump(*arguments, [_forced(override, folder) for override in overrides])
    except MissingConfigException as error:
        raise RequestError(_missing(error.missing_cfg_file, error.options, folder)) from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise RequestError(_sentence(str(error), overrides)) from None


def _forced(override: str, folder: Path) -> str:
    key = re.match(r"[\w.]+(?==)", override)
    return override if key is None or (folder / key[0]).is_dir() else f"++{override}"


def _missing(file: str | None, options: Any, folder: Path) -> str:
    group, _, choice = str(file).rpartition("/")
    path = f"{folder.name}/{file}.yaml"
    if Path(os.environ.get(ORIGIN_VARIABLE, "/nowhere"), path).exists():
        return (
            f"{group} = {choice!r}: {path} is not in the commit of this run, and what is not committed is no part of "
            f"one. `git add {path}` and commit it, or try it first with `dvc exp run -S {group}={choice}`."
        )
    return f"{group} = {choice!r} is not allowed; {folder.name}/{group}/ has {', '.join(options or ()) or 'nothing'}"


def _sentence(message: str, overrides: list[str]) -> str:
    named = [override for override in overrides if override in message] or overrides
    if "--multirun" in message:
        return (
            f"{named[0]!r} asks for several values, and a flow run takes one. Try several with "
            f"`dvc exp run --queue -S {named[0]!r}`, or put a list into brackets."
        )
    told = " ".join(line.strip() for line in message.splitlines() if line.strip(" ^") and "hydra.cc" not in line)
    return f"{', '.join(map(repr, named))} cannot be used as an override, as in trainer.max_epochs=3: {told}"
